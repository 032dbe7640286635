//! Counters of memory management.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A counter.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        #[allow(non_camel_case_types, reason = "the names of /proc/vmstat")]
        pub enum Item { $($(#[$doc])* $name,)* }

        const COUNT: usize = [$(Item::$name),*].len();
    };
}

counters! {
    /// Anonymous pages that are mapped.
    nr_anon_pages,
    /// File pages that are mapped.
    nr_mapped,
    /// Pages of all files' caches.
    nr_file_pages,
    /// Those of tmpfs and shared memory.
    nr_shmem,
    /// Page tables.
    nr_page_table_pages,
    /// File pages written and not yet clean.
    nr_dirty,
    /// Pages handed out by zone DMA.
    pgalloc_dma,
    /// Pages handed out by zone Normal.
    pgalloc_normal,
    /// Pages handed out by zone HighMem.
    pgalloc_high,
    /// Pages given back.
    pgfree,
    /// Page faults.
    pgfault,
    /// Page faults that had to wait for a device.
    pgmajfault,
    /// Copy-on-write faults whose page had no other user.
    pgreuse,
    /// Processes killed for want of memory.
    oom_kill,
}

static COUNTERS: [AtomicU32; COUNT] = [const { AtomicU32::new(0) }; COUNT];

/// Changes a counter.
pub fn add(item: Item, delta: i32) {
    COUNTERS[item as usize].fetch_add(delta as u32, Relaxed);
}

/// Counts an event.
pub fn count(item: Item) {
    add(item, 1);
}

/// The counter now.
pub fn read(item: Item) -> u32 {
    COUNTERS[item as usize].load(Relaxed)
}
