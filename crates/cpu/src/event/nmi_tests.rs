//! NMI, as the engine delivers it (SDM Vol. 3A, "Nonmaskable Interrupt (NMI)").

use x86::{Cr0, Eflags, PhysAddr, SegReg};

use super::test_machine::{
    CODE0, CODE3, DATA, DATA0, DATA3, OTHER, STACK0, TASK, TASK_STACK, TR, frame, handler, lab, set_gate, set_handler,
};
use crate::{
    Exit, Gpr, SegmentRegister, TableRegister,
    seg::v86,
    testing::{CODE, Lab, STACK},
};

const NMI: u8 = 2;

/// Goes on at level 3.
fn at_level_3(lab: &mut Lab) {
    for seg in &mut lab.cpu.state.seg {
        seg.rights |= 0x60;
        seg.selector = DATA3;
    }
    lab.cpu.state.seg[SegReg::Cs as usize].selector = CODE3;
    lab.cpu.state.cpl = 3;
}

/// The same code in virtual-8086 mode.
fn in_v86(lab: &mut Lab, iopl: u8) {
    let state = &mut lab.cpu.state;
    state.seg = [0x801, 0x100, 0x800, 0x802, 0x803, 0x804].map(v86);
    state.cpl = 3;
    state.eip = 0;
    state.set_gpr(Gpr::Esp, 0x100);
    state.eflags |= Eflags::VM | Eflags::from_bits_retain(u32::from(iopl) << 12);
}

#[test]
fn an_nmi_asks_neither_if_nor_the_level_of_its_gate_and_has_no_error_code() {
    let mut lab = lab(&[0x90]);
    at_level_3(&mut lab);
    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    let state = &lab.cpu.state;
    assert_eq!((state.eip, state.cpl, lab.gpr(Gpr::Esp)), (handler(NMI), 0, STACK0 - 20));
    assert_eq!(frame(&lab, 5), [CODE, u32::from(CODE3), 2, STACK, u32::from(DATA3)]);
    assert!(state.nmi_blocked && !state.nmi_pending);
}

#[test]
fn while_one_is_handled_one_more_is_kept_and_comes_after_iret() {
    let mut lab = lab(&[0x90, 0x90]);
    set_handler(&mut lab, NMI, &[0x90, 0x90, 0xcf]);
    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    lab.cpu.state.nmi_pending = true; // a third is lost
    lab.retire(1);
    assert_eq!(lab.cpu.state.eip, handler(NMI) + 2, "blocked");
    lab.retire(1);
    assert_eq!((lab.cpu.state.eip, lab.cpu.state.nmi_blocked), (CODE, false), "IRET lets the second in");
    lab.retire(1);
    assert_eq!((lab.cpu.state.eip, frame(&lab, 1)[0]), (handler(NMI), CODE));
    lab.retire(3 + 2);
    assert_eq!((lab.cpu.state.eip, lab.gpr(Gpr::Esp)), (CODE + 2, STACK));
}

#[test]
fn other_exceptions_and_their_returns_are_no_end_of_the_handler_but_every_iret_is() {
    // INT 80h within the handler: its IRET lets NMIs in, as any does.
    let mut lab = lab(&[0x90]);
    set_handler(&mut lab, NMI, &[0xcd, 0x80, 0x90, 0xcf]);
    set_handler(&mut lab, 0x80, &[0x90, 0xcf]);
    lab.cpu.state.nmi_pending = true;
    lab.retire(2);
    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    assert_eq!(lab.cpu.state.eip, handler(0x80) + 1, "INT keeps NMIs blocked");
    lab.retire(2);
    assert_eq!((lab.cpu.state.eip, frame(&lab, 1)[0]), (handler(NMI), handler(NMI) + 2));
}

#[test]
fn a_task_gate_switches_and_the_return_along_the_link_lets_nmis_in() {
    let mut lab = lab(&[0x90, 0x90]);
    set_gate(&mut lab, NMI, OTHER, 0, 0x85);
    set_handler(&mut lab, 0, &[0xcf, 0x90, 0xcf]);
    lab.cpu.state.set_gpr(Gpr::Ebx, 77);
    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    let state = &lab.cpu.state;
    assert_eq!((state.tr.selector, state.eip, lab.gpr(Gpr::Esp)), (OTHER, handler(0), TASK_STACK));
    assert!(state.nmi_blocked && state.eflags.contains(Eflags::NT) && state.cr0().contains(Cr0::TS));
    assert_eq!(lab.read_u32(TASK) & 0xffff, u32::from(TR), "the link");

    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    let state = &lab.cpu.state;
    assert_eq!((state.tr.selector, state.eip, lab.gpr(Gpr::Ebx)), (TR, CODE, 77));
    lab.retire(1);
    assert_eq!((lab.cpu.state.tr.selector, lab.cpu.state.eip), (OTHER, handler(0) + 1), "where the task had left off");
    lab.retire(2 + 1);
    assert_eq!((lab.cpu.state.tr.selector, lab.cpu.state.eip), (TR, CODE + 1));
}

#[test]
fn virtual_8086_mode_is_left_for_level_0_whatever_iopl_is() {
    let mut lab = lab(&[0x90, 0x90]);
    in_v86(&mut lab, 0);
    set_handler(&mut lab, NMI, &[0xcf]);
    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    let state = &lab.cpu.state;
    assert_eq!((state.eip, state.cpl, state.v86(), lab.gpr(Gpr::Esp)), (handler(NMI), 0, false, STACK0 - 36));
    assert_eq!(frame(&lab, 9), [0, 0x100, 0x2_0002, 0x100, 0x800, 0x801, 0x802, 0x803, 0x804]);
    assert!(state.seg(SegReg::Fs).unusable());

    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    assert_eq!((lab.cpu.state.v86(), lab.cpu.state.pc(), lab.cpu.state.nmi_blocked), (true, CODE, false));
    lab.retire(1);
    assert_eq!(lab.cpu.state.eip, handler(NMI));
}

#[test]
fn iret_in_virtual_8086_mode_lets_nmis_in_even_where_it_may_not_run() {
    for (iopl, saved) in [(3, 0x30), (0, handler(13))] {
        let mut lab = lab(&[0xcf]);
        in_v86(&mut lab, iopl);
        // IP, CS, FLAGS.
        lab.mem.write(PhysAddr(0x8100), &[0x30, 0, 0, 1, 2, 0]);
        (lab.cpu.state.nmi_blocked, lab.cpu.state.nmi_pending) = (true, true);
        lab.retire(1 + 1);
        assert_eq!((lab.cpu.state.eip, frame(&lab, 1)[0]), (handler(NMI), saved), "IOPL {iopl}");
        assert!(lab.cpu.state.nmi_blocked);
    }
}

#[test]
fn real_mode_goes_through_the_vector_table() {
    let mut lab = lab(&[0x90, 0x90]);
    let state = &mut lab.cpu.state;
    state.cr0 &= !Cr0::PE.bits();
    state.idtr = TableRegister { base: 0, limit: 0x3ff };
    state.seg = [SegmentRegister::real(0x100); 6];
    state.eip = 0;
    state.set_gpr(Gpr::Esp, 0x7000);
    state.eflags |= Eflags::IF;
    state.nmi_pending = true;
    lab.mem.write_u32(PhysAddr(8), 0x0500_0010);
    lab.mem.write(PhysAddr(0x5010), &[0xcf]);
    lab.retire(1);
    assert_eq!((lab.cpu.state.pc(), lab.gpr(Gpr::Esp), lab.cpu.state.nmi_blocked), (0x5010, 0x6ffa, true));
    assert!(!lab.cpu.state.eflags.contains(Eflags::IF));
    lab.retire(1);
    assert_eq!((lab.cpu.state.pc(), lab.gpr(Gpr::Esp), lab.cpu.state.nmi_blocked), (CODE, 0x7000, false));
}

#[test]
fn an_nmi_between_iterations_saves_rf_and_the_rest_is_done_after_it() {
    for (count, resumes) in [(3, true), (1, false)] {
        let mut lab = lab(&[0xf3, 0xaa, 0x90]); // rep stosb
        set_handler(&mut lab, NMI, &[0xcf]);
        lab.cpu.state.set_gpr(Gpr::Eax, 0x55);
        lab.cpu.state.set_gpr(Gpr::Ecx, count);
        lab.cpu.state.set_gpr(Gpr::Edi, DATA);
        lab.retire(1);
        lab.cpu.state.nmi_pending = true;
        lab.retire(1);
        let eip = if resumes { CODE } else { CODE + 2 };
        let flags = if resumes { 0x1_0002 } else { 2 };
        assert_eq!(frame(&lab, 3), [eip, u32::from(CODE0), flags], "{count}");
        lab.retire(1 + u64::from(count - 1));
        assert_eq!((lab.cpu.state.eip, lab.gpr(Gpr::Ecx), lab.gpr(Gpr::Edi)), (CODE + 2, 0, DATA + count));
    }
}

#[test]
fn a_load_of_ss_holds_it_off_for_one_instruction() {
    let mut lab = lab(&[0x8e, 0xd0, 0x90, 0x90]); // mov ss, ax
    lab.cpu.state.set_gpr(Gpr::Eax, DATA0.into());
    lab.retire(1);
    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    assert_eq!(lab.cpu.state.eip, CODE + 3);
    lab.retire(1);
    assert_eq!((lab.cpu.state.eip, frame(&lab, 1)[0]), (handler(NMI), CODE + 3));
}

#[test]
fn a_trap_comes_before_it_and_a_maskable_interrupt_after() {
    let mut lab = lab(&[0x40]); // inc eax
    lab.cpu.state.eflags |= Eflags::TF | Eflags::IF;
    set_handler(&mut lab, 1, &[0xcf]);
    lab.retire(1);
    lab.cpu.state.nmi_pending = true;
    lab.bus.intr = Some(0x20);
    lab.retire(1);
    assert_eq!((lab.cpu.state.eip, frame(&lab, 1)[0]), (handler(1), CODE + 1));
    lab.retire(1);
    assert_eq!((lab.cpu.state.eip, frame(&lab, 1)[0]), (handler(NMI), handler(1)));
    lab.retire(1);
    assert_eq!(lab.bus.intr, Some(0x20), "the gate cleared IF");

    let mut lab = self::lab(&[0x90]);
    lab.cpu.state.eflags |= Eflags::IF;
    lab.cpu.state.nmi_pending = true;
    lab.bus.intr = Some(0x20);
    lab.retire(1);
    assert_eq!((lab.cpu.state.eip, lab.bus.intr), (handler(NMI), Some(0x20)));
}

#[test]
fn it_wakes_a_cpu_that_is_halted_without_interrupts() {
    let mut lab = lab(&[0xf4, 0x90]);
    assert_eq!(lab.run(10), Exit::Halted);
    assert_eq!(lab.run(10), Exit::Halted);
    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    assert_eq!((lab.cpu.state.eip, frame(&lab, 1)[0]), (handler(NMI), CODE + 1));
}

#[test]
fn a_failing_delivery_is_external_no_double_fault_and_leaves_nmis_blocked() {
    let mut lab = lab(&[0x90]);
    set_gate(&mut lab, NMI, CODE0, handler(NMI), 0x0e); // absent
    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    assert_eq!((lab.cpu.state.eip, frame(&lab, 2)), (handler(11), vec![u32::from(NMI) * 8 + 3, CODE]));
    lab.cpu.state.nmi_pending = true;
    lab.retire(1);
    assert_eq!(lab.cpu.state.eip, handler(11) + 1, "until IRET");
}
