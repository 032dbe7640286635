//! A set of 4 KiB pages.

use x86::LinearAddr;

/// Pages below 4 GiB.
const PAGES: usize = 1 << 20;

/// Pages by number; takes no memory while it is empty.
#[derive(Default)]
pub(super) struct PageSet(Vec<u64>);

impl PageSet {
    /// Takes in the pages that hold the bytes from `first` to `last`.
    pub fn insert(&mut self, first: u32, last: u32) {
        self.0.resize(PAGES / 64, 0);
        let [first, last] = [first, last].map(|addr| LinearAddr(addr).page_number() as usize);
        for word in first / 64..=last / 64 {
            let low = if word == first / 64 { !0 << (first % 64) } else { !0 };
            let high = if word == last / 64 { !0 >> (63 - last % 64) } else { !0 };
            self.0[word] |= low & high;
        }
    }

    /// Whether page `page` is in it; one beyond 4 GiB never is.
    #[inline]
    pub fn holds(&self, page: u32) -> bool {
        self.0.get(page as usize / 64).is_some_and(|bits| bits >> (page % 64) & 1 != 0)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_the_pages_of_its_bytes_and_none_beside_them() {
        for (first, last) in [(0x5fff, 0x6000), (0x3_f000, 0x4_0fff), (0, u32::MAX), (0xffff_ffff, 0xffff_ffff)] {
            let mut set = PageSet::default();
            set.insert(first, last);
            for page in [0, 4, 5, 6, 7, 0x3e, 0x3f, 0x40, 0x41, 0xf_fffe, 0xf_ffff] {
                assert_eq!(set.holds(page), (first >> 12..=last >> 12).contains(&page), "{first:#x} {page:#x}");
            }
            assert!(!set.holds(1 << 20));
        }
        assert!(!PageSet::default().holds(0));
    }
}
