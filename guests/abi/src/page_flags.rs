//! The names of the bits of [`PageRecord::flags`](crate::books::PageRecord::flags).

pub use crate::books::pg::*;

/// The bits by name, lowest first.
pub const NAMES: [(u32, &str); 21] = [
    (LOCKED, "locked"),
    (REFERENCED, "referenced"),
    (UPTODATE, "uptodate"),
    (DIRTY, "dirty"),
    (LRU, "lru"),
    (ACTIVE, "active"),
    (WORKINGSET, "workingset"),
    (SLAB, "slab"),
    (ERROR, "error"),
    (WRITEBACK, "writeback"),
    (RESERVED, "reserved"),
    (RECLAIM, "reclaim"),
    (UNEVICTABLE, "unevictable"),
    (HEAD, "head"),
    (SWAPCACHE, "swapcache"),
    (MLOCKED, "mlocked"),
    (SWAPBACKED, "swapbacked"),
    (BUDDY, "buddy"),
    (TABLE, "table"),
    (ANON_EXCLUSIVE, "anon_exclusive"),
    (HUGETLB, "hugetlb"),
];

/// The names of the bits that are set, as Linux prints them: `uptodate|lru`.
pub fn write(out: &mut dyn crate::Out, flags: u32) {
    let mut first = true;
    for (bit, name) in NAMES {
        if flags & bit != 0 {
            if !core::mem::take(&mut first) {
                out.bytes(b"|");
            }
            out.bytes(name.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;

    #[test]
    fn every_bit_has_one_name_in_ascending_order() {
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[1].0.is_power_of_two()));
        assert_eq!(render(|out| write(out, UPTODATE | LRU | 1 << ZONE_SHIFT)), b"uptodate|lru");
        assert_eq!(render(|out| write(out, 0)), b"");
    }
}
