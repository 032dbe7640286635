//! What comes between two instructions, as the engine runs them.

use x86::{Eflags, PhysAddr, SegReg};

use super::test_machine::{self, DATA, DATA0, IDT, READABLE_CODE, handler};
use crate::{
    Gpr,
    testing::{CODE, Lab, STACK},
};

/// The machine with interrupts on and a selector in EAX.
fn lab(code: &[u8]) -> Lab {
    let mut lab = test_machine::lab(code);
    lab.cpu.state.set_gpr(Gpr::Eax, DATA0.into());
    lab.cpu.state.eflags |= Eflags::IF;
    lab
}

/// EFLAGS in the frame of a handler without an error code.
fn saved_eflags(lab: &Lab) -> Eflags {
    Eflags::from_bits_retain(lab.read_u32(lab.gpr(Gpr::Esp) + 8))
}

#[test]
fn int_under_tf_saves_it_and_the_handler_is_not_stepped() {
    let mut lab = lab(&[0xcd, 0x80]);
    lab.cpu.state.eflags |= Eflags::TF;
    lab.retire(2);
    assert_eq!(lab.cpu.state.eip, handler(0x80) + 1);
    assert!(saved_eflags(&lab).contains(Eflags::TF));
}

#[test]
fn a_step_is_taken_after_its_instruction_and_told_by_bs() {
    let mut lab = lab(&[0x40, 0x40]); // inc eax
    lab.cpu.state.eflags |= Eflags::TF;
    lab.retire(2);
    assert_eq!((lab.cpu.state.eip, lab.read_u32(lab.gpr(Gpr::Esp))), (handler(1), CODE + 1));
    assert_eq!(lab.cpu.state.dr[6] & 0xf00f, 1 << 14);
}

#[test]
fn an_interrupt_between_iterations_saves_rf_and_one_after_the_last_does_not() {
    for (count, resumes) in [(3, true), (1, false)] {
        let mut lab = lab(&[0xf3, 0xaa, 0x90]); // rep stosb
        lab.cpu.state.set_gpr(Gpr::Ecx, count);
        lab.cpu.state.set_gpr(Gpr::Edi, DATA);
        lab.retire(1);
        lab.bus.intr = Some(0x20);
        lab.retire(1);
        assert_eq!(lab.cpu.state.eip, handler(0x20));
        assert_eq!(saved_eflags(&lab).contains(Eflags::RF), resumes, "{count}");
        assert!(!lab.cpu.eflags().contains(Eflags::RF));
    }
}

#[test]
fn a_code_breakpoint_on_a_repeated_instruction_is_met_once() {
    let mut lab = lab(&[0x90, 0xf3, 0xaa, 0x90]);
    lab.mem.write(PhysAddr(handler(1).into()), &[0x81, 0x4c, 0x24, 8, 0, 0, 1, 0, 0xcf]); // or [esp+8], RF; iret
    lab.cpu.state.set_gpr(Gpr::Ecx, 4);
    lab.cpu.state.set_gpr(Gpr::Edi, DATA);
    lab.cpu.state.dr[0] = CODE + 1;
    lab.cpu.state.dr[7] = 0x401;
    lab.retire(1 + 3 + 4);
    assert_eq!((lab.cpu.state.eip, lab.gpr(Gpr::Ecx)), (CODE + 3, 0));
}

#[test]
fn a_load_of_ss_holds_interrupts_off_once_and_lss_does_not() {
    let mov_twice = [0x8e, 0xd0, 0x8e, 0xd0, 0x90]; // mov ss, ax
    let pop = [0x17, 0x90, 0x90]; // pop ss
    let lss = [0x0f, 0xb2, 0x25, 0x00, 0x60, 0x00, 0x00, 0x90]; // lss esp, [DATA]
    for (code, shadowed) in [(&mov_twice[..], true), (&pop, true), (&lss, false)] {
        let mut lab = lab(code);
        lab.mem.write_u32(PhysAddr(DATA.into()), STACK);
        lab.mem.write_u32(PhysAddr(u64::from(DATA) + 4), DATA0.into());
        lab.mem.write_u32(PhysAddr(STACK.into()), DATA0.into());
        lab.retire(1);
        lab.bus.intr = Some(0x20);
        lab.retire(1);
        assert_eq!(lab.cpu.state.eip == handler(0x20), !shadowed, "{code:x?}");
        if shadowed {
            lab.retire(1);
            assert_eq!(lab.cpu.state.eip, handler(0x20), "{code:x?}");
        }
    }
}

#[test]
fn a_load_of_ss_hides_the_code_breakpoint_behind_it() {
    for (code, hidden) in [([0x8e, 0xd0, 0x90], true), ([0x8e, 0xd8, 0x90], false)] {
        let mut lab = lab(&code);
        lab.cpu.state.dr[0] = CODE + 2;
        lab.cpu.state.dr[1] = CODE + 2;
        lab.cpu.state.dr[7] = 0x401; // DR1 is not enabled
        lab.retire(2);
        let expected = if hidden { (CODE + 3, 0) } else { (handler(1), 3) };
        assert_eq!((lab.cpu.state.eip, lab.cpu.state.dr[6] & 0xf), expected);
    }
}

#[test]
fn a_data_breakpoint_that_an_instruction_meets_before_it_faults_does_not_trap() {
    let mut lab = lab(&[0x62, 0x05, 0x00, 0x60, 0x00, 0x00]); // bound eax, [DATA]
    lab.cpu.state.dr[0] = DATA;
    lab.cpu.state.dr[7] = 0x401 | 0xf << 16;
    lab.retire(2);
    assert_eq!(lab.cpu.state.eip, handler(5) + 1);
    assert_eq!(lab.cpu.state.dr[6] & 0xf, 0);
}

#[test]
fn int1_asks_no_privilege_sets_nothing_in_dr6_and_its_failure_is_external() {
    let mut lab = lab(&[0xf1]);
    lab.cpu.state.dr[7] = 0x2400; // general detect
    lab.retire(1);
    assert_eq!((lab.cpu.state.eip, lab.read_u32(lab.gpr(Gpr::Esp))), (handler(1), CODE + 1));
    assert_eq!((lab.cpu.state.dr[6] & 0xf00f, lab.cpu.state.dr[7]), (0, 0x400));

    let mut lab = self::lab(&[0xf1]);
    lab.mem.write(PhysAddr(u64::from(IDT) + 13), &[0x0e]); // its gate is absent
    lab.retire(1);
    let esp = lab.gpr(Gpr::Esp);
    assert_eq!((lab.cpu.state.eip, lab.read_u32(esp), lab.read_u32(esp + 4)), (handler(11), 8 + 3, CODE));
}

#[test]
fn a_store_through_a_segment_that_has_just_become_code_faults_in_the_same_block() {
    // mov ds, ax; mov [DATA], ecx
    let mut lab = lab(&[0x8e, 0xd8, 0x89, 0x0d, 0x00, 0x60, 0x00, 0x00]);
    lab.cpu.state.set_gpr(Gpr::Eax, READABLE_CODE.into());
    lab.retire(2);
    assert_eq!(lab.cpu.state.eip, handler(13));
    assert_eq!(lab.read_u32(DATA), 0);
}

#[test]
fn code_runs_up_to_the_limit_of_its_segment_and_no_further() {
    for (limit, count, fault) in [(1, 2, 1), (2, 3, 3), (3, 4, 4)] {
        let mut lab = lab(&[0x90, 0x8b, 0xc1, 0x90]); // nop; mov eax, ecx; nop
        lab.cpu.state.seg[SegReg::Cs as usize].limit = CODE + limit;
        lab.retire(count);
        assert_eq!((lab.cpu.state.eip, lab.read_u32(lab.gpr(Gpr::Esp) + 4)), (handler(13), CODE + fault), "{limit}");
    }
}

#[test]
fn an_instruction_over_the_end_of_its_segment_asks_for_no_page_behind_it() {
    const DIRECTORY: u32 = 0xc000;
    const TABLE: u32 = 0xd000;
    for (limit, vector) in [(DATA - 1, 13), (DATA, 14)] {
        let mut lab = lab(&[]);
        lab.mem.write_u32(PhysAddr(DIRECTORY.into()), TABLE | 3);
        for page in (0..0x100).filter(|page| *page != DATA >> 12) {
            lab.mem.write_u32(PhysAddr(u64::from(TABLE + 4 * page)), page << 12 | 3);
        }
        lab.mem.write(PhysAddr(u64::from(DATA) - 2), &[0xb8, 1]); // the beginning of MOV EAX, imm32
        let state = &mut lab.cpu.state;
        state.cr3 = DIRECTORY;
        state.cr0 |= x86::Cr0::PG.bits();
        state.seg[SegReg::Cs as usize].limit = limit;
        state.eip = DATA - 2;
        lab.retire(1);
        assert_eq!((lab.cpu.state.eip, lab.read_u32(lab.gpr(Gpr::Esp) + 4)), (handler(vector), DATA - 2), "{limit:x}");
    }
}
