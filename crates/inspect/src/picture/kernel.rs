//! What the kernel keeps of memory as a whole: its part of the linear addresses, zones, caches, modules, areas of
//! vmalloc, counters.

use std::collections::BTreeMap;

use abi::books::{TaskRecord, ZoneRecord};
use abi::layout;
use abi::proc::zones;
use serde::{Deserialize, Serialize};
use x86::LinearAddr;

use super::frames::{Hints, Owner};
use super::spaces::Tables;
use crate::{Books, Request, Target, part::part};

/// Pages of a kernel stack.
const STACK_PAGES: u32 = 2;

/// A part of the kernel's addresses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Region {
    /// What it is for.
    pub name: String,
    /// First address.
    pub start: u64,
    /// First address after.
    pub end: u64,
}

/// A zone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Zone {
    /// `DMA`, `Normal`, `HighMem`.
    pub name: String,
    /// First frame.
    pub start: u32,
    /// Frames, holes included.
    pub spanned: u32,
    /// Frames of memory.
    pub present: u32,
    /// Frames that the allocator has.
    pub managed: u32,
    /// Free frames.
    pub free: u32,
    /// The marks `min`, `low` and `high`.
    pub marks: [u32; 3],
    /// Free blocks by order.
    pub blocks: Vec<u32>,
    /// Free frames in the lists of the CPUs.
    pub in_cpu_lists: u32,
}

impl Zone {
    fn of(zone: &ZoneRecord) -> Zone {
        Zone {
            name: zones::name(zone).to_owned(),
            start: zone.start_pfn,
            spanned: zone.spanned_pages,
            present: zone.present_pages,
            managed: zone.managed_pages,
            free: zone.free_pages,
            marks: [zone.watermark_min, zone.watermark_low, zone.watermark_high],
            blocks: zone.nr_free.to_vec(),
            in_cpu_lists: zone.pcp_pages(),
        }
    }
}

/// The kernel's part of the linear addresses, as Linux lays it out.
pub(super) fn regions(page_offset: u32, frames: u32) -> Vec<Region> {
    let lowmem = (u64::from(frames) << 12).min(u64::from(layout::DIRECT_MAP_BYTES));
    let region = |name: &str, start: u32, end: u64| Region { name: name.into(), start: start.into(), end };
    vec![
        region("direct map", page_offset, u64::from(page_offset) + lowmem),
        region("vmalloc", layout::VMALLOC_START, layout::VMALLOC_END.into()),
        region("kmap", layout::PKMAP_BASE, layout::FIXADDR_KMAP.into()),
        region("fixmap", layout::FIXADDR_KMAP, 1 << 32),
    ]
}

pub(super) fn zones_of(books: &Books<'_>, notes: &mut Vec<String>) -> Vec<Zone> {
    let zones = books.zones();
    notes.extend(books.damage().take().into_iter().map(|line| format!("zones: {line}")));
    match zones {
        Ok(zones) => zones.iter().filter(|zone| zone.present_pages != 0).map(Zone::of).collect(),
        Err(why) => {
            notes.push(format!("zones: {why}"));
            Vec::new()
        }
    }
}

/// What the books tell of frames besides the descriptors.
pub(super) fn hints(
    target: &Target<'_>,
    books: &Books<'_>,
    kernel: &Tables,
    threads: &[TaskRecord],
    notes: &mut Vec<String>,
) -> Hints {
    let mut hints = Hints::default();
    let mut known = BTreeMap::new();
    let owner = |kind: &str, name: String| Owner { kind: kind.into(), name, ..Owner::default() };
    for task in threads {
        let Some(first) = books.reader().translate(LinearAddr(task.stack)) else { continue };
        for frame in (0..STACK_PAGES).map(|n| first.frame() + n).filter(|_| task.stack != 0) {
            known.insert(frame, owner("stack", "kernel stacks".into()));
        }
    }
    let areas = part(target, &Request::Vmallocinfo, "vmallocinfo", notes);
    for area in areas.as_array().into_iter().flatten().filter(|area| area["kind"] != "ioremap") {
        let number = |key: &str| area[key].as_u64().unwrap_or(0) as u32;
        let caller = area["caller"].as_str().map_or("vmalloc", |caller| caller.split('+').next().unwrap_or(caller));
        for page in (number("start") >> 12..).take((number("size") >> 12).min(1 << 16) as usize) {
            if let Some(frame) = kernel.frame_of(page) {
                known.insert(frame, owner("vmalloc", caller.to_owned()));
            }
        }
    }
    let modules = part(target, &Request::Modules, "modules", notes);
    for module in modules.as_array().into_iter().flatten() {
        let number = |key: &str| module[key].as_u64().unwrap_or(0) as u32;
        for page in (number("base") >> 12..).take((number("size") >> 12).min(1 << 16) as usize) {
            if let Some(frame) = kernel.frame_of(page) {
                known.insert(frame, owner("module", module["name"].as_str().unwrap_or("?").to_owned()));
            }
        }
    }
    hints.known = known;
    match books.resources(books.root().iomem) {
        Ok(rows) => {
            let frames = |row: crate::Resource| {
                (row.start.div_ceil(4096), row.end >> 12, String::from_utf8_lossy(&row.name).into_owned())
            };
            hints.resources = rows.into_iter().map(frames).collect();
        }
        Err(why) => notes.push(format!("iomem: {why}")),
    }
    match books.caches_by_address() {
        Ok(caches) => {
            let name = |(at, (name, _)): (u32, (Vec<u8>, _))| (at, String::from_utf8_lossy(&name).into_owned());
            hints.caches = caches.into_iter().map(name).collect();
        }
        Err(why) => notes.push(format!("slab caches: {why}")),
    }
    hints
}
