use iced_x86::{Code, Instruction, Register};
use x86::{Cr0, Cr4, Eflags, PhysAddr, SegReg, Selector, Vector};

use crate::{
    Activity, Exception, Exit, Gpr,
    fixture::{
        Access, Fixture,
        places::{GDT, STACK, STACK0, TSS},
        selectors::{CODE0, CODE3, DATA0, DATA3, FREE},
    },
    seg::SegmentRegister,
    slow::Flow,
};

fn set_flags(f: &mut Fixture, flags: Eflags) {
    f.cpu.set_eflags(flags | Eflags::RESERVED_1);
}

fn esp(f: &Fixture) -> u32 {
    f.cpu.state.gpr(Gpr::Esp)
}

fn zf(f: &Fixture) -> bool {
    f.cpu.eflags().contains(Eflags::ZF)
}

/// Executes with EAX set.
fn with_eax(f: &mut Fixture, eax: u32, code: &[u8]) -> Result<Flow, Exception> {
    f.cpu.state.set_gpr(Gpr::Eax, eax);
    f.exec(code)
}

const MOV_DS_AX: &[u8] = &[0x8e, 0xd8];
const MOV_SS_AX: &[u8] = &[0x8e, 0xd0];

#[test]
fn a_data_segment_needs_rights_presence_and_a_type_that_can_be_read() {
    type Expected = Result<(), fn(Selector) -> Exception>;
    let cases: [(u64, u16, Expected); 8] = [
        (0x00cf_9300_0000_ffff, 0, Ok(())),
        (0x00cf_f300_0000_ffff, 3, Ok(())),
        (0x00cf_9300_0000_ffff, 3, Err(Exception::gp_sel)), // RPL 3 on a segment of level 0
        (0x00cf_9900_0000_ffff, 0, Err(Exception::gp_sel)), // execute-only
        (0x00cf_9b00_0000_ffff, 0, Ok(())),                 // readable code
        (0x00cf_9f00_0000_ffff, 3, Ok(())),                 // conforming code, whatever its level
        (0x00cf_1300_0000_ffff, 0, Err(Exception::np_sel)),
        (0x0000_8b00_4000_0067, 0, Err(Exception::gp_sel)), // a TSS
    ];
    for (descriptor, rpl, expect) in cases {
        let mut f = Fixture::ringed();
        f.set_descriptor(FREE, descriptor);
        let selector = FREE | rpl;
        let seen = with_eax(&mut f, selector.into(), MOV_DS_AX).map(drop);
        assert_eq!(seen, expect.map_err(|e| e(Selector(selector))), "{descriptor:#x} {rpl}");
    }
}

#[test]
fn a_load_sets_the_accessed_bit_in_the_table() {
    let mut f = Fixture::ringed();
    f.set_descriptor(FREE, 0x00cf_9200_0000_ffff);
    with_eax(&mut f, FREE.into(), MOV_DS_AX).unwrap();
    assert_eq!(f.mem.read_u8(PhysAddr(u64::from(GDT + u32::from(FREE)) + 5)), 0x93);
    assert_eq!(f.cpu.state.seg(SegReg::Ds).rights & 0xff, 0x93);
}

#[test]
fn null_may_be_loaded_but_not_used_nor_stand_in_ss() {
    let mut f = Fixture::ringed();
    with_eax(&mut f, 3, MOV_DS_AX).unwrap();
    assert_eq!(with_eax(&mut f, 0, &[0x8e, 0x18]), Err(Exception::gp(0)), "mov ds, [eax]");
    assert_eq!(with_eax(&mut f, 0, MOV_SS_AX), Err(Exception::gp(0)));
}

#[test]
fn ss_needs_the_level_of_the_cpl_and_shadows_the_next_instruction() {
    let mut f = Fixture::ringed();
    assert_eq!(with_eax(&mut f, DATA3.into(), MOV_SS_AX), Err(Exception::gp(0x20)));
    assert_eq!(with_eax(&mut f, CODE0.into(), MOV_SS_AX), Err(Exception::gp(CODE0.into())));
    f.set_descriptor(FREE, 0x00cf_1300_0000_ffff);
    assert_eq!(with_eax(&mut f, FREE.into(), MOV_SS_AX), Err(Exception::ss(FREE.into())));
    with_eax(&mut f, DATA0.into(), MOV_SS_AX).unwrap();
    assert!(f.cpu.state.mov_ss_shadow);
}

#[test]
fn a_selector_beyond_its_table_is_refused() {
    let mut f = Fixture::ringed();
    assert_eq!(with_eax(&mut f, 0x80, MOV_DS_AX), Err(Exception::gp(0x80)));
    assert_eq!(with_eax(&mut f, 0x0c, MOV_DS_AX), Err(Exception::gp(0x0c)), "no LDT is loaded");
}

#[test]
fn the_ldt_holds_segments_too() {
    let mut f = Fixture::ringed();
    f.set_descriptor(FREE, 0x0000_8200_6000_000f); // 16 bytes at 0x6000
    f.mem.write(PhysAddr(0x6008), &0x00cf_9312_3456_ffffu64.to_le_bytes());
    with_eax(&mut f, FREE.into(), &[0x0f, 0x00, 0xd0]).unwrap(); // lldt ax
    with_eax(&mut f, 0x0c, MOV_DS_AX).unwrap();
    assert_eq!(f.cpu.state.seg(SegReg::Ds).base, 0x12_3456);
    assert_eq!(with_eax(&mut f, 0x14, MOV_DS_AX), Err(Exception::gp(0x14)));
}

#[test]
fn a_pushed_segment_leaves_the_upper_half_of_its_slot() {
    let mut f = Fixture::ringed();
    f.mem.write_u32(PhysAddr((STACK - 4).into()), 0xdead_beef);
    f.exec(&[0x0e]).unwrap(); // push cs
    assert_eq!(f.words(STACK - 4, 1), [0xdead_0008]);
    f.cpu.state.seg[SegReg::Cs as usize].selector = DATA0;
    f.exec(&[0x0e]).unwrap();
    f.exec(&[0x07]).unwrap(); // pop es
    assert_eq!((f.cpu.state.selector(SegReg::Es).0, esp(&f)), (DATA0, STACK - 4));
}

#[test]
fn a_far_pointer_loads_register_and_segment() {
    let mut f = Fixture::ringed();
    f.mem.write_u32(PhysAddr(0x6000), 0x1122_3344);
    f.mem.write_u32(PhysAddr(0x6004), DATA3.into());
    f.exec(&[0x0f, 0xb4, 0x1d, 0x00, 0x60, 0x00, 0x00]).unwrap(); // lfs ebx, [0x6000]
    assert_eq!((f.cpu.state.gpr(Gpr::Ebx), f.cpu.state.selector(SegReg::Fs).0), (0x1122_3344, DATA3));
}

#[test]
fn a_far_jump_changes_segment_and_width() {
    let mut f = Fixture::ringed();
    f.set_descriptor(FREE, 0x0000_9b00_6000_ffff);
    f.exec(&[0xea, 0x34, 0x12, 0, 0, FREE as u8, 0]).unwrap();
    assert_eq!((f.cpu.state.eip, f.cpu.state.pc()), (0x1234, 0x7234));
    assert!(!f.cpu.state.seg(SegReg::Cs).big());
    let beyond = f.exec(&[0x66, 0xea, 0, 0, 1, 0, FREE as u8, 0]);
    assert_eq!(beyond, Err(Exception::gp(0)), "behind the limit");
}

#[test]
fn a_program_jumps_to_no_other_level_without_a_gate() {
    let mut f = Fixture::user();
    assert_eq!(f.exec(&[0xea, 0, 0, 0, 0, CODE0 as u8, 0]), Err(Exception::gp(CODE0.into())));
    f.set_descriptor(FREE, 0x00cf_9f00_0000_ffff); // conforming, level 0
    f.exec(&[0xea, 0, 0x50, 0, 0, FREE as u8, 0]).unwrap();
    assert_eq!((f.cpu.state.cpl, f.cpu.state.selector(SegReg::Cs).0), (3, FREE | 3));
}

#[test]
fn a_call_gate_switches_stacks_copies_parameters_and_retf_goes_back() {
    let mut f = Fixture::user();
    let gate = x86::Descriptor::gate(CODE0, 0x5000, 0xec).0 | 2 << 32; // two parameters
    f.set_descriptor(FREE, gate);
    f.mem.write_u32(PhysAddr(STACK.into()), 0x111);
    f.mem.write_u32(PhysAddr((STACK + 4).into()), 0x222);
    f.exec(&[0x9a, 0xff, 0xff, 0xff, 0xff, FREE as u8 | 3, 0]).unwrap();
    assert_eq!((f.cpu.state.cpl, f.cpu.state.eip, esp(&f)), (0, 0x5000, STACK0 - 24));
    assert_eq!(f.words(STACK0 - 24, 6), [0x1007, CODE3.into(), 0x111, 0x222, STACK, DATA3.into()]);
    f.exec(&[0xca, 8, 0]).unwrap(); // retf 8
    assert_eq!((f.cpu.state.cpl, f.cpu.state.eip, esp(&f)), (3, 0x1007, STACK + 8));
}

#[test]
fn a_far_call_and_return_meet_on_one_stack() {
    let mut f = Fixture::ringed();
    f.exec(&[0x9a, 0, 0x50, 0, 0, CODE0 as u8, 0]).unwrap();
    assert_eq!((f.cpu.state.eip, esp(&f)), (0x5000, STACK - 8));
    f.exec(&[0xcb]).unwrap();
    assert_eq!((f.cpu.state.eip, esp(&f)), (0x1007, STACK));
}

#[test]
fn only_level_0_uses_privileged_instructions() {
    for code in [
        &[0x0f, 0x20, 0xc0][..], // mov eax, cr0
        &[0x0f, 0x22, 0xd8],     // mov cr3, eax
        &[0x0f, 0x23, 0xc0],     // mov dr0, eax
        &[0x0f, 0x01, 0x10],     // lgdt [eax]
        &[0x0f, 0x01, 0x38],     // invlpg [eax]
        &[0x0f, 0x01, 0xf0],     // lmsw ax
        &[0x0f, 0x06],           // clts
        &[0x0f, 0x09],           // wbinvd
        &[0x0f, 0x30],           // wrmsr
        &[0x0f, 0x32],           // rdmsr
        &[0xf4],                 // hlt
        &[0x0f, 0x00, 0xd8],     // ltr ax
        &[0xfa],                 // cli
        &[0xfb],                 // sti
    ] {
        assert_eq!(Fixture::user().exec(code), Err(Exception::gp(0)), "{code:x?}");
    }
}

#[test]
fn ports_are_open_by_iopl_or_by_the_bitmap() {
    let mut f = Fixture::user();
    f.cpu.state.tr.limit = 0x87;
    f.mem.write_u32(PhysAddr((TSS + 102).into()), 0x68);
    f.mem.write(PhysAddr((TSS + 0x68).into()), &[0xff; 0x20]);
    f.mem.write(PhysAddr((TSS + 0x68 + 0x80 / 8).into()), &[0b1111_1100]); // ports 0x80 and 0x81
    f.bus.answer = 0x5a5a;
    f.exec(&[0xe4, 0x80]).unwrap(); // in al, 0x80
    assert_eq!(f.cpu.state.gpr(Gpr::Eax) & 0xff, 0x5a);
    f.exec(&[0x66, 0xe5, 0x80]).unwrap(); // in ax, 0x80
    assert_eq!(f.exec(&[0x66, 0xe5, 0x81]), Err(Exception::gp(0)), "its second byte is closed");
    assert_eq!(f.exec(&[0xe4, 0xf8]), Err(Exception::gp(0)), "the map ends before it");
    set_flags(&mut f, Eflags::IOPL);
    f.exec(&[0xe4, 0xf8]).unwrap();
    assert_eq!(f.bus.log.len(), 3);
}

#[test]
fn string_input_asks_for_the_right_to_write_before_it_touches_the_port() {
    let mut f = Fixture::ringed();
    f.cpu.state.seg[SegReg::Es as usize] = SegmentRegister { limit: 0xfff, rights: 0x93, base: 0, selector: DATA0 };
    f.cpu.state.set_gpr(Gpr::Edi, 0xfff);
    f.cpu.state.set_gpr(Gpr::Ecx, 2);
    f.bus.answer = 0x42;
    assert_eq!(f.exec(&[0xf3, 0x6c]), Ok(Flow::Again)); // rep insb
    assert_eq!(f.mem.read_u8(PhysAddr(0xfff)), 0x42);
    assert_eq!(f.exec(&[0xf3, 0x6c]), Err(Exception::gp(0)));
    assert_eq!((f.cpu.state.gpr(Gpr::Ecx), f.cpu.state.gpr(Gpr::Edi)), (1, 0x1000));
    assert_eq!(f.bus.log.len(), 1);
}

#[test]
fn string_output_walks_down_with_df() {
    let mut f = Fixture::ringed();
    f.mem.write(PhysAddr(0x6000), b"ab");
    f.cpu.state.set_gpr(Gpr::Esi, 0x6001);
    f.cpu.state.set_gpr(Gpr::Ecx, 2);
    set_flags(&mut f, Eflags::DF);
    assert_eq!(f.exec(&[0xf3, 0x6e]), Ok(Flow::Again)); // rep outsb
    assert_eq!(f.exec(&[0xf3, 0x6e]), Ok(Flow::Next));
    let sent: Vec<_> = f.bus.log.iter().map(|&(access, _, _, value)| (access, value)).collect();
    assert_eq!(sent, [(Access::Out, 0x62), (Access::Out, 0x61)]);
    assert_eq!(f.exec(&[0xf3, 0x6e]), Ok(Flow::Next), "a count of 0 does nothing");
    assert_eq!(f.bus.log.len(), 2);
}

#[test]
fn popf_gives_a_program_neither_iopl_nor_if() {
    for (cpl, iopl, expect) in [(0, 0, 0x3202), (3, 0, 0x0002), (3, 3, 0x3202)] {
        let mut f = if cpl == 0 { Fixture::ringed() } else { Fixture::user() };
        set_flags(&mut f, Eflags::from_bits_retain(iopl << 12));
        f.mem.write_u32(PhysAddr(STACK.into()), 0x0002_3202); // VM is never taken
        f.exec(&[0x9d]).unwrap();
        assert_eq!(f.cpu.eflags().bits(), expect, "CPL {cpl}, IOPL {iopl}");
    }
}

#[test]
fn sti_holds_interrupts_off_for_one_instruction_only_if_they_were_off() {
    let mut f = Fixture::ringed();
    f.exec(&[0xfb]).unwrap();
    assert!(f.cpu.state.sti_shadow);
    f.cpu.state.sti_shadow = false;
    f.exec(&[0xfb]).unwrap();
    assert!(!f.cpu.state.sti_shadow);
}

#[test]
fn cr0_refuses_what_cannot_be() {
    let mut f = Fixture::ringed();
    for bad in [Cr0::PG, Cr0::NW | Cr0::PE] {
        assert_eq!(with_eax(&mut f, bad.bits(), &[0x0f, 0x22, 0xc0]), Err(Exception::gp(0)));
    }
    with_eax(&mut f, 0x0001_0001, &[0x0f, 0x22, 0xc0]).unwrap();
    assert_eq!(f.cpu.state.cr0, 0x0001_0011, "ET is always set");
    for bad in [Cr4::VME, Cr4::PVI, Cr4::MCE, Cr4::from_bits_retain(1 << 13)] {
        assert_eq!(with_eax(&mut f, bad.bits(), &[0x0f, 0x22, 0xe0]), Err(Exception::gp(0)), "{bad:?}");
    }
    with_eax(&mut f, 0x690, &[0x0f, 0x22, 0xe0]).unwrap();
    assert_eq!(f.cpu.state.cr4, 0x690);
}

/// Holds a global and another translation.
fn held(f: &mut Fixture) {
    for page in [1, 2] {
        let mapping = crate::mmu::Mapping {
            base: PhysAddr(0x1000),
            size: crate::mmu::PageSize::Kib4,
            rights: crate::mmu::Rights { writable: true, user: false, executable: true },
            accessed: true,
            dirty: true,
            global: page == 1,
        };
        f.cpu.state.tlb.fill(crate::mmu::TlbEntry::new(x86::LinearAddr(page << 12), mapping, 0, 0));
    }
}

#[test]
fn translations_go_by_the_manuals_rules_and_no_others() {
    let left = |eax: u32, code: &[u8]| {
        let mut f = Fixture::ringed();
        held(&mut f);
        with_eax(&mut f, eax, code).unwrap();
        f.cpu.state.tlb.iter().map(|e| e.page).collect::<Vec<_>>()
    };
    assert_eq!(left(0, &[0x0f, 0x22, 0xd8]), [1], "CR3 keeps the global one");
    assert_eq!(left(0x1000, &[0x0f, 0x01, 0x38]), [2], "INVLPG takes the global one too");
    assert_eq!(left(0x80, &[0x0f, 0x22, 0xe0]), [0; 0], "a change of CR4.PGE takes all");
    assert_eq!(left(0x10, &[0x0f, 0x22, 0xe0]), [0; 0], "a change of CR4.PSE takes all");
    assert_eq!(left(0x20, &[0x0f, 0x22, 0xe0]), [0; 0], "a change of CR4.PAE takes all");
    assert_eq!(left(0x10_0000, &[0x0f, 0x22, 0xe0]), [0; 0], "CR4.SMEP takes all when it is set");
    assert_eq!(left(0x20_0000, &[0x0f, 0x22, 0xe0]), [1, 2], "CR4.SMAP takes none");
    assert_eq!(left(0x600, &[0x0f, 0x22, 0xe0]), [1, 2], "other bits of CR4 take none");
    assert_eq!(left(0x0001_0011, &[0x0f, 0x22, 0xc0]), [1, 2], "CR0.WP takes none");
    assert_eq!(left(0x8000_0011, &[0x0f, 0x22, 0xc0]), [0; 0], "CR0.PG takes all");
}

#[test]
fn lmsw_sets_pe_and_cannot_clear_it() {
    let mut f = Fixture::ringed();
    with_eax(&mut f, 0x000e, &[0x0f, 0x01, 0xf0]).unwrap();
    assert_eq!(f.cpu.state.cr0, 0x1f);
    with_eax(&mut f, 0, &[0x0f, 0x01, 0xf0]).unwrap();
    assert_eq!(f.cpu.state.cr0, 0x11);
}

#[test]
fn halting_is_an_activity_and_ends_the_run() {
    let mut f = Fixture::ringed();
    assert_eq!(f.exec(&[0xf4]), Ok(Flow::Exit(Exit::Halted)));
    assert_eq!((f.cpu.state.activity, f.cpu.state.eip), (Activity::Halted, 0x1001));
}

#[test]
fn sixteen_bit_code_that_its_limit_lets_go_on_goes_on_beyond_ffff() {
    let mut f = Fixture::ringed();
    f.set_gate(3, CODE0, 0x5000, 0xee);
    f.cpu.state.seg[SegReg::Cs as usize].rights &= !0x4000; // CS.D
    assert!(!f.cpu.state.seg(SegReg::Cs).big());
    f.cpu.state.eip = 0xffff;
    f.exec(&[0xcc]).unwrap();
    assert_eq!(f.words(STACK - 12, 1), [0x1_0000], "what INT3 pushes");
}

#[test]
fn table_registers_load_24_bits_of_base_with_a_16_bit_operand() {
    let mut f = Fixture::ringed();
    f.mem.write(PhysAddr(0x6000), &[0x34, 0x12, 0x78, 0x56, 0x34, 0x12]);
    f.exec(&[0x0f, 0x01, 0x1d, 0, 0x60, 0, 0]).unwrap(); // lidt
    assert_eq!((f.cpu.state.idtr.limit, f.cpu.state.idtr.base), (0x1234, 0x1234_5678));
    f.exec(&[0x66, 0x0f, 0x01, 0x15, 0, 0x60, 0, 0]).unwrap(); // lgdt, 16 bits
    assert_eq!(f.cpu.state.gdtr.base, 0x0034_5678);
    f.exec(&[0x0f, 0x01, 0x0d, 0, 0x61, 0, 0]).unwrap(); // sidt
    assert_eq!(f.mem.read_u32(PhysAddr(0x6102)), 0x1234_5678);
}

#[test]
fn ltr_marks_its_task_busy_and_takes_no_busy_one() {
    let mut f = Fixture::ringed();
    f.set_descriptor(FREE, 0x0000_8900_4100_0067);
    with_eax(&mut f, FREE.into(), &[0x0f, 0x00, 0xd8]).unwrap();
    assert_eq!((f.cpu.state.tr.base, f.cpu.state.tr.rights), (0x4100, 0x8b));
    assert_eq!(with_eax(&mut f, FREE.into(), &[0x0f, 0x00, 0xd8]), Err(Exception::gp(FREE.into())));
    with_eax(&mut f, 0xffff_ffff, &[0x0f, 0x00, 0xc8]).unwrap(); // str eax
    assert_eq!(f.cpu.state.gpr(Gpr::Eax), FREE.into());
}

#[test]
fn questions_about_selectors_answer_by_zf() {
    let mut f = Fixture::user();
    let lar = [0x0f, 0x02, 0xd8]; // lar ebx, eax
    for (selector, rights) in
        [(DATA3, Some(0x00cf_f300)), (CODE3, Some(0x00cf_fb00)), (DATA0, None), (0, None), (0x1f8, None)]
    {
        f.cpu.state.set_gpr(Gpr::Ebx, 1);
        with_eax(&mut f, selector.into(), &lar).unwrap();
        assert_eq!((zf(&f), f.cpu.state.gpr(Gpr::Ebx)), (rights.is_some(), rights.unwrap_or(1)), "{selector:#x}");
    }
    with_eax(&mut f, DATA3.into(), &[0x0f, 0x03, 0xd8]).unwrap(); // lsl ebx, eax
    assert_eq!((zf(&f), f.cpu.state.gpr(Gpr::Ebx)), (true, 0xffff_ffff));
    for (selector, read, write) in [(DATA3, true, true), (CODE3, true, false), (DATA0, false, false)] {
        with_eax(&mut f, selector.into(), &[0x0f, 0x00, 0xe0]).unwrap(); // verr ax
        assert_eq!(zf(&f), read, "{selector:#x}");
        with_eax(&mut f, selector.into(), &[0x0f, 0x00, 0xe8]).unwrap(); // verw ax
        assert_eq!(zf(&f), write, "{selector:#x}");
    }
}

#[test]
fn arpl_raises_a_requested_level() {
    let mut f = Fixture::user();
    f.cpu.state.set_gpr(Gpr::Ecx, 3);
    with_eax(&mut f, 0x11, &[0x63, 0xc8]).unwrap(); // arpl ax, cx
    assert_eq!((zf(&f), f.cpu.state.gpr(Gpr::Eax)), (true, 0x13));
    with_eax(&mut f, 0x13, &[0x63, 0xc8]).unwrap();
    assert!(!zf(&f));
}

#[test]
fn real_mode_knows_no_descriptor_instructions() {
    let mut f = Fixture::flat();
    f.cpu.state.cr0 = 0x10;
    for code in [&[0x0f, 0x00, 0xc0][..], &[0x0f, 0x02, 0xc0], &[0x0f, 0x00, 0xe0], &[0x63, 0xc0]] {
        assert_eq!(f.exec(code), Err(Exception::ud()), "{code:x?}");
    }
}

#[test]
fn the_time_stamp_counter_is_virtual_time_and_can_be_set_and_hidden() {
    let mut f = Fixture::ringed();
    f.exec(&[0x0f, 0x31]).unwrap();
    let now = f.run(|cpu| cpu.now()) as u32;
    assert_eq!(f.cpu.state.gpr(Gpr::Eax), now);
    f.cpu.state.set_gpr(Gpr::Ecx, 0x10);
    f.cpu.state.set_gpr(Gpr::Edx, 1);
    with_eax(&mut f, 5, &[0x0f, 0x30]).unwrap();
    f.exec(&[0x0f, 0x31]).unwrap();
    assert_eq!((f.cpu.state.gpr(Gpr::Edx), f.cpu.state.gpr(Gpr::Eax)), (1, 5));
    f.cpu.state.cr4 = Cr4::TSD.bits();
    f.cpu.state.cpl = 3;
    assert_eq!(f.exec(&[0x0f, 0x31]), Err(Exception::gp(0)));
}

#[test]
fn an_unknown_msr_is_refused() {
    let mut f = Fixture::ringed();
    f.cpu.state.set_gpr(Gpr::Ecx, 0x1234);
    assert_eq!(f.exec(&[0x0f, 0x32]), Err(Exception::gp(0)));
    assert_eq!(f.exec(&[0x0f, 0x30]), Err(Exception::gp(0)));
}

#[test]
fn sysenter_and_sysexit_cross_the_rings_without_tables() {
    let mut f = Fixture::user();
    f.cpu.state.msr.sysenter_cs = CODE0.into();
    f.cpu.state.msr.sysenter_esp = STACK0;
    f.cpu.state.msr.sysenter_eip = 0x5000;
    set_flags(&mut f, Eflags::IF);
    f.exec(&[0x0f, 0x34]).unwrap();
    assert_eq!((f.cpu.state.cpl, f.cpu.state.eip, esp(&f)), (0, 0x5000, STACK0));
    assert_eq!(f.cpu.state.selector(SegReg::Ss).0, DATA0);
    assert!(!f.cpu.eflags().contains(Eflags::IF));
    f.cpu.state.set_gpr(Gpr::Edx, 0x1234);
    f.cpu.state.set_gpr(Gpr::Ecx, STACK);
    f.exec(&[0x0f, 0x35]).unwrap();
    assert_eq!((f.cpu.state.cpl, f.cpu.state.eip, esp(&f)), (3, 0x1234, STACK));
    assert_eq!((f.cpu.state.selector(SegReg::Cs).0, f.cpu.state.selector(SegReg::Ss).0), (CODE3, DATA3));
    f.cpu.state.msr.sysenter_cs = 3;
    assert_eq!(f.exec(&[0x0f, 0x34]), Err(Exception::gp(0)));
}

#[test]
fn debug_registers_keep_their_fixed_bits_and_general_detect_guards_them() {
    let mut f = Fixture::ringed();
    with_eax(&mut f, 0, &[0x0f, 0x23, 0xf0]).unwrap(); // mov dr6, eax
    assert_eq!(f.cpu.state.dr[6], 0xffff_0ff0);
    with_eax(&mut f, 0xffff_ffff, &[0x0f, 0x23, 0xe8]).unwrap(); // mov dr5, eax: DR7 without DE
    assert_eq!(f.cpu.state.dr[7], 0xffff_27ff);
    assert_eq!(f.exec(&[0x0f, 0x21, 0xc0]), Err(Exception::db()));
    assert_ne!(f.cpu.state.dr[6] & 1 << 13, 0);
    f.cpu.state.dr[7] = 0x400;
    f.cpu.state.cr4 = Cr4::DE.bits();
    assert_eq!(f.exec(&[0x0f, 0x21, 0xe0]), Err(Exception::ud()));
}

#[test]
fn bound_compares_signed() {
    let mut f = Fixture::ringed();
    f.mem.write_u32(PhysAddr(0x6000), -5i32 as u32);
    f.mem.write_u32(PhysAddr(0x6004), 5);
    let bound = [0x62, 0x05, 0x00, 0x60, 0x00, 0x00]; // bound eax, [0x6000]
    for (index, good) in [(-5, true), (5, true), (-6, false), (6, false)] {
        let seen = with_eax(&mut f, index as u32, &bound).map(drop);
        assert_eq!(seen, if good { Ok(()) } else { Err(Exception::br()) }, "{index}");
    }
}

#[test]
fn invlpg_and_smsw_take_their_operands_as_the_manual_says() {
    let mut f = Fixture::ringed();
    f.cpu.state.cr0 = 0x8001_0011 & !Cr0::PG.bits();
    with_eax(&mut f, 0xffff_ffff, &[0x0f, 0x01, 0xe0]).unwrap(); // smsw eax
    assert_eq!(f.cpu.state.gpr(Gpr::Eax), 0x0001_0011);
    with_eax(&mut f, 0xffff_ffff, &[0x66, 0x0f, 0x01, 0xe0]).unwrap(); // smsw ax
    assert_eq!(f.cpu.state.gpr(Gpr::Eax), 0xffff_0011);
}

#[test]
fn unaligned_data_is_noticed_only_at_ring_3_with_both_switches() {
    let insn =
        Instruction::with2(Code::Mov_r32_rm32, Register::EAX, iced_x86::MemoryOperand::with_displ(0x6001, 4)).unwrap();
    for (cpl, am, ac, faults) in
        [(3, true, true, true), (0, true, true, false), (3, false, true, false), (3, true, false, false)]
    {
        let mut f = if cpl == 3 { Fixture::user() } else { Fixture::ringed() };
        f.cpu.state.cr0 |= if am { Cr0::AM.bits() } else { 0 };
        f.cpu.state.eflags.set(Eflags::AC, ac);
        let seen = f.run(|cpu| crate::operand::read_op(cpu, &insn, 1));
        assert_eq!(seen.is_err_and(|e| e.vector == Vector::ALIGNMENT_CHECK), faults, "{cpl} {am} {ac}");
    }
}
