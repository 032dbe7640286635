//! Counters of memory management.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub use abi::proc::counts::Item;
use abi::{Ptr32, books::VmStatRecord, proc::counts::NR_ITEMS};

static COUNTERS: [AtomicU32; NR_ITEMS] = [const { AtomicU32::new(0) }; NR_ITEMS];

/// Changes a counter.
pub fn add(item: Item, delta: i32) {
    COUNTERS[item as usize].fetch_add(delta as u32, Relaxed);
}

/// Sets a number that is no count of events.
pub fn set(item: Item, value: u32) {
    COUNTERS[item as usize].store(value, Relaxed);
}

/// Counts an event.
pub fn count(item: Item) {
    add(item, 1);
}

/// The counter now.
pub fn read(item: Item) -> u32 {
    COUNTERS[item as usize].load(Relaxed)
}

/// All counters now. They are too many to be handed over by value on a kernel stack.
pub fn snapshot(record: &mut VmStatRecord) {
    for (copy, counter) in record.counters.iter_mut().zip(&COUNTERS) {
        *copy = counter.load(Relaxed);
    }
}

/// Where the host finds them.
pub fn books() -> Ptr32<VmStatRecord> {
    Ptr32::new(COUNTERS.as_ptr() as u32)
}
