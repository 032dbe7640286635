//! Ranges of frames before the buddy system: what there is, and what is taken.

/// Ranges that a list can hold.
pub const MAX_REGIONS: usize = 64;

/// Half-open range of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// First frame.
    pub start: u32,
    /// First frame after.
    pub end: u32,
}

/// Ascending ranges that neither touch nor overlap.
#[derive(Clone, Copy, Debug)]
pub struct Regions {
    list: [Region; MAX_REGIONS],
    len: usize,
}

impl Regions {
    /// No range.
    pub const EMPTY: Regions = Regions { list: [Region { start: 0, end: 0 }; MAX_REGIONS], len: 0 };

    /// The ranges.
    pub fn as_slice(&self) -> &[Region] {
        &self.list[..self.len]
    }

    /// Adds a range; ranges that touch or overlap become one.
    ///
    /// # Panics
    /// If there are more than [`MAX_REGIONS`] ranges then.
    pub fn add(&mut self, start: u32, end: u32) {
        let mut new = Region { start, end };
        let mut kept = 0;
        for n in 0..self.len {
            let old = self.list[n];
            if old.start <= new.end && new.start <= old.end {
                new = Region { start: old.start.min(new.start), end: old.end.max(new.end) };
            } else {
                self.list[kept] = old;
                kept += 1;
            }
        }
        assert!(kept < MAX_REGIONS, "too many ranges of early memory");
        let at = self.list[..kept].partition_point(|r| r.start < new.start);
        self.list.copy_within(at..kept, at + 1);
        self.list[at] = new;
        self.len = kept + 1;
    }
}

/// The highest `pages` frames below frame `limit` that are memory and not taken. Frame 0 is
/// never given away: its address is null.
pub fn find_free(memory: &Regions, taken: &Regions, pages: u32, limit: u32) -> Option<u32> {
    memory.as_slice().iter().rev().find_map(|memory| {
        let floor = memory.start.max(1);
        let mut end = memory.end.min(limit);
        for taken in taken.as_slice().iter().rev() {
            if taken.end <= floor || end.saturating_sub(taken.end) >= pages {
                break;
            }
            end = end.min(taken.start);
        }
        end.checked_sub(pages).filter(|&start| start >= floor)
    })
}

/// Calls `visit` for each range of memory that is not taken, ascending.
pub fn for_each_free(memory: &Regions, taken: &Regions, mut visit: impl FnMut(Region)) {
    for r in memory.as_slice() {
        let mut start = r.start;
        for taken in taken.as_slice().iter().filter(|taken| taken.end > r.start && taken.start < r.end) {
            if taken.start > start {
                visit(Region { start, end: taken.start });
            }
            start = taken.end;
        }
        if start < r.end {
            visit(Region { start, end: r.end });
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    use super::*;

    fn regions(ranges: &[(u32, u32)]) -> Regions {
        let mut regions = Regions::EMPTY;
        ranges.iter().for_each(|&(start, end)| regions.add(start, end));
        regions
    }

    fn free(memory: &Regions, taken: &Regions) -> Vec<(u32, u32)> {
        let mut out = Vec::new();
        for_each_free(memory, taken, |r| out.push((r.start, r.end)));
        out
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let r = regions(&[(10, 20), (30, 40), (20, 30), (50, 60)]);
        assert_eq!(r.as_slice(), [Region { start: 10, end: 40 }, Region { start: 50, end: 60 }]);
    }

    #[test]
    fn early_tables_come_from_the_highest_gap_below_the_limit() {
        let (memory, taken) =
            (regions(&[(0, 0x9f), (0x100, 0x4000)]), regions(&[(0, 1), (0x100, 0x200), (0xff0, 0x1000)]));
        assert_eq!(find_free(&memory, &taken, 1, 0x1000), Some(0xfef));
        assert_eq!(find_free(&memory, &taken, 0x20, 0x4000), Some(0x3fe0));
        assert_eq!(find_free(&memory, &taken, 0x9e, 0x200), Some(1));
        assert_eq!(find_free(&memory, &taken, 0x9f, 0x200), None);
    }

    proptest! {
        #[test]
        fn what_is_free_is_memory_and_not_taken(
            memory in proptest::collection::vec((0u32..200, 1u32..40), 1..8),
            taken in proptest::collection::vec((0u32..240, 1u32..20), 0..12),
            pages in 1u32..10,
            limit in 0u32..260,
        ) {
            let mut model = vec![false; 300];
            let (mut have, mut used) = (Regions::EMPTY, Regions::EMPTY);
            for (start, len) in memory {
                have.add(start, start + len);
                model[start as usize..(start + len) as usize].fill(true);
            }
            for (start, len) in taken {
                used.add(start, start + len);
                model[start as usize..(start + len) as usize].fill(false);
            }
            let mut seen = vec![false; 300];
            for (start, end) in free(&have, &used) {
                seen[start as usize..end as usize].fill(true);
            }
            prop_assert_eq!(&seen, &model);
            model[0] = false;
            let highest = (0..limit.saturating_sub(pages - 1))
                .rev()
                .find(|&at| (at..at + pages).all(|pfn| model[pfn as usize]));
            prop_assert_eq!(find_free(&have, &used, pages, limit), highest);
        }
    }
}
