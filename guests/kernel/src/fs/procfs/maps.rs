//! `/proc/PID/maps` and `smaps`.

use abi::{
    books::{MmRecord, VmaRecord},
    out::Out,
    proc::{
        maps::{Row, line},
        smaps::{self, Usage},
    },
};

use super::names;
use crate::mm::{
    MmGuard, MmStruct, PAGE_SIZE, hugetlb::HPAGE_SIZE, page::pg, pgtable::PteExt, swapfile::page_swapcount,
    swapops::SwapEntry,
};

/// Writes `maps`.
pub fn show_maps(mm: &MmStruct, out: &mut dyn Out) {
    let guard = mm.lock();
    let record = *guard.record();
    guard.for_each_area(|area| show_line(&record, area, out));
}

/// Writes `smaps`.
pub fn show_smaps(mm: &MmStruct, out: &mut dyn Out) {
    let guard = mm.lock();
    let record = *guard.record();
    guard.for_each_area(|area| {
        show_line(&record, area, out);
        let usage = usage(&guard, area);
        smaps::block(out, (area.end - area.start) / 1024, area.flags, &usage);
    });
}

/// Writes `smaps_rollup`.
pub fn show_rollup(mm: &MmStruct, out: &mut dyn Out) {
    let guard = mm.lock();
    let (mut sums, mut range) = (Sums::default(), None);
    guard.for_each_area(|area| {
        sums.add(&guard, area);
        range = Some((range.map_or(area.start, |(start, _)| start), area.end));
    });
    let (start, end) = range.unwrap_or((0, 0));
    smaps::rollup(out, start, end, &sums.usage());
}

fn usage(guard: &MmGuard<'_>, area: &VmaRecord) -> Usage {
    let mut sums = Sums::default();
    sums.add(guard, area);
    sums.usage()
}

/// What the page tables say of areas: whole pages in kB, and shares of pages in bytes.
#[derive(Default)]
struct Sums {
    usage: Usage,
    anon: u64,
    file: u64,
    shmem: u64,
    dirty: u64,
    swap: u64,
}

impl Sums {
    /// Adds what is in an area.
    fn add(&mut self, guard: &MmGuard<'_>, area: &VmaRecord) {
        const PAGE_KB: u32 = PAGE_SIZE / 1024;
        let usage = &mut self.usage;
        let mut at = area.start;
        while let Some(addr) = guard.pgd.next_huge(at, area.end) {
            at = addr + HPAGE_SIZE;
            let sharers = guard.pgd.get(addr).page().map_or(0, |page| page.mapcount());
            *if sharers > 1 { &mut usage.shared_hugetlb } else { &mut usage.private_hugetlb } += HPAGE_SIZE / 1024;
        }
        let mut at = area.start;
        while let Some(addr) = guard.pgd.next_with_table(at, area.end) {
            at = addr + PAGE_SIZE;
            let pte = guard.pgd.get(addr);
            if let Some(entry) = SwapEntry::of_pte(pte) {
                usage.swap += PAGE_KB;
                self.swap += u64::from(PAGE_SIZE / page_swapcount(entry).max(1));
                continue;
            }
            let Some(page) = pte.page().filter(|page| !page.is(pg::RESERVED)) else { continue };
            let (shares, is_dirty) = (page.mapcount().max(1), pte.dirty() || page.is(pg::DIRTY));
            usage.rss += PAGE_KB;
            usage.anonymous += if page.is_anon() { PAGE_KB } else { 0 };
            usage.referenced += if pte.accessed() || page.is(pg::REFERENCED) { PAGE_KB } else { 0 };
            let share = u64::from(PAGE_SIZE / shares);
            self.dirty += if is_dirty { share } else { 0 };
            *match (page.is_anon(), page.is(pg::SWAPBACKED)) {
                (true, _) => &mut self.anon,
                (false, true) => &mut self.shmem,
                (false, false) => &mut self.file,
            } += share;
            *match (shares > 1, is_dirty) {
                (false, false) => &mut usage.private_clean,
                (false, true) => &mut usage.private_dirty,
                (true, false) => &mut usage.shared_clean,
                (true, true) => &mut usage.shared_dirty,
            } += PAGE_KB;
        }
    }

    fn usage(&self) -> Usage {
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

fn show_line(mm: &MmRecord, area: &VmaRecord, out: &mut dyn Out) {
    let mut row = Row { start: area.start, end: area.end, flags: area.flags, ..Row::default() };
    if area.file.is_null() {
        match anonymous_name(mm, area) {
            Some(name) => line(out, &row, Some(&|out: &mut dyn Out| out.bytes(name))),
            None => line(out, &row, None),
        }
        return;
    }
    let (dentry, inode) = names::file_records(area.file);
    row.offset = u64::from(area.pgoff) << 12;
    (row.major, row.minor, row.ino) = (inode.major, inode.minor, inode.ino);
    line(out, &row, Some(&|out: &mut dyn Out| names::write_path(&dentry, out)));
}

/// The name of an area without a file.
fn anonymous_name(mm: &MmRecord, area: &VmaRecord) -> Option<&'static [u8]> {
    if area.start <= mm.brk && area.end >= mm.start_brk && mm.start_brk != 0 {
        Some(b"[heap]")
    } else if area.start <= mm.start_stack && area.end >= mm.start_stack {
        Some(b"[stack]")
    } else {
        None
    }
}
