//! Compaction: movable pages go to free frames at a zone's end, until the free frames that
//! they leave at its beginning form large blocks.

use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use mm::buddy::{MigrateType, PAGEBLOCK_PAGES};

use super::{
    Gfp, Page,
    migrate::migrate_page,
    page::{MemMap, get_page, pfn_to_page, pg},
    page_alloc::{__free_pages, MAX_NR_ZONES, drain_all_pages, prepare},
    swap::{lru_del, putback},
    vmstat::{self, Item},
    zone,
};
use crate::{
    arch::percpu::need_resched,
    sync::{cond_resched, in_atomic, might_sleep},
    task::current,
};

/// Pages that are moved between two looks at the borders (`COMPACT_CLUSTER_MAX`).
const CLUSTER: usize = 32;

/// `compact_control`: the two scanners of a zone, which move towards each other.
struct CompactControl {
    zone: usize,
    /// The next frame that may have to move.
    migrate_pfn: u32,
    /// Where the free frames that were found begin.
    free_pfn: u32,
    /// The zone's first frame.
    start: u32,
    /// Free frames that were taken out of the buddy system to move pages to: at most those of
    /// one pageblock, for which there is room, since they are taken under the lock of the zones.
    freepages: Vec<&'static Page>,
}

/// `/proc/sys/vm/compact_memory`: compacts all zones.
pub fn compact_memory() {
    might_sleep();
    (0..MAX_NR_ZONES).for_each(compact_zone);
}

/// `try_to_compact_pages`: for a request of a block that no list has, in the zones that it
/// may use. `false` if it may not wait for that.
pub fn try_to_compact_pages(gfp: Gfp, order: u8, class: usize) -> bool {
    if order == 0 || !gfp.contains(Gfp::DIRECT_RECLAIM) || !current::exists() || in_atomic() {
        return false;
    }
    vmstat::count(Item::compact_stall);
    (0..=class).rev().for_each(compact_zone);
    true
}

/// `compact_zone`.
fn compact_zone(zone: usize) {
    drain_all_pages();
    let (start, end) = zone::lock().areas[zone].span();
    let mut cc = CompactControl {
        zone,
        migrate_pfn: start,
        free_pfn: end,
        start,
        freepages: Vec::with_capacity(PAGEBLOCK_PAGES as usize),
    };
    while cc.migrate_pfn < cc.free_pfn {
        for page in cc.isolate_migratepages() {
            cc.migrate(page);
        }
        if need_resched() {
            // Nothing is in hand while others run.
            cc.give_back();
            cond_resched();
        }
    }
    cc.give_back();
    drain_all_pages();
}

impl CompactControl {
    /// Frames that no page has moved to are free again, and will be found again.
    fn give_back(&mut self) {
        if let Some(highest) = self.freepages.iter().map(|page| page.pfn()).max() {
            self.free_pfn = highest + 1;
        }
        self.freepages.drain(..).for_each(|page| __free_pages(page, 0));
    }

    /// The next pages that can move, off their lists and with one user more each.
    fn isolate_migratepages(&mut self) -> Vec<&'static Page> {
        let mut pages = Vec::with_capacity(CLUSTER);
        let mut scanned = 0;
        while pages.len() < CLUSTER && self.migrate_pfn < self.free_pfn {
            let page = pfn_to_page(self.migrate_pfn);
            scanned += 1;
            if page.is(pg::BUDDY) {
                self.migrate_pfn += 1 << page.private.load(Relaxed).min(10);
                continue;
            }
            self.migrate_pfn += 1;
            if page.is(pg::LRU) && page.count() != 0 && !page.is(pg::LOCKED) && lru_del(page) {
                pages.push(get_page(page));
            }
        }
        vmstat::add(Item::compact_migrate_scanned, scanned);
        vmstat::add(Item::compact_isolated, pages.len() as i32);
        pages
    }

    /// Moves a page, or puts it back.
    fn migrate(&mut self, page: &'static Page) {
        if self.freepages.is_empty() {
            self.isolate_freepages();
        }
        // Moving towards the beginning would undo what was done.
        match self.freepages.pop() {
            Some(new) if new.pfn() > page.pfn() => {
                if !migrate_page(page, new) {
                    putback(page);
                    self.freepages.push(new);
                }
            }
            other => {
                self.freepages.extend(other);
                putback(page);
            }
        }
    }

    /// Takes the free frames of the next movable pageblock from the end that has some
    /// (`isolate_freepages`). Blocks that are free as a whole are left: they are what is
    /// wanted.
    fn isolate_freepages(&mut self) {
        while self.freepages.is_empty() && self.free_pfn > self.migrate_pfn {
            let first = ((self.free_pfn - 1) & !(PAGEBLOCK_PAGES - 1)).max(self.start);
            let mut zones = zone::lock();
            let suitable = zones.pageblock_for_migration(first);
            let mut pfn = first.max(self.migrate_pfn);
            while suitable && pfn < self.free_pfn {
                let Some(order) = zones.isolate_free_block(self.zone, pfn) else {
                    pfn += 1;
                    continue;
                };
                // One after the other, so that the frames at the end are used first.
                self.freepages.extend((pfn..pfn + (1 << order)).map(|pfn| prepare(pfn, 0, Gfp::empty())));
                pfn += 1 << order;
            }
            drop(zones);
            vmstat::add(Item::compact_free_scanned, (self.free_pfn - first) as i32);
            vmstat::add(Item::compact_isolated, self.freepages.len() as i32);
            self.free_pfn = first;
        }
    }
}

impl zone::Zones {
    /// Whether the pageblock at a frame takes pages that move: it is a movable one, and not
    /// free as a whole (`suitable_migration_target`).
    fn pageblock_for_migration(&self, pfn: u32) -> bool {
        use mm::buddy::Frames;
        let frames = MemMap::get();
        let whole = frames.free_block(pfn).is_some_and(|block| 1 << block.order >= PAGEBLOCK_PAGES);
        frames.pageblock(pfn) == MigrateType::Movable && !whole
    }

    /// Takes the free block that begins at a frame, if one does; its order.
    fn isolate_free_block(&mut self, zone: usize, pfn: u32) -> Option<u8> {
        self.areas[zone].take_block(&mut MemMap::get(), &mut self.records[zone], pfn)
    }
}
