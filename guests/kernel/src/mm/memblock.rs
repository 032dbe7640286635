//! Memory before the buddy system: what there is, and what is taken.

pub use mm::memblock::Region;
use mm::memblock::{self as logic, Regions};

use super::{PAGE_SHIFT, PAGE_SIZE};
use crate::sync::SpinLock;

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
    let found = logic::find_free(&block.memory, &block.reserved, pages, limit)?;
    block.reserved.add(found, found + pages);
    Some(found)
}

/// Calls `visit`, which takes no memory here, for each range of RAM.
pub fn for_each_memory(mut visit: impl FnMut(Region)) {
    MEMBLOCK.lock().memory.as_slice().iter().for_each(|r| visit(*r));
}

/// Calls `visit`, which takes no memory here, for each range of RAM that nobody took.
pub fn for_each_free(visit: impl FnMut(Region)) {
    let block = MEMBLOCK.lock();
    logic::for_each_free(&block.memory, &block.reserved, visit);
}

/// First frame after all RAM.
pub fn end_of_memory() -> u32 {
    MEMBLOCK.lock().memory.as_slice().last().map_or(0, |r| r.end)
}
