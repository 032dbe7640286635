//! Page-table work on whole ranges: zap, copy at fork, move, protect.
#![allow(unsafe_code)]

use abi::{
    books::vm,
    errno::{ENOMEM, Result},
};
use x86::Pte;

use super::{
    PAGE_SIZE, Page,
    hugetlb_fault::{change_huge_protection, close_huge_areas, copy_huge_range, zap_huge_range},
    mm_struct::{MmCounter, MmGuard, MmStruct},
    page::{get_page, pg},
    page_writeback::set_page_dirty,
    pgtable::{PGDIR_SIZE, PageTables, PteExt, RIGHTS_NONE, TableGather, mk_pte, rights},
    rmap::{area_mm, clear_anon_rmap},
    swap::{mark_page_accessed, mlock_page, munlock_page},
    swap_state::free_page_and_swap_cache,
    swapfile::{free_swap_and_cache, swap_duplicate},
    swapops::{Sharing, SwapEntry},
    vma::{VmArea, is_cow_mapping},
    vmstat::{self, Item},
};
use crate::{
    arch::{TASK_SIZE, percpu::need_resched, tlb::Reason},
    sync::cond_resched,
};

/// Bytes of an address space that `fork` copies between two looks whether others want the CPU.
const COPY_BATCH: u32 = 32 * PAGE_SIZE;

/// Which resident count a page belongs to (`mm_counter`).
pub fn mm_counter(page: &Page) -> MmCounter {
    if page.is_anon() {
        MmCounter::Anon
    } else if page.is(pg::SWAPBACKED) {
        MmCounter::Shmem
    } else {
        MmCounter::File
    }
}

/// A page-table entry of `area` now maps the page. Takes over the caller's use of it.
pub fn map_page(mm: &mut MmGuard, area: &VmArea, addr: u32, page: &'static Page, pte_rights: u32) {
    let before = page.mapcount();
    page.add_rmap();
    if before == 0 {
        vmstat::count(if page.is_anon() { Item::nr_anon_pages } else { Item::nr_mapped });
    }
    mm.mm().add_mm_counter(mm_counter(page), 1);
    if area.is(vm::LOCKED) {
        mlock_page(page);
    }
    mm.pgd.set(addr, mk_pte(page.pfn(), pte_rights)).not_needed();
}

/// `page_remove_rmap` and what goes with it: the entry `old` of `mm` has ceased to map the
/// page; its use of the page is the caller's now.
pub fn unmap_page(mm: &MmStruct, page: &'static Page, old: Pte) {
    let is_anon = page.is_anon();
    if old.dirty() {
        if is_anon {
            page.set(pg::DIRTY);
        } else {
            set_page_dirty(page);
        }
    }
    if old.accessed() && !is_anon {
        mark_page_accessed(page);
    }
    mm.add_mm_counter(mm_counter(page), -1);
    page.remove_rmap();
    if page.mapcount() == 0 {
        if is_anon {
            clear_anon_rmap(page);
            page.clear(pg::ANON_EXCLUSIVE);
        }
        vmstat::add(if is_anon { Item::nr_anon_pages } else { Item::nr_mapped }, -1);
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

    /// Takes a page that an entry mapped. `true` if that has emptied the batch.
    fn add(&mut self, tables: PageTables, addr: u32, page: Option<&'static Page>) -> bool {
        self.start = self.start.min(addr);
        self.end = self.end.max(addr + PAGE_SIZE);
        if page.is_some() {
            self.pages[self.len] = page;
            self.len += 1;
            if self.len == self.pages.len() {
                self.finish(tables);
                return true;
            }
        }
        false
    }

    fn finish(&mut self, tables: PageTables) {
        if self.start < self.end {
            tables.flush_range(self.start, self.end, Reason::Unmap);
        }
        self.pages[..self.len].iter_mut().filter_map(Option::take).for_each(free_page_and_swap_cache);
        (self.len, self.start, self.end) = (0, !0, 0);
    }
}

/// `zap_page_range`: nothing in the range is mapped any more, and nothing of it is in swap.
/// The areas stay.
pub fn zap_range(mm: &mut MmGuard, start: u32, end: u32) {
    zap(mm.mm(), start, end, cond_resched);
}

/// The same for a part of an area that is found through its file, without `mmap_lock`. Never
/// sleeps, so that the reverse mapping may stand in the middle of it.
pub fn zap_area_range(area: &VmArea, start: u32, end: u32) {
    zap(area_mm(area), start, end, || ());
}

/// Calls `pause` every now and then, when it has no page in hand.
fn zap(mm: &MmStruct, start: u32, end: u32, pause: fn()) {
    mm.update_hiwater_rss();
    zap_huge_range(mm, start, end);
    let tables = mm.page_tables();
    let mut gather = Gather::new();
    let mut addr = start;
    while let Some(at) = tables.next_with_table(addr, end) {
        if need_resched() {
            gather.finish(tables);
            pause();
        }
        addr = at;
        let table_end = ((at & !(PGDIR_SIZE - 1)) + (PGDIR_SIZE - 1)).min(end - 1) + 1;
        while addr < table_end {
            if !tables.get(addr).is_empty() {
                let (old, flush) = tables.take(addr);
                flush.with_range();
                if let Some(entry) = SwapEntry::of_pte(old) {
                    mm.add_mm_counter(MmCounter::Swap, -1);
                    free_swap_and_cache(entry);
                } else {
                    let page = old.page().filter(|page| !page.is(pg::RESERVED));
                    if let Some(page) = page {
                        if page.is(pg::MLOCKED) && is_locked(mm, addr) {
                            munlock_page(page);
                        }
                        unmap_page(mm, page, old);
                    }
                    if gather.add(tables, addr, page) {
                        pause();
                    }
                }
            }
            addr += PAGE_SIZE;
        }
    }
    gather.finish(tables);
}

/// Whether the area of an address is locked in memory.
fn is_locked(mm: &MmStruct, addr: u32) -> bool {
    // SAFETY: nothing sleeps or changes here.
    unsafe { mm.areas_unlocked() }.lookup(addr).is_some_and(|area| area.is(vm::LOCKED))
}

/// Gives back the page tables of a range that no area needs any more.
pub fn free_pgtables(mm: &mut MmGuard, start: u32, end: u32) {
    let (mut tables, mut addr) = (TableGather::new(), start & !(PGDIR_SIZE - 1));
    while let Some(at) = mm.pgd.next_with_table(addr, end) {
        let slot = at & !(PGDIR_SIZE - 1);
        if !mm.areas.intersects(slot, slot + PGDIR_SIZE) {
            tables.add(&mut mm.pgd, slot);
        }
        addr = slot + PGDIR_SIZE;
    }
    tables.finish(&mm.pgd);
}

/// Unmaps everything: the end of an address space.
pub fn exit_mmap(mm: &mut MmGuard) {
    zap_range(mm, 0, TASK_SIZE);
    close_huge_areas(mm, 0, TASK_SIZE);
    mm.areas.remove_range(0, TASK_SIZE, drop);
    mm.record_mut().total_vm = 0;
    free_pgtables(mm, 0, TASK_SIZE);
    mm.set_exe(None);
}

/// Gives the child every area of the parent and shares the frames.
pub fn dup_mmap(from: &mut MmGuard, to: &mut MmGuard) -> Result<()> {
    let result = copy_areas(from, to);
    // The parent lost its write rights, as far as that came.
    from.pgd.flush_range(0, TASK_SIZE, Reason::Fork);
    result
}

fn copy_areas(from: &mut MmGuard, to: &mut MmGuard) -> Result<()> {
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
        if area.is(vm::HUGETLB) {
            copy_huge_range(from, to, &area);
        } else if area.anon || area.is(vm::PFNMAP) || area.is(vm::MIXEDMAP) {
            copy_page_range(from, to, &area)?;
        }
    }
    Ok(())
}

fn copy_page_range(from: &mut MmGuard, to: &mut MmGuard, area: &VmArea) -> Result<()> {
    let (mut addr, end) = (area.record.start, area.record.end);
    let cow = is_cow_mapping(area.record.flags);
    while let Some(at) = from.pgd.next_with_table(addr, end) {
        addr = at;
        let table_end = ((at & !(PGDIR_SIZE - 1)) + (PGDIR_SIZE - 1)).min(end - 1) + 1;
        let used = (addr..table_end).step_by(PAGE_SIZE as usize).any(|at| !from.pgd.get(at).is_empty());
        // This may sleep, and let pages go to swap; so may the looks between the entries below.
        if used && !to.pgd.alloc_table(addr) {
            return Err(ENOMEM);
        }
        while addr < table_end {
            let pte = from.pgd.get(addr);
            if !pte.is_empty() {
                copy_entry(from, to, addr, pte, cow)?;
            }
            addr += PAGE_SIZE;
            if addr.is_multiple_of(COPY_BATCH) {
                cond_resched();
            }
        }
    }
    Ok(())
}

/// Gives the child what an entry of the parent maps, or has in swap. From now on neither has
/// it alone.
fn copy_entry(from: &MmGuard, to: &MmGuard, addr: u32, mut pte: Pte, cow: bool) -> Result<()> {
    if let Some(entry) = SwapEntry::of_pte(pte) {
        if !swap_duplicate(entry) {
            return Err(ENOMEM);
        }
        from.pgd.set(addr, entry.pte(Sharing::Shared)).not_needed();
        to.pgd.set(addr, entry.pte(Sharing::Shared)).not_needed();
        to.mm().add_mm_counter(MmCounter::Swap, 1);
        return Ok(());
    }
    if cow && pte.writable() {
        let (old, flush) = from.pgd.update(addr, |pte| Pte(pte.0 & !Pte::RW));
        flush.with_range();
        pte = Pte(old.0 & !Pte::RW);
    }
    if let Some(page) = pte.page().filter(|page| !page.is(pg::RESERVED)) {
        page.clear(pg::ANON_EXCLUSIVE);
        get_page(page).add_rmap();
        to.mm().add_mm_counter(mm_counter(page), 1);
    }
    to.pgd.set(addr, pte).not_needed();
    Ok(())
}

/// `move_page_tables`: what was mapped at `old` is mapped at `new`. ENOMEM without memory
/// for a table; then what was moved is moved.
pub fn move_page_tables(mm: &mut MmGuard, old: u32, new: u32, len: u32) -> Result<()> {
    let mut offset = 0;
    // What has been moved from below here, the CPUs have forgotten.
    let mut flushed = old;
    while let Some(at) = mm.pgd.next_with_table(old + offset, old + len) {
        offset = at - old;
        if !mm.pgd.get(at).is_empty() {
            if !mm.pgd.has_table(new + offset) {
                // Who seeks a table may sleep; then pages go, and nobody looks for them here.
                mm.pgd.flush_range(flushed, at, Reason::Move);
                flushed = at;
                if !mm.pgd.alloc_table(new + offset) {
                    return Err(ENOMEM);
                }
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
    mm.pgd.flush_range(flushed, old + len, Reason::Move);
    Ok(())
}

/// Gives the pages of a range the rights of their area's new flags. A private page never
/// becomes writable here: the next write decides about a copy. Nor does one whose file's
/// system must hear of the first write.
pub fn change_protection(mm: &mut MmGuard, start: u32, end: u32, flags: u32, write_notify: bool) {
    if flags & vm::HUGETLB != 0 {
        change_huge_protection(mm, start, end, flags);
        return mm.pgd.flush_range(start, end, Reason::Protect);
    }
    let accessible = flags & (vm::READ | vm::WRITE | vm::EXEC) != 0;
    // Where writes make pages dirty, the first write is to be noticed.
    let shared_write = flags & (vm::SHARED | vm::WRITE) == vm::SHARED | vm::WRITE && !write_notify;
    let private_write = flags & (vm::SHARED | vm::WRITE) == vm::WRITE;
    let new = if accessible { rights(shared_write) } else { RIGHTS_NONE };
    // What lost rights.
    let mut lost = end..start;
    let mut addr = start;
    while let Some(at) = mm.pgd.next_with_table(addr, end) {
        let table_end = ((at & !(PGDIR_SIZE - 1)) + (PGDIR_SIZE - 1)).min(end - 1) + 1;
        for entry in mm.pgd.entries(at, table_end) {
            let pte = entry.get();
            if pte.maps_page() {
                let new = if private_write && is_writable_again(pte) { rights(true) } else { new };
                let (old, flush) = entry.update(|pte| pte.with_rights(new));
                if old.0 & (Pte::P | Pte::RW) & !new == 0 {
                    // So that this CPU need not fault to see it.
                    flush.here();
                } else {
                    flush.with_range();
                    lost = lost.start.min(entry.addr())..entry.addr() + PAGE_SIZE;
                }
            }
        }
        addr = table_end;
    }
    if !lost.is_empty() {
        mm.pgd.flush_range(lost.start, lost.end, Reason::Protect);
    }
}

/// Whether a page of a private area that may be written again needs no fault at its first write
/// (`can_change_pte_writable`): it is this address space's own, and marked as written already.
fn is_writable_again(pte: Pte) -> bool {
    let is_own = |page: &Page| page.is_anon() && page.is(pg::ANON_EXCLUSIVE);
    pte.0 & Pte::P != 0 && pte.0 & Pte::D != 0 && pte.page().is_some_and(is_own)
}
