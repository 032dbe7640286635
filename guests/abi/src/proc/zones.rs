//! `/proc/buddyinfo`, `/proc/zoneinfo` and `/proc/pagetypeinfo`.

use super::vmstat::{NODE_ROWS, ROWS, ZONE_ROWS};
use crate::books::{NR_ORDERS, ZoneRecord};
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

/// Tells a counter by its name.
pub type Counter<'a> = &'a dyn Fn(&str) -> Option<u32>;

/// The block of `/proc/zoneinfo` for one zone. The first block carries the node's rows; that
/// of a zone without memory ends with its reserves.
/// `value` knows the counters, of the node or of the zone, by name.
pub fn zoneinfo_block(
    out: &mut dyn Out,
    zone: &ZoneRecord,
    node: Option<Counter<'_>>,
    value: Counter<'_>,
    protection: [u32; 4],
) {
    out!(out, "Node 0, zone {:>8}\n", name(zone));
    if let Some(node) = node {
        out.bytes(b"  per-node stats\n");
        for name in &ROWS[NODE_ROWS] {
            out!(out, "      {name:<12} {}\n", node(name).unwrap_or(0));
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
    let [a, b, c, d] = protection;
    out!(out, "        protection: ({a}, {b}, {c}, {d})\n");
    if zone.present_pages == 0 {
        return;
    }
    for &name in &ROWS[ZONE_ROWS] {
        let number = if name == "nr_free_pages" { zone.free_pages } else { value(name).unwrap_or(0) };
        out!(out, "      {name:<12} {number}\n");
    }
    out!(out, "  node_unreclaimable:  0\n  start_pfn:           {}\n", zone.start_pfn);
}

/// The names of `/proc/pagetypeinfo`'s migrate types that this kernel has, in order.
pub const MIGRATE_TYPES: [&str; 3] = ["Unmovable", "Movable", "Reclaimable"];

/// The head of `/proc/pagetypeinfo`.
pub fn pagetypeinfo_head(out: &mut dyn Out) {
    out!(out, "Page block order: {}\nPages per block:  {}\n\n", NR_ORDERS - 1, 1 << (NR_ORDERS - 1));
    out!(out, "{:<43} ", "Free pages count per migrate type at order");
    for order in 0..NR_ORDERS {
        out!(out, "{order:6} ");
    }
    out.bytes(b"\n");
}

/// One line of `/proc/pagetypeinfo`.
pub fn pagetypeinfo_line(out: &mut dyn Out, zone: &ZoneRecord, migrate_type: &str, free: &[u32; NR_ORDERS]) {
    out!(out, "Node    0, zone {:>8}, type {migrate_type:>12} ", name(zone));
    for free in free {
        out!(out, "{free:6} ");
    }
    out.bytes(b"\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;
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
        let value = |name: &str| match name {
            "nr_mapped" => Some(1158),
            "nr_inactive_anon" => Some(13258),
            _ => None,
        };
        let text = render(|out| zoneinfo_block(out, &dma(), Some(&value), &|_| None, [0, 796, 1968, 1968]));
        let text = String::from_utf8(text).unwrap();
        for want in [
            "Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 13258\n      nr_active_anon 0\n",
            "      nr_mapped    1158\n",
            "  pages free     3840\n        boost    0\n        min      190\n        low      237\n",
            "        managed  3840\n        cma      0\n        protection: (0, 796, 1968, 1968)\n      nr_free_pages 3840\n      nr_zone_inactive_anon 0\n",
            "  node_unreclaimable:  0\n  start_pfn:           1\n",
        ] {
            assert!(text.contains(want), "{text}");
        }
    }

    #[test]
    fn a_zone_without_memory_has_no_counters() {
        let zone = ZoneRecord { name: *b"Movable\0", ..ZoneRecord::default() };
        let text = String::from_utf8(render(|out| zoneinfo_block(out, &zone, None, &|_| None, [0; 4]))).unwrap();
        assert!(text.starts_with("Node 0, zone  Movable\n  pages free     0\n"), "{text}");
        assert!(text.ends_with("        cma      0\n        protection: (0, 0, 0, 0)\n"), "{text}");
    }

    #[test]
    fn pagetypeinfo_equals_that_of_a_real_kernel() {
        let want = "Node    0, zone      DMA, type    Unmovable      0      0      0      0      0      0      0      0      1      1      0 \n";
        let free = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0];
        assert_eq!(render(|out| pagetypeinfo_line(out, &dma(), "Unmovable", &free)), want.as_bytes());
        let head = String::from_utf8(render(pagetypeinfo_head)).unwrap();
        let want = "Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9     10 \n";
        assert!(head.ends_with(want), "{head}");
    }
}
