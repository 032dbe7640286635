use x86::{Cr0, Eflags, PhysAddr, SegReg, Selector, Vector};

use super::{Event, deliver};
use crate::{
    Activity, Cpu, Exception, Gpr,
    fixture::{
        Fixture,
        places::{GDT, STACK, STACK0, TSS},
        selectors::{self, CODE0, CODE3, DATA0, DATA3, FREE},
    },
    seg::SegmentRegister,
};

const INTERRUPT_GATE: u8 = 0x8e;
const TRAP_GATE: u8 = 0x8f;
const USER_GATE: u8 = 0xee;

fn raise(f: &mut Fixture, exception: Exception) -> Result<(), Exception> {
    f.run(|cpu| deliver(cpu, Event::Exception(exception)))
}

fn esp(f: &Fixture) -> u32 {
    f.cpu.state.gpr(Gpr::Esp)
}

fn set_flags(f: &mut Fixture, flags: Eflags) {
    f.cpu.set_eflags(flags | Eflags::RESERVED_1);
}

#[test]
fn a_fault_pushes_its_code_and_rf_and_an_interrupt_gate_masks_interrupts() {
    let mut f = Fixture::ringed();
    f.set_gate(13, CODE0, 0x5000, INTERRUPT_GATE);
    set_flags(&mut f, Eflags::IF | Eflags::CF);
    raise(&mut f, Exception::gp(0x28)).unwrap();
    assert_eq!((f.cpu.state.eip, esp(&f)), (0x5000, STACK - 16));
    assert_eq!(f.words(STACK - 16, 4), [0x28, 0x1000, 0x08, 0x1_0203]);
    assert_eq!(f.cpu.eflags(), Eflags::CF | Eflags::RESERVED_1);
}

#[test]
fn a_trap_gate_leaves_interrupts_as_they_are() {
    let mut f = Fixture::ringed();
    f.set_gate(0x80, CODE0, 0x5000, TRAP_GATE);
    set_flags(&mut f, Eflags::IF | Eflags::TF | Eflags::NT);
    f.run(|cpu| deliver(cpu, Event::Software { vector: 0x80, return_eip: 0x1002 })).unwrap();
    assert_eq!(f.words(STACK - 12, 3), [0x1002, 0x08, 0x4302], "no RF: it is no fault");
    assert_eq!(f.cpu.eflags(), Eflags::IF | Eflags::RESERVED_1);
}

#[test]
fn from_ring_3_the_stack_of_the_tss_takes_the_frame_and_iret_goes_back() {
    let mut f = Fixture::user();
    f.set_gate(0x80, CODE0, 0x5000, USER_GATE);
    set_flags(&mut f, Eflags::IF);
    f.exec(&[0xcd, 0x80]).unwrap();
    assert_eq!((f.cpu.state.cpl, f.cpu.state.eip, esp(&f)), (0, 0x5000, STACK0 - 20));
    assert_eq!(f.words(STACK0 - 20, 5), [0x1002, u32::from(CODE3), 0x202, STACK, u32::from(DATA3)]);
    assert_eq!(f.cpu.state.selector(SegReg::Ss).0, DATA0);

    f.exec(&[0x8e, 0xd8]).unwrap_err(); // AX is 0x0002: GDT entry 0 with RPL 2 is null
}

#[test]
fn a_return_to_ring_3_nulls_what_ring_3_may_not_hold() {
    let mut f = Fixture::user();
    f.set_gate(0x80, CODE0, 0x5000, USER_GATE);
    f.exec(&[0xcd, 0x80]).unwrap();
    f.cpu.state.set_gpr(Gpr::Eax, DATA0.into());
    f.exec(&[0x8e, 0xd8]).unwrap(); // mov ds, ax
    f.exec(&[0xcf]).unwrap();
    assert_eq!((f.cpu.state.cpl, f.cpu.state.eip, esp(&f)), (3, 0x1002, STACK));
    assert!(f.cpu.state.seg(SegReg::Ds).unusable());
    assert_eq!(f.cpu.state.selector(SegReg::Es).0, DATA3, "what ring 3 may hold stays");
}

#[test]
fn a_program_may_not_use_a_gate_of_the_kernel() {
    let mut f = Fixture::user();
    f.set_gate(0x21, CODE0, 0x5000, INTERRUPT_GATE);
    f.set_gate(13, CODE0, 0x6000, INTERRUPT_GATE);
    f.exec(&[0xcd, 0x21]).unwrap();
    assert_eq!(f.cpu.state.eip, 0x6000);
    assert_eq!(f.words(STACK0 - 24, 2), [0x21 * 8 + 2, 0x1000], "without EXT, at the instruction");
}

#[test]
fn an_external_interrupt_that_fails_says_so_by_ext() {
    let mut f = Fixture::ringed();
    f.set_gate(13, CODE0, 0x6000, INTERRUPT_GATE);
    f.run(|cpu| deliver(cpu, Event::External { vector: 0x30 })).unwrap();
    assert_eq!(f.words(STACK - 16, 1), [0x30 * 8 + 3]);
}

#[test]
fn a_page_fault_sets_cr2_and_drops_what_is_held_for_it() {
    let mut f = Fixture::ringed();
    f.set_gate(14, CODE0, 0x5000, INTERRUPT_GATE);
    let entry = |page| crate::mmu::TlbEntry {
        page,
        frame: 1,
        size: crate::mmu::PageSize::Kib4,
        rights: crate::mmu::Rights { writable: true, user: true, executable: true },
        dirty: true,
        global: true,
        filled_by: 0,
        filled_at: 0,
    };
    f.cpu.state.tlb.fill(entry(0x12));
    f.cpu.state.tlb.fill(entry(0x13));
    raise(&mut f, Exception { vector: Vector::PAGE_FAULT, code: 7, addr: 0x12_345 }).unwrap();
    assert_eq!(f.cpu.state.cr2, 0x12_345);
    assert_eq!(f.words(STACK - 16, 1), [7]);
    assert_eq!(f.cpu.state.tlb.iter().map(|e| e.page).collect::<Vec<_>>(), [0x13]);
}

#[test]
fn a_fault_in_the_delivery_of_a_fault_is_a_double_fault() {
    let mut f = Fixture::ringed();
    f.set_gate(8, CODE0, 0x7000, INTERRUPT_GATE);
    raise(&mut f, Exception::gp(0)).unwrap(); // its gate is empty
    assert_eq!(f.cpu.state.eip, 0x7000);
    assert_eq!(f.words(STACK - 16, 2), [0, 0x1000]);
}

#[test]
fn a_fault_after_a_benign_exception_is_delivered_by_itself() {
    let mut f = Fixture::ringed();
    f.set_gate(13, CODE0, 0x6000, INTERRUPT_GATE);
    raise(&mut f, Exception::ud()).unwrap();
    assert_eq!(f.cpu.state.eip, 0x6000);
    assert_eq!(f.words(STACK - 16, 1), [6 * 8 + 3]);
}

#[test]
fn a_third_fault_shuts_the_cpu_down_with_its_state_untouched() {
    let mut f = Fixture::ringed();
    f.cpu.state.idtr.limit = 0;
    let before = (f.cpu.state.eip, f.cpu.state.gpr, f.cpu.eflags());
    let first = Exception { vector: Vector::PAGE_FAULT, code: 2, addr: 0x1234_5678 };
    assert_eq!(raise(&mut f, first), Err(first));
    assert_eq!(f.cpu.state.activity, Activity::Shutdown);
    assert_eq!((f.cpu.state.eip, f.cpu.state.gpr, f.cpu.eflags()), before);
}

#[test]
fn an_absent_gate_is_np_and_one_beyond_the_limit_gp() {
    let mut f = Fixture::ringed();
    f.set_gate(0x40, CODE0, 0x5000, 0x0e);
    f.set_gate(11, CODE0, 0x6000, INTERRUPT_GATE);
    f.set_gate(13, CODE0, 0x7000, INTERRUPT_GATE);
    f.exec(&[0xcd, 0x40]).unwrap();
    assert_eq!((f.cpu.state.eip, f.words(STACK - 16, 1)[0]), (0x6000, 0x40 * 8 + 2));
    f.cpu.state.idtr.limit = 0x3f8;
    f.exec(&[0xcd, 0x7f]).unwrap();
    assert_eq!((f.cpu.state.eip, f.words(STACK - 32, 1)[0]), (0x7000, 0x7f * 8 + 2));
}

#[test]
fn a_bad_inner_stack_is_an_invalid_tss() {
    for (ss, code) in [(0, 0), (u32::from(DATA3), 0x20), (u32::from(CODE0), 0x08), (0x1f0, 0x1f0)] {
        let mut f = Fixture::user();
        f.set_gate(0x80, CODE0, 0x5000, USER_GATE);
        f.mem.write_u32(PhysAddr((TSS + 8).into()), ss);
        let seen = f.run(|cpu| super::interrupt::through_idt(cpu, Event::Software { vector: 0x80, return_eip: 0 }));
        assert_eq!(seen, Err(Exception::ts_sel(Selector(code))), "{ss:#x}");
    }
}

#[test]
fn a_16_bit_gate_pushes_words() {
    let mut f = Fixture::ringed();
    f.set_gate(0x80, CODE0, 0x1234_5678, 0x86);
    f.exec(&[0xcd, 0x80]).unwrap();
    assert_eq!((f.cpu.state.eip, esp(&f)), (0x5678, STACK - 6));
    assert_eq!(f.mem.read_u16(PhysAddr((STACK - 6).into())), 0x1002);
}

#[test]
fn at_ring_3_iret_changes_neither_iopl_nor_if() {
    let mut f = Fixture::user();
    let sp = u64::from(STACK);
    for (i, value) in [0x2000, u32::from(CODE3), 0x3201 | 1 << 18].into_iter().enumerate() {
        f.mem.write_u32(PhysAddr(sp + 4 * i as u64), value);
    }
    f.exec(&[0xcf]).unwrap();
    assert_eq!(f.cpu.eflags(), Eflags::CF | Eflags::AC | Eflags::RESERVED_1);
    assert_eq!((f.cpu.state.eip, esp(&f)), (0x2000, STACK + 12));
}

#[test]
fn iret_to_a_segment_of_another_level_is_refused_and_changes_nothing() {
    let mut f = Fixture::user();
    f.mem.write_u32(PhysAddr(STACK.into()), 0x2000);
    f.mem.write_u32(PhysAddr((STACK + 4).into()), CODE0.into());
    assert_eq!(f.exec(&[0xcf]), Err(Exception::gp(CODE0.into())));
    assert_eq!((f.cpu.state.eip, esp(&f), f.cpu.state.cpl), (0x1000, STACK, 3));
}

#[test]
fn virtual_8086_mode_is_entered_by_iret_and_left_by_an_interrupt() {
    let mut f = Fixture::ringed();
    f.set_gate(0x20, CODE0, 0x5000, INTERRUPT_GATE);
    let frame = [0x0123, 0x0700, 0x2_0202, 0xfff0, 0x0800, 0x0901, 0x0902, 0x0903, 0x0904];
    f.cpu.state.set_gpr(Gpr::Esp, STACK);
    for (i, value) in frame.into_iter().enumerate() {
        f.mem.write_u32(PhysAddr(u64::from(STACK) + 4 * i as u64), value);
    }
    f.exec(&[0xcf]).unwrap();
    assert!(f.cpu.state.v86());
    assert_eq!((f.cpu.state.cpl, f.cpu.state.pc(), esp(&f)), (3, 0x7123, 0xfff0));
    assert_eq!(f.cpu.state.seg(SegReg::Ds).base, 0x9020);

    assert_eq!(f.exec(&[0xcd, 0x20]), Err(Exception::gp(0)), "IOPL is 0");
    f.run(|cpu| deliver(cpu, Event::External { vector: 0x20 })).unwrap();
    assert!(!f.cpu.state.v86());
    assert_eq!((f.cpu.state.cpl, esp(&f)), (0, STACK0 - 36));
    assert_eq!(f.words(STACK0 - 36, 9), frame);
    assert!(f.cpu.state.seg(SegReg::Gs).unusable());
}

#[test]
fn real_mode_pushes_words_through_the_vector_table() {
    let mut f = Fixture::flat();
    let state = &mut f.cpu.state;
    state.cr0 &= !Cr0::PE.bits();
    state.seg = [SegmentRegister::real(0x100); 6];
    state.set_gpr(Gpr::Esp, 0x1_0000);
    state.eip = 0x20;
    f.mem.write_u32(PhysAddr(0x21 * 4), 0x0200_0010);
    set_flags(&mut f, Eflags::IF | Eflags::ZF);
    f.exec(&[0xcd, 0x21]).unwrap();
    assert_eq!((f.cpu.state.pc(), esp(&f)), (0x2010, 0x1_fffa));
    assert_eq!(f.mem.read_u64(PhysAddr(0x1000 + 0xfffa)) & 0xffff_ffff_ffff, 0x0242_0100_0022);
    f.exec(&[0xcf]).unwrap();
    assert_eq!((f.cpu.state.pc(), esp(&f)), (0x1022, 0x1_0000));
    assert!(f.cpu.eflags().contains(Eflags::IF));
}

#[test]
fn a_stack_frame_that_does_not_fit_writes_nothing() {
    let mut f = Fixture::ringed();
    f.set_gate(0x80, CODE0, 0x5000, USER_GATE);
    f.cpu.state.seg[SegReg::Ss as usize] = SegmentRegister { limit: 0xfff, rights: 0x4097, base: 0, selector: DATA0 };
    f.cpu.state.set_gpr(Gpr::Esp, 0x1008);
    let seen = f.run(|cpu| super::interrupt::through_idt(cpu, Event::Software { vector: 0x80, return_eip: 0 }));
    assert_eq!(seen, Err(Exception::ss(0)));
    assert_eq!(f.words(0xff8, 4), [0; 4]);
}

/// Another TSS at 0x4100, and its descriptor in the free slot.
fn second_task(f: &mut Fixture) {
    f.set_descriptor(FREE, 0x0000_8900_4100_0067);
    let base = u64::from(TSS) + 0x100;
    for (offset, value) in [
        (0x20, 0x7000u32),
        (0x24, 0x0000_0006),
        (0x28, 0xaaaa_0001),
        (0x38, 0x0000_a000),
        (0x48, DATA0.into()),
        (0x4c, CODE0.into()),
        (0x50, DATA0.into()),
        (0x54, DATA0.into()),
    ] {
        f.mem.write_u32(PhysAddr(base + offset), value);
    }
}

fn rights_of(f: &Fixture, selector: u16) -> u8 {
    f.mem.read_u8(PhysAddr(u64::from(GDT) + u64::from(selector) + 5))
}

#[test]
fn a_task_gate_nests_the_new_task_and_iret_returns_along_the_link() {
    let mut f = Fixture::ringed();
    second_task(&mut f);
    f.set_gate(8, FREE, 0, 0x85);
    set_flags(&mut f, Eflags::IF);
    f.cpu.state.set_gpr(Gpr::Ebx, 77);
    raise(&mut f, Exception::df()).unwrap();
    let state = &f.cpu.state;
    assert_eq!((state.eip, state.tr.selector, state.gpr(Gpr::Eax)), (0x7000, FREE, 0xaaaa_0001));
    assert_eq!(esp(&f), 0x9ffc, "the error code is pushed in the new task");
    assert!(f.cpu.eflags().contains(Eflags::NT) && f.cpu.state.cr0().contains(Cr0::TS));
    assert_eq!(f.mem.read_u16(PhysAddr((TSS + 0x100).into())), selectors::TSS);
    assert_eq!((rights_of(&f, FREE), rights_of(&f, selectors::TSS)), (0x8b, 0x8b), "both are busy");

    f.cpu.state.set_gpr(Gpr::Esp, 0xa000);
    f.exec(&[0xcf]).unwrap();
    let state = &f.cpu.state;
    assert_eq!((state.eip, state.tr.selector, state.gpr(Gpr::Ebx)), (0x1000, selectors::TSS, 77));
    assert_eq!(rights_of(&f, FREE), 0x89);
    assert!(f.cpu.eflags().contains(Eflags::IF) && !f.cpu.eflags().contains(Eflags::NT));
}

#[test]
fn a_jump_to_a_task_ends_the_old_one() {
    let mut f = Fixture::ringed();
    second_task(&mut f);
    f.exec(&[0xea, 0, 0, 0, 0, FREE as u8, 0]).unwrap();
    assert_eq!((f.cpu.state.eip, f.cpu.state.tr.selector), (0x7000, FREE));
    assert_eq!((rights_of(&f, FREE), rights_of(&f, selectors::TSS)), (0x8b, 0x89));
    assert!(!f.cpu.eflags().contains(Eflags::NT));
    assert_eq!(f.mem.read_u32(PhysAddr((TSS + 0x20).into())), 0x1007, "it resumes behind the jump");
}

#[test]
fn a_busy_task_cannot_be_called() {
    let mut f = Fixture::ringed();
    let seen = f.exec(&[0x9a, 0, 0, 0, 0, selectors::TSS as u8, 0]);
    assert_eq!(seen, Err(Exception::gp(selectors::TSS.into())));
}

#[test]
fn a_selector_that_fails_in_the_new_task_faults_there() {
    let mut f = Fixture::ringed();
    second_task(&mut f);
    f.mem.write_u32(PhysAddr((TSS + 0x100 + 0x50).into()), DATA3.into()); // SS of ring 3
    let seen = f.exec(&[0xea, 0, 0, 0, 0, FREE as u8, 0]);
    assert_eq!(seen, Err(Exception::ts_sel(Selector(DATA3))));
    assert_eq!((f.cpu.state.eip, f.cpu.state.tr.selector), (0x7000, FREE));
}

#[test]
fn a_new_task_whose_code_is_absent_has_a_stack_to_say_so_on() {
    let mut f = Fixture::ringed();
    second_task(&mut f);
    f.mem.write_u32(PhysAddr((TSS + 0x100 + 0x4c).into()), FREE.into()); // CS: no code
    let seen = f.exec(&[0xea, 0, 0, 0, 0, FREE as u8, 0]);
    assert_eq!(seen, Err(Exception::ts_sel(Selector(FREE))));
    f.set_gate(10, CODE0, 0x5000, INTERRUPT_GATE);
    raise(&mut f, Exception::ts_sel(Selector(FREE))).unwrap();
    assert_eq!((f.cpu.state.eip, esp(&f)), (0x5000, 0xa000 - 16));
}

#[test]
fn a_fault_of_the_tables_leaves_the_instruction_unbegun() {
    let mut f = Fixture::user();
    f.set_gate(0x80, CODE0, 0x5000, USER_GATE);
    f.cpu.state.cr0 |= Cr0::PG.bits(); // CR3 is 0: the directory at 0 is empty
    let seen =
        f.run(|cpu: &mut Cpu| super::interrupt::through_idt(cpu, Event::Software { vector: 0x80, return_eip: 0x1002 }));
    assert!(matches!(seen, Err(Exception { vector: Vector::PAGE_FAULT, code: 0, .. })), "{seen:?}");
    assert_eq!((f.cpu.state.eip, f.cpu.state.cpl, esp(&f)), (0x1000, 3, STACK));
}

#[test]
fn the_trap_bit_of_a_task_is_a_debug_trap_before_its_first_instruction() {
    let mut f = Fixture::ringed();
    second_task(&mut f);
    f.mem.write_u32(PhysAddr((TSS + 0x100 + 0x64).into()), 1);
    f.exec(&[0xea, 0, 0, 0, 0, FREE as u8, 0]).unwrap();
    assert_eq!((f.cpu.state.eip, f.cpu.state.pending_debug), (0x7000, 1 << 15));
}

#[test]
fn a_tss_takes_selectors_as_words() {
    let mut f = Fixture::ringed();
    second_task(&mut f);
    f.mem.write_u32(PhysAddr((TSS + 0x48).into()), 0xdead_beef);
    f.exec(&[0xea, 0, 0, 0, 0, FREE as u8, 0]).unwrap();
    assert_eq!(f.words(TSS + 0x48, 1), [0xdead_0000 | u32::from(DATA0)]);
}

#[test]
fn iret_lets_nmis_in_even_if_it_faults() {
    let mut f = Fixture::ringed();
    f.cpu.state.nmi_blocked = true;
    assert_eq!(f.exec(&[0xcf]), Err(Exception::gp(0)), "the selector is null");
    assert!(!f.cpu.state.nmi_blocked);
}

#[test]
fn a_far_call_looks_at_its_stack_before_its_target_and_marks_nothing_if_it_fails() {
    let mut f = Fixture::ringed();
    f.set_descriptor(FREE, 0x0040_9a00_6000_0fff);
    let call = [0x9a, 0, 0x10, 0, 0, FREE as u8, 0];
    assert_eq!(f.exec(&call), Err(Exception::gp(0)), "behind the limit");
    f.cpu.state.seg[SegReg::Ss as usize].limit = 0xfff;
    assert_eq!(f.exec(&call), Err(Exception::ss(0)));
    assert_eq!(rights_of(&f, FREE), 0x9a);
}
