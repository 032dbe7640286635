//! The block below each line of `/proc/PID/smaps`, and `/proc/PID/smaps_rollup`.

use crate::books::{PAGE_MAPPING_ANON, PageRecord, pg, vm};
use crate::{Out, out};

/// What the page tables say of an area, in kB.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "fields bear the names of the file's rows")]
pub struct Usage {
    pub rss: u32,
    pub pss: u32,
    pub pss_dirty: u32,
    pub pss_anon: u32,
    pub pss_file: u32,
    pub pss_shmem: u32,
    pub shared_clean: u32,
    pub shared_dirty: u32,
    pub private_clean: u32,
    pub private_dirty: u32,
    pub referenced: u32,
    pub anonymous: u32,
    pub swap: u32,
    pub swap_pss: u32,
    pub locked: u32,
    pub shared_hugetlb: u32,
    pub private_hugetlb: u32,
}

/// What the entries of page tables add up to: whole pages in kB, and shares of pages in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    usage: Usage,
    anon: u64,
    file: u64,
    shmem: u64,
    dirty: u64,
    swap: u64,
}

impl Sums {
    const PAGE_BYTES: u32 = 4096;
    const PAGE_KB: u32 = 4;
    const HUGE_KB: u32 = 4096;

    /// Adds an entry that maps a page of 4 KiB, with its bits A and D. The zero page and others
    /// that are reserved do not count.
    pub fn add_page(&mut self, page: &PageRecord, accessed: bool, dirty: bool) {
        const KB: u32 = Sums::PAGE_KB;
        if page.flags & pg::RESERVED != 0 {
            return;
        }
        let usage = &mut self.usage;
        let sharers = page.mapcount.wrapping_add(1).max(1);
        let dirty = dirty || page.flags & pg::DIRTY != 0;
        let is_anon = page.mapping & PAGE_MAPPING_ANON != 0;
        usage.rss += KB;
        usage.anonymous += if is_anon { KB } else { 0 };
        usage.referenced += if accessed || page.flags & pg::REFERENCED != 0 { KB } else { 0 };
        let share = u64::from(Self::PAGE_BYTES / sharers);
        self.dirty += if dirty { share } else { 0 };
        *match (is_anon, page.flags & pg::SWAPBACKED != 0) {
            (true, _) => &mut self.anon,
            (false, true) => &mut self.shmem,
            (false, false) => &mut self.file,
        } += share;
        *match (sharers > 1, dirty) {
            (true, true) => &mut usage.shared_dirty,
            (true, false) => &mut usage.shared_clean,
            (false, true) => &mut usage.private_dirty,
            (false, false) => &mut usage.private_clean,
        } += KB;
    }

    /// Adds an entry that maps a huge page, which `sharers` entries map.
    pub fn add_huge(&mut self, sharers: u32) {
        let usage = &mut self.usage;
        *if sharers > 1 { &mut usage.shared_hugetlb } else { &mut usage.private_hugetlb } += Self::HUGE_KB;
    }

    /// Adds an entry for a slot in swap that `sharers` entries name.
    pub fn add_swap(&mut self, sharers: u32) {
        self.usage.swap += Self::PAGE_KB;
        self.swap += u64::from(Self::PAGE_BYTES / sharers.max(1));
    }

    /// The rows.
    pub fn usage(&self) -> Usage {
        let kb = |bytes: u64| (bytes / 1024) as u32;
        Usage {
            pss: kb(self.anon + self.file + self.shmem),
            pss_dirty: kb(self.dirty),
            pss_anon: kb(self.anon),
            pss_file: kb(self.file),
            pss_shmem: kb(self.shmem),
            swap_pss: kb(self.swap),
            ..self.usage
        }
    }
}

/// Writes the rows after the `maps` line of an area of `size_kb` with the `VM_*` bits `flags`.
pub fn block(out: &mut dyn Out, size_kb: u32, flags: u32, usage: &Usage) {
    let page_kb = if flags & vm::HUGETLB != 0 { 4096 } else { 4 };
    for (name, value) in [("Size", size_kb), ("KernelPageSize", page_kb), ("MMUPageSize", page_kb)] {
        row(out, name, value);
    }
    for (name, value) in [("Rss", usage.rss), ("Pss", usage.pss), ("Pss_Dirty", usage.pss_dirty)] {
        row(out, name, value);
    }
    tail(out, usage);
    out!(out, "THPeligible:    0\nVmFlags: ");
    for (bit, letters) in VM_FLAGS {
        if flags & bit != 0 {
            out!(out, "{letters} ");
        }
    }
    out.bytes(b"\n");
}

/// Writes `smaps_rollup`: the sum of all areas, which lie between two addresses.
pub fn rollup(out: &mut dyn Out, start: u32, end: u32, usage: &Usage) {
    let row_of_all = super::maps::Row { start, end, ..super::maps::Row::default() };
    super::maps::line(out, &row_of_all, Some(&|out: &mut dyn Out| out.bytes(b"[rollup]")));
    for (name, value) in [
        ("Rss", usage.rss),
        ("Pss", usage.pss),
        ("Pss_Dirty", usage.pss_dirty),
        ("Pss_Anon", usage.pss_anon),
        ("Pss_File", usage.pss_file),
        ("Pss_Shmem", usage.pss_shmem),
    ] {
        row(out, name, value);
    }
    tail(out, usage);
}

/// The rows that `smaps` and `smaps_rollup` share.
fn tail(out: &mut dyn Out, usage: &Usage) {
    for (name, value) in [
        ("Shared_Clean", usage.shared_clean),
        ("Shared_Dirty", usage.shared_dirty),
        ("Private_Clean", usage.private_clean),
        ("Private_Dirty", usage.private_dirty),
        ("Referenced", usage.referenced),
        ("Anonymous", usage.anonymous),
        ("LazyFree", 0),
        ("AnonHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FilePmdMapped", 0),
        ("Shared_Hugetlb", usage.shared_hugetlb),
        ("Private_Hugetlb", usage.private_hugetlb),
        ("Swap", usage.swap),
        ("SwapPss", usage.swap_pss),
        ("Locked", usage.locked),
    ] {
        row(out, name, value);
    }
}

/// Letters of `VmFlags`, in Linux's order of bits.
const VM_FLAGS: [(u32, &str); 18] = [
    (vm::READ, "rd"),
    (vm::WRITE, "wr"),
    (vm::EXEC, "ex"),
    (vm::SHARED, "sh"),
    (vm::MAYREAD, "mr"),
    (vm::MAYWRITE, "mw"),
    (vm::MAYEXEC, "me"),
    (vm::MAYSHARE, "ms"),
    (vm::GROWSDOWN, "gd"),
    (vm::PFNMAP, "pf"),
    (vm::LOCKED, "lo"),
    (vm::IO, "io"),
    (vm::DONTCOPY, "dc"),
    (vm::DONTEXPAND, "de"),
    (vm::ACCOUNT, "ac"),
    (vm::NORESERVE, "nr"),
    (vm::HUGETLB, "ht"),
    (vm::MIXEDMAP, "mm"),
];

fn row(out: &mut dyn Out, name: &str, value: u32) {
    let width = 23usize.saturating_sub(name.len());
    out!(out, "{name}:{value:width$} kB\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;
    use alloc::string::String;

    #[test]
    fn a_page_counts_by_its_share_and_its_kind() {
        let mut sums = Sums::default();
        let file = PageRecord { flags: pg::REFERENCED, mapcount: 2, mapping: 0xc100_0000, ..PageRecord::default() };
        sums.add_page(&file, false, false);
        let anon = PageRecord { flags: pg::SWAPBACKED, mapcount: 0, mapping: 0xc100_0001, ..PageRecord::default() };
        sums.add_page(&anon, true, true);
        sums.add_page(&PageRecord { flags: pg::RESERVED, ..file }, true, true);
        sums.add_swap(2);
        sums.add_swap(0);
        sums.add_huge(1);
        let usage = sums.usage();
        assert_eq!((usage.rss, usage.pss, usage.pss_anon, usage.pss_file), (8, 5, 4, 1));
        assert_eq!((usage.shared_clean, usage.private_dirty, usage.pss_dirty), (4, 4, 4));
        assert_eq!((usage.referenced, usage.anonymous), (8, 4));
        assert_eq!((usage.swap, usage.swap_pss, usage.private_hugetlb), (8, 6, 4096));
    }

    #[test]
    fn rollup_equals_that_of_a_real_kernel() {
        let usage = Usage { rss: 5992, pss: 4979, pss_anon: 3236, pss_file: 1, pss_shmem: 1741, ..Usage::default() };
        let text = String::from_utf8(render(|out| rollup(out, 0x0045_1000, 0xbf94_a000, &usage))).unwrap();
        let head = "00451000-bf94a000 ---p 00000000 00:00 0          [rollup]\nRss:                5992 kB\n";
        assert!(text.starts_with(head), "{text}");
        assert!(
            text.contains("\nPss_Anon:           3236 kB\nPss_File:              1 kB\nPss_Shmem:          1741 kB\n")
        );
        assert_eq!(text.lines().count(), 22);
    }

    #[test]
    fn block_equals_that_of_a_real_kernel() {
        let usage = Usage { rss: 164, pss: 164, pss_dirty: 164, private_dirty: 164, ..Usage::default() };
        let flags = vm::READ | vm::WRITE | vm::MAYREAD | vm::MAYWRITE | vm::MAYEXEC | vm::ACCOUNT;
        let text = String::from_utf8(render(|out| block(out, 164, flags, &usage))).unwrap();
        assert!(text.starts_with("Size:                164 kB\nKernelPageSize:        4 kB\n"), "{text}");
        assert!(text.ends_with("Locked:                0 kB\nTHPeligible:    0\nVmFlags: rd wr mr mw me ac \n"));
        assert_eq!(text.lines().count(), 23);
    }

    #[test]
    fn block_of_huge_pages_equals_that_of_a_real_kernel() {
        let usage = Usage { private_hugetlb: 4096, ..Usage::default() };
        let flags = vm::READ | vm::WRITE | vm::MAYREAD | vm::MAYWRITE | vm::MAYEXEC | vm::DONTEXPAND | vm::HUGETLB;
        let text = String::from_utf8(render(|out| block(out, 8192, flags, &usage))).unwrap();
        let head = "Size:               8192 kB\nKernelPageSize:     4096 kB\nMMUPageSize:        4096 kB\n";
        assert!(text.starts_with(head), "{text}");
        assert!(text.contains("Shared_Hugetlb:        0 kB\nPrivate_Hugetlb:    4096 kB\nSwap: "), "{text}");
        assert!(text.ends_with("VmFlags: rd wr mr mw me de ht \n"), "{text}");
    }
}
