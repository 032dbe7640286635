//! What NX, SMEP and SMAP forbid, by blocks and one instruction at a time; and what fetching leaves alone.

use iced_x86::code_asm::*;
use x86::{Cr0, Cr4, Efer, PageFaultCode, PhysAddr};

use crate::{
    Exception, Exit, Gpr,
    testing::{Lab, assemble},
};

const POINTERS: u32 = 0x9_0000;
const DIRECTORY: u32 = 0x9_1000;
const TABLE: u32 = 0x9_2000;
/// A page of its own for code or data.
const OTHER: u32 = 0x5000;
const XD: u64 = 1 << 63;

fn place(page: u32) -> PhysAddr {
    PhysAddr(u64::from(TABLE + (page >> 12) * 8))
}

fn set_entry(lab: &mut Lab, page: u32, bits: u64) {
    lab.mem.write(place(page), &(u64::from(page) | bits).to_le_bytes());
}

/// PAE with NX; the first MiB is itself, for the supervisor. Blocks, and one instruction at a time.
fn labs(code: &[u8], features: Cr4) -> [Lab; 2] {
    [Lab::new(code), Lab::single_step(code)].map(|mut lab| {
        lab.mem.write_u32(PhysAddr(POINTERS.into()), DIRECTORY | 1);
        lab.mem.write_u32(PhysAddr(DIRECTORY.into()), TABLE | 7);
        (0..256).for_each(|page| set_entry(&mut lab, page << 12, 3));
        let state = &mut lab.cpu.state;
        state.cr3 = POINTERS;
        state.pdpte = [u64::from(DIRECTORY | 1), 0, 0, 0];
        state.cr4 = (Cr4::PAE | features).bits();
        state.cr0 |= (Cr0::PG | Cr0::WP).bits();
        state.msr.efer = Efer::NXE.bits();
        lab
    })
}

fn page_fault(addr: u32, code: u32) -> Exit {
    Exit::TripleFault { first: Exception::pf(addr, PageFaultCode::from_bits_retain(code)) }
}

#[test]
fn a_page_that_loses_execution_faults_at_its_next_fetch_though_its_blocks_are_linked() {
    let code = assemble(|a| {
        let mut again = a.create_label();
        a.mov(ecx, 100)?;
        a.set_label(&mut again)?;
        a.call(u64::from(OTHER))?;
        a.dec(ecx)?;
        a.jne(again)?;
        a.or(byte_ptr(TABLE + (OTHER >> 12) * 8 + 7), 0x80)?;
        a.mov(ecx, 3)?;
        a.mov(edx, dword_ptr(OTHER))?;
        a.invlpg(byte_ptr(OTHER))?;
        a.mov(edx, dword_ptr(OTHER))?;
        a.jmp(again)
    });
    for mut lab in labs(&code, Cr4::empty()) {
        lab.mem.load(PhysAddr(OTHER.into()), &[0x40, 0xc3]); // inc eax; ret
        assert_eq!(lab.run(10_000), page_fault(OTHER, 0x11));
        assert_eq!((lab.gpr(Gpr::Eax), lab.gpr(Gpr::Edx)), (100, 0xc340), "it can be read");
    }
}

#[test]
fn the_supervisor_calls_user_pages_until_smep_is_set() {
    let code = assemble(|a| {
        a.call(u64::from(OTHER))?;
        a.call(u64::from(OTHER))?;
        a.mov(edx, cr4)?;
        a.or(edx, Cr4::SMEP.bits() as i32)?;
        a.mov(cr4, edx)?;
        a.call(u64::from(OTHER))
    });
    for smap in [Cr4::empty(), Cr4::SMAP] {
        for mut lab in labs(&code, smap) {
            set_entry(&mut lab, OTHER, 7);
            lab.mem.load(PhysAddr(OTHER.into()), &[0x40, 0xc3]);
            assert_eq!(lab.run(100), page_fault(OTHER, 0x11));
            assert_eq!(lab.gpr(Gpr::Eax), 2);
        }
    }
}

#[test]
fn an_instruction_that_crosses_needs_execution_in_both_its_pages() {
    // mov eax, imm32 with its last two bytes in the next page.
    for (bits, expect) in [(3, Exit::Halted), (3 | XD, page_fault(OTHER, 0x11)), (2, page_fault(OTHER, 0x10))] {
        let start = OTHER - 3;
        let code = assemble(|a| a.jmp(u64::from(start)));
        for mut lab in labs(&code, Cr4::empty()) {
            lab.mem.load(PhysAddr(start.into()), &[0xb8, 1, 2, 3, 4, 0xf4]);
            set_entry(&mut lab, OTHER, bits);
            assert_eq!(lab.run(100), expect, "{bits:#x}");
            let loaded = if expect == Exit::Halted { 0x0403_0201 } else { 0 };
            assert_eq!(lab.gpr(Gpr::Eax), loaded);
        }
    }
}

#[test]
fn a_block_over_two_pages_that_are_one_frame_dies_once() {
    let (start, frame) = (OTHER - 3, OTHER - 0x1000);
    let code = assemble(|a| {
        a.call(u64::from(start))?;
        a.mov(ebx, eax)?;
        a.mov(byte_ptr(frame), 9)?;
        a.call(u64::from(start))?;
        a.hlt()
    });
    for mut lab in labs(&code, Cr4::empty()) {
        lab.mem.load(PhysAddr(start.into()), &[0xb8, 1, 2]);
        lab.mem.load(PhysAddr(frame.into()), &[3, 4, 0xc3]);
        lab.mem.write(place(OTHER), &u64::from(frame | 3).to_le_bytes());
        assert_eq!(lab.run(100), Exit::Halted);
        assert_eq!((lab.gpr(Gpr::Ebx), lab.gpr(Gpr::Eax)), (0x0403_0201, 0x0409_0201));
    }
}

#[test]
fn a_crossing_instruction_is_checked_at_each_execution() {
    let start = OTHER - 3;
    let code = assemble(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.call(u64::from(start))?;
        a.call(u64::from(start))?;
        a.or(byte_ptr(TABLE + (OTHER >> 12) * 8 + 7), 0x80)?;
        a.invlpg(byte_ptr(OTHER))?;
        a.jmp(again)
    });
    for mut lab in labs(&code, Cr4::empty()) {
        lab.mem.load(PhysAddr(start.into()), &[0xb8, 1, 2, 3, 4, 0xc3]);
        assert_eq!(lab.run(100), page_fault(OTHER, 0x11));
        assert_eq!(lab.cpu.state.eip, start);
    }
}

#[test]
fn a_loop_meets_another_second_page_as_soon_as_the_old_one_has_gone() {
    const ELSEWHERE: u32 = 0x7000;
    let start = OTHER - 3;
    let code = assemble(|a| {
        let (mut again, mut stays) = (a.create_label(), a.create_label());
        a.mov(ecx, 200)?;
        a.set_label(&mut again)?;
        a.call(u64::from(start))?;
        a.add(ebx, eax)?;
        a.cmp(ecx, 100)?;
        a.jne(stays)?;
        a.mov(dword_ptr(TABLE + (OTHER >> 12) * 8), (ELSEWHERE | 3) as i32)?;
        a.invlpg(byte_ptr(OTHER))?;
        a.set_label(&mut stays)?;
        a.dec(ecx)?;
        a.jnz(again)?;
        a.hlt()
    });
    for mut lab in labs(&code, Cr4::empty()) {
        lab.mem.load(PhysAddr(start.into()), &[0xb8, 1, 2, 0, 0, 0xc3]); // mov eax, 0x201; ret
        lab.mem.load(PhysAddr(ELSEWHERE.into()), &[1, 0, 0xc3]); // mov eax, 0x10201; ret
        assert_eq!(lab.run(10_000), Exit::Halted);
        assert_eq!(lab.gpr(Gpr::Ebx), 101 * 0x201 + 99 * 0x1_0201);
    }
}

#[test]
fn smap_opens_and_closes_by_ac_for_loads_and_stores() {
    let code = assemble(|a| {
        a.stac()?;
        a.mov(eax, dword_ptr(OTHER))?;
        a.inc(dword_ptr(OTHER))?;
        a.clac()?;
        a.mov(ebx, dword_ptr(0x6000))?;
        a.mov(ecx, dword_ptr(OTHER))
    });
    for mut lab in labs(&code, Cr4::SMAP) {
        set_entry(&mut lab, OTHER, 7);
        lab.mem.write_u32(PhysAddr(OTHER.into()), 41);
        assert_eq!(lab.run(100), page_fault(OTHER, 1));
        assert_eq!((lab.gpr(Gpr::Eax), lab.read_u32(OTHER), lab.gpr(Gpr::Ecx)), (41, 42, 0));
    }
}

#[test]
fn smap_closes_string_instructions_and_pushes_too() {
    let copy = assemble(|a| {
        a.stac()?;
        a.mov(ecx, 4)?;
        a.rep().movsd()?;
        a.clac()?;
        a.mov(ecx, 4)?;
        a.rep().movsd()
    });
    for mut lab in labs(&copy, Cr4::SMAP) {
        set_entry(&mut lab, OTHER, 7);
        lab.cpu.state.set_gpr(Gpr::Esi, 0x6000);
        lab.cpu.state.set_gpr(Gpr::Edi, OTHER);
        assert_eq!(lab.run(100), page_fault(OTHER + 16, 3));
        assert_eq!(lab.gpr(Gpr::Ecx), 4);
    }
    for mut lab in labs(&[0x50], Cr4::SMAP) {
        set_entry(&mut lab, OTHER, 7);
        lab.cpu.state.set_gpr(Gpr::Esp, OTHER + 8);
        assert_eq!(lab.run(100), page_fault(OTHER + 4, 3));
    }
}

#[test]
fn implicit_accesses_stay_closed_whatever_ac_says() {
    // mov ds, eax with a GDT in a user page.
    for mut lab in labs(&[0x0f, 0x01, 0xcb, 0x8e, 0xd8], Cr4::SMAP) {
        set_entry(&mut lab, OTHER, 7);
        lab.cpu.state.gdtr = crate::TableRegister { base: OTHER, limit: 0xff };
        lab.cpu.state.set_gpr(Gpr::Eax, 0x10);
        assert_eq!(lab.run(100), page_fault(OTHER + 0x10, 1));
    }
}

#[test]
fn decoding_ahead_sets_no_accessed_flag_and_takes_no_fault() {
    // The jump is taken; what follows it crosses into a page that is clean, or not there.
    for bits in [3, 0] {
        let start = OTHER - 4;
        let code = assemble(|a| a.jmp(u64::from(start)));
        for mut lab in labs(&code, Cr4::empty()) {
            lab.mem.load(PhysAddr((start + 2).into()), &[0xb8, 0, 0, 0, 0]);
            lab.mem.load(PhysAddr((start - 2).into()), &[0x90, 0xf4]);
            lab.mem.load(PhysAddr(start.into()), &[0xeb, 0xfd]); // back to HLT
            set_entry(&mut lab, OTHER, bits);
            assert_eq!(lab.run(100), Exit::Halted);
            assert_eq!(lab.mem.read_u64(place(OTHER)), u64::from(OTHER) | bits);
            assert!(lab.cpu.state.tlb.iter().all(|entry| entry.page != OTHER >> 12));
        }
    }
}
