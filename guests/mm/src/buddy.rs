//! The buddy system: free blocks of 2^order frames, split on demand, joined when both
//! halves are free.

/// Orders 0 to 10: blocks of 4 KiB to 4 MiB.
pub const NR_ORDERS: usize = 11;
/// The largest order.
pub const MAX_ORDER: u8 = NR_ORDERS as u8 - 1;
/// No frame: the end of a list.
pub const NONE: u32 = !0;

/// The frame descriptors, as far as the buddy system uses them.
pub trait Frames {
    /// The order of the free block that begins at `pfn`, if one does.
    fn free_order(&self, pfn: u32) -> Option<u8>;
    /// Marks `pfn` as the beginning of a free block, or as not.
    fn set_free_order(&mut self, pfn: u32, order: Option<u8>);
    /// Neighbours in the free list: previous and next, or [`NONE`].
    fn links(&self, pfn: u32) -> [u32; 2];
    /// Sets the neighbours.
    fn set_links(&mut self, pfn: u32, links: [u32; 2]);
}

/// Why a block cannot be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadFree {
    /// The block, or a part of it, is free already.
    Double,
    /// The block lies outside the zone, or is not aligned to its size.
    Foreign,
}

/// The free lists of a zone.
#[derive(Clone, Debug)]
pub struct FreeArea {
    /// First frame of the zone.
    start: u32,
    /// First frame after the zone.
    end: u32,
    heads: [u32; NR_ORDERS],
}

impl FreeArea {
    /// A zone without a free frame.
    pub const fn new(start: u32, end: u32) -> Self {
        FreeArea { start, end, heads: [NONE; NR_ORDERS] }
    }

    /// The newest block of a list, or [`NONE`].
    pub fn head(&self, order: u8) -> u32 {
        self.heads[order as usize]
    }

    fn push(&mut self, frames: &mut impl Frames, nr_free: &mut [u32; NR_ORDERS], pfn: u32, order: u8) {
        let next = self.heads[order as usize];
        frames.set_links(pfn, [NONE, next]);
        if next != NONE {
            let [_, after] = frames.links(next);
            frames.set_links(next, [pfn, after]);
        }
        frames.set_free_order(pfn, Some(order));
        self.heads[order as usize] = pfn;
        nr_free[order as usize] += 1;
    }

    fn unlink(&mut self, frames: &mut impl Frames, nr_free: &mut [u32; NR_ORDERS], pfn: u32, order: u8) {
        let [prev, next] = frames.links(pfn);
        if prev == NONE {
            self.heads[order as usize] = next;
        } else {
            let [before, _] = frames.links(prev);
            frames.set_links(prev, [before, next]);
        }
        if next != NONE {
            let [_, after] = frames.links(next);
            frames.set_links(next, [prev, after]);
        }
        frames.set_free_order(pfn, None);
        nr_free[order as usize] -= 1;
    }

    /// Takes a block of 2^`order` frames: the smallest that fits, its upper halves going
    /// back to the lists.
    pub fn alloc(&mut self, frames: &mut impl Frames, nr_free: &mut [u32; NR_ORDERS], order: u8) -> Option<u32> {
        let found = (order..NR_ORDERS as u8).find(|&o| self.heads[o as usize] != NONE)?;
        let pfn = self.heads[found as usize];
        self.unlink(frames, nr_free, pfn, found);
        for half in (order..found).rev() {
            self.push(frames, nr_free, pfn + (1 << half), half);
        }
        Some(pfn)
    }

    /// Gives a block back and joins it with its free buddies.
    pub fn free(
        &mut self,
        frames: &mut impl Frames,
        nr_free: &mut [u32; NR_ORDERS],
        mut pfn: u32,
        mut order: u8,
    ) -> Result<(), BadFree> {
        let size = 1u32 << order;
        if order > MAX_ORDER || pfn & (size - 1) != 0 || pfn < self.start || pfn + size > self.end {
            return Err(BadFree::Foreign);
        }
        if self.is_free(frames, pfn) || (pfn..pfn + size).any(|p| frames.free_order(p).is_some()) {
            return Err(BadFree::Double);
        }
        while order < MAX_ORDER {
            let buddy = pfn ^ (1 << order);
            let inside = buddy >= self.start && buddy + (1 << order) <= self.end;
            if !inside || frames.free_order(buddy) != Some(order) {
                break;
            }
            self.unlink(frames, nr_free, buddy, order);
            pfn &= !(1 << order);
            order += 1;
        }
        self.push(frames, nr_free, pfn, order);
        Ok(())
    }

    /// Whether the frame lies in a free block.
    pub fn is_free(&self, frames: &impl Frames, pfn: u32) -> bool {
        (0..NR_ORDERS as u8).any(|order| {
            let head = pfn & !((1 << order) - 1);
            head >= self.start && frames.free_order(head).is_some_and(|o| o >= order)
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    use super::*;

    struct Map {
        free: Vec<Option<u8>>,
        links: Vec<[u32; 2]>,
    }

    impl Map {
        fn new(frames: usize) -> Self {
            Map { free: vec![None; frames], links: vec![[NONE; 2]; frames] }
        }
    }

    impl Frames for Map {
        fn free_order(&self, pfn: u32) -> Option<u8> {
            self.free[pfn as usize]
        }
        fn set_free_order(&mut self, pfn: u32, order: Option<u8>) {
            self.free[pfn as usize] = order;
        }
        fn links(&self, pfn: u32) -> [u32; 2] {
            self.links[pfn as usize]
        }
        fn set_links(&mut self, pfn: u32, links: [u32; 2]) {
            self.links[pfn as usize] = links;
        }
    }

    fn zone(frames: u32) -> (Map, FreeArea, [u32; NR_ORDERS]) {
        let (mut map, mut area, mut nr) = (Map::new(frames as usize), FreeArea::new(0, frames), [0; NR_ORDERS]);
        for pfn in 0..frames {
            area.free(&mut map, &mut nr, pfn, 0).unwrap();
        }
        (map, area, nr)
    }

    #[test]
    fn single_frames_join_to_the_largest_blocks() {
        let (_, _, nr) = zone(2048 + 512 + 3);
        assert_eq!(nr, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn a_split_leaves_one_upper_half_of_each_order() {
        let (mut map, mut area, mut nr) = zone(1024);
        assert_eq!(area.alloc(&mut map, &mut nr, 0), Some(0));
        assert_eq!(nr, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        area.free(&mut map, &mut nr, 0, 0).unwrap();
        assert_eq!(nr, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_double_or_foreign_free_is_refused_and_changes_nothing() {
        let (mut map, mut area, mut nr) = zone(1024);
        let pfn = area.alloc(&mut map, &mut nr, 3).unwrap();
        let before = nr;
        assert_eq!(area.free(&mut map, &mut nr, pfn + 8, 0), Err(BadFree::Double));
        assert_eq!(area.free(&mut map, &mut nr, pfn + 1, 1), Err(BadFree::Foreign));
        assert_eq!(area.free(&mut map, &mut nr, 1024, 0), Err(BadFree::Foreign));
        area.free(&mut map, &mut nr, pfn, 3).unwrap();
        assert_eq!(area.free(&mut map, &mut nr, pfn, 3), Err(BadFree::Double));
        assert_ne!(before, nr);
    }

    proptest! {
        #[test]
        fn blocks_never_overlap_and_all_come_back(requests in proptest::collection::vec((0u8..6, any::<bool>()), 1..200)) {
            let (mut map, mut area, mut nr) = zone(1500);
            let full = nr;
            let mut held: Vec<(u32, u8)> = Vec::new();
            for (order, give_back) in requests {
                if give_back && !held.is_empty() {
                    let (pfn, order) = held.swap_remove(held.len() / 2);
                    area.free(&mut map, &mut nr, pfn, order).unwrap();
                } else if let Some(pfn) = area.alloc(&mut map, &mut nr, order) {
                    for &(other, o) in &held {
                        prop_assert!(pfn + (1 << order) <= other || other + (1 << o) <= pfn);
                    }
                    held.push((pfn, order));
                }
                let free: u32 = nr.iter().enumerate().map(|(o, n)| n << o).sum();
                let used: u32 = held.iter().map(|(_, o)| 1u32 << o).sum();
                prop_assert_eq!(free + used, 1500);
            }
            for (pfn, order) in held {
                area.free(&mut map, &mut nr, pfn, order).unwrap();
            }
            prop_assert_eq!(nr, full);
        }
    }
}
