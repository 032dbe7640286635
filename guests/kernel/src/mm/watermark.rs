//! How much of each zone is kept back, and from whom.

use super::{
    PAGE_SIZE,
    page_alloc::{MAX_NR_ZONES, ZONE_HIGHMEM, Zone},
};

/// `lowmem_reserve_ratio` of DMA and Normal.
const LOWMEM_RESERVE_RATIO: [u32; 2] = [256, 32];

/// `min_free_kbytes` for this much directly mapped memory.
pub fn min_free_kbytes(lowmem_pages: u32) -> u32 {
    let kbytes = lowmem_pages * (PAGE_SIZE / 1024);
    isqrt(kbytes * 16).clamp(128, 262_144)
}

fn isqrt(n: u32) -> u32 {
    let mut root = 0;
    for bit in (0..16).rev() {
        let next = root | 1 << bit;
        if next * next <= n {
            root = next;
        }
    }
    root
}

/// Sets every zone's marks and reserves.
pub fn setup_per_zone_wmarks(zones: &mut [Zone; MAX_NR_ZONES], min_free_kbytes: u32) {
    let pages_min = min_free_kbytes / (PAGE_SIZE / 1024);
    let lowmem: u32 = zones[..ZONE_HIGHMEM].iter().map(|z| z.record.managed_pages).sum();
    let managed = zones.each_ref().map(|z| z.record.managed_pages);
    for (n, zone) in zones.iter_mut().enumerate() {
        let record = &mut zone.record;
        let share = |pages: u32| (u64::from(pages) * u64::from(managed[n]) / u64::from(lowmem.max(1))) as u32;
        record.watermark_min = if n == ZONE_HIGHMEM { (managed[n] / 1024).clamp(32, 128) } else { share(pages_min) };
        if managed[n] == 0 {
            record.watermark_min = 0;
        }
        let step = (share(pages_min) / 4).max((u64::from(managed[n]) * 10 / 10_000) as u32);
        record.watermark_low = record.watermark_min + step;
        record.watermark_high = record.watermark_low + step;
        for class in 0..MAX_NR_ZONES {
            zone.lowmem_reserve[class] = if class > n && managed[n] != 0 {
                managed[n + 1..=class].iter().sum::<u32>() / LOWMEM_RESERVE_RATIO[n.min(1)]
            } else {
                0
            };
        }
    }
}
