//! The buddy system over a plain map of frames.

extern crate std;
use proptest::prelude::*;
use std::{vec, vec::Vec};

use super::*;

/// Frame descriptors.
pub struct Map {
    free: Vec<Option<FreeBlock>>,
    links: Vec<[u32; 2]>,
    pageblocks: Vec<MigrateType>,
    movable: Vec<bool>,
}

impl Links for Map {
    fn links(&self, pfn: u32) -> [u32; 2] {
        self.links[pfn as usize]
    }
    fn set_links(&mut self, pfn: u32, links: [u32; 2]) {
        self.links[pfn as usize] = links;
    }
}

impl Frames for Map {
    fn free_block(&self, pfn: u32) -> Option<FreeBlock> {
        self.free[pfn as usize]
    }
    fn set_free_block(&mut self, pfn: u32, block: Option<FreeBlock>) {
        self.free[pfn as usize] = block;
    }
    fn pageblock(&self, pfn: u32) -> MigrateType {
        self.pageblocks[(pfn >> PAGEBLOCK_ORDER) as usize]
    }
    fn set_pageblock(&mut self, pfn: u32, kind: MigrateType) {
        self.pageblocks[(pfn >> PAGEBLOCK_ORDER) as usize] = kind;
    }
    fn is_movable(&self, pfn: u32) -> bool {
        self.movable[pfn as usize]
    }
}

/// A zone from frame 0 with all its parts.
struct Zone {
    map: Map,
    area: FreeArea,
    record: ZoneRecord,
}

impl Zone {
    fn new(frames: u32) -> Self {
        let len = frames as usize;
        let map = Map {
            free: vec![None; len],
            links: vec![[NONE; 2]; len],
            pageblocks: vec![Isolate; frames.div_ceil(PAGEBLOCK_PAGES) as usize],
            movable: vec![false; len],
        };
        let record = ZoneRecord { spanned_pages: frames, managed_pages: frames, ..ZoneRecord::default() };
        let mut zone = Zone { map, area: FreeArea::new(0, frames), record };
        zone.area.init_pageblocks(&mut zone.map, &mut zone.record);
        (0..frames).for_each(|pfn| zone.free(pfn, 0).unwrap());
        zone
    }

    fn alloc(&mut self, order: u8, kind: MigrateType) -> Option<u32> {
        let pfn = self.area.alloc(&mut self.map, &mut self.record, order, kind)?;
        self.map.movable[pfn as usize..(pfn + (1 << order)) as usize].fill(kind == Movable);
        Some(pfn)
    }

    fn free(&mut self, pfn: u32, order: u8) -> Result<(), BadFree> {
        self.area.free(&mut self.map, &mut self.record, pfn, order)?;
        self.map.movable[pfn as usize..(pfn + (1 << order)) as usize].fill(false);
        Ok(())
    }

    /// Every count is what the lists and the pageblocks say.
    fn check(&self) {
        let mut free = 0;
        for list in MigrateType::ALL {
            for order in 0..=MAX_ORDER {
                let (mut at, mut blocks, mut prev) = (self.area.head(order, list), 0, NONE);
                while at != NONE {
                    assert_eq!(self.map.free_block(at), Some(FreeBlock { order, list }));
                    assert_eq!(self.map.links(at)[0], prev);
                    (prev, at) = (at, self.map.links(at)[1]);
                    blocks += 1;
                }
                assert_eq!(blocks, self.record.free_lists[list as usize][order as usize]);
                free += blocks << order;
            }
            let blocks = self.map.pageblocks.iter().filter(|&&kind| kind == list).count();
            assert_eq!(blocks as u32, self.record.blocks[list as usize], "{list:?}");
        }
        assert_eq!(free, self.record.free_pages);
        for order in 0..NR_ORDERS {
            let sum: u32 = self.record.free_lists.iter().map(|list| list[order]).sum();
            assert_eq!(sum, self.record.nr_free[order]);
        }
    }
}

#[test]
fn single_frames_join_to_the_largest_blocks() {
    let zone = Zone::new(2048 + 512 + 3);
    assert_eq!(zone.record.nr_free, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(zone.record.free_lists[Movable as usize], zone.record.nr_free, "all memory is movable at boot");
    assert_eq!(zone.record.blocks, [0, 3, 0, 0, 0]);
    zone.check();
}

#[test]
fn a_split_leaves_one_upper_half_of_each_order() {
    let mut zone = Zone::new(1024);
    assert_eq!(zone.alloc(0, Movable), Some(0));
    assert_eq!(zone.record.nr_free, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    zone.free(0, 0).unwrap();
    assert_eq!(zone.record.nr_free, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn a_double_or_foreign_free_is_refused_and_changes_nothing() {
    let mut zone = Zone::new(1024);
    let pfn = zone.alloc(3, Movable).unwrap();
    let before = zone.record.nr_free;
    assert_eq!(zone.free(pfn + 8, 0), Err(BadFree::Double));
    assert_eq!(zone.free(pfn + 1, 1), Err(BadFree::Foreign));
    assert_eq!(zone.free(1024, 0), Err(BadFree::Foreign));
    assert_eq!(zone.record.nr_free, before);
    zone.free(pfn, 3).unwrap();
    assert_eq!(zone.free(pfn, 3), Err(BadFree::Double));
    zone.check();
}

#[test]
fn what_cannot_move_takes_a_whole_pageblock_and_stays_in_it() {
    let mut zone = Zone::new(4 * PAGEBLOCK_PAGES);
    let first = zone.alloc(0, Unmovable).unwrap();
    assert_eq!(zone.record.blocks, [1, 3, 0, 0, 0]);
    for _ in 1..PAGEBLOCK_PAGES {
        let pfn = zone.alloc(0, Unmovable).unwrap();
        assert_eq!(pfn >> PAGEBLOCK_ORDER, first >> PAGEBLOCK_ORDER, "the same pageblock to its last frame");
    }
    assert_eq!(zone.record.blocks, [1, 3, 0, 0, 0]);
    let other = zone.alloc(0, Reclaimable).unwrap();
    assert_ne!(other >> PAGEBLOCK_ORDER, first >> PAGEBLOCK_ORDER);
    assert_eq!(zone.record.blocks, [1, 2, 1, 0, 0]);
    zone.check();
}

#[test]
fn a_pageblock_changes_its_type_only_if_half_of_it_is_free_or_alike() {
    for (movable, changes) in [(PAGEBLOCK_PAGES / 2, true), (PAGEBLOCK_PAGES / 2 + 64, false)] {
        let mut zone = Zone::new(PAGEBLOCK_PAGES);
        for _ in 0..movable {
            zone.alloc(0, Movable).unwrap();
        }
        let pfn = zone.alloc(0, Unmovable).unwrap();
        assert!(pfn >= movable);
        assert_eq!(zone.map.pageblock(0), if changes { Unmovable } else { Movable }, "{movable} movable frames");
        zone.check();
    }
}

#[test]
fn a_movable_request_takes_a_small_block_of_others_rather_than_a_large_one() {
    let mut zone = Zone::new(PAGEBLOCK_PAGES);
    // Only two free blocks are left, of orders 0 and 3, both on lists of unmovable ones.
    let frames: Vec<u32> = (0..PAGEBLOCK_PAGES).map(|_| zone.alloc(0, Unmovable).unwrap()).collect();
    assert_eq!(frames.len() as u32, PAGEBLOCK_PAGES);
    zone.free(512, 0).unwrap();
    (8..16).for_each(|pfn| zone.free(pfn, 0).unwrap());
    assert_eq!(zone.alloc(0, Movable), Some(512));
    assert_eq!(zone.record.blocks, [1, 0, 0, 0, 0]);
    assert_eq!(zone.alloc(0, Movable), Some(8));
    // The rest of the split block is on the movable lists of an unmovable pageblock.
    assert_eq!(zone.record.free_lists[Movable as usize][..3], [1, 1, 1]);
    zone.check();
}

#[test]
fn blocks_kept_for_atomic_requests_are_not_given_to_others() {
    let mut zone = Zone::new(3 * PAGEBLOCK_PAGES);
    let Zone { map, area, record } = &mut zone;
    area.reserve_highatomic(map, record, 0);
    assert_eq!((record.blocks, record.nr_reserved_highatomic), ([0, 2, 0, 1, 0], PAGEBLOCK_PAGES));
    (1..3).for_each(|n| area.reserve_highatomic(map, record, n * PAGEBLOCK_PAGES));
    assert_eq!(record.blocks, [0, 1, 0, 2, 0], "none is added to a hundredth of the zone and a block");
    while let Some(pfn) = zone.alloc(0, Unmovable) {
        assert!(pfn >= 2 * PAGEBLOCK_PAGES);
    }
    let Zone { map, area, record } = &mut zone;
    assert_eq!(area.alloc_smallest(map, record, 2, HighAtomic), Some(PAGEBLOCK_PAGES));
    assert!(area.unreserve_highatomic(map, record, Unmovable, false));
    assert_eq!((record.blocks, record.nr_reserved_highatomic), ([2, 0, 0, 1, 0], PAGEBLOCK_PAGES));
    assert!(!area.unreserve_highatomic(map, record, Unmovable, false), "the last block is kept");
    assert!(area.unreserve_highatomic(map, record, Unmovable, true));
    assert_eq!((record.blocks, record.nr_reserved_highatomic), ([3, 0, 0, 0, 0], 0));
    assert!(zone.alloc(0, Unmovable).is_some());
    zone.check();
}

#[test]
fn a_certain_block_can_be_taken_out() {
    let mut zone = Zone::new(PAGEBLOCK_PAGES);
    zone.alloc(0, Movable).unwrap();
    let Zone { map, area, record } = &mut zone;
    assert_eq!(area.take_block(map, record, 64), Some(6));
    assert_eq!(area.take_block(map, record, 64), None);
    assert_eq!(area.take_block(map, record, 65), None);
    assert_eq!(record.free_pages, PAGEBLOCK_PAGES - 1 - 64);
    zone.check();
    zone.free(64, 6).unwrap();
    zone.free(0, 0).unwrap();
    assert_eq!(zone.record.nr_free[10], 1);
}

proptest! {
    #[test]
    fn blocks_never_overlap_and_all_come_back(
        requests in proptest::collection::vec((0u8..=MAX_ORDER, 0usize..3, any::<u16>()), 1..400),
    ) {
        let mut zone = Zone::new(3 * PAGEBLOCK_PAGES + 700);
        let full = (zone.record.nr_free, zone.record.free_pages);
        let mut held: Vec<(u32, u8)> = Vec::new();
        for (order, kind, pick) in requests {
            let order = order.min((pick >> 8) as u8 % 12);
            if pick % 3 == 0 && !held.is_empty() {
                let (pfn, order) = held.swap_remove(pick as usize % held.len());
                zone.free(pfn, order).unwrap();
            } else if let Some(pfn) = zone.alloc(order, MigrateType::OF_REQUESTS[kind]) {
                for &(other, o) in &held {
                    prop_assert!(pfn + (1 << order) <= other || other + (1 << o) <= pfn);
                }
                held.push((pfn, order));
            }
            let used: u32 = held.iter().map(|(_, o)| 1u32 << o).sum();
            prop_assert_eq!(zone.record.free_pages + used, full.1);
        }
        zone.check();
        for (pfn, order) in held {
            zone.free(pfn, order).unwrap();
        }
        zone.check();
        prop_assert_eq!((zone.record.nr_free, zone.record.free_pages), full);
    }
}
