//! `swap_map`: who uses each slot of a swap area.

use alloc::vec::Vec;

/// The swap cache holds a page for the slot.
const HAS_CACHE: u16 = 1 << 14;
/// The slot cannot be used: the header, or a bad block.
const BAD: u16 = 1 << 15;
/// Most page-table entries and files that may name one slot.
const COUNT_MAX: u16 = HAS_CACHE - 1;
/// Slots given away one after the other before a free run is looked for again, so that
/// neighbours in time are neighbours on the device (`SWAPFILE_CLUSTER`).
const CLUSTER: u32 = 256;

/// The slots of a swap area. A slot is free when nobody names it and the swap cache has no
/// page for it.
#[derive(Debug)]
pub struct SwapMap {
    map: Vec<u16>,
    usable: u32,
    in_use: u32,
    /// Where the next slot is looked for, and how many more of its cluster are left.
    next: u32,
    left: u32,
}

impl SwapMap {
    /// An area of `slots` slots, of which 0, the header, and `bad` are never given away.
    /// `None` without memory for the map.
    pub fn new(slots: u32, bad: &[u32]) -> Option<Self> {
        let mut map = Vec::new();
        map.try_reserve_exact(slots as usize).ok()?;
        map.resize(slots as usize, 0);
        for slot in bad.iter().chain(&[0]) {
            if let Some(entry) = map.get_mut(*slot as usize) {
                *entry = BAD;
            }
        }
        let usable = map.iter().filter(|entry| **entry == 0).count() as u32;
        Some(SwapMap { map, usable, in_use: 0, next: 0, left: 0 })
    }

    /// One word a slot: how many name it in bits 13:0, the cache in bit 14. It never moves.
    pub fn entries(&self) -> &[u16] {
        &self.map
    }

    /// Slots that can be used at all.
    pub fn usable(&self) -> u32 {
        self.usable
    }

    /// Slots in use.
    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Takes a free slot for the swap cache; `None` when the area is full.
    pub fn alloc(&mut self) -> Option<u32> {
        if self.in_use == self.usable {
            return None;
        }
        if self.left == 0 {
            self.left = CLUSTER;
            if let Some(start) = self.free_cluster() {
                self.next = start;
            }
        }
        let slots = self.map.len() as u32;
        let slot = (self.next..slots).chain(0..self.next).find(|slot| self.map[*slot as usize] == 0)?;
        self.map[slot as usize] = HAS_CACHE;
        self.in_use += 1;
        self.left -= 1;
        self.next = if slot + 1 < slots { slot + 1 } else { 0 };
        Some(slot)
    }

    /// The first run of free slots as long as a cluster.
    fn free_cluster(&self) -> Option<u32> {
        let mut run = 0;
        for (slot, entry) in (0..).zip(&self.map) {
            run = if *entry == 0 { run + 1 } else { 0 };
            if run == CLUSTER {
                return Some(slot + 1 - CLUSTER);
            }
        }
        None
    }

    fn entry(&mut self, slot: u32) -> Option<&mut u16> {
        self.map.get_mut(slot as usize).filter(|entry| **entry != BAD)
    }

    /// `swap_duplicate`: one more names the slot, which must be in use. `false` if it is not,
    /// or if too many do.
    pub fn duplicate(&mut self, slot: u32) -> bool {
        match self.entry(slot) {
            Some(entry) if *entry != 0 && *entry & COUNT_MAX < COUNT_MAX => {
                *entry += 1;
                true
            }
            _ => false,
        }
    }

    /// `swap_free`: one less names the slot. Says whether it is free now.
    pub fn free(&mut self, slot: u32) -> bool {
        let Some(entry) = self.entry(slot) else { return false };
        assert!(*entry & COUNT_MAX != 0, "swap slot {slot} is freed twice");
        *entry -= 1;
        self.note_free(slot)
    }

    /// `swapcache_prepare`: the swap cache is to have a page for a slot that is in use. `false`
    /// if it has one, or if nobody names the slot.
    pub fn prepare_cache(&mut self, slot: u32) -> bool {
        match self.entry(slot) {
            Some(entry) if *entry & COUNT_MAX != 0 && *entry & HAS_CACHE == 0 => {
                *entry |= HAS_CACHE;
                true
            }
            _ => false,
        }
    }

    /// The swap cache has no page for the slot any more. Says whether the slot is free now.
    pub fn drop_cache(&mut self, slot: u32) -> bool {
        let Some(entry) = self.entry(slot) else { return false };
        assert!(*entry & HAS_CACHE != 0, "swap slot {slot} was not cached");
        *entry &= !HAS_CACHE;
        self.note_free(slot)
    }

    fn note_free(&mut self, slot: u32) -> bool {
        let is_free = self.map[slot as usize] == 0;
        self.in_use -= u32::from(is_free);
        is_free
    }

    /// How many name the slot.
    pub fn count(&self, slot: u32) -> u32 {
        match self.map.get(slot as usize) {
            Some(&entry) if entry != BAD => (entry & COUNT_MAX).into(),
            _ => 0,
        }
    }

    /// The first slot from `from` on that somebody or the cache uses.
    pub fn next_used(&self, from: u32) -> Option<u32> {
        let rest = self.map.get(from as usize..)?;
        rest.iter().position(|entry| *entry != 0 && *entry != BAD).map(|n| from + n as u32)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use proptest::prelude::*;
    use std::{collections::BTreeMap, vec::Vec};

    use super::*;

    #[test]
    fn slots_are_given_away_in_a_row_and_the_header_and_bad_ones_never() {
        let mut map = SwapMap::new(8, &[3, 99]).unwrap();
        let given: Vec<u32> = core::iter::from_fn(|| map.alloc()).collect();
        assert_eq!(given, [1, 2, 4, 5, 6, 7]);
        assert_eq!((map.in_use(), map.usable()), (6, 6));
    }

    #[test]
    fn a_new_cluster_begins_where_a_whole_run_is_free() {
        let mut map = SwapMap::new(4 * CLUSTER, &[CLUSTER + 7]).unwrap();
        let given: Vec<u32> = (0..=CLUSTER).filter_map(|_| map.alloc()).collect();
        assert_eq!((given[0], given[255], given[256]), (1, 256, CLUSTER + 8));
    }

    #[test]
    fn a_slot_is_free_when_neither_the_cache_nor_anybody_names_it() {
        let mut map = SwapMap::new(4, &[]).unwrap();
        let slot = map.alloc().unwrap();
        assert!(!map.prepare_cache(slot), "the cache has it");
        assert!(map.duplicate(slot) && map.duplicate(slot));
        assert!(!map.drop_cache(slot) && !map.free(slot));
        assert!(map.prepare_cache(slot) && !map.free(slot) && map.drop_cache(slot));
        assert!(!map.duplicate(slot) && !map.prepare_cache(slot), "nobody may name a free slot");
        assert_eq!(map.in_use(), 0);
    }

    proptest! {
        #[test]
        fn counts_agree_with_a_model(steps in proptest::collection::vec((0u8..5, 0u32..24), 0..300)) {
            let mut map = SwapMap::new(24, &[5]).unwrap();
            let mut model: BTreeMap<u32, (u32, bool)> = BTreeMap::new();
            for (step, slot) in steps {
                let (count, cached) = model.get(&slot).copied().unwrap_or((0, false));
                match step {
                    0 => match map.alloc() {
                        Some(slot) => prop_assert_eq!(model.insert(slot, (0, true)), None),
                        None => prop_assert_eq!(model.len(), 22),
                    },
                    1 => {
                        prop_assert_eq!(map.duplicate(slot), model.contains_key(&slot));
                        if let Some(entry) = model.get_mut(&slot) {
                            entry.0 += 1;
                        }
                    }
                    2 if count > 0 => {
                        let is_free = count == 1 && !cached;
                        prop_assert_eq!(map.free(slot), is_free);
                        if is_free { model.remove(&slot); } else { model.insert(slot, (count - 1, cached)); }
                    }
                    3 => {
                        let may = count > 0 && !cached;
                        prop_assert_eq!(map.prepare_cache(slot), may);
                        if may { model.insert(slot, (count, true)); }
                    }
                    4 if cached => {
                        prop_assert_eq!(map.drop_cache(slot), count == 0);
                        if count == 0 { model.remove(&slot); } else { model.insert(slot, (count, false)); }
                    }
                    _ => {}
                }
                prop_assert_eq!(map.in_use(), model.len() as u32);
                prop_assert_eq!(map.next_used(0), model.keys().next().copied());
            }
        }
    }
}
