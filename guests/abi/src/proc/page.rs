//! The words of `/proc/kpageflags`, `/proc/kpagecount` and `/proc/PID/pagemap`.

use crate::books::{PAGE_MAPPING_ANON, PageRecord, pg};

/// A frame without a descriptor (`KPF_NOPAGE`).
pub const NOPAGE: u64 = 1 << 20;

/// The kernel's own bit and the one that Linux's programs know.
const FLAGS: [(u32, u32); 18] = [
    (pg::LOCKED, 0),
    (pg::ERROR, 1),
    (pg::REFERENCED, 2),
    (pg::UPTODATE, 3),
    (pg::DIRTY, 4),
    (pg::LRU, 5),
    (pg::ACTIVE, 6),
    (pg::SLAB, 7),
    (pg::WRITEBACK, 8),
    (pg::RECLAIM, 9),
    (pg::BUDDY, 10),
    (pg::SWAPCACHE, 13),
    (pg::SWAPBACKED, 14),
    (pg::HUGETLB, 17),
    (pg::UNEVICTABLE, 18),
    (pg::TABLE, 26),
    (pg::RESERVED, 32),
    (pg::MLOCKED, 33),
];
const KPF_MMAP: u32 = 11;
const KPF_ANON: u32 = 12;
const KPF_COMPOUND_HEAD: u32 = 15;
const KPF_COMPOUND_TAIL: u32 = 16;

/// Whether page-table entries map the frame, and how many.
fn mapcount(page: &PageRecord) -> u32 {
    let is_counted = page.flags & (pg::SLAB | pg::BUDDY | pg::TABLE) == 0;
    if is_counted { page.mapcount.wrapping_add(1) } else { 0 }
}

/// The word of `/proc/kpageflags`.
pub fn flags(page: &PageRecord) -> u64 {
    let mut word = 0;
    for (own, bit) in FLAGS {
        word |= u64::from(page.flags & own != 0) << bit;
    }
    let is_anon = page.flags & pg::SLAB == 0 && page.mapping & PAGE_MAPPING_ANON != 0;
    word |= u64::from(mapcount(page) > 0) << KPF_MMAP;
    word |= u64::from(is_anon) << KPF_ANON;
    word |= u64::from(page.flags & pg::HEAD != 0) << KPF_COMPOUND_HEAD;
    word | u64::from(page.flags & (pg::HUGETLB | pg::HEAD) == pg::HUGETLB) << KPF_COMPOUND_TAIL
}

/// The word of `/proc/kpagecount`.
pub fn count(page: &PageRecord) -> u64 {
    mapcount(page).into()
}

/// The word of `/proc/PID/pagemap` for a page that is present.
pub fn present(pfn: u32, page: Option<&PageRecord>) -> u64 {
    const EXCLUSIVE: u64 = 1 << 56;
    const FILE: u64 = 1 << 61;
    const PRESENT: u64 = 1 << 63;
    let more = page.filter(|page| page.flags & pg::RESERVED == 0).map_or(0, |page| {
        let file = if page.mapping & PAGE_MAPPING_ANON == 0 { FILE } else { 0 };
        file | if mapcount(page) == 1 { EXCLUSIVE } else { 0 }
    });
    PRESENT | more | u64::from(pfn)
}

/// The word for a page in swap.
pub fn swapped(area: u32, slot: u32) -> u64 {
    const SWAP: u64 = 1 << 62;
    SWAP | u64::from(slot) << 5 | u64::from(area)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_bits_of_linux() {
        let anon = PageRecord {
            flags: pg::UPTODATE | pg::LRU | pg::SWAPBACKED,
            mapping: 0xc100_0001,
            ..PageRecord::default()
        };
        assert_eq!(flags(&anon), 1 << 3 | 1 << 5 | 1 << 11 | 1 << 12 | 1 << 14);
        assert_eq!(count(&anon), 1);
        assert_eq!(present(0x123, Some(&anon)), 1 << 63 | 1 << 56 | 0x123);
        let free = PageRecord { flags: pg::BUDDY, mapcount: 3, ..PageRecord::default() };
        assert_eq!((flags(&free), count(&free)), (1 << 10, 0));
        let tail = PageRecord { flags: pg::HUGETLB, mapcount: !0, ..PageRecord::default() };
        assert_eq!(flags(&tail), 1 << 17 | 1 << 16);
        let head = PageRecord { flags: pg::HUGETLB | pg::HEAD, ..tail };
        assert_eq!(flags(&head), 1 << 17 | 1 << 15);
        assert_eq!(swapped(1, 7), 1 << 62 | 7 << 5 | 1);
    }
}
