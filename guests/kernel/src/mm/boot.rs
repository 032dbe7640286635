//! From the loader's memory map to a working allocator.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{
    PAGE_SHIFT, PAGE_SIZE, memblock,
    page::{self, MAPCOUNT_NONE, Page, pg},
    page_alloc::{self, ZONE_DMA, ZONE_HIGHMEM, ZONE_NORMAL},
    slab,
};
use crate::{
    arch::{PAGE_OFFSET, boot::sections, multiboot::BootInfo, paging, smp},
    lib::cmdline,
    pr_hw, pr_info,
};

/// First frame that is not ISA DMA memory.
const MAX_DMA_PFN: u32 = 16 << 8;

static MAX_LOW_PFN: AtomicU32 = AtomicU32::new(0);

/// First frame beyond the direct map.
pub fn max_low_pfn() -> u32 {
    MAX_LOW_PFN.load(Relaxed)
}

/// Learns the memory map and brings up paging, zones and slabs.
#[cold]
#[inline(never)]
pub fn init(boot: &BootInfo) {
    let limit = cmdline::value_of("mem").and_then(cmdline::memparse).unwrap_or(1 << 32).min(1 << 32);
    setup_memblock(boot, limit);

    let max_pfn = memblock::end_of_memory();
    let max_low = max_pfn.min(paging::MAXMEM_PFN);
    paging::init(max_low);
    MAX_LOW_PFN.store(max_low, Relaxed);

    smp::reserve_trampoline();

    let mem_map = alloc_mem_map(max_pfn, max_low);
    // SAFETY: `alloc_mem_map` initialised it.
    unsafe { page::set_mem_map(mem_map, max_pfn) };
    page_alloc::init_zones([MAX_DMA_PFN.min(max_low), max_low, max_pfn]);
    memblock::for_each_memory(page_alloc::add_present);
    let mut free = 0;
    memblock::for_each_free(|region| {
        page_alloc::free_boot_memory(region);
        free += region.end - region.start;
    });
    page_alloc::setup_watermarks(None);
    slab::init();
    print_layout(max_pfn, max_low, free);
}

#[inline(never)]
fn setup_memblock(boot: &BootInfo, limit: u64) {
    pr_hw!("BIOS-provided physical RAM map:");
    for range in boot.ranges() {
        let kind = match range.kind {
            1 => "usable",
            3 => "ACPI data",
            4 => "ACPI NVS",
            5 => "unusable",
            _ => "reserved",
        };
        pr_hw!("BIOS-e820: [mem {:#018x}-{:#018x}] {}", range.start, range.start + range.len - 1, kind);
        if range.kind == 1 {
            memblock::add(range.start.min(limit), (range.start + range.len).min(limit));
        }
    }
    // The BIOS data area, and the frame whose address is null.
    memblock::reserve(0, PAGE_SIZE);
    memblock::reserve(0x10_0000, sections::end() - PAGE_OFFSET);
    for module in boot.modules() {
        memblock::reserve(module.start, module.end);
    }
}

/// The array of descriptors, all marked reserved, at the top of the direct map.
fn alloc_mem_map(max_pfn: u32, max_low: u32) -> *mut Page {
    let pages = (max_pfn * size_of::<Page>() as u32).div_ceil(PAGE_SIZE);
    let first = memblock::alloc(pages, max_low).expect("memory has room for its own descriptors");
    let map = (PAGE_OFFSET + (first << PAGE_SHIFT)) as *mut Page;
    for pfn in 0..max_pfn {
        let zone = match pfn {
            p if p < MAX_DMA_PFN => ZONE_DMA,
            p if p < max_low => ZONE_NORMAL,
            _ => ZONE_HIGHMEM,
        };
        let page = Page {
            flags: AtomicU32::new(pg::RESERVED | (zone as u32) << pg::ZONE_SHIFT),
            refcount: AtomicU32::new(0),
            mapcount: AtomicU32::new(MAPCOUNT_NONE),
            mapping: AtomicU32::new(0),
            index: AtomicU32::new(0),
            lru: [AtomicU32::new(!0), AtomicU32::new(!0)],
            private: AtomicU32::new(0),
        };
        // SAFETY: inside the frames that were taken for the array.
        unsafe { map.add(pfn as usize).write(page) };
    }
    map
}

/// Gives the memory of a boot module back, when its contents have been used.
pub fn free_module(start: u32, end: u32) {
    let (first, last) = (start >> PAGE_SHIFT, end.div_ceil(PAGE_SIZE));
    page_alloc::free_boot_memory(memblock::Region { start: first, end: last.min(page::max_pfn()) });
}

fn print_layout(max_pfn: u32, max_low: u32, free: u32) {
    let kb = |pages: u32| pages * 4;
    let bytes_kb = |start: u32, end: u32| (end - start) / 1024;
    pr_hw!("{}MB HIGHMEM available, {}MB LOWMEM available.", (max_pfn - max_low) >> 8, max_low >> 8);
    page_alloc::with_zones(|zones| {
        pr_info!("Zone ranges:");
        for zone in zones {
            let name = core::str::from_utf8(&zone.name).unwrap_or("").trim_end_matches('\0');
            if zone.spanned_pages == 0 {
                pr_hw!("  {:<8} empty", name);
            } else {
                let (start, end) = (zone.start_pfn, zone.start_pfn + zone.spanned_pages);
                let first = u64::from(start.max(1)) << PAGE_SHIFT;
                pr_hw!("  {:<8} [mem {:#018x}-{:#018x}]", name, first, (u64::from(end) << PAGE_SHIFT) - 1);
            }
        }
    });
    pr_hw!(
        "Memory: {}K/{}K available ({}K kernel code, {}K rwdata, {}K rodata, {}K bss, {}K highmem)",
        kb(free),
        kb(max_pfn),
        bytes_kb(sections::text(), sections::etext()),
        bytes_kb(sections::sdata(), sections::edata()),
        bytes_kb(sections::srodata(), sections::erodata()),
        bytes_kb(sections::bss_start(), sections::bss_stop()),
        kb(max_pfn - max_low)
    );
    pr_info!("virtual kernel memory layout:");
    let row = |name: &str, start: u32, end: u32| {
        pr_info!("    {:<7} : {:#010x} - {:#010x}   ({:>4} kB)", name, start, end, (end.wrapping_sub(start)) / 1024)
    };
    row("fixmap", paging::FIXADDR_KMAP, 0xffff_f000);
    row("pkmap", paging::PKMAP_BASE, paging::FIXADDR_KMAP);
    row("vmalloc", paging::VMALLOC_START, paging::VMALLOC_END);
    let end = PAGE_OFFSET + (max_low << PAGE_SHIFT);
    pr_hw!("    lowmem  : {:#010x} - {:#010x}   ({:>4} kB)", PAGE_OFFSET, end, kb(max_low));
}
