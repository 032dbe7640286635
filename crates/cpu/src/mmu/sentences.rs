//! The promises of the TLB and its projections, a sentence a test, where they concern more than one file.

use x86::{Cr0, Cr4, Efer, LinearAddr, PageFaultCode, PhysAddr};

use super::{
    access::{self, View},
    fetch, flush,
    rights::Privilege,
    tlb::{Tlb, TlbGeometry},
    walk::PageSize,
};
use crate::{Cpu, Exception, fixture::Fixture};

/// PAE with NX, WP and global pages: 4 KiB pages 0x10 up to 0x17 lead to frames 0x20 up, for all;
/// linear 0x200000 up is a 2 MiB page at 0.
fn pae() -> Fixture {
    let mut f = Fixture::flat();
    let mut entry = |at: u64, value: u64| f.mem.write(PhysAddr(at), &value.to_le_bytes());
    entry(0x1000, 0x2007);
    entry(0x1008, 0x87);
    (0x10..0x18).for_each(|page| entry(0x2000 + page * 8, (page + 0x10) << 12 | 7));
    let state = &mut f.cpu.state;
    state.cr3 = 0x3000;
    state.pdpte = [0x1001, 0, 0, 0];
    state.cr0 |= (Cr0::PG | Cr0::WP).bits();
    state.cr4 |= (Cr4::PAE | Cr4::PGE).bits();
    state.msr.efer = Efer::NXE.bits();
    f
}

fn set(f: &mut Fixture, page: u64, value: u64) {
    f.mem.write(PhysAddr(0x2000 + page * 8), &value.to_le_bytes());
}

fn pf(addr: u32, code: u32) -> Exception {
    Exception::pf(addr, PageFaultCode::from_bits_retain(code))
}

fn read(f: &mut Fixture, addr: u32) -> Result<u8, Exception> {
    f.run(|cpu| access::read_u8(cpu, LinearAddr(addr), View::Current))
}

fn write(f: &mut Fixture, addr: u32) -> Result<(), Exception> {
    f.run(|cpu| access::write_u8(cpu, LinearAddr(addr), 1, View::Current))
}

fn held(f: &Fixture) -> Vec<u32> {
    f.cpu.state.tlb.iter().map(|entry| entry.page).collect()
}

fn projected(f: &Fixture, privilege: Privilege, page: u32) -> (bool, bool) {
    (f.projection.get(privilege, page, false) != 0, f.projection.get(privilege, page, true) != 0)
}

#[test]
fn a_translation_with_a_reserved_bit_is_never_held() {
    let mut f = pae();
    set(&mut f, 0x10, 1 << 40 | 7);
    assert_eq!(read(&mut f, 0x1_0000), Err(pf(0x1_0000, 9)));
    assert!(held(&f).is_empty());
    set(&mut f, 0x10, 0x2_0007);
    assert!(read(&mut f, 0x1_0000).is_ok(), "no flush was needed");
}

#[test]
fn a_pointer_register_keeps_its_value_whatever_memory_says() {
    let mut f = pae();
    f.mem.write(PhysAddr(0x3000), &0u64.to_le_bytes());
    assert!(read(&mut f, 0x1_0000).is_ok());
}

#[test]
fn of_a_small_and_a_2_mib_page_that_overlap_the_small_one_translates() {
    let mut f = pae();
    f.mem.write(PhysAddr(0x4000), &0x5_0007u64.to_le_bytes());
    f.mem.write(PhysAddr(0x1008), &0x4007u64.to_le_bytes()); // a table in place of the large page
    f.mem.write(PhysAddr(0x5_0000), &[7]);
    assert_eq!(read(&mut f, 0x20_0000), Ok(7));
    f.mem.write(PhysAddr(0x1008), &0x87u64.to_le_bytes()); // and back, with no flush
    assert!(read(&mut f, 0x20_1000).is_ok());
    assert_eq!(f.cpu.state.tlb.iter().map(|e| e.size).collect::<Vec<_>>(), [PageSize::Kib4, PageSize::Mib2]);
    f.run(|cpu| cpu.projection().clear());
    assert_eq!(read(&mut f, 0x20_0000), Ok(7), "the small one is still held");
    f.run(|cpu| flush::invlpg(cpu, LinearAddr(0x20_0123)));
    assert!(held(&f).is_empty(), "INVLPG takes every entry of the mapping");
    assert_eq!(projected(&f, Privilege::Supervisor, 0x201), (false, false));
}

#[test]
fn a_clean_large_page_that_has_become_small_ones_is_replaced_at_the_first_store() {
    let mut f = pae();
    read(&mut f, 0x20_0000).unwrap();
    f.mem.write(PhysAddr(0x4000), &0x5_0007u64.to_le_bytes());
    f.mem.write(PhysAddr(0x1008), &0x4007u64.to_le_bytes());
    write(&mut f, 0x20_0abc).unwrap();
    assert_eq!(f.mem.read_u8(PhysAddr(0x5_0abc)), 1);
    assert_eq!(f.cpu.state.tlb.iter().map(|e| (e.page, e.size)).collect::<Vec<_>>(), [(0x200, PageSize::Kib4)]);
}

#[test]
fn a_right_that_was_taken_without_a_flush_is_still_held() {
    let mut f = pae();
    let fetch = |f: &mut Fixture| f.run(|cpu| fetch::translate(cpu, LinearAddr(0x1_0000)).map(|at| at.0));
    assert_eq!(fetch(&mut f), Ok(0x2_0000));
    set(&mut f, 0x10, 1 << 63 | 0x2_0007);
    f.cpu.state.tlb.clear_latch();
    assert_eq!(fetch(&mut f), Ok(0x2_0000));
    f.run(|cpu| flush::invlpg(cpu, LinearAddr(0x1_0000)));
    assert_eq!(fetch(&mut f), Err(pf(0x1_0000, 0x11)));
}

#[test]
fn the_delivery_of_a_page_fault_drops_a_global_entry_too() {
    let mut f = pae();
    set(&mut f, 0x10, 0x2_0105);
    read(&mut f, 0x1_0000).unwrap();
    read(&mut f, 0x1_1000).unwrap();
    f.run(|cpu| flush::page_fault(cpu, LinearAddr(0x1_0fff)));
    assert_eq!(held(&f), [0x11]);
}

#[test]
fn replacement_is_by_the_order_of_filling_and_never_by_use() {
    let mut f = pae();
    f.cpu.state.tlb = Tlb::new(TlbGeometry::parse("2x2").unwrap());
    let at = |f: &mut Fixture, time, addr| {
        f.cpu.run.time_offset = time;
        read(f, addr).unwrap();
    };
    at(&mut f, 1, 0x1_0000);
    at(&mut f, 2, 0x1_1000);
    at(&mut f, 3, 0x1_0000); // a use
    at(&mut f, 4, 0x1_2000);
    let mut pages = held(&f);
    pages.sort();
    assert_eq!(pages, [0x11, 0x12]);
    assert_eq!(f.cpu.state.tlb.counts().evictions, 1);
    assert_eq!(projected(&f, Privilege::Supervisor, 0x10), (false, false), "what has gone is not projected");
}

#[test]
fn a_change_of_wp_clears_the_supervisors_projections_and_nothing_else() {
    let mut f = pae();
    write(&mut f, 0x1_0000).unwrap();
    f.cpu.state.cpl = 3;
    write(&mut f, 0x1_0000).unwrap();
    let before: Vec<_> = f.cpu.state.tlb.iter().copied().collect();
    f.run(flush::write_protect);
    assert_eq!(projected(&f, Privilege::Supervisor, 0x10), (false, false));
    assert_eq!(projected(&f, Privilege::User, 0x10), (true, true));
    assert_eq!(f.cpu.state.tlb.iter().copied().collect::<Vec<_>>(), before);
}

#[test]
fn a_change_of_address_line_20_clears_every_projection_and_the_latch_and_no_entry() {
    let mut f = pae();
    write(&mut f, 0x1_0000).unwrap();
    f.run(|cpu| fetch::translate(cpu, LinearAddr(0x1_1000)).map(drop)).unwrap();
    f.bus.a20_gated = true;
    f.run(flush::address_line_20);
    assert_eq!(projected(&f, Privilege::Supervisor, 0x10), (false, false));
    assert_eq!((held(&f), f.cpu.state.tlb.latch()), (vec![0x10, 0x11], None));
}

#[test]
fn a_closed_view_has_projections_of_its_own() {
    let mut f = pae();
    f.cpu.state.cr4 |= Cr4::SMAP.bits();
    f.cpu.state.eflags |= x86::Eflags::AC;
    assert!(write(&mut f, 0x1_0000).is_ok(), "AC opens it");
    f.cpu.state.eflags -= x86::Eflags::AC;
    assert_eq!(write(&mut f, 0x1_0000), Err(pf(0x1_0000, 3)));
    assert_eq!(projected(&f, Privilege::Supervisor, 0x10), (true, true));
    assert_eq!(projected(&f, Privilege::Closed, 0x10), (false, false));
    set(&mut f, 0x11, 0x2_1003);
    write(&mut f, 0x1_1000).unwrap();
    assert_eq!(projected(&f, Privilege::Closed, 0x11), (true, true));
    f.run(|cpu| flush::invlpg(cpu, LinearAddr(0x1_1000)));
    assert_eq!(projected(&f, Privilege::Closed, 0x11), (false, false));
}

#[test]
fn implicit_accesses_of_a_program_are_the_supervisors_and_closed_by_smap() {
    let mut f = pae();
    f.cpu.state.cpl = 3;
    let implicit = |cpu: &mut Cpu| access::read_u8(cpu, LinearAddr(0x1_0000), View::Supervisor);
    assert!(f.run(implicit).is_ok());
    f.cpu.state.cr4 |= Cr4::SMAP.bits();
    f.cpu.state.eflags |= x86::Eflags::AC;
    assert_eq!(f.run(implicit), Err(pf(0x1_0000, 1)), "no U/S, and AC counts for nothing");
    assert!(f.run(|cpu| access::read_u8(cpu, LinearAddr(0x1_0000), View::Current)).is_ok());
}

#[test]
fn an_address_beyond_4_gib_reaches_nothing() {
    let mut f = pae();
    f.bus.answer = !0;
    set(&mut f, 0x10, 0x3_0000_0007);
    assert_eq!(read(&mut f, 0x1_0123), Ok(0xff));
    write(&mut f, 0x1_0123).unwrap();
    let places: Vec<_> = f.bus.log.iter().map(|&(_, at, ..)| at).collect();
    assert_eq!(places, [0x3_0000_0123, 0x3_0000_0123]);
    assert_eq!(f.mem.read_u8(PhysAddr(0x123)), 0);
}
