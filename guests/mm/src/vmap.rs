//! The free addresses of a range: which of them an area gets, and how they come back.

use alloc::collections::BTreeMap;

/// Free stretches of addresses that neither touch nor overlap.
#[derive(Clone, Debug)]
pub struct FreeSpace {
    /// First address after a stretch, by its first address.
    stretches: BTreeMap<u32, u32>,
}

impl FreeSpace {
    /// All of `start..end` is free.
    pub fn new(start: u32, end: u32) -> Self {
        FreeSpace { stretches: if start < end { BTreeMap::from([(start, end)]) } else { BTreeMap::new() } }
    }

    /// Takes the lowest `size` bytes that begin at a multiple of `align` (a power of two).
    pub fn alloc(&mut self, size: u32, align: u32) -> Option<u32> {
        let (start, end, at) = self.stretches.iter().find_map(|(&start, &end)| {
            let at = start.checked_next_multiple_of(align)?;
            (at < end && end - at >= size).then_some((start, end, at))
        })?;
        self.stretches.remove(&start);
        if start < at {
            self.stretches.insert(start, at);
        }
        if at + size < end {
            self.stretches.insert(at + size, end);
        }
        Some(at)
    }

    /// Gives addresses back. They join the free ones that they touch.
    ///
    /// # Panics
    /// If some of them are free already.
    pub fn free(&mut self, start: u32, size: u32) {
        let (mut first, mut last) = (start, start + size);
        if let Some((&before, &end)) = self.stretches.range(..start).next_back() {
            assert!(end <= start, "addresses {start:#x} and {size:#x} bytes on are freed twice");
            if end == start {
                first = before;
            }
        }
        if let Some((&after, &end)) = self.stretches.range(start..).next() {
            assert!(after >= last, "addresses {start:#x} and {size:#x} bytes on are freed twice");
            if after == last {
                self.stretches.remove(&after);
                last = end;
            }
        }
        self.stretches.insert(first, last);
    }

    /// The free stretches: first address and first address after, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.stretches.iter().map(|(&start, &end)| (start, end))
    }

    /// Bytes that are free.
    pub fn bytes(&self) -> u32 {
        self.iter().map(|(start, end)| end - start).sum()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    const START: u32 = 0x1000;
    const END: u32 = 0x41000;

    #[test]
    fn the_lowest_place_that_fits_is_taken() {
        let mut space = FreeSpace::new(START, END);
        assert_eq!(space.alloc(0x3000, 1), Some(0x1000));
        assert_eq!(space.alloc(0x1000, 0x8000), Some(0x8000));
        assert_eq!(space.alloc(0x4000, 1), Some(0x4000), "the gap before the aligned area is used");
        space.free(0x1000, 0x3000);
        assert_eq!(space.alloc(0x4000, 1), Some(0x9000), "the gap is too small");
        assert_eq!(space.alloc(0x3000, 1), Some(0x1000));
    }

    #[test]
    fn what_is_too_large_is_refused_and_changes_nothing() {
        let mut space = FreeSpace::new(START, END);
        assert_eq!(space.alloc(END - START + 1, 1), None);
        assert_eq!(space.alloc(0x1000, 1 << 31), None);
        assert_eq!(space.iter().collect::<Vec<_>>(), [(START, END)]);
        assert_eq!(space.alloc(END - START, 1), Some(START));
        assert_eq!((space.bytes(), space.alloc(1, 1)), (0, None));
    }

    #[test]
    #[should_panic(expected = "freed twice")]
    fn addresses_that_are_free_cannot_be_freed() {
        let mut space = FreeSpace::new(START, END);
        space.alloc(0x2000, 1);
        space.free(0x2000, 0x2000);
    }

    proptest! {
        #[test]
        fn areas_never_overlap_and_all_come_back(
            requests in proptest::collection::vec((1u32..9, 0u32..4, any::<bool>()), 1..120),
        ) {
            let mut space = FreeSpace::new(START, END);
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (pages, align, give_back) in requests {
                let (size, align) = (pages << 12, 0x1000 << align);
                if give_back && !held.is_empty() {
                    let (at, size) = held.swap_remove(pages as usize % held.len());
                    space.free(at, size);
                } else if let Some(at) = space.alloc(size, align) {
                    prop_assert!(at % align == 0 && at >= START && at + size <= END);
                    prop_assert!(held.iter().all(|&(other, len)| at + size <= other || other + len <= at));
                    held.push((at, size));
                }
                let used: u32 = held.iter().map(|(_, size)| size).sum();
                prop_assert_eq!(space.bytes() + used, END - START);
            }
            held.into_iter().for_each(|(at, size)| space.free(at, size));
            prop_assert_eq!(space.iter().collect::<Vec<_>>(), [(START, END)]);
        }
    }
}
