//! What a run promises, whatever the code.

use iced_x86::code_asm::*;
use x86::{Eflags, LinearAddr, PhysAddr};

use crate::{
    Exit, Gpr, RunRequest, WatchKind,
    testing::{CODE, Lab, STACK, assemble},
};

/// Counts ECX down and EAX up.
fn countdown(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = asm.create_label();
    asm.mov(ecx, 1000)?;
    asm.set_label(&mut again)?;
    asm.inc(eax)?;
    asm.dec(ecx)?;
    asm.jnz(again)?;
    asm.hlt()
}

#[test]
fn a_run_ends_at_exactly_its_budget() {
    for budget in 1..40 {
        let mut lab = Lab::assembled(countdown);
        lab.retire(budget);
        assert_eq!(lab.gpr(Gpr::Eax), (budget as u32 + 1) / 3, "after {budget}");
    }
}

#[test]
fn many_small_runs_are_one_large_run() {
    let mut whole = Lab::assembled(countdown);
    whole.retire(500);
    for piece in [1, 2, 3, 5, 7, 64] {
        let mut lab = Lab::assembled(countdown);
        while lab.cpu.state.retired < 500 {
            lab.retire(piece.min(500 - lab.cpu.state.retired));
        }
        assert_eq!((lab.cpu.state.gpr, lab.cpu.state.eip), (whole.cpu.state.gpr, whole.cpu.state.eip), "by {piece}");
        assert_eq!(lab.cpu.state.eflags, whole.cpu.state.eflags, "by {piece}");
    }
}

#[test]
fn code_that_overwrites_the_next_instruction_runs_what_it_wrote() {
    let mut lab = Lab::assembled(|asm| {
        let mut again = asm.create_label();
        asm.set_label(&mut again)?;
        asm.inc(byte_ptr(CODE + 7))?; // 6 bytes; then the immediate of MOV BL
        asm.mov(bl, 5)?;
        asm.add(eax, ebx)?;
        asm.dec(ecx)?;
        asm.jnz(again)
    });
    lab.cpu.state.set_gpr(Gpr::Ecx, 3);
    lab.retire(15);
    assert_eq!(lab.gpr(Gpr::Eax), 6 + 7 + 8);
}

#[test]
fn an_instruction_that_crosses_a_page_runs_and_can_be_patched_in_its_second_page() {
    let mut lab = Lab::new(&[]);
    // mov eax, 0x11223344 from 0x1ffd on; then jmp back to it.
    lab.mem.write(PhysAddr(0x1ffd), &[0xb8, 0x44, 0x33, 0x22, 0x11, 0xeb, 0xf9]);
    lab.cpu.state.eip = 0x1ffd;
    lab.retire(2);
    assert_eq!((lab.gpr(Gpr::Eax), lab.cpu.state.eip), (0x1122_3344, 0x1ffd));
    lab.mem.write(PhysAddr(0x2001), &[0x55]);
    lab.retire(2);
    assert_eq!(lab.gpr(Gpr::Eax), 0x5522_3344);
}

#[test]
fn a_breakpoint_stops_before_its_instruction_even_in_a_linked_loop() {
    let mut lab = Lab::assembled(countdown);
    lab.retire(100);
    let dec = LinearAddr(CODE + 6);
    lab.engine.add_breakpoint(dec);
    let before = lab.cpu.state.retired;
    assert_eq!(lab.run(1000), Exit::Breakpoint { addr: dec });
    assert!(lab.cpu.state.retired - before < 3);
    assert_eq!(lab.cpu.state.eip, dec.0);
    let request = RunRequest { budget: 1000, now: 0, pass_breakpoint: true };
    let before = lab.cpu.state.retired;
    let exit = lab.engine.run(&mut lab.cpu, &mut lab.mem, &mut lab.bus, request);
    assert_eq!((exit, lab.cpu.state.retired - before), (Exit::Breakpoint { addr: dec }, 3));
    lab.engine.remove_breakpoint(dec);
    lab.retire(300);
}

#[test]
fn a_watchpoint_stops_after_the_access() {
    let mut lab = Lab::assembled(|asm| {
        asm.mov(dword_ptr(0x9000), 1)?;
        asm.mov(eax, dword_ptr(0x9004))?;
        asm.mov(dword_ptr(0x9002), 7)?;
        asm.nop()
    });
    lab.engine.add_watchpoint(LinearAddr(0x9004), 4, WatchKind::Write);
    assert_eq!(lab.run(100), Exit::Watchpoint { addr: LinearAddr(0x9004), kind: WatchKind::Write });
    assert_eq!(lab.cpu.state.retired, 3);
    assert_eq!(lab.read_u32(0x9002), 7);
}

#[test]
fn device_memory_is_told_the_time_of_the_instruction_and_may_end_the_run_after_it() {
    let mut lab = Lab::assembled(|asm| {
        asm.nop()?;
        asm.mov(dword_ptr(0xfee0_0000u32 as i32), 9)?;
        asm.inc(eax)
    });
    lab.bus.recompute = true;
    assert_eq!(lab.run(100), Exit::Bus);
    assert_eq!(lab.bus.mmio, [(0xfee0_0000, 9, 1)]);
    assert_eq!((lab.cpu.state.retired, lab.gpr(Gpr::Eax)), (2, 0));
}

#[test]
fn each_iteration_of_a_repeated_instruction_counts() {
    let code = assemble(|asm| {
        asm.rep().movsd()?;
        asm.nop()
    });
    for budget in [1u64, 2, 5, 99] {
        let mut lab = Lab::new(&code);
        for n in 0..100 {
            lab.mem.write_u32(PhysAddr(0x3f00 + 4 * n), n as u32);
        }
        lab.cpu.state.set_gpr(Gpr::Ecx, 100);
        lab.cpu.state.set_gpr(Gpr::Esi, 0x3f00);
        lab.cpu.state.set_gpr(Gpr::Edi, 0x5ff0);
        lab.retire(budget);
        assert_eq!((lab.gpr(Gpr::Ecx), lab.cpu.state.eip), (100 - budget as u32, CODE));
        lab.retire(101 - budget);
        assert_eq!((lab.gpr(Gpr::Ecx), lab.gpr(Gpr::Esi)), (0, 0x3f00 + 400));
        assert_eq!(lab.cpu.state.eip, CODE + 3);
        assert!((0..100).all(|n| lab.read_u32(0x5ff0 + 4 * n) == n));
    }
}

#[test]
fn a_repeated_instruction_with_count_zero_counts_once() {
    let mut lab = Lab::assembled(|asm| asm.rep().stosb());
    lab.retire(1);
    assert_eq!(lab.cpu.state.eip, CODE + 2);
}

#[test]
fn an_overlapping_move_repeats_what_it_has_just_written() {
    let mut lab = Lab::assembled(|asm| asm.rep().movsb());
    lab.mem.write(PhysAddr(0x4000), b"abc");
    lab.cpu.state.set_gpr(Gpr::Ecx, 7);
    lab.cpu.state.set_gpr(Gpr::Esi, 0x4000);
    lab.cpu.state.set_gpr(Gpr::Edi, 0x4003);
    lab.retire(7);
    assert_eq!(lab.read_u32(0x4006).to_le_bytes(), *b"abca");
}

#[test]
fn a_scan_stops_where_it_finds() {
    let mut lab = Lab::assembled(|asm| asm.repne().scasb());
    lab.mem.write(PhysAddr(0x4000), b"hello\0world");
    lab.cpu.state.set_gpr(Gpr::Ecx, !0);
    lab.cpu.state.set_gpr(Gpr::Edi, 0x4000);
    lab.retire(6);
    assert_eq!((lab.gpr(Gpr::Ecx), lab.gpr(Gpr::Edi)), (!6, 0x4006));
    assert!(lab.cpu.state.eflags.contains(Eflags::ZF));
}

#[test]
fn calls_and_returns_keep_the_stack() {
    let mut lab = Lab::assembled(|asm| {
        let mut function = asm.create_label();
        let mut again = asm.create_label();
        asm.set_label(&mut again)?;
        asm.push(7)?;
        asm.call(function)?;
        asm.jmp(again)?;
        asm.set_label(&mut function)?;
        asm.add(eax, dword_ptr(esp + 4))?;
        asm.ret_1(4)
    });
    lab.retire(5 * 20);
    assert_eq!((lab.gpr(Gpr::Eax), lab.gpr(Gpr::Esp), lab.cpu.state.eip), (140, STACK, CODE));
}
