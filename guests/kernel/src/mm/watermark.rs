//! How much of each zone is kept back, and from whom.

use abi::{books::ZoneRecord, proc::zones::EMPTY_HIGHMEM_MIN};

use super::{
    PAGE_SIZE,
    page_alloc::{MAX_NR_ZONES, ZONE_HIGHMEM},
};

/// `lowmem_reserve_ratio` of DMA and Normal at boot.
pub const LOWMEM_RESERVE_RATIO: [u32; 2] = [256, 32];

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
pub fn setup_per_zone_wmarks(
    records: &mut [ZoneRecord; MAX_NR_ZONES],
    min_free_kbytes: u32,
    lowmem_reserve_ratio: [u32; 2],
) {
    let pages_min = min_free_kbytes / (PAGE_SIZE / 1024);
    let managed = records.each_ref().map(|record| record.managed_pages);
    let lowmem: u32 = managed[..ZONE_HIGHMEM].iter().sum();
    for (n, record) in records.iter_mut().enumerate() {
        let share = (u64::from(pages_min) * u64::from(managed[n]) / u64::from(lowmem.max(1))) as u32;
        record.watermark_min = match n {
            ZONE_HIGHMEM => (managed[n] / 1024).clamp(EMPTY_HIGHMEM_MIN, 128),
            _ => share,
        };
        let step = (share / 4).max((u64::from(managed[n]) * 10 / 10_000) as u32);
        record.watermark_low = record.watermark_min + step;
        record.watermark_high = record.watermark_low + step;
        for (class, reserve) in record.lowmem_reserve.iter_mut().enumerate() {
            // Movable lies in the highest zone.
            let class = class.min(ZONE_HIGHMEM);
            *reserve = if class > n && managed[n] != 0 {
                managed[n + 1..=class].iter().sum::<u32>().checked_div(lowmem_reserve_ratio[n.min(1)]).unwrap_or(0)
            } else {
                0
            };
        }
    }
}
