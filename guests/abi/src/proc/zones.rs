//! `/proc/buddyinfo`, `/proc/zoneinfo` and `/proc/pagetypeinfo`.

use super::counts::Counts;
use super::vmstat::{NODE_ROWS, ROWS, ZONE_ROWS};
use crate::books::{NR_MIGRATE_TYPES, NR_ORDERS, ZoneRecord};
use crate::{Out, out};

/// A zone's name without its padding.
pub fn name(zone: &ZoneRecord) -> &str {
    let len = zone.name.iter().position(|&b| b == 0).unwrap_or(zone.name.len());
    core::str::from_utf8(&zone.name[..len]).unwrap_or("?")
}

/// The line of `/proc/buddyinfo` for one zone.
pub fn buddyinfo_line(out: &mut dyn Out, zone: &ZoneRecord) {
    out!(out, "Node 0, zone {:>8} ", name(zone));
    for free in zone.nr_free {
        out!(out, "{free:6} ");
    }
    out.bytes(b"\n");
}

/// Writes `/proc/zoneinfo`. Pages are counted by node; what a zone has of them is 0.
pub fn zoneinfo(out: &mut dyn Out, counts: &Counts<'_>) {
    for (n, zone) in counts.zones.iter().enumerate() {
        zoneinfo_block(out, zone, if n == 0 { Some(counts) } else { None }, counts.nr_cpus);
    }
    let high = counts.zones.last().is_some_and(|zone| zone.present_pages > 0);
    zoneinfo_block(out, &movable(high), None, counts.nr_cpus);
}

/// The min mark of high memory that is empty: one batch of reclaim (`SWAP_CLUSTER_MAX`).
pub const EMPTY_HIGHMEM_MIN: u32 = 32;

/// The zone of memory that can all be moved, which is empty unless a boot parameter fills it.
/// It lies in the highest zone with memory, and has the marks of an empty one of that kind.
fn movable(in_highmem: bool) -> ZoneRecord {
    let mark = if in_highmem { EMPTY_HIGHMEM_MIN } else { 0 };
    let name = *b"Movable\0";
    ZoneRecord { name, watermark_min: mark, watermark_low: mark, watermark_high: mark, ..ZoneRecord::default() }
}

/// The block of one zone. The first block carries the node's rows; that of a zone without
/// memory ends with its reserves, any other with the page lists of each CPU.
fn zoneinfo_block(out: &mut dyn Out, zone: &ZoneRecord, node: Option<&Counts<'_>>, nr_cpus: u32) {
    out!(out, "Node 0, zone {:>8}\n", name(zone));
    if let Some(node) = node {
        out.bytes(b"  per-node stats\n");
        for name in &ROWS[NODE_ROWS] {
            out!(out, "      {name:<12} {}\n", node.by_name(name).unwrap_or(0));
        }
    }
    out!(out, "  pages free     {}\n", zone.free_pages);
    for (name, value) in [
        ("boost", 0),
        ("min", zone.watermark_min),
        ("low", zone.watermark_low),
        ("high", zone.watermark_high),
        ("spanned", zone.spanned_pages),
        ("present", zone.present_pages),
        ("managed", zone.managed_pages),
        ("cma", 0),
    ] {
        out!(out, "        {name:<8} {value}\n");
    }
    let [a, b, c, d] = zone.lowmem_reserve;
    out!(out, "        protection: ({a}, {b}, {c}, {d})\n");
    if zone.present_pages == 0 {
        return;
    }
    for &name in &ROWS[ZONE_ROWS] {
        let number = if name == "nr_free_pages" { zone.free_pages } else { 0 };
        out!(out, "      {name:<12} {number}\n");
    }
    out.bytes(b"  pagesets\n");
    for (cpu, count) in zone.pcp_count.iter().enumerate().take(nr_cpus as usize) {
        out!(out, "    cpu: {cpu}\n");
        for (name, value) in [("count: ", *count), ("high:  ", zone.pcp_high), ("batch: ", zone.pcp_batch)] {
            out!(out, "              {name}{value}\n");
        }
        out!(out, "  vm stats threshold: {}\n", stat_threshold(zone.managed_pages, nr_cpus));
    }
    out!(out, "  node_unreclaimable:  0\n  start_pfn:           {}\n", zone.start_pfn);
}

/// How far a counter of one CPU may be off (`calculate_normal_threshold`): more with more CPUs,
/// and with more memory, by powers of two of 128 MiB.
fn stat_threshold(managed_pages: u32, nr_cpus: u32) -> u32 {
    let bits = |number: u32| 32 - number.leading_zeros();
    (2 * bits(nr_cpus) * (1 + bits(managed_pages >> 15))).min(125)
}

/// The names of `/proc/pagetypeinfo`'s migrate types, in order.
pub const MIGRATE_TYPES: [&str; NR_MIGRATE_TYPES] = ["Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"];

/// Writes `/proc/pagetypeinfo`.
pub fn pagetypeinfo(out: &mut dyn Out, zones: &[ZoneRecord]) {
    let populated = || zones.iter().filter(|zone| zone.present_pages > 0);
    pagetypeinfo_head(out);
    for zone in populated() {
        for (name, free) in MIGRATE_TYPES.iter().zip(&zone.free_lists) {
            pagetypeinfo_line(out, zone, name, free);
        }
    }
    out.bytes(b"\nNumber of blocks type  ");
    for name in MIGRATE_TYPES {
        out!(out, "{name:>12} ");
    }
    out.bytes(b"\n");
    for zone in populated() {
        out!(out, "Node 0, zone {:>8} ", name(zone));
        for blocks in zone.blocks {
            out!(out, "{blocks:12} ");
        }
        out.bytes(b"\n");
    }
}

/// The head of `/proc/pagetypeinfo`.
fn pagetypeinfo_head(out: &mut dyn Out) {
    out!(out, "Page block order: {}\nPages per block:  {}\n\n", NR_ORDERS - 1, 1 << (NR_ORDERS - 1));
    out!(out, "{:<43} ", "Free pages count per migrate type at order");
    for order in 0..NR_ORDERS {
        out!(out, "{order:6} ");
    }
    out.bytes(b"\n");
}

/// One line of `/proc/pagetypeinfo`.
fn pagetypeinfo_line(out: &mut dyn Out, zone: &ZoneRecord, migrate_type: &str, free: &[u32; NR_ORDERS]) {
    out!(out, "Node    0, zone {:>8}, type {migrate_type:>12} ", name(zone));
    for free in free {
        out!(out, "{free:6} ");
    }
    out.bytes(b"\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::VmStatRecord;
    use crate::out::render;
    use crate::proc::counts::Item;
    use alloc::string::String;

    fn dma() -> ZoneRecord {
        ZoneRecord {
            name: *b"DMA\0\0\0\0\0",
            start_pfn: 1,
            free_pages: 3840,
            watermark_min: 190,
            watermark_low: 237,
            watermark_high: 284,
            spanned_pages: 4095,
            present_pages: 3998,
            managed_pages: 3840,
            nr_free: [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 3],
            lowmem_reserve: [0, 796, 1968, 1968],
            pcp_count: [0, 7, 0, 0, 0, 0, 0, 0],
            pcp_high: 118,
            pcp_batch: 1,
            free_lists: [
                [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0],
                [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
                [0; 11],
                [0; 11],
                [0; 11],
            ],
            blocks: [1, 3, 0, 0, 0],
            ..ZoneRecord::default()
        }
    }

    #[test]
    fn buddyinfo_equals_that_of_a_real_kernel() {
        let want =
            "Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3 \n";
        assert_eq!(render(|out| buddyinfo_line(out, &dma())), want.as_bytes());
    }

    #[test]
    fn zoneinfo_rows_equal_those_of_a_real_kernel() {
        let mut vmstat = VmStatRecord::default();
        vmstat.counters[Item::nr_mapped as usize] = 1158;
        vmstat.counters[Item::nr_inactive_anon as usize] = 13258;
        let empty = ZoneRecord { name: *b"HighMem\0", ..ZoneRecord::default() };
        let counts = Counts { vmstat: &vmstat, zones: &[dma(), empty], slab_pages: 0, nr_tasks: 0, nr_cpus: 2 };
        let text = String::from_utf8(render(|out| zoneinfo(out, &counts))).unwrap();
        for want in [
            "Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 13258\n      nr_active_anon 0\n",
            "      nr_mapped    1158\n",
            "  pages free     3840\n        boost    0\n        min      190\n        low      237\n",
            "        managed  3840\n        cma      0\n        protection: (0, 796, 1968, 1968)\n      nr_free_pages 3840\n      nr_zone_inactive_anon 0\n",
            "      nr_free_cma  0\n  pagesets\n    cpu: 0\n              count: 0\n              high:  118\n              batch: 1\n  vm stats threshold: 4\n",
            "    cpu: 1\n              count: 7\n              high:  118\n              batch: 1\n  vm stats threshold: 4\n  node_unreclaimable:  0\n",
            "  node_unreclaimable:  0\n  start_pfn:           1\nNode 0, zone  HighMem\n  pages free     0\n",
            // A zone without memory has no counters.
            "        cma      0\n        protection: (0, 0, 0, 0)\nNode 0, zone  Movable\n",
        ] {
            assert!(text.contains(want), "{text}");
        }
        assert!(text.ends_with("        protection: (0, 0, 0, 0)\n"), "{text}");
    }

    #[test]
    fn pagetypeinfo_equals_that_of_a_real_kernel() {
        let text = String::from_utf8(render(|out| pagetypeinfo(out, &[dma(), ZoneRecord::default()]))).unwrap();
        let want = [
            "Page block order: 10",
            "Pages per block:  1024",
            "",
            "Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9     10 ",
            "Node    0, zone      DMA, type    Unmovable      0      0      0      0      0      0      0      0      1      1      0 ",
            "Node    0, zone      DMA, type      Movable      0      0      0      0      0      0      0      0      0      0      3 ",
            "Node    0, zone      DMA, type  Reclaimable      0      0      0      0      0      0      0      0      0      0      0 ",
            "Node    0, zone      DMA, type   HighAtomic      0      0      0      0      0      0      0      0      0      0      0 ",
            "Node    0, zone      DMA, type      Isolate      0      0      0      0      0      0      0      0      0      0      0 ",
            "",
            "Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic      Isolate ",
            "Node 0, zone      DMA            1            3            0            0            0 ",
        ];
        assert_eq!(text.lines().collect::<alloc::vec::Vec<_>>(), want);
    }

    #[test]
    fn the_threshold_of_counters_grows_with_memory_and_cpus() {
        assert_eq!([3840, 211_160, 300_002].map(|pages| stat_threshold(pages, 1)), [2, 8, 10]);
        assert_eq!([3840, 211_160, 300_002].map(|pages| stat_threshold(pages, 2)), [4, 16, 20]);
        assert_eq!(stat_threshold(1 << 24, 8), 88);
    }
}
