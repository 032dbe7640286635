//! Zones, and the allocation of frames from them.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use abi::{
    Ptr32,
    books::{NR_ORDERS, ZoneRecord},
};
use mm::buddy::{BadFree, Frames, FreeArea, MAX_ORDER};

use super::{
    Gfp, PAGE_SIZE, Page,
    memblock::Region,
    oom,
    page::{MAPCOUNT_NONE, clear_highpage, mem_map, pfn_to_page, pg},
    vmscan,
    vmstat::{self, Item},
    watermark,
};
use crate::sync::SpinLock;

/// DMA, Normal, HighMem.
pub const MAX_NR_ZONES: usize = 3;
/// Frames below 16 MiB.
pub const ZONE_DMA: usize = 0;
/// The rest of the direct map.
pub const ZONE_NORMAL: usize = 1;
/// Frames beyond the direct map.
pub const ZONE_HIGHMEM: usize = 2;
const ZONE_NAMES: [&str; MAX_NR_ZONES] = ["DMA", "Normal", "HighMem"];

/// The zones. The records form an array that the host reads; they hold the counts of the
/// free lists, too.
struct Zones {
    records: [ZoneRecord; MAX_NR_ZONES],
    areas: [FreeArea; MAX_NR_ZONES],
    min_free_kbytes: u32,
}

const EMPTY_RECORD: ZoneRecord = ZoneRecord {
    name: [0; 8],
    start_pfn: 0,
    spanned_pages: 0,
    present_pages: 0,
    managed_pages: 0,
    watermark_min: 0,
    watermark_low: 0,
    watermark_high: 0,
    free_pages: 0,
    nr_free: [0; NR_ORDERS],
    lowmem_reserve: [0; 4],
};

static ZONES: SpinLock<Zones> = SpinLock::new(Zones {
    records: [EMPTY_RECORD; MAX_NR_ZONES],
    areas: [const { FreeArea::new(0, 0) }; MAX_NR_ZONES],
    min_free_kbytes: 0,
});

/// The frame descriptors as the buddy system sees them.
struct MemMap(&'static [Page]);

impl Frames for MemMap {
    fn free_order(&self, pfn: u32) -> Option<u8> {
        let page = &self.0[pfn as usize];
        page.is(pg::BUDDY).then(|| page.private.load(Relaxed) as u8)
    }
    fn set_free_order(&mut self, pfn: u32, order: Option<u8>) {
        let page = &self.0[pfn as usize];
        match order {
            Some(order) => {
                page.private.store(order.into(), Relaxed);
                page.mapcount.store(order.into(), Relaxed);
                page.set(pg::BUDDY);
            }
            None => {
                page.clear(pg::BUDDY);
                page.mapcount.store(MAPCOUNT_NONE, Relaxed);
            }
        }
    }
    fn links(&self, pfn: u32) -> [u32; 2] {
        let lru = &self.0[pfn as usize].lru;
        [lru[0].load(Relaxed), lru[1].load(Relaxed)]
    }
    fn set_links(&mut self, pfn: u32, links: [u32; 2]) {
        let lru = &self.0[pfn as usize].lru;
        lru[0].store(links[0], Relaxed);
        lru[1].store(links[1], Relaxed);
    }
}

/// Fixes the borders of the zones: frame numbers where Normal, HighMem and nothing begin.
pub fn init_zones(borders: [u32; MAX_NR_ZONES]) {
    let mut zones = ZONES.lock_irqsave();
    let mut start = 0;
    for (n, end) in borders.into_iter().enumerate() {
        let end = end.max(start);
        zones.areas[n] = FreeArea::new(start, end);
        let record = &mut zones.records[n];
        record.name[..ZONE_NAMES[n].len()].copy_from_slice(ZONE_NAMES[n].as_bytes());
        (record.start_pfn, record.spanned_pages) = (start, end - start);
        start = end;
    }
}

/// RAM that exists, taken or free.
pub fn add_present(region: Region) {
    let mut zones = ZONES.lock_irqsave();
    for record in &mut zones.records {
        let (start, end) = (record.start_pfn, record.start_pfn + record.spanned_pages);
        record.present_pages += region.end.min(end).saturating_sub(region.start.max(start));
    }
}

/// Hands free memory of the boot to the buddy system.
pub fn free_boot_memory(region: Region) {
    let mut zones = ZONES.lock_irqsave();
    let mut pfn = region.start;
    while pfn < region.end {
        // The largest aligned block that fits; zones begin and end on such blocks.
        let fits = (region.end - pfn).ilog2() as u8;
        let order = MAX_ORDER.min(pfn.trailing_zeros() as u8).min(fits);
        for page in &mem_map()[pfn as usize..(pfn + (1 << order)) as usize] {
            page.clear(pg::RESERVED);
        }
        let zone = pfn_to_page(pfn).zone();
        zones.records[zone].managed_pages += 1 << order;
        zones.free(zone, pfn, order);
        pfn += 1 << order;
    }
}

/// Sets the marks, once all memory is there, or for a new `min_free_kbytes`.
pub fn setup_watermarks(min_free_kbytes: Option<u32>) {
    let mut zones = ZONES.lock_irqsave();
    let zones = &mut *zones;
    let lowmem: u32 = zones.records[..ZONE_HIGHMEM].iter().map(|z| z.managed_pages).sum();
    zones.min_free_kbytes = min_free_kbytes.unwrap_or_else(|| watermark::min_free_kbytes(lowmem));
    watermark::setup_per_zone_wmarks(&mut zones.records, zones.min_free_kbytes);
}

/// `/proc/sys/vm/min_free_kbytes`.
pub fn min_free_kbytes() -> u32 {
    ZONES.lock_irqsave().min_free_kbytes
}

/// Sets it. `kswapd` is woken if a zone lies below its new low mark.
pub fn set_min_free_kbytes(kbytes: u32) {
    setup_watermarks(Some(kbytes));
    if vmscan::below_low() {
        vmscan::wakeup_kswapd();
    }
}

impl Zones {
    fn alloc(&mut self, zone: usize, order: u8) -> Option<u32> {
        let record = &mut self.records[zone];
        let pfn = self.areas[zone].alloc(&mut MemMap(mem_map()), &mut record.nr_free, order)?;
        record.free_pages -= 1 << order;
        vmstat::add([Item::pgalloc_dma, Item::pgalloc_normal, Item::pgalloc_high][zone], 1 << order);
        Some(pfn)
    }

    #[track_caller]
    fn free(&mut self, zone: usize, pfn: u32, order: u8) {
        let record = &mut self.records[zone];
        match self.areas[zone].free(&mut MemMap(mem_map()), &mut record.nr_free, pfn, order) {
            Ok(()) => record.free_pages += 1 << order,
            Err(BadFree::Double) => panic!("Bad page state: frame {pfn:#x} (order {order}) is freed twice"),
            Err(BadFree::Foreign) => panic!("Bad page state: frame {pfn:#x} (order {order}) is no block of its zone"),
        }
    }

    /// Whether a block of `order` can go without touching `mark` and the reserve.
    fn watermark_ok(&self, zone: usize, order: u8, mark: u32, class: usize) -> bool {
        let free = self.records[zone].free_pages;
        let kept = mark + self.records[zone].lowmem_reserve[class] + (1 << order);
        free >= kept || (mark == 0 && free >= 1 << order)
    }
}

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

/// How deep a request may dig.
#[derive(Clone, Copy)]
enum Depth {
    Low,
    Min,
    /// To the last frame: for the kernel's own structures, which have no one to be killed
    /// for them.
    Reserve,
}

fn get_page_from_freelist(gfp: Gfp, order: u8, depth: Depth) -> Option<u32> {
    let mut zones = ZONES.lock_irqsave();
    let class = gfp_zone(gfp);
    (0..=class).rev().find_map(|zone| {
        let mark = match depth {
            Depth::Low => zones.records[zone].watermark_low,
            Depth::Min if gfp.contains(Gfp::HIGH) => zones.records[zone].watermark_min / 2,
            Depth::Min => zones.records[zone].watermark_min,
            Depth::Reserve => 0,
        };
        zones.watermark_ok(zone, order, mark, class).then(|| zones.alloc(zone, order)).flatten()
    })
}

/// `alloc_pages`: 2^`order` frames in a row with one user, or `None`.
///
/// Requests for user memory (`MOVABLE` or `HIGHMEM`) respect the zones' min marks: when
/// they fail, the caller ends or kills somebody. Requests of the kernel may take all.
pub fn alloc_pages(gfp: Gfp, order: u8) -> Option<&'static Page> {
    let user = gfp.intersects(Gfp::MOVABLE | Gfp::HIGHMEM);
    let pfn = get_page_from_freelist(gfp, order, Depth::Low)
        .or_else(|| vmscan::slowpath(gfp, gfp_zone(gfp), || get_page_from_freelist(gfp, order, Depth::Min)))
        .or_else(|| {
            if user {
                return None;
            }
            oom::note_reserve_touched();
            get_page_from_freelist(gfp, order, Depth::Reserve)
        })?;
    let page = prepare(pfn, order, gfp);
    if gfp.contains(Gfp::ZERO) {
        (pfn..pfn + (1 << order)).for_each(|p| clear_highpage(pfn_to_page(p)));
    }
    Some(page)
}

fn prepare(pfn: u32, order: u8, gfp: Gfp) -> &'static Page {
    let page = pfn_to_page(pfn);
    debug_assert_eq!(page.count(), 0, "frame {pfn:#x} of a free list has users");
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
    assert!(before != 0, "Bad page state: frame {:#x} is freed twice", page.pfn());
    if before == 1 {
        free_unused(page, order);
    }
}

/// Gives back a block whose last user has gone.
#[track_caller]
pub fn free_unused(page: &'static Page, order: u8) {
    assert!(page.mapcount() == 0, "Bad page state: frame {:#x} is freed while mapped", page.pfn());
    let mut zones = ZONES.lock_irqsave();
    page.mapping.store(0, Relaxed);
    let keep = 3 << pg::ZONE_SHIFT;
    page.flags.fetch_and(keep, Relaxed);
    zones.free(page.zone(), page.pfn(), order);
    vmstat::add(Item::pgfree, 1 << order);
}

/// Numbers of all zones together.
#[derive(Clone, Copy, Default, Debug)]
pub struct Totals {
    /// Pages that the buddy system ever had.
    pub managed: u32,
    /// Free pages.
    pub free: u32,
    /// Managed pages of HighMem.
    pub managed_high: u32,
    /// Free pages of HighMem.
    pub free_high: u32,
    /// Sum of the low marks.
    pub watermark_low: u32,
    /// Sum of min marks.
    pub watermark_min: u32,
}

/// Sums over the zones.
pub fn totals() -> Totals {
    let zones = ZONES.lock_irqsave();
    let mut t = Totals::default();
    for (n, record) in zones.records.iter().enumerate() {
        t.managed += record.managed_pages;
        t.free += record.free_pages;
        t.watermark_low += record.watermark_low;
        t.watermark_min += record.watermark_min;
        if n == ZONE_HIGHMEM {
            (t.managed_high, t.free_high) = (record.managed_pages, record.free_pages);
        }
    }
    t
}

/// Calls `visit` with the zones' records, in order, while nothing changes.
pub fn with_zones<R>(visit: impl FnOnce(&[ZoneRecord; MAX_NR_ZONES]) -> R) -> R {
    let zones = ZONES.lock_irqsave();
    visit(&zones.records)
}

/// Where the array of records lies, its length, and the lock that guards it.
pub fn zone_records() -> (Ptr32<ZoneRecord>, u32, Ptr32<u8>) {
    let zones = ZONES.lock_irqsave();
    (Ptr32::new(zones.records.as_ptr() as u32), MAX_NR_ZONES as u32, ZONES.flag())
}

const _: () = assert!(PAGE_SIZE == 4096);
