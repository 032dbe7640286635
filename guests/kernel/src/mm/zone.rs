//! Zones: the frames of a kind of memory, their free lists, and the lists of each CPU before
//! them. One lock guards all of them, so whoever holds it may empty the lists of other CPUs, too.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use abi::{
    Ptr32,
    books::{NR_CPUS, NR_MIGRATE_TYPES, NR_ORDERS, ZoneRecord},
};
use mm::{
    buddy::{BadFree, Frames, FreeArea, FreeBlock, MAX_ORDER, MigrateType, PAGEBLOCK_ORDER},
    pcp::{self, PerCpuPages},
};

use super::{
    Gfp,
    memblock::Region,
    page::{MAPCOUNT_NONE, MemMap, mem_map, pfn_to_page, pg},
    vmstat::{self, Item},
    watermark,
};
use crate::{
    arch::{percpu::cpu_number, smp},
    sync::{SpinLock, SpinLockIrqGuard},
};

/// DMA, Normal, HighMem.
pub const MAX_NR_ZONES: usize = 3;
/// Frames below 16 MiB.
pub const ZONE_DMA: usize = 0;
/// The rest of the direct map.
pub const ZONE_NORMAL: usize = 1;
/// Frames beyond the direct map.
pub const ZONE_HIGHMEM: usize = 2;
const ZONE_NAMES: [&str; MAX_NR_ZONES] = ["DMA", "Normal", "HighMem"];

/// Types of the pageblocks of 4 GiB.
static PAGEBLOCKS: [AtomicU8; 1024] = [const { AtomicU8::new(MigrateType::Movable as u8) }; 1024];

/// The zones. The records form an array that the host reads; they hold the counts of the
/// free lists, too. One lock guards everything: a request takes it once.
pub(super) struct Zones {
    pub(super) records: [ZoneRecord; MAX_NR_ZONES],
    pub(super) areas: [FreeArea; MAX_NR_ZONES],
    pub(super) pcps: [[PerCpuPages; NR_CPUS]; MAX_NR_ZONES],
    min_free_kbytes: u32,
    lowmem_reserve_ratio: [u32; 2],
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
    free_lists: [[0; NR_ORDERS]; NR_MIGRATE_TYPES],
    blocks: [0; NR_MIGRATE_TYPES],
    nr_reserved_highatomic: 0,
    pcp_count: [0; NR_CPUS],
    pcp_high: 0,
    pcp_batch: 0,
};

static ZONES: SpinLock<Zones> = SpinLock::new(Zones {
    records: [EMPTY_RECORD; MAX_NR_ZONES],
    areas: [const { FreeArea::new(0, 0) }; MAX_NR_ZONES],
    pcps: [const { [const { PerCpuPages::new() }; NR_CPUS] }; MAX_NR_ZONES],
    min_free_kbytes: 0,
    lowmem_reserve_ratio: watermark::LOWMEM_RESERVE_RATIO,
});

/// The zones, for whoever allocates, frees or looks at all of them.
pub(super) fn lock() -> SpinLockIrqGuard<'static, Zones> {
    ZONES.lock_irqsave()
}

impl Frames for MemMap {
    fn free_block(&self, pfn: u32) -> Option<FreeBlock> {
        let page = &self.pages()[pfn as usize];
        page.is(pg::BUDDY).then(|| FreeBlock {
            order: page.private.load(Relaxed) as u8,
            list: MigrateType::from_number(page.index.load(Relaxed) as u8),
        })
    }
    fn set_free_block(&mut self, pfn: u32, block: Option<FreeBlock>) {
        let page = &self.pages()[pfn as usize];
        match block {
            Some(block) => {
                page.private.store(block.order.into(), Relaxed);
                page.index.store(block.list as u32, Relaxed);
                page.mapcount.store(block.order.into(), Relaxed);
                page.set(pg::BUDDY);
            }
            None => {
                page.clear(pg::BUDDY);
                page.mapcount.store(MAPCOUNT_NONE, Relaxed);
            }
        }
    }
    fn pageblock(&self, pfn: u32) -> MigrateType {
        MigrateType::from_number(PAGEBLOCKS[(pfn >> PAGEBLOCK_ORDER) as usize].load(Relaxed))
    }
    fn set_pageblock(&mut self, pfn: u32, kind: MigrateType) {
        PAGEBLOCKS[(pfn >> PAGEBLOCK_ORDER) as usize].store(kind as u8, Relaxed);
    }
    fn is_movable(&self, pfn: u32) -> bool {
        let page = &self.pages()[pfn as usize];
        page.is(pg::LRU) || page.mapcount() != 0
    }
}

/// How much a request leaves of a zone.
#[derive(Clone, Copy, Debug)]
pub(super) struct AllocFlags {
    /// Down to which mark.
    pub(super) mark: Mark,
    /// Half of that mark is enough (`ALLOC_HIGH`).
    pub(super) high: bool,
    /// A quarter less still, and the blocks kept for such requests (`ALLOC_HARDER`).
    pub(super) harder: bool,
}

/// The marks of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    Low,
    Min,
    /// To the last frame (`ALLOC_NO_WATERMARKS`).
    None,
}

impl Zones {
    /// Whether a block of `order` can go (`__zone_watermark_ok`). `class` is the highest
    /// zone that the request may use.
    pub(super) fn watermark_ok(&self, zone: usize, order: u8, class: usize, flags: AllocFlags) -> bool {
        let record = &self.records[zone];
        let mut mark = match flags.mark {
            Mark::None => return record.free_pages >= 1 << order,
            Mark::Low => record.watermark_low,
            Mark::Min => record.watermark_min,
        };
        if flags.high {
            mark -= mark / 2;
        }
        if flags.harder {
            mark -= mark / 4;
        }
        let kept = if flags.harder { 0 } else { record.nr_reserved_highatomic };
        let free = record.free_pages.saturating_sub(kept);
        free >= mark + record.lowmem_reserve[class] + (1 << order) && (order == 0 || self.has_block(zone, order, flags))
    }

    /// Whether a list that the request may use has a block as large.
    fn has_block(&self, zone: usize, order: u8, flags: AllocFlags) -> bool {
        let record = &self.records[zone];
        let large = |list: MigrateType| record.free_lists[list as usize][order as usize..].iter().any(|&n| n != 0);
        MigrateType::OF_REQUESTS.into_iter().any(large) || (flags.harder && large(MigrateType::HighAtomic))
    }

    /// Takes a block out of a zone (`rmqueue`).
    pub(super) fn rmqueue(&mut self, zone: usize, order: u8, kind: MigrateType, flags: AllocFlags) -> Option<u32> {
        let small = if PerCpuPages::keeps(order) { self.rmqueue_pcp(zone, order, kind) } else { None };
        let pfn = match small {
            Some(pfn) => pfn,
            None => self.rmqueue_buddy(zone, order, kind, flags)?,
        };
        if order > 0 && flags.harder {
            self.areas[zone].reserve_highatomic(&mut MemMap::get(), &mut self.records[zone], pfn);
        }
        vmstat::add([Item::pgalloc_dma, Item::pgalloc_normal, Item::pgalloc_high][zone], 1 << order);
        Some(pfn)
    }

    /// From this CPU's own list, which is filled when it is empty.
    fn rmqueue_pcp(&mut self, zone: usize, order: u8, kind: MigrateType) -> Option<u32> {
        let cpu = cpu_number() as usize;
        let (frames, pcp, record) = (&mut MemMap::get(), &mut self.pcps[zone][cpu], &mut self.records[zone]);
        let found = pcp.take(frames, order, kind).or_else(|| {
            let mut blocks = record.pcp_batch;
            if blocks > 1 {
                blocks = (blocks >> order).max(2);
            }
            for _ in 0..blocks {
                let pfn = self.areas[zone].alloc(frames, record, order, kind)?;
                pcp.put(frames, pfn, order, kind);
            }
            None
        });
        let found = found.or_else(|| pcp.take(frames, order, kind));
        record.pcp_count[cpu] = pcp.count;
        found
    }

    fn rmqueue_buddy(&mut self, zone: usize, order: u8, kind: MigrateType, flags: AllocFlags) -> Option<u32> {
        let (frames, record, area) = (&mut MemMap::get(), &mut self.records[zone], &mut self.areas[zone]);
        if flags.harder
            && order > 0
            && let Some(pfn) = area.alloc_smallest(frames, record, order, MigrateType::HighAtomic)
        {
            return Some(pfn);
        }
        area.alloc(frames, record, order, kind)
    }

    /// Gives a block back: to this CPU's own list, or to the zone.
    #[track_caller]
    pub(super) fn free(&mut self, zone: usize, pfn: u32, order: u8) {
        let frames = &mut MemMap::get();
        let kind = frames.pageblock(pfn);
        // A zone that is short gets its frames at once, or those who reclaim would see no gain.
        let short = self.records[zone].free_pages < self.records[zone].watermark_low;
        if !PerCpuPages::keeps(order) || short || kind == MigrateType::Isolate {
            return self.free_to_zone(zone, pfn, order);
        }
        let cpu = cpu_number() as usize;
        let pcp = &mut self.pcps[zone][cpu];
        pcp.put(frames, pfn, order, kind);
        let count = pcp.count;
        if count >= self.records[zone].pcp_high {
            return self.free_bulk(zone, cpu, count.saturating_sub(self.records[zone].pcp_batch));
        }
        self.records[zone].pcp_count[cpu] = count;
    }

    /// Gives the oldest blocks of a CPU's lists back until `keep` frames are left.
    #[track_caller]
    fn free_bulk(&mut self, zone: usize, cpu: usize, keep: u32) {
        while self.pcps[zone][cpu].count > keep {
            let Some((pfn, order)) = self.pcps[zone][cpu].take_oldest(&mut MemMap::get()) else { break };
            self.free_to_zone(zone, pfn, order);
        }
        self.records[zone].pcp_count[cpu] = self.pcps[zone][cpu].count;
    }

    #[track_caller]
    fn free_to_zone(&mut self, zone: usize, pfn: u32, order: u8) {
        match self.areas[zone].free(&mut MemMap::get(), &mut self.records[zone], pfn, order) {
            Ok(()) => {}
            Err(BadFree::Double) => panic!("Bad page state: frame {pfn:#x} (order {order}) is freed twice"),
            Err(BadFree::Foreign) => panic!("Bad page state: frame {pfn:#x} (order {order}) is no block of its zone"),
        }
    }

    /// Gives a pageblock that is kept for atomic requests to others.
    pub(super) fn unreserve_highatomic(&mut self, zone: usize, gfp: Gfp, force: bool) -> bool {
        let record = &mut self.records[zone];
        self.areas[zone].unreserve_highatomic(&mut MemMap::get(), record, gfp.migrate_type(), force)
    }

    fn setup_marks(&mut self) {
        let nr_cpus = smp::num_online_cpus();
        watermark::setup_per_zone_wmarks(&mut self.records, self.min_free_kbytes, self.lowmem_reserve_ratio);
        for record in &mut self.records {
            record.pcp_batch = pcp::batch(record.managed_pages);
            record.pcp_high = pcp::high(record.watermark_low, nr_cpus, record.pcp_batch);
        }
    }
}

/// Fixes the borders of the zones: frame numbers where Normal, HighMem and nothing begin.
/// The descriptors are there.
#[cold]
#[inline(never)]
pub fn init_zones(borders: [u32; MAX_NR_ZONES]) {
    let mut zones = lock();
    let mut start = 0;
    for (n, end) in borders.into_iter().enumerate() {
        let end = end.max(start);
        zones.areas[n] = FreeArea::new(start, end);
        let Zones { areas, records, .. } = &mut *zones;
        let record = &mut records[n];
        record.name[..ZONE_NAMES[n].len()].copy_from_slice(ZONE_NAMES[n].as_bytes());
        (record.start_pfn, record.spanned_pages) = (start, end - start);
        areas[n].init_pageblocks(&mut MemMap::get(), record);
        start = end;
    }
}

/// RAM that exists, taken or free.
pub fn add_present(region: Region) {
    let mut zones = lock();
    for record in &mut zones.records {
        let (start, end) = (record.start_pfn, record.start_pfn + record.spanned_pages);
        record.present_pages += region.end.min(end).saturating_sub(region.start.max(start));
    }
}

/// Hands free memory of the boot to the buddy system.
pub fn free_boot_memory(region: Region) {
    let mut zones = lock();
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
        zones.free_to_zone(zone, pfn, order);
        pfn += 1 << order;
    }
}

/// `min_free_kbytes` now.
pub fn min_free_kbytes() -> u32 {
    lock().min_free_kbytes
}

/// Sets the marks, once all memory is there (`None`: what fits it), or for a new
/// `min_free_kbytes`.
pub fn setup_watermarks(min_free_kbytes: Option<u32>) {
    let mut zones = lock();
    let lowmem: u32 = zones.records[..ZONE_HIGHMEM].iter().map(|z| z.managed_pages).sum();
    zones.min_free_kbytes = min_free_kbytes.unwrap_or_else(|| watermark::min_free_kbytes(lowmem));
    zones.setup_marks();
}

/// `drain_all_pages`: the lists of all CPUs go back to the zones. No CPU has to be asked: the lock
/// of the zones guards their lists.
pub fn drain_all_pages() {
    let mut zones = lock();
    for zone in 0..MAX_NR_ZONES {
        (0..NR_CPUS).for_each(|cpu| zones.free_bulk(zone, cpu, 0));
    }
}

/// `zone_pcp_update`: more CPUs run, which share what may lie in their lists.
pub fn share_among_cpus() {
    lock().setup_marks();
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
    let zones = lock();
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
    visit(&lock().records)
}

/// Where the array of records lies, its length, and the lock that guards it.
pub fn zone_records() -> (Ptr32<ZoneRecord>, u32, Ptr32<u8>) {
    let zones = lock();
    (Ptr32::new(zones.records.as_ptr() as u32), MAX_NR_ZONES as u32, ZONES.flag())
}

/// Where the types of the pageblocks lie.
pub fn pageblocks() -> Ptr32<u8> {
    Ptr32::new(PAGEBLOCKS.as_ptr() as u32)
}
