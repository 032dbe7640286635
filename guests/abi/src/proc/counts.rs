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
        pub const NR_ITEMS: usize = NAMES.len();

        /// Their names.
        const NAMES: &[&str] = &[$(stringify!($name)),*];
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
    /// Pages that were moved to another frame.
    pgmigrate_success,
    /// Pages that could not be moved.
    pgmigrate_fail,
    /// Frames that compaction looked at for pages to move.
    compact_migrate_scanned,
    /// Frames that it looked at for free ones to move them to.
    compact_free_scanned,
    /// Pages and free frames that it took aside.
    compact_isolated,
    /// Requests for a block that had to compact.
    compact_stall,
    /// Of those, the ones that still found none.
    compact_fail,
    /// Of those, the ones that found one then.
    compact_success,
    /// Anonymous and shared memory that may go to swap next.
    nr_inactive_anon,
    /// Anonymous and shared memory that was used lately.
    nr_active_anon,
    /// File pages that may be dropped next.
    nr_inactive_file,
    /// File pages that were used lately.
    nr_active_file,
    /// Pages that cannot be reclaimed.
    nr_unevictable,
    /// Pages of locked areas.
    nr_mlock,
    /// Pages that reclaim has taken off the lists for a look.
    nr_isolated_anon,
    /// The same of files.
    nr_isolated_file,
    /// Pages on their way to a device.
    nr_writeback,
    /// Pages that became dirty so far.
    nr_dirtied,
    /// Pages written back so far.
    nr_written,
    /// Pages that reclaim wrote.
    nr_vmscan_write,
    /// Pages that had to be written when reclaim met them, and go as soon as they are.
    nr_vmscan_immediate_reclaim,
    /// Pages of the swap cache.
    nr_swapcached,
    /// Pages in all swap areas.
    nr_swap_total,
    /// Free pages in all swap areas.
    nr_swap_free,
    /// Dirty pages from which on writers write back themselves.
    nr_dirty_threshold,
    /// Dirty pages from which on the write-back thread works.
    nr_dirty_background_threshold,
    /// kB read from devices.
    pgpgin,
    /// kB written to devices.
    pgpgout,
    /// Pages read from swap.
    pswpin,
    /// Pages written to swap.
    pswpout,
    /// Requests that had to reclaim before they found a frame, by the highest zone that they
    /// could use.
    allocstall_dma,
    /// See `allocstall_dma`.
    allocstall_normal,
    /// See `allocstall_dma`.
    allocstall_high,
    /// See `allocstall_dma`.
    allocstall_movable,
    /// Pages passed over because their zone would not help.
    pgskip_dma,
    /// See `pgskip_dma`.
    pgskip_normal,
    /// See `pgskip_dma`.
    pgskip_high,
    /// Pages that moved to an active list.
    pgactivate,
    /// Pages that moved to an inactive list.
    pgdeactivate,
    /// Pages of active lists that were looked at.
    pgrefill,
    /// Pages freed by `kswapd`.
    pgsteal_kswapd,
    /// Pages freed by those who needed one.
    pgsteal_direct,
    /// Pages of inactive lists that `kswapd` looked at.
    pgscan_kswapd,
    /// Pages of inactive lists that those who needed one looked at.
    pgscan_direct,
    /// Of those, anonymous ones.
    pgscan_anon,
    /// Of those, file pages.
    pgscan_file,
    /// Of the freed ones, anonymous ones.
    pgsteal_anon,
    /// Of the freed ones, file pages.
    pgsteal_file,
    /// Objects of caches that reclaim looked at.
    slabs_scanned,
    /// `kswapd` went to sleep and was woken at once for the low mark.
    kswapd_low_wmark_hit_quickly,
    /// The same for the high mark.
    kswapd_high_wmark_hit_quickly,
    /// Runs of `kswapd`.
    pageoutrun,
    /// Pages moved to the end of a list because they were written.
    pgrotated,
    /// `drop_caches` dropped file pages.
    drop_pagecache,
    /// `drop_caches` dropped objects.
    drop_slab,
    /// Pages that moved to the list of those that cannot be reclaimed.
    unevictable_pgs_culled,
    /// Pages that moved back from there.
    unevictable_pgs_rescued,
    /// Pages that became locked.
    unevictable_pgs_mlocked,
    /// Pages that were unlocked.
    unevictable_pgs_munlocked,
    /// Pages of block devices' own caches.
    nr_buffers,
    /// Huge pages, free or in use.
    hugetlb_total,
    /// Huge pages in the pool.
    hugetlb_free,
    /// Those that are promised to a mapping.
    hugetlb_rsvd,
    /// Huge pages in use beyond what the pool is to have.
    hugetlb_surp,
    /// Blocks that were found for the pool of huge pages.
    htlb_buddy_alloc_success,
    /// Blocks that could not be found for it.
    htlb_buddy_alloc_fail,
}

/// The numbers that the files are made of, as they were at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Counts<'a> {
    /// The counters.
    pub vmstat: &'a VmStatRecord,
    /// The zones, lowest first.
    pub zones: &'a [ZoneRecord],
    /// Pages of all slabs.
    pub slab_pages: u32,
    /// Threads.
    pub nr_tasks: u32,
    /// CPUs that run.
    pub nr_cpus: u32,
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
        let item = match name {
            "nr_free_pages" => return Some(self.free()),
            "nr_slab_unreclaimable" => return Some(self.slab_pages),
            "nr_kernel_stack" => return Some(self.kernel_stack_kb()),
            "nr_zone_inactive_anon" => Item::nr_inactive_anon,
            "nr_zone_active_anon" => Item::nr_active_anon,
            "nr_zone_inactive_file" => Item::nr_inactive_file,
            "nr_zone_active_file" => Item::nr_active_file,
            "nr_zone_unevictable" => Item::nr_unevictable,
            "nr_zone_write_pending" => {
                return Some(self.item(Item::nr_dirty).saturating_add(self.item(Item::nr_writeback)));
            }
            _ => return NAMES.iter().position(|known| *known == name).map(|n| self.vmstat.counters[n]),
        };
        Some(self.item(item))
    }
}
