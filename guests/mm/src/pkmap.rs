//! Which frames of high memory have one of the slots of `kmap`, and how many use each.
//!
//! A slot that nobody uses keeps its frame until the slots have all been gone through: only
//! then are translations flushed, once for all of them.

/// Slots: the 4 MiB of one page table.
pub const LAST_PKMAP: usize = 1024;
/// Chains of the table by which a frame's slot is found.
const NR_CHAINS: usize = 128;
/// The end of a chain.
const END: u16 = !0;

/// A slot.
#[derive(Clone, Copy, Debug)]
struct Slot {
    pfn: u32,
    /// 0: free. 1: nobody uses it, but a TLB may hold it. More: users and one.
    count: u32,
    /// The next slot of the chain.
    next: u16,
}

/// All slots.
#[derive(Clone, Debug)]
pub struct Pkmap {
    slots: [Slot; LAST_PKMAP],
    chains: [u16; NR_CHAINS],
    last: usize,
}

/// What `kmap` got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Got {
    /// The frame had this slot already.
    Old(usize),
    /// The frame has this slot now, which maps nothing yet.
    New(usize),
    /// Every slot has users.
    Full,
}

impl Default for Pkmap {
    fn default() -> Self {
        Self::new()
    }
}

impl Pkmap {
    /// Only free slots.
    pub const fn new() -> Self {
        Pkmap {
            slots: [Slot { pfn: 0, count: 0, next: END }; LAST_PKMAP],
            chains: [END; NR_CHAINS],
            last: LAST_PKMAP - 1,
        }
    }

    /// The slot of a frame, if it has one: `page_address`.
    pub fn find(&self, pfn: u32) -> Option<usize> {
        let mut at = self.chains[pfn as usize % NR_CHAINS];
        while at != END {
            let slot = &self.slots[usize::from(at)];
            if slot.pfn == pfn {
                return Some(at.into());
            }
            at = slot.next;
        }
        None
    }

    /// One more user of a frame's slot. When the slots have been gone through, `unmap` is
    /// called with each that nobody uses; a flush must follow before a new one is used.
    pub fn get(&mut self, pfn: u32, mut unmap: impl FnMut(usize)) -> Got {
        if let Some(slot) = self.find(pfn) {
            self.slots[slot].count += 1;
            return Got::Old(slot);
        }
        let mut left = LAST_PKMAP;
        while left > 0 {
            self.last = (self.last + 1) % LAST_PKMAP;
            if self.last == 0 {
                self.drop_unused(&mut unmap);
                left = LAST_PKMAP;
            }
            left -= 1;
            if self.slots[self.last].count == 0 {
                let chain = &mut self.chains[pfn as usize % NR_CHAINS];
                let next = core::mem::replace(chain, self.last as u16);
                self.slots[self.last] = Slot { pfn, count: 2, next };
                return Got::New(self.last);
            }
        }
        Got::Full
    }

    /// Frees every slot that nobody uses (`flush_all_zero_pkmaps`).
    fn drop_unused(&mut self, unmap: &mut impl FnMut(usize)) {
        for n in 0..LAST_PKMAP {
            if self.slots[n].count == 1 {
                self.unchain(n);
                self.slots[n].count = 0;
                unmap(n);
            }
        }
    }

    fn unchain(&mut self, slot: usize) {
        let next = self.slots[slot].next;
        let chain = self.slots[slot].pfn as usize % NR_CHAINS;
        if usize::from(self.chains[chain]) == slot {
            self.chains[chain] = next;
            return;
        }
        let mut at = self.chains[chain];
        while at != END {
            let following = self.slots[usize::from(at)].next;
            if usize::from(following) == slot {
                self.slots[usize::from(at)].next = next;
                return;
            }
            at = following;
        }
    }

    /// One user less. Says whether that was the last one, so that somebody who waits for a
    /// slot may get this one.
    ///
    /// # Panics
    /// If the frame has no slot, or the slot no user.
    pub fn put(&mut self, pfn: u32) -> bool {
        let slot = self.find(pfn).unwrap_or_else(|| panic!("kunmap: frame {pfn:#x} has no slot"));
        let count = &mut self.slots[slot].count;
        assert!(*count > 1, "kunmap: frame {pfn:#x} is not mapped");
        *count -= 1;
        *count == 1
    }

    /// Slots with users.
    pub fn in_use(&self) -> usize {
        self.slots.iter().filter(|slot| slot.count > 1).count()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use super::*;

    fn no_unmap(_: usize) {
        panic!("nothing is to be unmapped");
    }

    #[test]
    fn a_frame_has_one_slot_however_often_it_is_mapped() {
        let mut pkmap = Pkmap::new();
        assert_eq!(pkmap.get(7, |_| {}), Got::New(0));
        assert_eq!(pkmap.get(7, no_unmap), Got::Old(0));
        assert_eq!(pkmap.get(7 + NR_CHAINS as u32, no_unmap), Got::New(1));
        assert!(!pkmap.put(7) && pkmap.put(7));
        assert_eq!((pkmap.find(7), pkmap.in_use()), (Some(0), 1), "the slot stays until the next flush");
        assert_eq!(pkmap.get(7, no_unmap), Got::Old(0));
    }

    #[test]
    fn the_pool_wraps_with_one_flush_of_what_nobody_uses() {
        let mut pkmap = Pkmap::new();
        for pfn in 0..LAST_PKMAP as u32 {
            assert_eq!(pkmap.get(pfn, no_unmap), Got::New(pfn as usize));
            if pfn % 2 == 1 {
                pkmap.put(pfn);
            }
        }
        let mut unmapped = Vec::new();
        assert_eq!(pkmap.get(5000, |slot| unmapped.push(slot)), Got::New(1));
        assert_eq!(unmapped, (0..LAST_PKMAP).filter(|n| n % 2 == 1).collect::<Vec<_>>());
        assert_eq!((pkmap.find(1), pkmap.find(2), pkmap.find(5000)), (None, Some(2), Some(1)));
    }

    #[test]
    fn a_full_pool_says_so_and_goes_on_when_a_slot_is_free() {
        let mut pkmap = Pkmap::new();
        (0..LAST_PKMAP as u32).for_each(|pfn| assert_eq!(pkmap.get(pfn, no_unmap), Got::New(pfn as usize)));
        assert_eq!(pkmap.get(9999, no_unmap), Got::Full);
        assert!(pkmap.put(500));
        let mut unmapped = vec![];
        assert_eq!(pkmap.get(9999, |slot| unmapped.push(slot)), Got::New(500));
        assert_eq!(unmapped, [500]);
    }

    #[test]
    #[should_panic(expected = "kunmap: frame 0x3 is not mapped")]
    fn an_unmap_too_many_is_caught() {
        let mut pkmap = Pkmap::new();
        pkmap.get(3, |_| {});
        pkmap.put(3);
        pkmap.put(3);
    }
}
