//! A CPU's own lists of free blocks: most requests are served from here, without a look at
//! the zone.

use crate::{
    buddy::MigrateType,
    list::{Links, PfnList},
};

/// Orders that are kept in the lists: 0 to `PAGE_ALLOC_COSTLY_ORDER`.
pub const NR_PCP_ORDERS: usize = 4;
/// Lists: one for each order and each type that requests have.
const NR_LISTS: usize = NR_PCP_ORDERS * MigrateType::OF_REQUESTS.len();

/// The lists of one CPU for one zone.
#[derive(Clone, Debug)]
pub struct PerCpuPages {
    lists: [PfnList; NR_LISTS],
    /// Frames in all lists.
    pub count: u32,
    /// The list from which the next block goes back to the zone.
    next: usize,
}

/// Where blocks of a type and order lie. What no request has is kept as movable.
fn index(order: u8, kind: MigrateType) -> usize {
    let kind = if MigrateType::OF_REQUESTS.contains(&kind) { kind } else { MigrateType::Movable };
    kind as usize * NR_PCP_ORDERS + order as usize
}

impl Default for PerCpuPages {
    fn default() -> Self {
        Self::new()
    }
}

impl PerCpuPages {
    /// Empty lists.
    pub const fn new() -> Self {
        PerCpuPages { lists: [PfnList::new(); NR_LISTS], count: 0, next: 0 }
    }

    /// Whether blocks of this order are kept here.
    pub const fn keeps(order: u8) -> bool {
        (order as usize) < NR_PCP_ORDERS
    }

    /// Takes the newest block, whose contents may still be in a cache.
    pub fn take(&mut self, frames: &mut impl Links, order: u8, kind: MigrateType) -> Option<u32> {
        let list = &mut self.lists[index(order, kind)];
        let pfn = list.head()?;
        list.remove(frames, pfn);
        self.count -= 1 << order;
        Some(pfn)
    }

    /// Puts a block in front.
    pub fn put(&mut self, frames: &mut impl Links, pfn: u32, order: u8, kind: MigrateType) {
        self.lists[index(order, kind)].push_head(frames, pfn);
        self.count += 1 << order;
    }

    /// Takes the oldest block of the lists in turn, to give it back to the zone: its first
    /// frame and its order.
    pub fn take_oldest(&mut self, frames: &mut impl Links) -> Option<(u32, u8)> {
        for n in 0..NR_LISTS {
            let at = (self.next + n) % NR_LISTS;
            let Some(pfn) = self.lists[at].pop_tail(frames) else { continue };
            self.next = (at + 1) % NR_LISTS;
            let order = (at % NR_PCP_ORDERS) as u8;
            self.count -= 1 << order;
            return Some((pfn, order));
        }
        None
    }

    /// Calls `visit` with the first frame and the order of every block.
    pub fn for_each(&self, frames: &impl Links, mut visit: impl FnMut(u32, u8)) {
        for (n, list) in self.lists.iter().enumerate() {
            list.iter(frames).for_each(|pfn| visit(pfn, (n % NR_PCP_ORDERS) as u8));
        }
    }
}

/// How many frames come or go at once (`zone_batchsize`): a thousandth of the zone, at most
/// 1 MiB, a quarter of that, and one less than a power of two.
pub fn batch(managed_pages: u32) -> u32 {
    let quarter = ((managed_pages >> 10).min(256) / 4).max(1);
    let power = 1 << (quarter + quarter / 2).ilog2();
    (power - 1).max(1)
}

/// The number of frames from which some go back (`zone_highsize`): the zone's low mark,
/// shared by all CPUs.
pub fn high(watermark_low: u32, nr_cpus: u32, batch: u32) -> u32 {
    (watermark_low / nr_cpus.max(1)).max(batch * 4)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use super::*;
    use crate::list::END;
    use MigrateType::{HighAtomic, Movable, Unmovable};

    struct Table(Vec<[u32; 2]>);

    impl Links for Table {
        fn links(&self, pfn: u32) -> [u32; 2] {
            self.0[pfn as usize]
        }
        fn set_links(&mut self, pfn: u32, links: [u32; 2]) {
            self.0[pfn as usize] = links;
        }
    }

    #[test]
    fn sizes_equal_those_of_a_real_kernel() {
        // /proc/zoneinfo of a machine with 2 GiB and two CPUs: managed, low, high, batch.
        for (managed, low, want_high, want_batch) in [(3840, 237, 118, 1), (211_160, 12_661, 6330, 63)] {
            assert_eq!(batch(managed), want_batch);
            assert_eq!(high(low, 2, batch(managed)), want_high);
        }
        assert_eq!((batch(0), high(0, 1, 1)), (1, 4));
    }

    #[test]
    fn the_newest_is_used_first_and_the_oldest_goes_back_first() {
        let (mut links, mut pcp) = (Table(vec![[END; 2]; 16]), PerCpuPages::new());
        (1..5).for_each(|pfn| pcp.put(&mut links, pfn, 0, Movable));
        pcp.put(&mut links, 8, 3, Unmovable);
        assert_eq!(pcp.count, 12);
        assert_eq!(pcp.take(&mut links, 0, Movable), Some(4));
        assert_eq!(pcp.take(&mut links, 1, Movable), None);
        assert_eq!(pcp.take_oldest(&mut links), Some((8, 3)));
        assert_eq!(pcp.take_oldest(&mut links), Some((1, 0)));
        assert_eq!(pcp.take(&mut links, 0, Movable), Some(3));
        assert_eq!(pcp.take(&mut links, 0, Movable), Some(2));
        assert_eq!((pcp.take(&mut links, 0, Movable), pcp.take_oldest(&mut links), pcp.count), (None, None, 0));
    }

    #[test]
    fn every_list_gives_in_turn_and_what_no_request_has_is_movable() {
        let (mut links, mut pcp) = (Table(vec![[END; 2]; 16]), PerCpuPages::new());
        for pfn in 0..3 {
            pcp.put(&mut links, pfn, 0, Unmovable);
            pcp.put(&mut links, 8 + pfn, 0, HighAtomic);
        }
        let mut seen = Vec::new();
        pcp.for_each(&links, |pfn, order| seen.push((pfn, order)));
        assert_eq!(seen, [(2, 0), (1, 0), (0, 0), (10, 0), (9, 0), (8, 0)]);
        let order: Vec<u32> = core::iter::from_fn(|| pcp.take_oldest(&mut links)).map(|(pfn, _)| pfn).collect();
        assert_eq!(order, [0, 8, 1, 9, 2, 10]);
    }
}
