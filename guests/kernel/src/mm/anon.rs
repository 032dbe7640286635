//! Faults of anonymous memory, and the copy at the first write.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use x86::Pte;

use super::{
    Gfp, Page, alloc_page,
    fault::{FaultError, alloc_user_page},
    gfp::GFP_KERNEL,
    memory::{PAGE_MAPPING_ANON, map_page},
    mm_struct::MmGuard,
    page::{copy_highpage, pfn_to_page, pg, put_page},
    pgtable::{PteExt, mk_pte, rights},
    vma::VmArea,
    vmstat::{self, Item},
};
use crate::arch::paging::flush_tlb_one;
use abi::books::vm;

/// The frame of zeros that unwritten anonymous memory reads.
static ZERO_PFN: AtomicU32 = AtomicU32::new(0);

/// Makes the frame of zeros.
pub fn init() {
    let page = alloc_page(GFP_KERNEL | Gfp::ZERO).expect("boot memory has a frame");
    page.set(pg::RESERVED);
    ZERO_PFN.store(page.pfn(), Relaxed);
}

/// Marks a fresh page as anonymous memory of this area alone.
fn own(mm: &mut MmGuard, area: &VmArea, addr: u32, page: &'static Page) {
    page.mapping.store(mm.record().pgd | PAGE_MAPPING_ANON, Relaxed);
    page.index.store(area.pgoff(addr), Relaxed);
    page.set(pg::SWAPBACKED | pg::ANON_EXCLUSIVE | pg::UPTODATE);
    if let Some(area) = mm.areas.find_mut(addr) {
        area.anon = true;
    }
}

/// `do_anonymous_page`.
pub fn map_anonymous(mm: &mut MmGuard, area: &VmArea, addr: u32, write: bool) -> Result<(), FaultError> {
    if !write {
        mm.pgd.set(addr, mk_pte(ZERO_PFN.load(Relaxed), rights(false))).not_needed();
        if let Some(area) = mm.areas.find_mut(addr) {
            area.anon = true;
        }
        return Ok(());
    }
    let page = alloc_user_page(true)?;
    own(mm, area, addr, page);
    map_page(mm, addr, page, rights(true) | Pte::D);
    Ok(())
}

/// Maps a private copy of `from` at an address where nothing is mapped.
pub fn map_private_copy(mm: &mut MmGuard, area: &VmArea, addr: u32, from: &'static Page) -> Result<(), FaultError> {
    let page = alloc_user_page(false)?;
    copy_highpage(page, from);
    own(mm, area, addr, page);
    map_page(mm, addr, page, rights(true) | Pte::D);
    Ok(())
}

/// `do_wp_page`: a write to a page that is mapped read-only in an area that may be written.
pub fn wp_fault(mm: &mut MmGuard, area: &VmArea, addr: u32, pte: Pte) -> Result<(), FaultError> {
    let writable = pte.with_rights(rights(true));
    let writable = Pte(writable.0 | Pte::A | Pte::D);
    if area.is(vm::SHARED) {
        // The CPU looks again after the fault: no flush.
        mm.pgd.set(addr, writable).not_needed();
        return Ok(());
    }
    let Some(old) = pte.page() else { return Err(FaultError::Accerr) };
    let alone = old.is(pg::ANON_EXCLUSIVE) || (old.is_anon() && old.mapcount() == 1 && old.count() == 1);
    if old.is_anon() && alone {
        old.set(pg::ANON_EXCLUSIVE);
        vmstat::count(Item::pgreuse);
        mm.pgd.set(addr, writable).not_needed();
        return Ok(());
    }
    let page = alloc_user_page(old.pfn() == ZERO_PFN.load(Relaxed))?;
    let reserved = old.is(pg::RESERVED);
    if !reserved {
        copy_highpage(page, old);
        super::memory::zap_range(mm, addr, addr + super::PAGE_SIZE);
    }
    own(mm, area, addr, page);
    map_page(mm, addr, page, rights(true) | Pte::D);
    // The old frame's translation may still be held for reading.
    flush_tlb_one(addr);
    Ok(())
}

/// Whether an entry maps the frame of zeros.
pub fn is_zero_pfn(pfn: u32) -> bool {
    pfn == ZERO_PFN.load(Relaxed)
}

/// The descriptor of the frame of zeros.
pub fn zero_page() -> &'static Page {
    pfn_to_page(ZERO_PFN.load(Relaxed))
}

/// Drops one user of a page that came from `get_user_page`.
pub fn put_user_page(page: &'static Page) {
    put_page(page);
}
