//! `/proc/PID/maps` and `smaps`.

use abi::{
    books::{MmRecord, VmaRecord},
    out::Out,
    proc::{
        maps::{self, Row},
        smaps::{self, Sums, Usage},
    },
};

use super::names;
use crate::mm::{
    MmGuard, MmStruct, PAGE_SIZE, hugetlb::HPAGE_SIZE, pgtable::PteExt, swapfile::page_swapcount, swapops::SwapEntry,
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
        add(&mut sums, &guard, area);
        range = Some((range.map_or(area.start, |(start, _)| start), area.end));
    });
    let (start, end) = range.unwrap_or((0, 0));
    smaps::rollup(out, start, end, &sums.usage());
}

fn usage(guard: &MmGuard<'_>, area: &VmaRecord) -> Usage {
    let mut sums = Sums::default();
    add(&mut sums, guard, area);
    sums.usage()
}

/// Adds what is in an area.
fn add(sums: &mut Sums, guard: &MmGuard<'_>, area: &VmaRecord) {
    let mut at = area.start;
    while let Some(addr) = guard.pgd.next_huge(at, area.end) {
        at = addr + HPAGE_SIZE;
        sums.add_huge(guard.pgd.get(addr).page().map_or(0, |page| page.mapcount()));
    }
    let mut at = area.start;
    while let Some(addr) = guard.pgd.next_with_table(at, area.end) {
        at = addr + PAGE_SIZE;
        let pte = guard.pgd.get(addr);
        if let Some(entry) = SwapEntry::of_pte(pte) {
            sums.add_swap(page_swapcount(entry));
        } else if let Some(page) = pte.page() {
            sums.add_page(&page.snapshot(), pte.accessed(), pte.dirty());
        }
    }
}

fn show_line(mm: &MmRecord, area: &VmaRecord, out: &mut dyn Out) {
    if area.file.is_null() {
        match maps::anonymous_name(mm, area) {
            Some(name) => maps::line(out, &Row::of(area, None), Some(&|out: &mut dyn Out| out.bytes(name))),
            None => maps::line(out, &Row::of(area, None), None),
        }
        return;
    }
    let (dentry, inode) = names::file_records(area.file);
    let row = Row::of(area, Some((inode.major, inode.minor, inode.ino)));
    maps::line(out, &row, Some(&|out: &mut dyn Out| names::write_path(&dentry, out)));
}
