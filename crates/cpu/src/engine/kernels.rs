//! What kernels do around each short lock: by blocks the same, at every stop, as one instruction at a time.

use iced_x86::code_asm::*;
use x86::{Eflags, PhysAddr, SegReg};

use super::tests::with_handlers;
use crate::{
    Exit, Gpr,
    testing::{Lab, STACK, assemble},
};

/// Base of FS, and of GS behind it.
const OWN: u32 = 0x6000;

/// The same code by blocks that are kept, by others, and one instruction at a time.
fn labs(code: &[u8]) -> [Lab; 3] {
    [Lab::eager(code), Lab::new(code), Lab::single_step(code)].map(|mut lab| {
        with_handlers(&mut lab);
        lab.cpu.state.seg[SegReg::Fs as usize].base = OWN;
        lab.cpu.state.seg[SegReg::Gs as usize].base = OWN + 0x100;
        lab.mem.write_u32(PhysAddr(u64::from(OWN) + 0x110), 0x8000_0001);
        lab
    })
}

/// What a stop shows.
fn shown(lab: &Lab) -> ([u32; 16], u32, Eflags, bool, u64, Vec<u32>) {
    let state = &lab.cpu.state;
    let memory = [OWN + 0x10, OWN + 0x14, OWN + 0x110, STACK - 8, STACK - 4].map(|at| lab.read_u32(at));
    (state.gpr, state.eip, state.eflags, state.sti_shadow, state.retired, memory.into())
}

#[test]
fn a_lock_of_a_kernel_is_the_same_at_every_stop() {
    let code = assemble(|a| {
        a.sti()?;
        a.pushfd()?;
        a.cli()?;
        a.add(dword_ptr(0x10).fs(), 1)?;
        a.inc(dword_ptr(0x10).fs())?;
        a.mov(ebx, 3)?;
        a.sub(dword_ptr(0x14).fs(), ebx)?;
        a.xor(ecx, dword_ptr(ebx + 0x11).fs())?;
        a.sti()?;
        a.sti()?;
        a.cmp(dword_ptr(0x14).fs(), -3)?;
        a.sete(dl)?;
        a.dec(dword_ptr(0x10).gs())?;
        a.test(dword_ptr(0x10).gs(), 0x8000_0000u32)?;
        a.pushfd()?;
        a.or(dword_ptr(0x10).gs(), ecx)?;
        a.and(esi, dword_ptr(0x10).gs())?;
        a.add(edi, dword_ptr(0x10).gs())?;
        a.pop(eax)?;
        a.cli()?;
        a.popfd()?;
        a.sti()?;
        a.hlt()
    });
    let mut last = 0;
    for budget in 1..40 {
        let [eager, new, single] = labs(&code).map(|mut lab| {
            let exit = lab.run(budget);
            (exit, shown(&lab))
        });
        assert_eq!(eager, single, "{budget} instructions");
        assert_eq!(new, single, "{budget} instructions, not kept");
        last = single.1.4;
    }
    assert_eq!(last, 23, "the code ran to its end");
}

#[test]
fn an_interrupt_that_the_instruction_after_sti_raises_comes_behind_it() {
    let code = assemble(|a| {
        a.inc(eax)?;
        a.sti()?;
        a.out(0x80, al)?;
        a.inc(eax)?;
        a.inc(eax)
    });
    for mut lab in labs(&code) {
        lab.bus.raised_by_out = Some(0x50);
        assert_eq!((lab.run(100), lab.cpu.state.retired), (Exit::Bus, 3));
        assert!(!lab.cpu.state.sti_shadow);
        assert_eq!(lab.run(100), Exit::Halted);
        assert_eq!((lab.gpr(Gpr::Eax), lab.read_u32(0x7000)), (1, 0x50));
    }
}

#[test]
fn segment_registers_of_the_same_kind_change_in_mid_block() {
    // Another flat segment for DS, one that is not flat, and the first again.
    let code = assemble(|a| {
        for selector in [0x18, 0x20, 0x10] {
            a.mov(eax, selector)?;
            a.mov(ds, eax)?;
            a.mov(ecx, dword_ptr(0x110))?;
            a.push(ecx)?;
        }
        a.hlt()
    });
    for mut lab in labs(&code) {
        for (place, descriptor) in [(0x18, 0x00cf_9300_0000_ffff), (0x20, 0x00cf_9300_6000_ffff_u64)] {
            lab.mem.write(PhysAddr(0x600 + place), &descriptor.to_le_bytes());
        }
        lab.cpu.state.gdtr.limit = 0x27;
        lab.mem.write_u32(PhysAddr(0x110), 7);
        assert_eq!(lab.run(100), Exit::Halted);
        assert_eq!([4, 8, 12].map(|below| lab.read_u32(STACK - below)), [7, 0x8000_0001, 7]);
    }
}

#[test]
fn the_selectors_of_an_entry_and_an_exit_are_the_same_at_every_stop() {
    // Of the last two one was never loaded and one is the program's.
    let descriptors = [0x00cf_9300_6000_ffff_u64, 0x00cf_9200_0000_ffff, 0x00cf_f300_0000_ffff];
    let code = assemble(|a| {
        a.push(fs)?;
        a.push(es)?;
        a.push(ds)?;
        a.push(ss)?;
        a.std()?;
        a.mov(eax, 0x20)?;
        a.mov(ds, eax)?;
        a.mov(es, eax)?;
        a.cld()?;
        a.mov(eax, 0x18)?;
        a.mov(fs, eax)?;
        a.mov(bl, byte_ptr(0x110).fs())?;
        a.mov(byte_ptr(0x10).fs(), bh)?;
        a.xor(eax, eax)?;
        a.mov(gs, eax)?;
        a.mov(ecx, gs)?;
        a.mov(edx, es)?;
        a.fld(dword_ptr(0x110))?;
        a.pop(esi)?;
        a.pop(ds)?;
        a.pop(es)?;
        a.mov(eax, 0x2b)?;
        a.mov(fs, eax)?;
        a.pop(eax)?;
        a.mov(eax, 0x33)?;
        a.mov(gs, eax)?;
        a.hlt()
    });
    let mut last = (0, 0);
    for budget in 1..30 {
        let [eager, new, single] = labs(&code).map(|mut lab| {
            for (number, descriptor) in descriptors.iter().enumerate() {
                lab.mem.write(PhysAddr(0x618 + 8 * number as u64), &descriptor.to_le_bytes());
            }
            lab.cpu.state.gdtr.limit = 0x2f;
            lab.cpu.state.set_gpr(Gpr::Ebx, 0x1234_5678);
            let exit = lab.run(budget);
            let marked = (0..0x30).map(|at| lab.mem.read_u8(PhysAddr(0x600 + at))).collect::<Vec<_>>();
            let stored = [STACK - 4, STACK - 8, STACK - 12, STACK - 16, 0x7000].map(|at| lab.read_u32(at));
            (exit, lab.cpu.state.seg, shown(&lab), marked, stored, lab.cpu.state.fpu)
        });
        assert_eq!(eager, single, "{budget} instructions");
        assert_eq!(new, single, "{budget} instructions, not kept");
        last = (single.2.4, single.4[4]);
    }
    // The last load is refused, for its selector is beyond the table's limit; the handler has two instructions.
    assert_eq!(last, (25 + 1 + 2, 13));
}

#[test]
fn a_program_may_not_mask_interrupts() {
    let code = assemble(|a| {
        a.xor(eax, eax)?;
        a.cli()
    });
    for mut lab in labs(&code) {
        // No stack for level 0: the fault is told by the shutdown that it ends in.
        lab.cpu.state.cpl = 3;
        assert!(matches!(lab.run(100), Exit::TripleFault { first } if first == crate::Exception::gp(0)));
        assert_eq!(lab.cpu.state.retired, 1);
    }
}
