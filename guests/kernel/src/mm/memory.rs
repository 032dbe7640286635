//! Page-table work on whole ranges: zap, copy at fork, move, protect.

use core::sync::atomic::Ordering::Relaxed;

use abi::{
    books::vm,
    errno::{ENOMEM, Result},
};
use x86::Pte;

use super::{
    PAGE_SIZE, Page,
    mm_struct::MmGuard,
    page::{get_page, pg, put_page},
    pgtable::{PGDIR_SIZE, PageDirectory, PteExt, RIGHTS_NONE, mk_pte, rights},
    vma::{VmArea, is_cow_mapping},
    vmstat::{self, Item},
};
use crate::arch::TASK_SIZE;

/// In `page.mapping`: an anonymous page.
pub const PAGE_MAPPING_ANON: u32 = 1;

impl Page {
    /// Whether the page belongs to an area, not to a file.
    pub fn is_anon(&self) -> bool {
        self.mapping.load(Relaxed) & PAGE_MAPPING_ANON != 0
    }
}

/// Changes the resident counts for a page that is mapped or unmapped.
fn count_rss(mm: &mut MmGuard, page: &Page, delta: i32) {
    let record = mm.record_mut();
    let counter = if page.is_anon() {
        &mut record.rss_anon
    } else if page.is(pg::SWAPBACKED) {
        &mut record.rss_shmem
    } else {
        &mut record.rss_file
    };
    *counter = counter.wrapping_add(delta as u32);
}

/// A page-table entry now maps the page. Takes over the caller's use of it.
pub fn map_page(mm: &mut MmGuard, addr: u32, page: &'static Page, pte_rights: u32) {
    let before = page.mapcount();
    page.add_rmap();
    if before == 0 {
        vmstat::count(if page.is_anon() { Item::nr_anon_pages } else { Item::nr_mapped });
    }
    count_rss(mm, page, 1);
    mm.pgd.set(addr, mk_pte(page.pfn(), pte_rights)).not_needed();
}

/// A page-table entry has ceased to map the page; its use of the page is the caller's now.
fn unmap_page(mm: &mut MmGuard, page: &'static Page, old: Pte) {
    if old.dirty() && !page.is_anon() {
        page.set(pg::DIRTY);
    }
    if old.accessed() {
        page.set(pg::REFERENCED);
    }
    count_rss(mm, page, -1);
    page.remove_rmap();
    if page.mapcount() == 0 {
        vmstat::add(if page.is_anon() { Item::nr_anon_pages } else { Item::nr_mapped }, -1);
    }
}

/// Pages that left the tables and go when the CPUs have forgotten them.
struct Gather {
    pages: [Option<&'static Page>; 32],
    len: usize,
    start: u32,
    end: u32,
}

impl Gather {
    const fn new() -> Self {
        Gather { pages: [None; 32], len: 0, start: !0, end: 0 }
    }

    fn add(&mut self, pgd: &PageDirectory, addr: u32, page: Option<&'static Page>) {
        self.start = self.start.min(addr);
        self.end = self.end.max(addr + PAGE_SIZE);
        if page.is_some() {
            self.pages[self.len] = page;
            self.len += 1;
            if self.len == self.pages.len() {
                self.finish(pgd);
            }
        }
    }

    fn finish(&mut self, pgd: &PageDirectory) {
        if self.start < self.end {
            pgd.flush_range(self.start, self.end);
        }
        self.pages[..self.len].iter_mut().filter_map(Option::take).for_each(put_page);
        (self.len, self.start, self.end) = (0, !0, 0);
    }
}

/// `zap_page_range`: nothing in the range is mapped any more. The areas stay.
pub fn zap_range(mm: &mut MmGuard, start: u32, end: u32) {
    mm.update_hiwater_rss();
    let mut gather = Gather::new();
    let mut addr = start;
    while let Some(at) = mm.pgd.next_with_table(addr, end) {
        addr = at;
        let table_end = ((at & !(PGDIR_SIZE - 1)) + (PGDIR_SIZE - 1)).min(end - 1) + 1;
        while addr < table_end {
            if !mm.pgd.get(addr).is_empty() {
                let (old, flush) = mm.pgd.take(addr);
                flush.with_range();
                let page = old.page().filter(|page| !page.is(pg::RESERVED));
                if let Some(page) = page {
                    unmap_page(mm, page, old);
                }
                gather.add(&mm.pgd, addr, page);
            }
            addr += PAGE_SIZE;
        }
    }
    gather.finish(&mm.pgd);
}

/// Gives back the page tables of a range that no area needs any more.
pub fn free_pgtables(mm: &mut MmGuard, start: u32, end: u32) {
    let mut addr = start & !(PGDIR_SIZE - 1);
    while let Some(at) = mm.pgd.next_with_table(addr, end) {
        let slot = at & !(PGDIR_SIZE - 1);
        if !mm.areas.intersects(slot, slot + PGDIR_SIZE) {
            mm.pgd.free_table(slot);
        }
        addr = slot + PGDIR_SIZE;
    }
}

/// Unmaps everything: the end of an address space.
pub fn exit_mmap(mm: &mut MmGuard) {
    zap_range(mm, 0, TASK_SIZE);
    drop(mm.areas.take(0, TASK_SIZE));
    mm.record_mut().total_vm = 0;
    free_pgtables(mm, 0, TASK_SIZE);
    mm.set_exe(None);
}

/// Gives the child every area of the parent and shares the frames.
pub fn dup_mmap(from: &mut MmGuard, to: &mut MmGuard) -> Result<()> {
    to.record_mut().total_vm = 0;
    let mut at = from.areas.iter().next().map(|area| area.record.start);
    while let Some(start) = at {
        let Some(area) = from.areas.lookup(start) else { break };
        let area = area.clone();
        at = from.areas.find(area.record.end).map(|next| next.record.start);
        if area.is(vm::DONTCOPY) {
            continue;
        }
        let mut copy = area.clone();
        copy.record.flags &= !vm::LOCKED;
        to.insert_area(copy);
        // File pages without private copies are cheaper to fault in again.
        if area.anon || area.is(vm::PFNMAP) {
            copy_page_range(from, to, &area)?;
        }
    }
    // The parent lost its write rights.
    from.pgd.flush_range(0, TASK_SIZE);
    Ok(())
}

fn copy_page_range(from: &mut MmGuard, to: &mut MmGuard, area: &VmArea) -> Result<()> {
    let (mut addr, end) = (area.record.start, area.record.end);
    let cow = is_cow_mapping(area.record.flags);
    while let Some(at) = from.pgd.next_with_table(addr, end) {
        addr = at;
        let table_end = ((at & !(PGDIR_SIZE - 1)) + (PGDIR_SIZE - 1)).min(end - 1) + 1;
        while addr < table_end {
            let mut pte = from.pgd.get(addr);
            if !pte.is_empty() {
                if !to.pgd.alloc_table(addr) {
                    return Err(ENOMEM);
                }
                if cow && pte.writable() {
                    pte = Pte(pte.0 & !Pte::RW);
                    from.pgd.set(addr, pte).with_range();
                }
                if let Some(page) = pte.page().filter(|page| !page.is(pg::RESERVED)) {
                    page.clear(pg::ANON_EXCLUSIVE);
                    get_page(page).add_rmap();
                    count_rss(to, page, 1);
                }
                to.pgd.set(addr, pte).not_needed();
            }
            addr += PAGE_SIZE;
        }
    }
    Ok(())
}

/// `move_page_tables`: what was mapped at `old` is mapped at `new`. ENOMEM without memory
/// for a table; then what was moved is moved.
pub fn move_page_tables(mm: &mut MmGuard, old: u32, new: u32, len: u32) -> Result<()> {
    let mut offset = 0;
    while let Some(at) = mm.pgd.next_with_table(old + offset, old + len) {
        offset = at - old;
        if !mm.pgd.get(at).is_empty() {
            if !mm.pgd.alloc_table(new + offset) {
                mm.pgd.flush_range(old, old + len);
                return Err(ENOMEM);
            }
            let (pte, flush) = mm.pgd.take(at);
            flush.with_range();
            mm.pgd.set(new + offset, pte).not_needed();
        }
        offset += PAGE_SIZE;
        if offset >= len {
            break;
        }
    }
    mm.pgd.flush_range(old, old + len);
    Ok(())
}

/// Gives the pages of a range the rights of their area's new flags. A private page never
/// becomes writable here: the next write decides about a copy.
pub fn change_protection(mm: &mut MmGuard, start: u32, end: u32, flags: u32) {
    let accessible = flags & (vm::READ | vm::WRITE | vm::EXEC) != 0;
    let shared_write = flags & vm::SHARED != 0 && flags & vm::WRITE != 0;
    let new = if accessible { rights(shared_write) } else { RIGHTS_NONE };
    let mut addr = start;
    while let Some(at) = mm.pgd.next_with_table(addr, end) {
        addr = at;
        let table_end = ((at & !(PGDIR_SIZE - 1)) + (PGDIR_SIZE - 1)).min(end - 1) + 1;
        while addr < table_end {
            let pte = mm.pgd.get(addr);
            if pte.maps_page() {
                mm.pgd.set(addr, pte.with_rights(new)).with_range();
            }
            addr += PAGE_SIZE;
        }
    }
    mm.pgd.flush_range(start, end);
}
