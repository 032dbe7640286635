//! The swap cache: pages that have a slot in a swap area and are in memory, too. Whoever
//! faults on a slot finds the one page that has it, however many share it.

use alloc::collections::BTreeMap;
use core::sync::atomic::Ordering::Relaxed;

use abi::errno::{ENOENT, ENOMEM, Result};

use super::{
    Page, alloc_page,
    gfp::GFP_HIGHUSER_MOVABLE,
    oom,
    page::{get_page, pg, put_page},
    page_lock::{trylock_page, unlock_page, wait_on_page_locked},
    rmap::PAGE_MAPPING_ANON,
    swap::lru_cache_add,
    swapfile,
    swapops::SwapEntry,
    vmstat::{self, Item},
};
use crate::sync::SpinLock;

static SWAPPER_SPACE: SpinLock<BTreeMap<SwapEntry, &'static Page>> = SpinLock::new(BTreeMap::new());

/// The page of a slot, with one user more. It may be locked, and not up to date.
pub fn lookup_swap_cache(entry: SwapEntry) -> Option<&'static Page> {
    SWAPPER_SPACE.lock().get(&entry).map(|page| get_page(page))
}

/// Whether a locked page is that of a slot.
pub fn is_cached_as(page: &Page, entry: SwapEntry) -> bool {
    page.is(pg::SWAPCACHE) && page.private.load(Relaxed) == entry.raw()
}

/// The slot of a page of the swap cache.
pub fn entry_of(page: &Page) -> SwapEntry {
    SwapEntry::from_raw(page.private.load(Relaxed))
}

/// Enters a locked page for a slot, which says already that it is cached.
fn add_to_swap_cache(page: &'static Page, entry: SwapEntry) {
    page.private.store(entry.raw(), Relaxed);
    page.set(pg::SWAPCACHE | pg::SWAPBACKED);
    SWAPPER_SPACE.lock().insert(entry, get_page(page));
    vmstat::add(Item::nr_file_pages, 1);
    vmstat::add(Item::nr_swapcached, 1);
}

/// `add_to_swap`: gives a locked page a slot. `false` when swap is full.
pub fn add_to_swap(page: &'static Page) -> bool {
    let Some(entry) = swapfile::get_swap_page() else { return false };
    add_to_swap_cache(page, entry);
    page.set(pg::DIRTY);
    true
}

/// Takes a locked page out, whose slot is free then if nobody names it.
pub fn delete_from_swap_cache(page: &'static Page) {
    let entry = entry_of(page);
    let removed = SWAPPER_SPACE.lock().remove(&entry);
    debug_assert!(removed.is_some_and(|there| core::ptr::eq(there, page)));
    page.clear(pg::SWAPCACHE);
    page.private.store(0, Relaxed);
    vmstat::add(Item::nr_file_pages, -1);
    vmstat::add(Item::nr_swapcached, -1);
    swapfile::put_swap_page(entry);
    put_page(page);
}

/// The slot of a locked page has another frame from now on, which has its data then. `false`
/// if the page is not in the cache.
pub fn replace(old: &'static Page, new: &'static Page) -> bool {
    let mut space = SWAPPER_SPACE.lock();
    let Some(slot) = space.get_mut(&entry_of(old)).filter(|there| core::ptr::eq(**there, old)) else { return false };
    *slot = new;
    true
}

/// `folio_free_swap`: gives the slot of a locked page back if nobody else needs it. The page
/// is then the only copy.
pub fn try_to_free_swap(page: &'static Page) -> bool {
    if !page.is(pg::SWAPCACHE) || page.is(pg::WRITEBACK) || swapfile::page_swapcount(entry_of(page)) != 0 {
        return false;
    }
    page.set(pg::DIRTY);
    delete_from_swap_cache(page);
    true
}

/// `remove_mapping` of a page of the swap cache: if nobody but the cache and the caller uses
/// it and it is written, it leaves.
pub fn remove_unused(page: &'static Page) -> bool {
    if page.count() != 2 || page.mapcount() != 0 || page.is(pg::DIRTY) || page.is(pg::WRITEBACK) {
        return false;
    }
    delete_from_swap_cache(page);
    true
}

/// `free_page_and_swap_cache`: drops one user of a page that has left a page table; its slot
/// goes with it if that was the last user.
pub fn free_page_and_swap_cache(page: &'static Page) {
    if page.is(pg::SWAPCACHE) && page.mapcount() == 0 && trylock_page(page) {
        try_to_free_swap(page);
        unlock_page(page);
    }
    put_page(page);
}

/// `read_swap_cache_async` and the wait for it: the page of a slot, with one user more,
/// neither locked nor necessarily up to date: reading may have failed. May sleep. ENOENT if
/// the slot has become free, ENOMEM.
pub fn swapin(entry: SwapEntry) -> Result<&'static Page> {
    loop {
        if let Some(page) = lookup_swap_cache(entry) {
            wait_on_page_locked(page);
            return Ok(page);
        }
        let page = oom::retry(|| alloc_page(GFP_HIGHUSER_MOVABLE)).ok_or(ENOMEM)?;
        if !swapfile::swapcache_prepare(entry) {
            put_page(page);
            if swapfile::page_swapcount(entry) == 0 {
                return Err(ENOENT);
            }
            // Another was faster.
            continue;
        }
        page.set(pg::LOCKED);
        page.mapping.store(PAGE_MAPPING_ANON, Relaxed);
        add_to_swap_cache(page, entry);
        lru_cache_add(page);
        match swapfile::swap_readpage(entry, page) {
            Ok(()) => page.set(pg::UPTODATE),
            Err(_) => page.set(pg::ERROR),
        }
        unlock_page(page);
        return Ok(page);
    }
}
