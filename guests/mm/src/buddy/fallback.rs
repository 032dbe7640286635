//! When a type's own lists are empty: which other type's blocks are taken, and when a whole
//! pageblock changes its type.

use abi::books::{NR_ORDERS, ZoneRecord};

use super::{
    Frames, FreeArea, FreeBlock, MAX_ORDER,
    MigrateType::{self, HighAtomic, Isolate, Movable, Reclaimable, Unmovable},
    NONE, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES,
};

/// Whose blocks a request takes when its own type has none, best first.
fn fallbacks(kind: MigrateType) -> [MigrateType; 2] {
    match kind {
        Unmovable => [Reclaimable, Movable],
        Movable => [Reclaimable, Unmovable],
        _ => [Unmovable, Movable],
    }
}

/// Whether the rest of the pageblock may be taken along with a block of `order`
/// (`can_steal_fallback`): what cannot be moved should spoil as few pageblocks as possible,
/// so it takes whole ones; what can be moved takes one only if most of it is free.
fn can_steal(order: u8, kind: MigrateType) -> bool {
    order >= PAGEBLOCK_ORDER / 2 || matches!(kind, Reclaimable | Unmovable)
}

impl FreeArea {
    /// The first of the fallbacks that has a block of exactly `order`.
    fn find_fallback(&self, order: u8, kind: MigrateType) -> Option<MigrateType> {
        fallbacks(kind).into_iter().find(|&list| self.head(order, list) != NONE)
    }

    /// Brings a block of at least `order` to the lists of `kind` (`__rmqueue_fallback`).
    /// `false` if there is none.
    pub(super) fn steal_fallback(
        &mut self,
        frames: &mut impl Frames,
        zone: &mut ZoneRecord,
        order: u8,
        kind: MigrateType,
    ) -> bool {
        // The largest block: the one whose pageblock is most likely to be free as a whole.
        let largest = (order..=MAX_ORDER).rev().find_map(|o| Some((o, self.find_fallback(o, kind)?)));
        let Some((mut found, mut list)) = largest else { return false };
        if !can_steal(found, kind) && kind == Movable && found > order {
            // A single movable block, which spoils nothing: better a small one.
            let smallest = (order..=MAX_ORDER).find_map(|o| Some((o, self.find_fallback(o, kind)?)));
            (found, list) = smallest.unwrap_or((found, list));
        }
        let whole_block = can_steal(found, kind);
        let block = FreeBlock { order: found, list };
        self.steal(frames, zone, self.head(found, list), block, kind, whole_block);
        true
    }

    /// `steal_suitable_fallback`: the block goes to the lists of `kind`, and with it,
    /// perhaps, its pageblock.
    fn steal(
        &mut self,
        frames: &mut impl Frames,
        zone: &mut ZoneRecord,
        pfn: u32,
        block: FreeBlock,
        kind: MigrateType,
        whole_block: bool,
    ) {
        let old = frames.pageblock(pfn);
        if old != HighAtomic && block.order >= PAGEBLOCK_ORDER {
            self.set_pageblock(frames, zone, pfn, kind);
        } else if old != HighAtomic && whole_block {
            let (free, movable) = self.move_freepages_block(frames, zone, pfn, kind);
            // How much of the pageblock is of our kind already: what is neither free nor
            // movable in a movable block must be unmovable.
            let alike = match (kind, old) {
                (Movable, _) => movable,
                (_, Movable) => PAGEBLOCK_PAGES - (free + movable).min(PAGEBLOCK_PAGES),
                _ => 0,
            };
            if free + alike >= PAGEBLOCK_PAGES / 2 {
                self.set_pageblock(frames, zone, pfn, kind);
            }
            return;
        }
        self.move_to(frames, zone, pfn, block, kind);
    }

    fn move_to(
        &mut self,
        frames: &mut impl Frames,
        zone: &mut ZoneRecord,
        pfn: u32,
        block: FreeBlock,
        list: MigrateType,
    ) {
        self.unlink(frames, zone, pfn, block);
        self.push(frames, zone, pfn, FreeBlock { list, ..block });
    }

    /// Moves all free blocks of the pageblock around `pfn` to the lists of a type. Returns
    /// how many frames were free, and how many are movable.
    pub fn move_freepages_block(
        &mut self,
        frames: &mut impl Frames,
        zone: &mut ZoneRecord,
        pfn: u32,
        list: MigrateType,
    ) -> (u32, u32) {
        let first = pfn & !(PAGEBLOCK_PAGES - 1);
        let (mut at, end) = (first.max(self.start), (first + PAGEBLOCK_PAGES).min(self.end));
        let (mut free, mut movable) = (0, 0);
        while at < end {
            match frames.free_block(at) {
                Some(block) => {
                    self.move_to(frames, zone, at, block, list);
                    free += 1 << block.order;
                    at += 1 << block.order;
                }
                None => {
                    movable += u32::from(frames.is_movable(at));
                    at += 1;
                }
            }
        }
        (free, movable)
    }

    /// Keeps the pageblock around `pfn` for requests that cannot wait, unless a hundredth of
    /// the zone and one block are kept already (`reserve_highatomic_pageblock`).
    pub fn reserve_highatomic(&mut self, frames: &mut impl Frames, zone: &mut ZoneRecord, pfn: u32) {
        let most = zone.managed_pages / 100 + PAGEBLOCK_PAGES;
        if zone.nr_reserved_highatomic < most && !matches!(frames.pageblock(pfn), HighAtomic | Isolate) {
            zone.nr_reserved_highatomic += PAGEBLOCK_PAGES;
            self.set_pageblock(frames, zone, pfn, HighAtomic);
            self.move_freepages_block(frames, zone, pfn, HighAtomic);
        }
    }

    /// Gives a pageblock that is kept for requests that cannot wait to another type, before
    /// somebody is killed. Keeps the last one unless `force`. `false`: there was none with
    /// a free block.
    pub fn unreserve_highatomic(
        &mut self,
        frames: &mut impl Frames,
        zone: &mut ZoneRecord,
        kind: MigrateType,
        force: bool,
    ) -> bool {
        if !force && zone.nr_reserved_highatomic <= PAGEBLOCK_PAGES {
            return false;
        }
        let found = (0..NR_ORDERS as u8).map(|order| self.head(order, HighAtomic)).find(|&pfn| pfn != NONE);
        let Some(pfn) = found else { return false };
        if frames.pageblock(pfn) == HighAtomic {
            zone.nr_reserved_highatomic -= PAGEBLOCK_PAGES.min(zone.nr_reserved_highatomic);
            self.set_pageblock(frames, zone, pfn, kind);
        }
        self.move_freepages_block(frames, zone, pfn, kind).0 != 0
    }
}
