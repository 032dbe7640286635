//! What a run promises, whatever the code.

use iced_x86::code_asm::*;
use x86::{Eflags, LinearAddr, PhysAddr};

use crate::{
    Exit, Gpr, RunRequest, Watch, WatchKind, WatchSpace,
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

/// However many elements the device takes at once, and however short the runs.
#[test]
fn strings_of_ports_are_the_same_at_once_and_one_by_one() {
    let ends = |at_once, piece| {
        let mut lab = Lab::assembled(|asm| {
            asm.mov(dx, 0x1f55)?;
            asm.mov(edi, 0x6f01)?; // up to the next page, an element across
            asm.mov(ecx, 300)?;
            asm.rep().insw()?;
            asm.mov(esi, 0x6f01)?;
            asm.mov(ecx, 150)?;
            asm.rep().outsd()?;
            asm.std()?;
            asm.mov(ecx, 20)?;
            asm.rep().outsw()?;
            asm.insb()?;
            asm.hlt()
        });
        lab.bus.at_once = at_once;
        while lab.run(piece) == Exit::Budget {}
        let sent: Vec<_> = lab.bus.out.iter().map(|&(port, value, _)| (port, value)).collect();
        let mut received = [0; 700];
        lab.mem.read(PhysAddr(0x6e80), &mut received);
        (lab.cpu.state.gpr, lab.cpu.state.retired, sent, received)
    };
    let one_by_one = ends(0, 1);
    assert_eq!(one_by_one.2.len(), 170);
    assert_eq!(one_by_one.3[0x81..0x85], [0x55, 0x1f, 0x55, 0x1f]);
    for at_once in [0, 1, 7, 1000] {
        for piece in [1, 3, 100, 10_000] {
            assert_eq!(ends(at_once, piece), one_by_one, "{at_once} elements, runs of {piece}");
        }
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
    let request = RunRequest { budget: 1000, now: 0, pass_breakpoint: true, ..RunRequest::default() };
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
    let watch = Watch::new(WatchSpace::Linear, 0x9004, 4, WatchKind::Write).unwrap();
    lab.engine.add_watch(watch);
    assert_eq!(lab.run(100), Exit::Watchpoint { watch, addr: 0x9004 });
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

#[test]
fn runs_of_pushes_and_pops_are_as_one_at_a_time() {
    let code = assemble(|asm| {
        let (mut again, mut function) = (asm.create_label(), asm.create_label());
        asm.set_label(&mut again)?;
        asm.push(eax)?;
        asm.push(0x1234_5678)?;
        asm.push(esp)?;
        asm.push(ecx)?;
        asm.push(edx)?;
        asm.call(function)?;
        asm.pop(edx)?;
        asm.pop(ecx)?;
        asm.pop(ebx)?;
        asm.pop(eax)?;
        asm.pop(edi)?;
        asm.inc(eax)?;
        asm.jmp(again)?;
        asm.set_label(&mut function)?;
        asm.push(ebp)?;
        asm.push(esi)?;
        asm.pop(esi)?;
        asm.pop(ebp)?;
        asm.ret()
    });
    // Around the end of a page each of the accesses crosses it once.
    for top in 0x7000..0x7030 {
        let (mut blocks, mut steps) = (Lab::new(&code), Lab::single_step(&code));
        for lab in [&mut blocks, &mut steps] {
            lab.cpu.state.set_gpr(Gpr::Esp, top);
            lab.cpu.state.set_gpr(Gpr::Ecx, 77);
            lab.retire(18 * 5 + 3);
        }
        assert_eq!(blocks.cpu.state.gpr, steps.cpu.state.gpr, "from {top:#x}");
        assert_eq!(blocks.cpu.state.eip, steps.cpu.state.eip, "from {top:#x}");
        assert_eq!(blocks.mem.hash(), steps.mem.hash(), "from {top:#x}");
    }
}

#[test]
fn repeated_strings_are_as_one_iteration_at_a_time() {
    // REP and REPNE of MOVS, CMPS, STOS, SCAS, of bytes, words and doublewords.
    let opcodes = [0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xae, 0xaf];
    for (n, opcode) in opcodes.into_iter().cycle().take(opcodes.len() * 60).enumerate() {
        let n = n as u32;
        let code = [[0xf2, 0xf3][n as usize / 8 % 2], [0x90, 0x66][n as usize / 16 % 2], opcode];
        let code = if code[1] == 0x66 { vec![0x66, code[0], code[2]] } else { vec![code[0], code[2]] };
        let (mut blocks, mut steps) = (Lab::new(&code), Lab::single_step(&code));
        for lab in [&mut blocks, &mut steps] {
            for at in 0..0x800u32 {
                // Long stretches are alike, and so are those that are 0x1800 apart.
                lab.mem.write_u32(PhysAddr((0x4000 + 4 * at).into()), u32::from(at % 0x600 == 0x2ff));
            }
            lab.cpu.state.eflags.set(Eflags::DF, n.is_multiple_of(3));
            lab.cpu.state.set_gpr(Gpr::Ecx, 1 + n * 37 % 3000);
            lab.cpu.state.set_gpr(Gpr::Esi, 0x4c00 + n * 5 % 0x800);
            lab.cpu.state.set_gpr(Gpr::Edi, [0x4c00 + n * 7 % 0x800, 0x4c03 + n * 5 % 0x800][n as usize / 30 % 2]);
            lab.run(u64::from(200 + n * 11));
        }
        assert_eq!(blocks.cpu.state.gpr, steps.cpu.state.gpr, "case {n}: {code:02x?}");
        assert_eq!(blocks.cpu.state.eflags, steps.cpu.state.eflags, "case {n}: {code:02x?}");
        assert_eq!(blocks.cpu.state.retired, steps.cpu.state.retired, "case {n}: {code:02x?}");
        assert_eq!(blocks.mem.hash(), steps.mem.hash(), "case {n}: {code:02x?}");
    }
}

#[test]
fn a_store_beside_code_leaves_the_blocks_of_other_lines_alive() {
    let mut lab = Lab::assembled(|asm| {
        let mut again = asm.create_label();
        asm.set_label(&mut again)?;
        asm.inc(dword_ptr(CODE + 0x800))?;
        asm.inc(eax)?;
        asm.jmp(again)
    });
    lab.retire(30);
    let before = lab.engine.stats();
    lab.retire(300);
    assert_eq!(lab.engine.stats().discarded, before.discarded, "data in the page of code");
    lab.mem.write(PhysAddr((CODE + 0x40).into()), &[0x90]);
    lab.retire(3);
    assert_eq!(lab.engine.stats().discarded, before.discarded, "a line without code");
    // The constant of a MOV in another line than the loop's.
    lab.mem.write(PhysAddr((CODE + 0x100).into()), &[0xb8, 7, 0, 0, 0, 0xf4]);
    for _ in 0..2 {
        lab.cpu.state.eip = CODE + 0x100;
        lab.retire(1);
    }
    lab.mem.write(PhysAddr((CODE + 0x101).into()), &[9]);
    lab.cpu.state.eip = CODE + 0x100;
    lab.retire(1);
    assert_eq!(lab.gpr(Gpr::Eax), 9);
    assert!(lab.engine.stats().discarded > before.discarded, "what was overwritten is gone");
}

/// Handlers for all vectors: each stores its number at 0x7000 and stops.
pub(super) fn with_handlers(lab: &mut Lab) {
    let gdt = [0, 0x00cf_9a00_0000_ffff, 0x00cf_9200_0000_ffff_u64];
    for (n, descriptor) in gdt.into_iter().enumerate() {
        lab.mem.write(PhysAddr(0x600 + 8 * n as u64), &descriptor.to_le_bytes());
    }
    lab.cpu.state.gdtr = crate::TableRegister { base: 0x600, limit: 23 };
    for vector in 0..=255u32 {
        let entry = 0xa000 + 16 * vector;
        let gate = x86::Descriptor::gate(8, entry, 0x8e);
        lab.mem.write(PhysAddr(0x800 + 8 * u64::from(vector)), &gate.0.to_le_bytes());
        // mov dword [0x7000], vector; hlt
        let mut code = vec![0xc7, 0x05, 0x00, 0x70, 0, 0];
        code.extend(vector.to_le_bytes());
        code.push(0xf4);
        lab.mem.write(PhysAddr(entry.into()), &code);
    }
    lab.cpu.state.idtr = crate::TableRegister { base: 0x800, limit: 0x7ff };
    lab.mem.write_u32(PhysAddr(0x7000), !0);
}

#[test]
fn a_fault_in_mid_block_counts_what_came_before_it_and_its_delivery() {
    let mut lab = Lab::assembled(|asm| {
        asm.mov(eax, 1)?;
        asm.add(eax, 0x7fff_ffff)?;
        asm.ud2()
    });
    with_handlers(&mut lab);
    assert_eq!(lab.run(100), Exit::Halted);
    assert_eq!(lab.read_u32(0x7000), 6);
    assert_eq!(lab.cpu.state.retired, 2 + 1 + 2);
    let flags = Eflags::from_bits_retain(lab.read_u32(STACK - 4));
    assert!(flags.contains(Eflags::OF | Eflags::SF | Eflags::RF), "{flags:?}");
    assert_eq!(lab.read_u32(STACK - 12), CODE + 10, "the return address is that of the fault");
}

#[test]
fn an_interrupt_waits_for_the_instruction_after_sti() {
    let mut lab = Lab::assembled(|asm| {
        asm.nop()?;
        asm.sti()?;
        asm.inc(eax)?;
        asm.inc(eax)
    });
    with_handlers(&mut lab);
    lab.bus.intr = Some(0x40);
    assert_eq!(lab.run(100), Exit::Halted);
    assert_eq!((lab.gpr(Gpr::Eax), lab.read_u32(0x7000)), (1, 0x40));
    assert_eq!(lab.cpu.state.retired, 3 + 1 + 2);
}

#[test]
fn a_halted_cpu_rests_until_an_interrupt_that_it_may_take() {
    let mut lab = Lab::assembled(|asm| {
        asm.sti()?;
        asm.hlt()
    });
    with_handlers(&mut lab);
    assert_eq!(lab.run(100), Exit::Halted);
    assert_eq!(lab.cpu.state.retired, 2);
    assert_eq!(lab.run(100), Exit::Halted);
    assert_eq!(lab.cpu.state.retired, 2, "rest costs nothing");
    lab.bus.intr = Some(0x21);
    assert_eq!(lab.run(100), Exit::Halted);
    assert_eq!((lab.read_u32(0x7000), lab.cpu.state.retired), (0x21, 2 + 1 + 2));
}

#[test]
fn the_trap_flag_stops_after_each_instruction() {
    let mut lab = Lab::assembled(|asm| {
        asm.pushfd()?;
        asm.or(dword_ptr(esp), 0x100)?;
        asm.popfd()?;
        asm.inc(eax)?;
        asm.inc(eax)
    });
    with_handlers(&mut lab);
    assert_eq!(lab.run(100), Exit::Halted);
    assert_eq!((lab.gpr(Gpr::Eax), lab.read_u32(0x7000)), (1, 1));
    assert_ne!(lab.cpu.state.dr[6] & 1 << 14, 0, "DR6.BS");
}

#[test]
fn a_third_fault_shuts_the_cpu_down_and_says_which_was_first() {
    let mut lab = Lab::assembled(|asm| {
        asm.inc(eax)?;
        asm.ud2()
    });
    lab.cpu.state.idtr = crate::TableRegister { base: 0, limit: 0 };
    assert_eq!(lab.run(100), Exit::TripleFault { first: crate::Exception::ud() });
    assert_eq!((lab.gpr(Gpr::Eax), lab.cpu.state.eip), (1, CODE + 1));
    assert_eq!(lab.run(100), Exit::Halted);
}

#[test]
fn a_locked_instruction_that_cannot_be_is_undefined() {
    // lock add eax, ebx; lock mov [eax], ebx
    for code in [&[0xf0, 0x01, 0xd8][..], &[0xf0, 0x89, 0x18]] {
        let mut lab = Lab::new(code);
        with_handlers(&mut lab);
        assert_eq!(lab.run(100), Exit::Halted);
        assert_eq!(lab.read_u32(0x7000), 6, "{code:02x?}");
    }
}

#[test]
fn real_mode_code_runs_with_16_bit_operands_and_wraps_its_addresses() {
    // mov ax, 0x1234; mov bx, 0xffff; mov [bx + 2], al; push ax; pop cx; loop to itself
    let mut lab = Lab::new(&[0xb8, 0x34, 0x12, 0xbb, 0xff, 0xff, 0x88, 0x47, 0x02, 0x50, 0x59, 0xe2, 0xfe]);
    for segment in &mut lab.cpu.state.seg {
        *segment = crate::SegmentRegister::real(0);
    }
    lab.cpu.state.cr0 = 0x10;
    lab.cpu.state.set_gpr(Gpr::Eax, 0xaaaa_0000);
    lab.cpu.state.set_gpr(Gpr::Esp, 0x7ffe);
    lab.retire(5 + 0x1234);
    assert_eq!(lab.gpr(Gpr::Eax), 0xaaaa_1234);
    assert_eq!(lab.read_u32(0) >> 8 & 0xff, 0x34, "the offset wraps at 64 KiB");
    assert_eq!((lab.gpr(Gpr::Ecx) & 0xffff, lab.gpr(Gpr::Esp)), (0, 0x7ffe));
    assert_eq!(lab.cpu.state.eip, CODE + 13);
}

#[test]
fn a_store_through_a_segment_of_code_faults_and_a_load_does_not() {
    let mut lab = Lab::assembled(|asm| {
        asm.mov(eax, dword_ptr(0x1000))?;
        asm.mov(dword_ptr(0x9000), eax)
    });
    with_handlers(&mut lab);
    lab.cpu.state.seg[x86::SegReg::Ds as usize].rights = 0xc09b;
    assert_eq!(lab.run(2), Exit::Budget);
    assert_eq!((lab.cpu.state.retired, lab.cpu.state.eip), (2, 0xa000 + 16 * 13), "#GP is delivered");
    assert_eq!((lab.gpr(Gpr::Eax), lab.read_u32(0x9000)), (lab.read_u32(0x1000), 0));
}

#[test]
fn an_instruction_longer_than_15_bytes_is_a_general_protection_fault() {
    let mut code = vec![0x66; 15];
    code.push(0x90);
    let mut lab = Lab::new(&code);
    with_handlers(&mut lab);
    assert_eq!(lab.run(100), Exit::Halted);
    assert_eq!(lab.read_u32(0x7000), 13);
}

#[test]
fn what_runs_once_is_not_kept_and_what_runs_again_is() {
    let mut lab = Lab::new(&[0x40, 0x40, 0xf4]);
    let mut counts = || {
        lab.cpu.state.eip = CODE;
        lab.cpu.state.activity = crate::Activity::Running;
        assert_eq!(lab.run(1000), Exit::Halted);
        lab.engine.stats().translated
    };
    assert_eq!([counts(), counts(), counts(), counts()], [1, 2, 2, 2]);
    lab.mem.write(PhysAddr(CODE.into()), &[0x48]);
    lab.cpu.state.eip = CODE;
    lab.cpu.state.activity = crate::Activity::Running;
    lab.run(1000);
    assert_eq!(lab.gpr(Gpr::Eax), 8, "four times two, and down and up");
    assert_eq!(lab.engine.stats().translated, 3);
}

#[test]
fn code_that_runs_for_the_first_time_may_overwrite_itself() {
    // mov byte [CODE + 9], 0x48; nop; nop; inc eax, which by then is dec eax; hlt.
    let mut code = vec![0xc6, 0x05];
    code.extend((CODE + 9).to_le_bytes());
    code.extend([0x48, 0x90, 0x90, 0x40, 0xf4]);
    let mut lab = Lab::new(&code);
    assert_eq!(lab.run(10), Exit::Halted);
    assert_eq!(lab.gpr(Gpr::Eax), !0);
}

#[test]
fn a_copy_over_code_is_as_if_it_went_word_by_word() {
    const OTHER: u32 = 0x3000;
    // Functions in OTHER's page run twice and are copied over; the last copy goes over the copying code.
    let code = assemble(|asm| {
        let mut again = asm.create_label();
        asm.mov(ebx, 4)?;
        asm.set_label(&mut again)?;
        asm.call(u64::from(OTHER))?;
        asm.call(u64::from(OTHER + 0x40))?;
        asm.mov(esi, 0x5000)?;
        asm.mov(edi, OTHER)?;
        asm.mov(ecx, 32)?;
        asm.rep().movsd()?;
        asm.call(u64::from(OTHER + 0x40))?;
        asm.mov(byte_ptr(0x5042), 0x48)?;
        asm.dec(ebx)?;
        asm.jne(again)?;
        asm.mov(edi, CODE)?;
        asm.mov(eax, 0xf4f4_f4f4_u32)?;
        asm.mov(ecx, 0x100)?;
        asm.rep().stosd()?;
        asm.mov(eax, 1)
    });
    let runs = [Lab::new(&code), Lab::eager(&code), Lab::single_step(&code)].map(|mut lab| {
        for (page, bytes) in [(OTHER, [0x42, 0x42, 0x42, 0xc3]), (0x5000, [0x43, 0x4b, 0x42, 0xc3])] {
            lab.mem.load(PhysAddr(page.into()), &bytes);
            lab.mem.load(PhysAddr((page + 0x40).into()), &bytes);
        }
        let exits: Vec<_> = (0..40).map(|n| lab.run(1 + n * 7)).collect();
        let state = &lab.cpu.state;
        (exits, state.gpr, state.eip, state.eflags, state.retired, lab.mem.hash())
    });
    assert_eq!(runs[0].0.last(), Some(&Exit::Halted));
    assert_eq!(runs[0], runs[2]);
    assert_eq!(runs[1], runs[2]);
}
