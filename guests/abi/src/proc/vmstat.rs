//! `/proc/vmstat`, and the names that `/proc/zoneinfo` shares with it.

use core::ops::Range;

use crate::{Out, out};

/// The rows of Linux 6.1 on i386, in order.
pub const ROWS: [&str; 155] = [
    "nr_free_pages",
    "nr_zone_inactive_anon",
    "nr_zone_active_anon",
    "nr_zone_inactive_file",
    "nr_zone_active_file",
    "nr_zone_unevictable",
    "nr_zone_write_pending",
    "nr_mlock",
    "nr_bounce",
    "nr_zspages",
    "nr_free_cma",
    "nr_inactive_anon",
    "nr_active_anon",
    "nr_inactive_file",
    "nr_active_file",
    "nr_unevictable",
    "nr_slab_reclaimable",
    "nr_slab_unreclaimable",
    "nr_isolated_anon",
    "nr_isolated_file",
    "workingset_nodes",
    "workingset_refault_anon",
    "workingset_refault_file",
    "workingset_activate_anon",
    "workingset_activate_file",
    "workingset_restore_anon",
    "workingset_restore_file",
    "workingset_nodereclaim",
    "nr_anon_pages",
    "nr_mapped",
    "nr_file_pages",
    "nr_dirty",
    "nr_writeback",
    "nr_writeback_temp",
    "nr_shmem",
    "nr_shmem_hugepages",
    "nr_shmem_pmdmapped",
    "nr_file_hugepages",
    "nr_file_pmdmapped",
    "nr_anon_transparent_hugepages",
    "nr_vmscan_write",
    "nr_vmscan_immediate_reclaim",
    "nr_dirtied",
    "nr_written",
    "nr_throttled_written",
    "nr_kernel_misc_reclaimable",
    "nr_foll_pin_acquired",
    "nr_foll_pin_released",
    "nr_kernel_stack",
    "nr_page_table_pages",
    "nr_sec_page_table_pages",
    "nr_swapcached",
    "nr_dirty_threshold",
    "nr_dirty_background_threshold",
    "pgpgin",
    "pgpgout",
    "pswpin",
    "pswpout",
    "pgalloc_dma",
    "pgalloc_normal",
    "pgalloc_high",
    "pgalloc_movable",
    "allocstall_dma",
    "allocstall_normal",
    "allocstall_high",
    "allocstall_movable",
    "pgskip_dma",
    "pgskip_normal",
    "pgskip_high",
    "pgskip_movable",
    "pgfree",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pgfault",
    "pgmajfault",
    "pglazyfreed",
    "pgrefill",
    "pgreuse",
    "pgsteal_kswapd",
    "pgsteal_direct",
    "pgdemote_kswapd",
    "pgdemote_direct",
    "pgscan_kswapd",
    "pgscan_direct",
    "pgscan_direct_throttle",
    "pgscan_anon",
    "pgscan_file",
    "pgsteal_anon",
    "pgsteal_file",
    "pginodesteal",
    "slabs_scanned",
    "kswapd_inodesteal",
    "kswapd_low_wmark_hit_quickly",
    "kswapd_high_wmark_hit_quickly",
    "pageoutrun",
    "pgrotated",
    "drop_pagecache",
    "drop_slab",
    "oom_kill",
    "pgmigrate_success",
    "pgmigrate_fail",
    "thp_migration_success",
    "thp_migration_fail",
    "thp_migration_split",
    "compact_migrate_scanned",
    "compact_free_scanned",
    "compact_isolated",
    "compact_stall",
    "compact_fail",
    "compact_success",
    "compact_daemon_wake",
    "compact_daemon_migrate_scanned",
    "compact_daemon_free_scanned",
    "htlb_buddy_alloc_success",
    "htlb_buddy_alloc_fail",
    "unevictable_pgs_culled",
    "unevictable_pgs_scanned",
    "unevictable_pgs_rescued",
    "unevictable_pgs_mlocked",
    "unevictable_pgs_munlocked",
    "unevictable_pgs_cleared",
    "unevictable_pgs_stranded",
    "thp_fault_alloc",
    "thp_fault_fallback",
    "thp_fault_fallback_charge",
    "thp_collapse_alloc",
    "thp_collapse_alloc_failed",
    "thp_file_alloc",
    "thp_file_fallback",
    "thp_file_fallback_charge",
    "thp_file_mapped",
    "thp_split_page",
    "thp_split_page_failed",
    "thp_deferred_split_page",
    "thp_split_pmd",
    "thp_scan_exceed_none_pte",
    "thp_scan_exceed_swap_pte",
    "thp_scan_exceed_share_pte",
    "thp_zero_page_alloc",
    "thp_zero_page_alloc_failed",
    "thp_swpout",
    "thp_swpout_fallback",
    "balloon_inflate",
    "balloon_deflate",
    "balloon_migrate",
    "swap_ra",
    "swap_ra_hit",
    "ksm_swpin_copy",
    "cow_ksm",
    "zswpin",
    "zswpout",
    "direct_map_level2_splits",
    "direct_map_level3_splits",
    "nr_unstable",
];

/// Rows of a zone, which are the last of its block in `/proc/zoneinfo` too.
pub const ZONE_ROWS: Range<usize> = 0..11;

/// Rows of the node, which stand in the first block of `/proc/zoneinfo` too.
pub const NODE_ROWS: Range<usize> = ZONE_ROWS.end..52;

/// Writes the file. `value` knows the counters that this kernel has; what it does not have
/// never happens or never exists here, and is 0.
pub fn write(out: &mut dyn Out, value: impl Fn(&str) -> Option<u32>) {
    for name in &ROWS {
        out!(out, "{name} {}\n", value(name).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;

    #[test]
    fn zone_and_node_rows_are_parts_of_the_table() {
        assert_eq!((ROWS[ZONE_ROWS][0], ROWS[ZONE_ROWS][10]), ("nr_free_pages", "nr_free_cma"));
        assert_eq!((ROWS[NODE_ROWS][0], ROWS[NODE_ROWS][40]), ("nr_inactive_anon", "nr_swapcached"));
        assert_eq!(ROWS[NODE_ROWS.end], "nr_dirty_threshold");
    }

    #[test]
    fn every_row_is_there_once_and_unknown_ones_are_zero() {
        let text = render(|out| write(out, |name| (name == "pgfault").then_some(6914)));
        let text = core::str::from_utf8(&text).unwrap();
        assert!(text.starts_with("nr_free_pages 0\nnr_zone_inactive_anon 0\n"));
        assert!(text.contains("\npgfault 6914\npgmajfault 0\n") && text.ends_with("\nnr_unstable 0\n"));
        assert_eq!(text.lines().count(), ROWS.len());
    }
}
