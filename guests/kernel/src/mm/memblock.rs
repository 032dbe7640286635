//! Memory before the buddy system: what there is, and what is taken.

use super::{PAGE_SHIFT, PAGE_SIZE};
use crate::sync::SpinLock;

const MAX_REGIONS: usize = 64;

/// Half-open range of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// First frame.
    pub start: u32,
    /// First frame after.
    pub end: u32,
}

#[derive(Clone, Copy)]
struct Regions {
    list: [Region; MAX_REGIONS],
    len: usize,
}

impl Regions {
    const EMPTY: Regions = Regions { list: [Region { start: 0, end: 0 }; MAX_REGIONS], len: 0 };

    fn as_slice(&self) -> &[Region] {
        &self.list[..self.len]
    }

    /// Adds a range; ranges that touch or overlap become one.
    fn add(&mut self, start: u32, end: u32) {
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

struct Memblock {
    memory: Regions,
    reserved: Regions,
}

static MEMBLOCK: SpinLock<Memblock> = SpinLock::new(Memblock { memory: Regions::EMPTY, reserved: Regions::EMPTY });

/// Usable RAM: whole frames inside the byte range.
pub fn add(start: u64, end: u64) {
    let (first, last) = (start.div_ceil(PAGE_SIZE.into()), end >> PAGE_SHIFT);
    let limit = 1 << (32 - PAGE_SHIFT);
    let (first, last) = (first.min(limit) as u32, last.min(limit) as u32);
    if first < last {
        MEMBLOCK.lock().memory.add(first, last);
    }
}

/// Taken: all frames that the byte range touches.
pub fn reserve(start: u32, end: u32) {
    if start < end {
        MEMBLOCK.lock().reserved.add(start >> PAGE_SHIFT, end.div_ceil(PAGE_SIZE));
    }
}

/// Takes `pages` frames below frame `limit`, the highest that are free (early tables lie
/// high, so that low memory stays for those who need it). Returns the first.
pub fn alloc(pages: u32, limit: u32) -> Option<u32> {
    let mut block = MEMBLOCK.lock();
    let found = block.memory.as_slice().iter().rev().find_map(|memory| {
        let mut end = memory.end.min(limit);
        for taken in block.reserved.as_slice().iter().rev() {
            if taken.start < end && taken.end > memory.start {
                if taken.end < end && end - taken.end >= pages {
                    break;
                }
                end = end.min(taken.start);
            }
        }
        let floor = memory.start.max(1);
        let start = end.checked_sub(pages)?;
        (start >= floor).then_some(start)
    })?;
    block.reserved.add(found, found + pages);
    Some(found)
}

/// Calls `visit` for each range of RAM.
pub fn for_each_memory(mut visit: impl FnMut(Region)) {
    let memory = MEMBLOCK.lock().memory;
    memory.as_slice().iter().for_each(|r| visit(*r));
}

/// Calls `visit` for each range of RAM that nobody took.
pub fn for_each_free(mut visit: impl FnMut(Region)) {
    let (memory, reserved) = {
        let block = MEMBLOCK.lock();
        (block.memory, block.reserved)
    };
    for r in memory.as_slice() {
        let mut start = r.start;
        for taken in reserved.as_slice() {
            if taken.end <= start || taken.start >= r.end {
                continue;
            }
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

/// First frame after all RAM.
pub fn end_of_memory() -> u32 {
    MEMBLOCK.lock().memory.as_slice().last().map_or(0, |r| r.end)
}
