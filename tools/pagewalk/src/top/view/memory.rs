//! Memory by zone and by owner.

use super::table::{bar, cells_of, grouped};
use crate::top::{look::Look, model::Model};

/// Kinds of owners with the rows of `meminfo` that they are the sum of.
const OWNERS: [(&str, &[&str]); 9] = [
    ("free", &["MemFree"]),
    ("anonymous", &["AnonPages"]),
    ("page cache", &["Buffers", "Cached"]),
    ("swap cache", &["SwapCached"]),
    ("slab caches", &["Slab"]),
    ("page tables", &["PageTables"]),
    ("kernel stacks", &["KernelStack"]),
    ("vmalloc", &["VmallocUsed"]),
    ("huge pages", &["Hugetlb"]),
];

/// All lines, for so many cells.
pub fn lines(model: &Model, width: usize) -> Vec<String> {
    let look = &model.look;
    let mut lines = zones(look, width);
    match owners(look) {
        Some(rows) => {
            let all: u64 = rows.iter().map(|(_, kb)| kb).sum();
            lines.extend(
                rows.iter().map(|(name, kb)| with_bar(format!("{name:<18} {:>11} kB", grouped(*kb)), *kb, all, width)),
            );
        }
        None => {
            let memory = &look.memory;
            lines.push(format!("RAM                {:>11} kB", grouped(memory.ram_kb)));
            lines.push(with_bar(
                format!("ever written       {:>11} kB", grouped(memory.written_kb)),
                memory.written_kb,
                memory.ram_kb,
                width,
            ));
            lines.push("whose it is: not known".into());
        }
    }
    if let Some((total, free)) = look.kb("SwapTotal").zip(look.kb("SwapFree")).filter(|(total, _)| *total != 0) {
        let used = total.saturating_sub(free);
        let text = format!("swap: {} of {} kB used", grouped(used), grouped(total));
        lines.push(with_bar(text, used, total, width));
    }
    lines
}

/// Memory by owner, in kB: the kernel's own counts, and what is left of all that it has.
pub fn owners(look: &Look) -> Option<Vec<(&'static str, u64)>> {
    let total = look.kb("MemTotal")?;
    let sum = |rows: &[&str]| rows.iter().filter_map(|row| look.kb(row)).fold(0, u64::saturating_add);
    let mut owners: Vec<(&str, u64)> = OWNERS.iter().map(|(name, rows)| (*name, sum(rows))).collect();
    let counted = owners.iter().map(|(_, kb)| kb).fold(0, |sum: u64, kb| sum.saturating_add(*kb));
    owners.push(("the kernel's other", total.saturating_sub(counted)));
    if let Some(zones) = &look.zones {
        let reserved = zones.iter().map(|zone| zone.present.saturating_sub(zone.managed)).fold(0, u64::saturating_add);
        owners.push(("reserved at boot", reserved.saturating_mul(4)));
    }
    Some(owners)
}

fn zones(look: &Look, width: usize) -> Vec<String> {
    let zones = look.zones.iter().flatten().filter(|zone| zone.present != 0);
    let line = |zone: &crate::top::look::Zone| {
        let kb = |pages: u64| pages.saturating_mul(4);
        let free =
            format!("{:<8} {:>10} of {:>10} kB free", zone.zone, grouped(kb(zone.free)), grouped(kb(zone.managed)));
        let marks = format!("{free}, min {} low {} high {}", kb(zone.min), kb(zone.low), kb(zone.high));
        let text = if cells_of(&marks) <= width { marks } else { free };
        with_bar(text, zone.managed.saturating_sub(zone.free), zone.managed, width)
    };
    zones.map(line).collect()
}

/// A line with a bar behind it, if there is room.
fn with_bar(text: String, part: u64, whole: u64, width: usize) -> String {
    const LEAST: usize = 5;
    const MOST: usize = 20;
    match width.checked_sub(cells_of(&text) + 1) {
        Some(room) if room >= LEAST => format!("{text} {}", bar(part, whole, room.min(MOST))),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::look::Zone;

    #[test]
    fn owners_are_the_kernels_counts_and_the_rest() {
        let rows =
            [("MemTotal", 1000), ("MemFree", 400), ("AnonPages", 100), ("Cached", 50), ("Buffers", 8), ("Slab", 42)];
        let look = Look {
            meminfo: Some(rows.map(|(name, kb)| (name.to_owned(), kb)).into()),
            zones: Some(vec![Zone { zone: "Normal".into(), present: 300, managed: 250, ..Zone::default() }]),
            ..Look::default()
        };
        let owners = owners(&look).unwrap();
        let of = |name| owners.iter().find(|(known, _)| *known == name).map(|(_, kb)| *kb);
        assert_eq!((of("page cache"), of("slab caches"), of("the kernel's other")), (Some(58), Some(42), Some(400)));
        assert_eq!(of("reserved at boot"), Some(200));
        assert!(super::owners(&Look::default()).is_none());
    }

    #[test]
    fn without_books_only_ram_is_known() {
        let mut model = Model::new("m");
        model.look.memory = crate::top::look::Memory { ram_kb: 32768, written_kb: 4096 };
        let lines = lines(&model, 60);
        assert_eq!(lines[0], "RAM                     32,768 kB");
        assert!(lines[1].starts_with("ever written             4,096 kB █"), "{}", lines[1]);
        assert_eq!(lines[2], "whose it is: not known");
    }
}
