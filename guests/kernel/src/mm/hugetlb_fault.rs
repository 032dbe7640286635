//! Huge pages in page tables: fault, copy at the first write, and what `munmap`, `mprotect`,
//! `mremap` and `fork` do to them. One entry of the directory is the whole mapping.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use abi::books::vm;
use x86::Pde;

use super::{
    Page,
    fault::{Fault, FaultError},
    hugetlb::{HPAGE_PAGES, HPAGE_SHIFT, HPAGE_SIZE, HugePages, frames},
    mm_struct::{MmCounter, MmGuard, MmStruct},
    page::{clear_highpage, copy_highpage, get_page, pfn_to_page, pg, put_page},
    pgtable::{HUGE_RIGHTS, rights},
    rmap::PAGE_MAPPING_ANON,
    vma::{VmArea, is_cow_mapping, vm_page_prot},
};
use crate::{pr_info, sync::cond_resched, task};

/// Whether an address begins a huge page.
pub fn huge_aligned(addr: u32) -> bool {
    addr & (HPAGE_SIZE - 1) == 0
}

/// `hugetlb_vm_op_split`: whether the area of an address, if there is one, may become two
/// there.
pub fn may_split(mm: &MmGuard, addr: u32) -> bool {
    huge_aligned(addr) || mm.areas.lookup(addr).is_none_or(|area| !area.is(vm::HUGETLB) || area.record.start == addr)
}

/// The number of a huge page in what the area maps.
fn number(area: &VmArea, addr: u32) -> u32 {
    area.pgoff(addr) / HPAGE_PAGES
}

/// The page that an entry maps.
fn page_of(pde: Pde) -> &'static Page {
    pfn_to_page(pde.large_frame().frame())
}

/// `hugetlb_fault`: makes the huge page around an address accessible.
pub fn hugetlb_fault(mm: &mut MmGuard, area: &VmArea, addr: u32, write: bool) -> Result<Fault, FaultError> {
    let Some(huge) = area.file.as_ref().and_then(|file| file.huge_pages()) else { return Err(FaultError::Sigbus) };
    let at = addr & !(HPAGE_SIZE - 1);
    match mm.pgd.huge(at) {
        None => no_page(mm, area, huge, at, write)?,
        Some(pde) if write && !pde.writable() => wp(mm, area, huge, at, pde)?,
        // The translation was stale, or another thread was faster.
        Some(_) => mm.pgd.update_huge(at, |pde| Pde(pde.0 | Pde::A)).1.here(),
    }
    Ok(Fault::Mapped)
}

/// `hugetlb_no_page`.
fn no_page(mm: &mut MmGuard, area: &VmArea, huge: &HugePages, at: u32, write: bool) -> Result<(), FaultError> {
    let number = number(area, at);
    let found = if huge.is_shared() { huge.find(number) } else { None };
    let page = match found {
        Some(page) => page,
        None => {
            if huge.has_lost(mm.mm()) {
                pr_info!("PID {} killed due to inadequate hugepage pool", task::running().pid);
                return Err(FaultError::Sigbus);
            }
            let page = huge.take_page(mm.mm(), number).ok_or(FaultError::Sigbus)?;
            for frame in frames(page) {
                clear_highpage(frame);
                if !huge.is_shared() {
                    // Of another mapping of the file somebody would bring the same page meanwhile.
                    cond_resched();
                }
            }
            page.set(pg::UPTODATE);
            page.index.store(number * HPAGE_PAGES, Relaxed);
            if huge.is_shared() {
                huge.insert(number, page);
                get_page(page);
            } else {
                page.mapping.store(PAGE_MAPPING_ANON, Relaxed);
                page.set(pg::ANON_EXCLUSIVE);
            }
            page
        }
    };
    let prot = if write { rights(true) | Pde::D } else { vm_page_prot(area.record.flags) };
    map(mm, at, page, prot);
    Ok(())
}

/// An entry maps the page from now on, and takes over the caller's use of it.
fn map(mm: &mut MmGuard, at: u32, page: &'static Page, prot: u32) {
    if mm.pgd.has_table(at) {
        // Of small pages that were here before.
        mm.pgd.free_table(at);
    }
    page.add_rmap();
    mm.mm().add_mm_counter(MmCounter::Hugetlb, HPAGE_PAGES as i32);
    mm.pgd.set_huge(at, Pde(page.phys() | prot | Pde::A | Pde::PS)).not_needed();
}

/// An entry has ceased to map a page; its use of the page is the caller's now.
fn unmap(mm: &MmStruct, page: &Page) {
    page.remove_rmap();
    mm.add_mm_counter(MmCounter::Hugetlb, -(HPAGE_PAGES as i32));
}

/// `hugetlb_wp`: a write to a page that is mapped read-only.
fn wp(mm: &mut MmGuard, area: &VmArea, huge: &HugePages, at: u32, pde: Pde) -> Result<(), FaultError> {
    let old = page_of(pde);
    let writable = Pde(pde.0 & !HUGE_RIGHTS | rights(true) | Pde::A | Pde::D);
    if !area.is(vm::WRITE) {
        // Nobody writes into huge pages by force.
        return Err(FaultError::Accerr);
    }
    if !area.is(vm::SHARED) && old.mapcount() != 1 {
        match huge.take_page(mm.mm(), number(area, at)) {
            Some(new) => {
                copy(new, old);
                mm.pgd.take_huge(at).1.now();
                unmap(mm.mm(), old);
                put_page(old);
                map(mm, at, new, rights(true) | Pde::D);
                return Ok(());
            }
            None if huge.is_owner(mm.mm()) => unmap_ref_private(mm.mm(), huge, number(area, at), old),
            None => return Err(FaultError::Sigbus),
        }
    }
    if !area.is(vm::SHARED) {
        old.set(pg::ANON_EXCLUSIVE);
    }
    // The CPU looks again after the fault: no flush.
    mm.pgd.set_huge(at, writable).not_needed();
    Ok(())
}

/// `copy_user_huge_page`, to a page that is the copier's alone.
fn copy(new: &'static Page, old: &'static Page) {
    frames(new).iter().zip(frames(old)).for_each(|(to, from)| copy_highpage(to, from));
    new.set(pg::UPTODATE | pg::ANON_EXCLUSIVE);
    new.index.store(old.index.load(Relaxed), Relaxed);
    new.mapping.store(PAGE_MAPPING_ANON, Relaxed);
}

/// `unmap_ref_private`: the owner of a private mapping was promised its pages, and there is
/// none for a copy. All others lose theirs, and find none when they come for it.
fn unmap_ref_private(owner: &MmStruct, huge: &HugePages, number: u32, page: &'static Page) {
    task::for_each_process(&mut |process| {
        let mm = process.mm;
        if core::ptr::eq(mm, owner) {
            return;
        }
        let is_here = |area: &&VmArea| {
            let same =
                area.file.as_ref().and_then(|file| file.huge_pages()).is_some_and(|own| core::ptr::eq(own, huge));
            let first = area.record.pgoff / HPAGE_PAGES;
            same && (first..first + (area.len() >> HPAGE_SHIFT)).contains(&number)
        };
        // SAFETY: no change of a tree of areas is half done: such a change never sleeps.
        let Some(area) = (unsafe { mm.areas_unlocked() }).iter().find(is_here) else { return };
        let at = area.record.start + ((number - area.record.pgoff / HPAGE_PAGES) << HPAGE_SHIFT);
        if mm.page_tables().huge(at).is_some_and(|pde| core::ptr::eq(page_of(pde), page)) {
            mm.page_tables().take_huge(at).1.now();
            unmap(mm, page);
            put_page(page);
            huge.note_lost(mm);
        }
    });
}

/// `unmap_hugepage_range`: no huge page of the range is mapped any more.
pub fn zap_huge_range(mm: &MmStruct, start: u32, end: u32) {
    let tables = mm.page_tables();
    let mut at = start;
    while let Some(addr) = tables.next_huge(at, end) {
        debug_assert!(huge_aligned(addr) && end - addr >= HPAGE_SIZE, "half of a huge page is unmapped");
        at = addr + HPAGE_SIZE;
        let (pde, flush) = tables.take_huge(addr);
        flush.now();
        unmap(mm, page_of(pde));
        put_page(page_of(pde));
    }
}

/// Areas of a range are about to go: what was promised to them is free for others.
pub fn close_huge_areas(mm: &MmGuard, start: u32, end: u32) {
    for area in mm.areas.range(start, end).filter(|area| area.is(vm::HUGETLB)) {
        let (from, to) = (area.record.start.max(start), area.record.end.min(end));
        if let Some(huge) = area.file.as_ref().and_then(|file| file.huge_pages()) {
            huge.close(mm.mm(), number(area, from), number(area, from) + ((to - from) >> HPAGE_SHIFT));
        }
    }
}

/// `copy_hugetlb_page_range`: the child maps what the parent does. A private page is copied
/// at the first write.
pub fn copy_huge_range(from: &MmGuard, to: &mut MmGuard, area: &VmArea) {
    let mut at = area.record.start;
    while let Some(addr) = from.pgd.next_huge(at, area.record.end) {
        at = addr + HPAGE_SIZE;
        let Some(mut pde) = from.pgd.huge(addr) else { continue };
        let page = page_of(pde);
        if is_cow_mapping(area.record.flags) {
            let (old, flush) = from.pgd.update_huge(addr, |pde| Pde(pde.0 & !Pde::RW));
            flush.with_range();
            pde = Pde(old.0 & !Pde::RW);
            page.clear(pg::ANON_EXCLUSIVE);
        }
        get_page(page).add_rmap();
        to.mm().add_mm_counter(MmCounter::Hugetlb, HPAGE_PAGES as i32);
        to.pgd.set_huge(addr, pde).not_needed();
    }
}

/// `move_hugetlb_page_tables`: what was mapped at `old` is mapped at `new`.
pub fn move_huge_range(mm: &mut MmGuard, old: u32, new: u32, len: u32) {
    let mut at = old;
    while let Some(addr) = mm.pgd.next_huge(at, old + len) {
        at = addr + HPAGE_SIZE;
        let to = new + (addr - old);
        if mm.pgd.has_table(to) {
            mm.pgd.free_table(to);
        }
        let (pde, flush) = mm.pgd.take_huge(addr);
        flush.now();
        mm.pgd.set_huge(to, pde).not_needed();
    }
}

/// `hugetlb_change_protection`: gives the pages of a range the rights of their area's new
/// flags; the first write to a private page decides about a copy. The caller flushes.
pub fn change_huge_protection(mm: &MmGuard, start: u32, end: u32, flags: u32) {
    let mut at = start;
    while let Some(addr) = mm.pgd.next_huge(at, end) {
        at = addr + HPAGE_SIZE;
        mm.pgd.update_huge(addr, |pde| Pde(pde.0 & !HUGE_RIGHTS | vm_page_prot(flags))).1.with_range();
    }
}
