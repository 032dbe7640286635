//! The buddy system: a storm of requests of every order, zone and kind, after which all is
//! as before.

use abi::books::{NR_ORDERS, ZoneRecord};
use alloc::vec::Vec;

use super::Random;
use crate::mm::{
    __free_pages, Gfp, Page, alloc_pages,
    gfp::{GFP_ATOMIC, GFP_DMA, GFP_HIGHUSER, GFP_HIGHUSER_MOVABLE, GFP_KERNEL, GFP_NOWAIT, GFP_USER},
    page_alloc::{self, MAX_NR_ZONES, ZONE_DMA, ZONE_HIGHMEM, ZONE_NORMAL, drain_all_pages, with_zones},
    slab,
};

/// Requests of the storm.
const REQUESTS: u32 = 6000;
/// Blocks that are held at once, at most.
const HELD: usize = 400;

/// The kinds of requests, and the highest zone that each may get.
const KINDS: [(Gfp, usize); 9] = [
    (GFP_KERNEL, ZONE_NORMAL),
    (GFP_KERNEL.union(Gfp::RECLAIMABLE), ZONE_NORMAL),
    (GFP_KERNEL.union(Gfp::ZERO), ZONE_NORMAL),
    (GFP_ATOMIC, ZONE_NORMAL),
    (GFP_NOWAIT, ZONE_NORMAL),
    (GFP_USER, ZONE_NORMAL),
    (GFP_DMA, ZONE_DMA),
    (GFP_HIGHUSER, ZONE_HIGHMEM),
    (GFP_HIGHUSER_MOVABLE, ZONE_HIGHMEM),
];

/// See the module.
pub fn run() {
    zones_of_requests();
    let mut held: Vec<(&'static Page, u8)> = Vec::with_capacity(HELD);
    let before = settled();
    storm(&mut held);
    held.drain(..).for_each(|(page, order)| __free_pages(page, order));
    let after = settled();
    for (zone, (a, b)) in before.iter().zip(&after).enumerate() {
        assert_eq!(a, b, "free blocks and pages of zone {zone} before and after the storm");
    }
    marks();
}

/// Free blocks by order, and free pages, of each zone, with nothing in lists before them.
fn settled() -> [([u32; NR_ORDERS], u32); MAX_NR_ZONES] {
    slab::shrink_all();
    drain_all_pages();
    with_zones(|zones| zones.each_ref().map(|zone| (zone.nr_free, zone.free_pages)))
}

fn storm(held: &mut Vec<(&'static Page, u8)>) {
    let mut random = Random(1);
    for n in 0..REQUESTS {
        let full = held.len() == HELD;
        if full || (!held.is_empty() && random.below(5) < 2) {
            let (page, order) = held.swap_remove(random.below(held.len() as u32) as usize);
            let tag = page.index.load(core::sync::atomic::Ordering::Relaxed);
            assert_eq!(tag, page.pfn() ^ u32::from(order), "somebody else has used frame {:#x}", page.pfn());
            __free_pages(page, order);
            continue;
        }
        // Small orders are more frequent; every one comes.
        let order = random.below(NR_ORDERS as u32).min(random.below(2 * NR_ORDERS as u32)) as u8;
        let (gfp, highest) = KINDS[(n as usize) % KINDS.len()];
        // What the kernel asks for below the marks would call for a victim.
        let spare = page_alloc::totals();
        if spare.free < spare.watermark_low + 2 * (1 << order) {
            continue;
        }
        let Some(page) = alloc_pages(gfp & !Gfp::DIRECT_RECLAIM, order) else { continue };
        assert!(page.zone() <= highest, "{gfp:?} got frame {:#x} of zone {}", page.pfn(), page.zone());
        assert!(page.pfn().is_multiple_of(1 << order));
        page.index.store(page.pfn() ^ u32::from(order), core::sync::atomic::Ordering::Relaxed);
        held.push((page, order));
    }
}

fn zones_of_requests() {
    let page = alloc_pages(GFP_DMA, 0).expect("memory below 16 MiB");
    assert!(page.phys() < 16 << 20, "GFP_DMA is below 16 MiB");
    __free_pages(page, 0);
    let page = alloc_pages(GFP_KERNEL, 0).expect("memory");
    assert!(page.address().is_some(), "GFP_KERNEL is in the direct map");
    __free_pages(page, 0);
    let page = alloc_pages(GFP_HIGHUSER, 0).expect("memory");
    let highmem = with_zones(|zones| zones[ZONE_HIGHMEM].managed_pages);
    assert_eq!(page.zone() == ZONE_HIGHMEM, highmem != 0, "user memory comes from HighMem first");
    __free_pages(page, 0);
}

/// The marks follow `min_free_kbytes`, and the reserves the memory above.
fn marks() {
    let old = page_alloc::min_free_kbytes();
    let sums = |zones: &[ZoneRecord; MAX_NR_ZONES]| zones[..ZONE_HIGHMEM].iter().map(|z| z.watermark_min).sum::<u32>();
    let min = with_zones(sums);
    page_alloc::setup_watermarks(Some(2 * old));
    let doubled = with_zones(sums);
    assert!(doubled.abs_diff(2 * min) <= 2, "{min} pages become {doubled}");
    with_zones(|zones| {
        for zone in zones {
            assert!(zone.watermark_low >= zone.watermark_min && zone.watermark_high >= zone.watermark_low);
            assert!(zone.pcp_high >= zone.pcp_batch);
        }
        let [dma, normal, high] = zones.each_ref().map(|zone| zone.managed_pages);
        assert_eq!(zones[ZONE_DMA].lowmem_reserve, [0, normal / 256, (normal + high) / 256, (normal + high) / 256]);
        let above = if normal == 0 { 0 } else { high / 32 };
        assert_eq!(zones[ZONE_NORMAL].lowmem_reserve, [0, 0, above, above], "{dma} pages below");
    });
    page_alloc::setup_watermarks(Some(old));
    assert_eq!(with_zones(sums), min);
}
