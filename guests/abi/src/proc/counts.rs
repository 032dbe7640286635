//! The counters of memory management by the names of `/proc/vmstat`: what `vmstat`,
//! `zoneinfo` and `meminfo` show is made of them.

use crate::books::{VmStatRecord, ZoneRecord};

macro_rules! items {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A counter, by its place in [`VmStatRecord::counters`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        #[allow(non_camel_case_types, reason = "the names of /proc/vmstat")]
        pub enum Item { $($(#[$doc])* $name,)* }

        /// How many there are.
        pub const NR_ITEMS: usize = [$(Item::$name),*].len();
    };
}

items! {
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
    /// Pages that `vmalloc` has.
    nr_vmalloc_pages,
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

/// The numbers that the files are made of, as they were at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Counts<'a> {
    /// The counters.
    pub vmstat: VmStatRecord,
    /// The zones, lowest first.
    pub zones: &'a [ZoneRecord],
    /// Pages of all slabs.
    pub slab_pages: u32,
    /// Threads.
    pub nr_tasks: u32,
}

impl Counts<'_> {
    /// A counter.
    pub fn item(&self, item: Item) -> u32 {
        self.vmstat.counters[item as usize]
    }

    /// A sum over the zones.
    pub fn sum(&self, part: impl Fn(&ZoneRecord) -> u32) -> u32 {
        self.zones.iter().map(part).fold(0, u32::saturating_add)
    }

    /// Free pages.
    pub fn free(&self) -> u32 {
        self.sum(|zone| zone.free_pages)
    }

    /// Pages of files that are not shared memory.
    pub fn file_pages(&self) -> u32 {
        self.item(Item::nr_file_pages).saturating_sub(self.item(Item::nr_shmem))
    }

    /// Kernel stacks, in kB: 8 a thread.
    pub fn kernel_stack_kb(&self) -> u32 {
        self.nr_tasks.saturating_mul(8)
    }

    /// A counter of the node or of all zones together by its name in `/proc/vmstat`; `None`
    /// for what this kernel does not count, because it never happens or never exists here.
    pub fn by_name(&self, name: &str) -> Option<u32> {
        Some(match name {
            "nr_free_pages" => self.free(),
            "nr_zone_active_anon" | "nr_active_anon" | "nr_anon_pages" => self.item(Item::nr_anon_pages),
            "nr_zone_inactive_anon" | "nr_inactive_anon" | "nr_shmem" => self.item(Item::nr_shmem),
            "nr_zone_active_file" | "nr_active_file" => self.file_pages(),
            "nr_mapped" => self.item(Item::nr_mapped),
            "nr_file_pages" => self.item(Item::nr_file_pages),
            "nr_slab_unreclaimable" => self.slab_pages,
            "nr_zone_write_pending" | "nr_dirty" => self.item(Item::nr_dirty),
            "nr_kernel_stack" => self.kernel_stack_kb(),
            "nr_page_table_pages" => self.item(Item::nr_page_table_pages),
            "pgalloc_dma" => self.item(Item::pgalloc_dma),
            "pgalloc_normal" => self.item(Item::pgalloc_normal),
            "pgalloc_high" => self.item(Item::pgalloc_high),
            "pgfree" => self.item(Item::pgfree),
            "pgfault" => self.item(Item::pgfault),
            "pgmajfault" => self.item(Item::pgmajfault),
            "pgreuse" => self.item(Item::pgreuse),
            "oom_kill" => self.item(Item::oom_kill),
            _ => return None,
        })
    }
}
