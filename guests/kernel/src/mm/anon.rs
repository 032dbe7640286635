//! Faults of anonymous memory, and the copy at the first write.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use x86::Pte;

use super::{
    Gfp, Page, alloc_page,
    fault::{Access, Bring, Fault, FaultError, Force, alloc_user_page, fault_in},
    filemap_fault::page_mkwrite,
    gfp::GFP_KERNEL,
    memory::map_page,
    mm_struct::{MmCounter, MmGuard, MmStruct},
    page::{copy_highpage, get_page, pfn_to_page, pg, put_page},
    page_lock::{trylock_page, unlock_page},
    pgtable::{PteExt, mk_pte, rights},
    rmap::{Owner, set_anon_rmap},
    swap::{lru_cache_add, mark_page_accessed},
    swap_state::{free_page_and_swap_cache, is_cached_as, lookup_swap_cache, try_to_free_swap},
    swapfile::{swap_free, vm_swap_full},
    swapops::{Sharing, SwapEntry},
    vma::{VmArea, vm_page_prot},
    vmstat::{self, Item},
};
use abi::books::vm;

/// The frame of zeros that unwritten anonymous memory reads.
static ZERO_PFN: AtomicU32 = AtomicU32::new(0);

/// Makes the frame of zeros.
pub fn init() {
    let page = alloc_page(GFP_KERNEL | Gfp::ZERO).expect("boot memory has a frame");
    page.set(pg::RESERVED);
    ZERO_PFN.store(page.pfn(), Relaxed);
}

/// Maps a fresh page as anonymous memory of this address space alone.
fn map_new(mm: &mut MmGuard, area: &VmArea, addr: u32, page: &'static Page) {
    page.set(pg::SWAPBACKED | pg::UPTODATE);
    set_anon_rmap(page, &mm.anon_vmas, Owner::Exclusive, area.pgoff(addr));
    note_anon(mm, addr);
    map_page(mm, area, addr, page, anon_prot(area) | Pte::D);
    lru_cache_add(page);
}

/// The rights of a page that is the address space's own (`maybe_mkwrite`).
fn anon_prot(area: &VmArea) -> u32 {
    if area.is(vm::WRITE) { rights(true) } else { vm_page_prot(area.record.flags) }
}

/// Some page of the area is anonymous from now on.
fn note_anon(mm: &mut MmGuard, addr: u32) {
    if let Some(area) = mm.areas.find_mut(addr) {
        area.anon = true;
    }
}

/// `do_anonymous_page`.
pub fn map_anonymous(mm: &mut MmGuard, area: &VmArea, addr: u32, write: bool) -> Result<Fault, FaultError> {
    if !write {
        // Who looks from outside may read what the program itself may not.
        mm.pgd.set(addr, mk_pte(ZERO_PFN.load(Relaxed), vm_page_prot(area.record.flags))).not_needed();
        note_anon(mm, addr);
        return Ok(Fault::Mapped);
    }
    let page = alloc_user_page(true)?;
    map_new(mm, area, addr, page);
    Ok(Fault::Mapped)
}

/// Maps a private copy of `from` at an address where nothing is mapped.
pub fn map_private_copy(mm: &mut MmGuard, area: &VmArea, addr: u32, from: &'static Page) -> Result<Fault, FaultError> {
    let mapping = from.mapping.load(Relaxed);
    let page = alloc_user_page(false)?;
    if from.mapping.load(Relaxed) != mapping {
        // The file was cut off there while memory was sought.
        put_page(page);
        return Ok(Fault::Mapped);
    }
    copy_highpage(page, from);
    map_new(mm, area, addr, page);
    Ok(Fault::Mapped)
}

/// `do_wp_page`: a write to a page that is mapped read-only in an area that may be written.
pub fn wp_fault(mm: &mut MmGuard, area: &VmArea, addr: u32, pte: Pte) -> Result<Fault, FaultError> {
    let writable = Pte(pte.with_rights(anon_prot(area)).0 | Pte::A | Pte::D);
    let Some(old) = pte.page() else { return Err(FaultError::Accerr) };
    if area.is(vm::SHARED) {
        if let Some(wait) = page_mkwrite(area, addr, old) {
            return Ok(Fault::Wait(wait));
        }
        // The CPU looks again after the fault: no flush.
        mm.pgd.set(addr, writable).not_needed();
        return Ok(Fault::Mapped);
    }
    if old.is_anon() {
        if !old.is(pg::ANON_EXCLUSIVE) && !trylock_page(old) {
            return Ok(Fault::Wait(Bring::Unlocked(get_page(old))));
        }
        if old.is(pg::ANON_EXCLUSIVE) || reuse_locked(mm, area, addr, old) {
            vmstat::count(Item::pgreuse);
            mm.pgd.set(addr, writable).not_needed();
            return Ok(Fault::Mapped);
        }
    }
    let reserved = old.is(pg::RESERVED);
    if !reserved {
        // It must not become another's while memory is sought.
        get_page(old);
    }
    let copy = alloc_user_page(reserved);
    let still = (mm.pgd.get(addr).0 ^ pte.0) & !(Pte::A | Pte::D) == 0;
    match copy {
        Ok(page) if still => {
            if reserved {
                // The frame of zeros may still be held for reading.
                mm.pgd.take(addr).1.now();
            } else {
                copy_highpage(page, old);
                super::memory::zap_range(mm, addr, addr + super::PAGE_SIZE);
                put_page(old);
            }
            map_new(mm, area, addr, page);
            Ok(Fault::Mapped)
        }
        other => {
            if !reserved {
                free_page_and_swap_cache(old);
            }
            // The page went to swap meanwhile: the access faults again and finds it there.
            other.map(|page| {
                put_page(page);
                Fault::Mapped
            })
        }
    }
}

/// Decides about a locked anonymous page without the mark of being one's alone, and unlocks
/// it: if neither another entry nor a slot of swap has it, it is ours now. Other users do not
/// count: they look at the page, and none of them gives it to a program.
fn reuse_locked(mm: &MmGuard, area: &VmArea, addr: u32, page: &'static Page) -> bool {
    if page.mapcount() == 1 {
        try_to_free_swap(page);
    }
    let alone = page.mapcount() == 1 && !page.is(pg::SWAPCACHE);
    if alone {
        set_anon_rmap(page, &mm.anon_vmas, Owner::Exclusive, area.pgoff(addr));
    }
    unlock_page(page);
    alone
}

/// `do_swap_page`: the page is in swap.
pub fn swap_fault(mm: &mut MmGuard, area: &VmArea, addr: u32, pte: Pte, write: bool) -> Result<Fault, FaultError> {
    let Some(entry) = SwapEntry::of_pte(pte) else { return Err(FaultError::Accerr) };
    let Some(page) = lookup_swap_cache(entry) else { return Ok(Fault::Wait(Bring::Swap(entry))) };
    if !trylock_page(page) {
        return Ok(Fault::Wait(Bring::Unlocked(page)));
    }
    if !is_cached_as(page, entry) {
        unlock_page(page);
        put_page(page);
        return Ok(Fault::Mapped);
    }
    if !page.is(pg::UPTODATE) {
        unlock_page(page);
        put_page(page);
        return Err(FaultError::Sigbus);
    }
    let mut exclusive = SwapEntry::sharing(pte) == Sharing::Exclusive;
    swap_free(entry);
    if vm_swap_full() || area.is(vm::LOCKED) || (write && !exclusive) {
        try_to_free_swap(page);
    }
    // No entry maps it and no slot has it: it has left swap for us alone.
    exclusive |= !page.is(pg::SWAPCACHE) && page.mapcount() == 0;
    let owner = if exclusive { Owner::Exclusive } else { Owner::Family };
    if page.mapcount() == 0 {
        set_anon_rmap(page, &mm.anon_vmas, owner, area.pgoff(addr));
    }
    mm.mm().add_mm_counter(MmCounter::Swap, -1);
    let prot = if exclusive && write { anon_prot(area) | Pte::D } else { vm_page_prot(area.record.flags) };
    map_page(mm, area, addr, page, prot);
    mark_page_accessed(page);
    unlock_page(page);
    if write && !exclusive {
        let pte = mm.pgd.get(addr);
        return wp_fault(mm, area, addr, pte);
    }
    Ok(Fault::Mapped)
}

/// `unuse_mm`: brings every page of an address space back that lies in the swap area `kind`.
pub fn unuse_mm(mm: &MmStruct, kind: u32) -> abi::errno::Result<()> {
    let mut at = 0;
    loop {
        let mut guard = mm.lock();
        let is_there = |pte| SwapEntry::of_pte(pte).is_some_and(|entry| entry.kind() == kind);
        let Some(addr) = guard.pgd.find_entry(at, is_there) else { return Ok(()) };
        match fault_in(&mut guard, addr, Access { write: false, present: false }, Force::Yes) {
            Ok(_) | Err(FaultError::Maperr | FaultError::Accerr) => {}
            Err(FaultError::Sigbus) => return Err(abi::errno::EIO),
            Err(FaultError::Oom) => return Err(abi::errno::ENOMEM),
        }
        at = addr;
    }
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
