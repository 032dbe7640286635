//! The allocation of frames: which zones a request may use, and what is done before it
//! fails.

use core::sync::atomic::Ordering::Relaxed;

pub use super::zone::{
    MAX_NR_ZONES, Totals, ZONE_DMA, ZONE_HIGHMEM, ZONE_NORMAL, add_present, drain_all_pages, free_boot_memory,
    init_zones, min_free_kbytes, pageblocks, setup_watermarks, share_among_cpus, totals, with_zones, zone_records,
};
use super::{
    Gfp, PAGE_SIZE, Page, compaction, oom,
    page::{MAPCOUNT_NONE, clear_highpage, pfn_to_page, pg},
    vmscan,
    vmstat::{self, Item},
    zone::{self, AllocFlags, Mark},
};

/// The highest zone that a request may use.
fn gfp_zone(gfp: Gfp) -> usize {
    if gfp.contains(Gfp::DMA) {
        ZONE_DMA
    } else if gfp.contains(Gfp::HIGHMEM) {
        ZONE_HIGHMEM
    } else {
        ZONE_NORMAL
    }
}

/// A block from the highest zone that has one to spare.
fn get_page_from_freelist(gfp: Gfp, order: u8, mark: Mark) -> Option<u32> {
    // The first look leaves everybody's reserves alone.
    let urgent = mark != Mark::Low;
    let flags =
        AllocFlags { mark, high: urgent && gfp.contains(Gfp::HIGH), harder: urgent && gfp.contains(Gfp::ATOMIC) };
    let (class, kind) = (gfp_zone(gfp), gfp.migrate_type());
    let mut zones = zone::lock();
    (0..=class).rev().find_map(|zone| {
        if zones.watermark_ok(zone, order, class, flags) { zones.rmqueue(zone, order, kind, flags) } else { None }
    })
}

/// `alloc_pages`: 2^`order` frames in a row with one user, or `None`.
///
/// Requests for user memory (`MOVABLE` or `HIGHMEM`) respect the zones' min marks: when
/// they fail, the caller ends or kills somebody. Requests of the kernel may take all.
pub fn alloc_pages(gfp: Gfp, order: u8) -> Option<&'static Page> {
    let pfn = get_page_from_freelist(gfp, order, Mark::Low).or_else(|| alloc_pages_slowpath(gfp, order))?;
    let page = prepare(pfn, order, gfp);
    if gfp.contains(Gfp::ZERO) {
        (pfn..pfn + (1 << order)).for_each(|p| clear_highpage(pfn_to_page(p)));
    }
    Some(page)
}

/// Below the low marks: pages are reclaimed, then the reserves are opened.
#[cold]
fn alloc_pages_slowpath(gfp: Gfp, order: u8) -> Option<u32> {
    let attempt = || get_page_from_freelist(gfp, order, Mark::Min);
    if let Some(pfn) = vmscan::slowpath(gfp, gfp_zone(gfp), attempt) {
        return Some(pfn);
    }
    drain_all_pages();
    if let Some(pfn) = attempt() {
        return Some(pfn);
    }
    if compaction::try_to_compact_pages(gfp, order, gfp_zone(gfp)) {
        let found = attempt();
        vmstat::count(if found.is_some() { Item::compact_success } else { Item::compact_fail });
        if found.is_some() {
            return found;
        }
    }
    if unreserve_highatomic_pageblock(gfp)
        && let Some(pfn) = attempt()
    {
        return Some(pfn);
    }
    if gfp.intersects(Gfp::MOVABLE | Gfp::HIGHMEM) {
        return None;
    }
    oom::note_reserve_touched();
    get_page_from_freelist(gfp, order, Mark::None)
}

/// Sets `min_free_kbytes`. `kswapd` is woken if a zone lies below its new low mark.
pub fn set_min_free_kbytes(kbytes: u32) {
    setup_watermarks(Some(kbytes));
    if vmscan::below_low() {
        vmscan::wakeup_kswapd();
    }
}

/// Gives a pageblock that is kept for atomic requests to this one.
fn unreserve_highatomic_pageblock(gfp: Gfp) -> bool {
    let mut zones = zone::lock();
    (0..=gfp_zone(gfp)).rev().any(|zone| zones.unreserve_highatomic(zone, gfp, true))
}

/// `prep_new_page`: a block that was free gets its one user.
pub(super) fn prepare(pfn: u32, order: u8, gfp: Gfp) -> &'static Page {
    let page = pfn_to_page(pfn);
    assert!(page.count() == 0, "BUG: Bad page state: frame {pfn:#x} of a free list has users");
    page.refcount.store(1, Relaxed);
    page.mapping.store(0, Relaxed);
    page.index.store(0, Relaxed);
    page.private.store(0, Relaxed);
    page.mapcount.store(MAPCOUNT_NONE, Relaxed);
    if order > 0 && gfp.contains(Gfp::COMP) {
        page.set(pg::HEAD);
        page.private.store(order.into(), Relaxed);
    }
    page
}

/// A single frame.
pub fn alloc_page(gfp: Gfp) -> Option<&'static Page> {
    alloc_pages(gfp, 0)
}

/// `__get_free_pages`: frames of the direct map, by address; 0 if there are none.
pub fn get_free_pages(gfp: Gfp, order: u8) -> u32 {
    alloc_pages(gfp & !Gfp::HIGHMEM, order).and_then(Page::address).unwrap_or(0)
}

/// `get_zeroed_page`: one of them, zeroed.
pub fn get_zeroed_page(gfp: Gfp) -> u32 {
    get_free_pages(gfp | Gfp::ZERO, 0)
}

/// `free_pages`: gives back what `get_free_pages` gave. 0 is ignored.
pub fn free_pages(addr: u32, order: u8) {
    if addr != 0 {
        __free_pages(super::page::virt_to_page(addr), order);
    }
}

/// Drops one user of a block; the last gives it back.
#[track_caller]
pub fn __free_pages(page: &'static Page, order: u8) {
    let before = page.refcount.fetch_sub(1, Relaxed);
    assert!(before != 0, "BUG: Bad page state: frame {:#x} is freed twice", page.pfn());
    if before == 1 {
        free_unused(page, order);
    }
}

/// Gives back a block whose last user has gone.
#[track_caller]
pub fn free_unused(page: &'static Page, order: u8) {
    assert!(page.mapcount() == 0, "BUG: Bad page state: frame {:#x} is freed while mapped", page.pfn());
    let mut zones = zone::lock();
    page.mapping.store(0, Relaxed);
    let keep = 3 << pg::ZONE_SHIFT;
    page.flags.fetch_and(keep, Relaxed);
    zones.free(page.zone(), page.pfn(), order);
    vmstat::add(Item::pgfree, 1 << order);
}

const _: () = assert!(PAGE_SIZE == 4096);
