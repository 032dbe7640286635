//! Compaction: memory in which every other frame is free becomes large blocks again, and
//! what was moved is what it was.

use alloc::{sync::Arc, vec::Vec};

use crate::mm::{
    compaction::compact_memory,
    filemap::{AddressSpace, Backing},
    highmem::kmap_local,
    page::put_page,
    page_alloc::{drain_all_pages, totals, with_zones},
    verify::verify,
    vmstat::{self, Item},
};

/// Pages that are taken, at most: 64 MiB.
const PAGES: u32 = 64 << 8;
/// Pages above the marks that are left for everybody else.
const LEFT: u32 = 1024;
/// The largest order that must come into being.
const MAX_ORDER: usize = 9;

/// See the module.
pub fn run() {
    let (stay, go) = (AddressSpace::new(Backing::Ram), AddressSpace::new(Backing::Ram));
    let (stay, go) = (Arc::new(stay), Arc::new(go));
    let pages = (totals().free.saturating_sub(2 * totals().watermark_low + LEFT)).min(PAGES) / 2;
    for index in 0..pages {
        for file in [&stay, &go] {
            put_page(file.grab_page(index).expect("memory"));
        }
        write(&stay, index);
    }
    let frames: Vec<u32> = (0..pages).map(|index| pfn(&stay, index)).collect();
    drop(go);
    drain_all_pages();
    // However they lie, the pages that are free again hold such a block once they are together.
    let order = (pages / 4).max(1).ilog2().min(MAX_ORDER as u32) as usize;
    let before = large_blocks(order);
    let moved = vmstat::read(Item::pgmigrate_success);
    compact_memory();
    let after = large_blocks(order);
    assert!(after > before, "{before} pages in blocks of order {order} or more before, {after} after, {pages} pages");
    let moved = vmstat::read(Item::pgmigrate_success) - moved;
    let elsewhere = (0..pages).filter(|&index| pfn(&stay, index) != frames[index as usize]).count() as u32;
    assert!(elsewhere > 0 && elsewhere <= moved, "{elsewhere} pages are elsewhere, {moved} were moved");
    (0..pages).for_each(|index| check(&stay, index));
    assert_eq!(verify(), Ok(()));
}

/// Pages in free blocks of an order or more.
fn large_blocks(least: usize) -> u32 {
    let in_zone = |free: &[u32]| (0..).zip(free).skip(least).map(|(order, count)| count << order).sum::<u32>();
    with_zones(|zones| zones.iter().map(|zone| in_zone(&zone.nr_free)).sum())
}

fn pfn(file: &AddressSpace, index: u32) -> u32 {
    let page = file.find_get_page(index).expect("a page of the file");
    put_page(page);
    page.pfn()
}

fn write(file: &AddressSpace, index: u32) {
    let page = file.find_get_page(index).expect("a page of the file");
    for (n, word) in kmap_local(page).as_mut_slice().chunks_exact_mut(512).enumerate() {
        word[..4].copy_from_slice(&(index * 8 + n as u32).to_le_bytes());
    }
    put_page(page);
}

fn check(file: &AddressSpace, index: u32) {
    let page = file.find_get_page(index).expect("a page of the file");
    for (n, word) in kmap_local(page).as_slice().chunks_exact(512).enumerate() {
        assert_eq!(word[..4], (index * 8 + n as u32).to_le_bytes(), "page {index} after it was moved");
    }
    put_page(page);
}
