//! The areas of an address space: sorted by address, and their records linked in ascending
//! order for the host.

mod part;
mod sorted;

use alloc::boxed::Box;
use core::{cell::Cell, ops::DerefMut};

use abi::{
    Ptr32,
    books::{VmaRecord, vm},
};

use sorted::{Place, Sorted};

const PAGE_SHIFT: u32 = 12;

/// Unmapped addresses kept below an area that grows down (256 pages).
pub const STACK_GUARD_GAP: u32 = 256 << PAGE_SHIFT;

/// Flags whose areas are never joined with others.
const VM_SPECIAL: u32 = vm::IO | vm::DONTEXPAND | vm::PFNMAP | vm::MIXEDMAP;

/// The file behind an area.
pub trait AreaFile: Clone {
    /// Whether both are the same open file.
    fn same(&self, other: &Self) -> bool;
}

/// `vm_area_struct`.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct VmArea<F> {
    /// Range, flags, offset; what the host reads.
    pub record: VmaRecord,
    /// What is mapped; `None` for anonymous memory.
    pub file: Option<F>,
    /// Some page of the area may be anonymous (`anon_vma` is set).
    pub anon: bool,
}

impl<F> VmArea<F> {
    /// Bytes.
    pub fn len(&self) -> u32 {
        self.record.end - self.record.start
    }

    /// An area has at least a page.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pages.
    pub fn pages(&self) -> u32 {
        self.len() >> PAGE_SHIFT
    }

    /// Whether all of `flags` are set.
    pub fn is(&self, flags: u32) -> bool {
        self.record.flags & flags == flags
    }

    /// Offset in the file of the page at `addr`, in pages.
    pub fn pgoff(&self, addr: u32) -> u32 {
        self.record.pgoff.wrapping_add((addr - self.record.start) >> PAGE_SHIFT)
    }

    /// Moves where it begins, with the offset there.
    fn move_start(&mut self, to: u32) {
        let moved = (i64::from(to) - i64::from(self.record.start)) >> PAGE_SHIFT;
        self.record.pgoff = self.record.pgoff.wrapping_add(moved as u32);
        self.record.start = to;
    }

    /// First address that others must keep clear of (`vm_start_gap`).
    pub fn start_gap(&self) -> u32 {
        if self.is(vm::GROWSDOWN) { self.record.start.saturating_sub(STACK_GUARD_GAP) } else { self.record.start }
    }
}

impl<F: AreaFile> VmArea<F> {
    /// The upper part of the area, from an address inside it, as an area of its own.
    fn part_from<P: AreaPtr<File = F>>(&self, addr: u32) -> P {
        let mut part = P::copy_of(self);
        part.move_start(addr);
        part
    }

    /// Whether `upper` begins where this ends, and with what comes next of the same file.
    fn meets(&self, upper: &Self) -> bool {
        let same_file = match (&self.file, &upper.file) {
            (None, None) => true,
            (Some(a), Some(b)) => a.same(b),
            _ => false,
        };
        self.record.end == upper.record.start && same_file && self.pgoff(self.record.end) == upper.record.pgoff
    }
}

/// Whether areas with the same flags may be joined if these are the flags.
fn may_join(flags: u32) -> bool {
    flags & VM_SPECIAL == 0
}

/// A pointer that owns an area and never moves it.
pub trait AreaPtr: DerefMut<Target = VmArea<Self::File>> {
    /// The file behind the area.
    type File: AreaFile;
    /// Puts an area into memory.
    fn new(area: VmArea<Self::File>) -> Self;
    /// Puts a copy of an area into memory.
    fn copy_of(area: &VmArea<Self::File>) -> Self
    where
        Self: Sized,
    {
        Self::new(area.clone())
    }
}

impl<F: AreaFile> AreaPtr for Box<VmArea<F>> {
    type File = F;
    fn new(area: VmArea<F>) -> Self {
        Box::new(area)
    }
}

/// All areas of an address space.
#[derive(Debug)]
pub struct VmaTree<P> {
    areas: Sorted<P>,
    /// Where the last search ended: a page fault comes beside the one before, and a call asks for one area many
    /// times. What stands there may be another area now, or nothing.
    last: Cell<Place>,
}

impl<P: AreaPtr> Default for VmaTree<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: AreaPtr> VmaTree<P> {
    /// No area.
    pub const fn new() -> Self {
        VmaTree { areas: Sorted::new(), last: Cell::new(Place::FIRST) }
    }

    /// Number of areas.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.areas.len() == 0
    }

    /// The first record of the list.
    pub fn head(&self) -> Ptr32<VmaRecord> {
        self.ptr_at(Place::FIRST)
    }

    /// All areas, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &VmArea<P::File>> {
        self.areas.values().map(|p| &**p)
    }

    /// The place where the last search ended, if the area there is the right one.
    fn last_if(&self, is_right: impl FnOnce(&VmaRecord) -> bool) -> Option<Place> {
        let at = self.last.get();
        self.areas.get(at).is_some_and(|area| is_right(&area.record)).then_some(at)
    }

    /// Where the last area stands that begins at `addr` or below.
    fn place_of_last(&self, addr: u32) -> Option<Place> {
        let known = self.last_if(|area| area.start <= addr && addr < area.end);
        known.or_else(|| {
            let at = self.areas.before(self.areas.place_above(addr))?;
            self.last.set(at);
            Some(at)
        })
    }

    /// Where the first area stands that ends above `addr`, or the end of the list.
    fn place(&self, addr: u32) -> Place {
        if let Some(at) = self.last_if(|area| area.start <= addr && addr < area.end) {
            return at;
        }
        let above = self.areas.place_above(addr);
        match self.areas.before(above) {
            Some(at) if self.areas.get(at).is_some_and(|area| area.record.end > addr) => {
                self.last.set(at);
                at
            }
            _ => above,
        }
    }

    /// Where the first area stands that begins at `addr` or above, or the end of the list.
    fn place_from(&self, addr: u32) -> Place {
        let known = self.last_if(|area| area.start == addr);
        known.unwrap_or_else(|| addr.checked_sub(1).map_or(Place::FIRST, |below| self.areas.place_above(below)))
    }

    /// `find_vma`: the first area that ends above `addr`; it may begin above it, too.
    pub fn find(&self, addr: u32) -> Option<&VmArea<P::File>> {
        self.last_with(addr).or_else(|| self.search(addr))
    }

    /// As [`Self::find`], to change what is neither range nor order.
    pub fn find_mut(&mut self, addr: u32) -> Option<&mut VmArea<P::File>> {
        let at = self.place(addr);
        self.areas.get_mut(at).map(|area| &mut **area)
    }

    /// The area that holds `addr`.
    pub fn lookup(&self, addr: u32) -> Option<&VmArea<P::File>> {
        self.last_with(addr).or_else(|| self.search(addr).filter(|area| area.record.start <= addr))
    }

    /// Where the last search ended, if that area holds `addr`.
    #[inline]
    fn last_with(&self, addr: u32) -> Option<&VmArea<P::File>> {
        let area = &**self.areas.get(self.last.get())?;
        (area.record.start <= addr && addr < area.record.end).then_some(area)
    }

    /// The first area that ends above `addr`: apart, so that who finds it where the last search ended calls nothing.
    #[inline(never)]
    fn search(&self, addr: u32) -> Option<&VmArea<P::File>> {
        self.areas.get(self.place(addr)).map(|area| &**area)
    }

    /// The last area that begins below `addr`.
    pub fn prev(&self, addr: u32) -> Option<&VmArea<P::File>> {
        self.areas.get(self.place_of_last(addr.checked_sub(1)?)?).map(|area| &**area)
    }

    /// Whether an area touches the range.
    pub fn intersects(&self, start: u32, end: u32) -> bool {
        self.find(start).is_some_and(|area| area.record.start < end)
    }

    /// The areas that touch a range, ascending.
    pub fn range(&self, start: u32, end: u32) -> impl Iterator<Item = &VmArea<P::File>> {
        self.areas.values_from(self.place(start)).map(|area| &**area).take_while(move |area| area.record.start < end)
    }

    /// Adds an area where none is.
    pub fn insert(&mut self, area: P) {
        let start = area.record.start;
        debug_assert!(!self.intersects(start, area.record.end), "areas must not overlap");
        let at = self.areas.place_above(start);
        self.insert_at(at, area);
    }

    /// Adds an area before the one at a place.
    fn insert_at(&mut self, at: Place, mut area: P) {
        area.record.next = self.ptr_at(at);
        self.link_before(at, record_ptr(&area));
        self.areas.insert(at, area.record.start, area);
    }

    /// Takes out the area that begins at `start`.
    pub fn remove(&mut self, start: u32) -> Option<P> {
        let at = self.place_of_last(start)?;
        self.areas.get(at).filter(|area| area.record.start == start)?;
        self.remove_at(at)
    }

    /// Takes out the area at a place, where the one behind it is then.
    fn remove_at(&mut self, at: Place) -> Option<P> {
        let next = self.areas.get(at)?.record.next;
        self.link_before(at, next);
        let mut area = self.areas.remove(at)?;
        area.record.next = Ptr32::NULL;
        Some(area)
    }

    fn ptr_at(&self, at: Place) -> Ptr32<VmaRecord> {
        self.areas.get(at).map_or(Ptr32::NULL, record_ptr)
    }

    /// The record before a place leads to `next`.
    fn link_before(&mut self, at: Place, next: Ptr32<VmaRecord>) {
        if let Some(prev) = self.areas.before(at).and_then(|at| self.areas.get_mut(at)) {
            prev.record.next = next;
        }
    }

    /// `split_vma`: if an area reaches across `addr`, makes two of it that meet there.
    pub fn split(&mut self, addr: u32) {
        if self.last_if(|area| area.start == addr || area.end == addr).is_some() {
            return;
        }
        let Some(at) = self.place_of_last(addr) else { return };
        if self.areas.get(at).is_some_and(|area| area.record.start < addr && area.record.end > addr) {
            let upper_at = self.split_at(at, addr);
            self.last.set(upper_at);
        }
    }

    /// Makes two areas of the one at a place that meet at `addr`, inside it. Where the upper one stands.
    fn split_at(&mut self, at: Place, addr: u32) -> Place {
        let upper_at = self.areas.after(at);
        if let Some(lower) = self.areas.get_mut(at) {
            let upper: P = lower.part_from(addr);
            lower.record.end = addr;
            self.insert_at(upper_at, upper);
        }
        upper_at
    }

    /// Gives `start..end`, which lies in one area, these flags, and joins it with what lies beside it where nothing
    /// tells them apart any more (`vma_merge`, else `split_vma`). Without such an area nothing happens.
    pub fn set_part(&mut self, start: u32, end: u32, flags: u32) {
        let Some(at) = self.place_of_last(start) else { return };
        if self.areas.get(at).is_none_or(|area| start >= end || end > area.record.end || area.record.flags == flags) {
            return;
        }
        match self.areas.around(at, |chunk, index| part::set(chunk, index, start..end, flags)) {
            Some(index) => self.last.set(at.with_index(index)),
            None => {
                self.split(start);
                self.split(end);
                self.set_flags(start, end, |_| flags);
                self.merge_range(start, end);
            }
        }
    }

    /// Takes out everything in a range, splitting what reaches across its ends, and gives
    /// it to `gone`, one after the other.
    pub fn remove_range(&mut self, start: u32, end: u32, mut gone: impl FnMut(P)) {
        self.split(start);
        self.split(end);
        while let Some(area) = self.find(start).filter(|area| area.record.start < end) {
            let first = area.record.start;
            self.remove(first).into_iter().for_each(&mut gone);
        }
    }

    /// Moves the borders of the area that begins at `start`. The new range must be free.
    pub fn resize(&mut self, start: u32, new_start: u32, new_end: u32) {
        let Some(mut area) = self.remove(start) else { return };
        area.move_start(new_start);
        area.record.end = new_end;
        self.insert(area);
    }

    /// Changes the flags of all areas inside a range, which must begin and end at borders.
    pub fn set_flags(&mut self, start: u32, end: u32, change: impl Fn(u32) -> u32) {
        let mut at = self.place(start);
        while let Some(area) = self.areas.get_mut(at).filter(|area| area.record.start < end) {
            area.record.flags = change(area.record.flags);
            at = self.areas.after(at);
        }
    }

    /// Joins the two areas that meet at `addr`, if nothing tells them apart.
    pub fn merge(&mut self, addr: u32) -> bool {
        let at = self.place_of_last(addr);
        at.filter(|&at| self.areas.get(at).is_some_and(|area| area.record.start == addr))
            .is_some_and(|at| self.merge_at(at))
    }

    /// Joins the area at a place to the one before it, if they meet and nothing tells them apart.
    fn merge_at(&mut self, at: Place) -> bool {
        let Some(before) = self.areas.before(at).filter(|&before| self.can_join(before, at)) else { return false };
        self.join(before, at);
        self.last.set(before);
        true
    }

    /// Whether two areas meet and nothing tells them apart.
    fn can_join(&self, lower: Place, upper: Place) -> bool {
        let (Some(lower), Some(upper)) = (self.areas.get(lower), self.areas.get(upper)) else { return false };
        lower.record.flags == upper.record.flags && may_join(lower.record.flags) && lower.meets(upper)
    }

    /// Makes one area of two that can be joined, where the lower one stands.
    fn join(&mut self, lower: Place, upper: Place) {
        let Some(gone) = self.remove_at(upper) else { return };
        if let Some(lower) = self.areas.get_mut(lower) {
            lower.record.end = gone.record.end;
            lower.anon |= gone.anon;
        }
    }

    /// Joins what can be joined at every border from `start` to `end`, both included.
    pub fn merge_range(&mut self, start: u32, end: u32) {
        let mut at = self.place_from(start);
        while self.areas.get(at).is_some_and(|area| area.record.start <= end) {
            if self.merge_at(at) {
                at = self.areas.normal(at);
            } else {
                at = self.areas.after(at);
            }
        }
    }

    /// The highest place for `len` bytes in `low..high`.
    pub fn unmapped_topdown(&self, len: u32, low: u32, high: u32) -> Option<u32> {
        let fits = |from: u32, to: u32| to.checked_sub(from.max(low)).is_some_and(|gap| gap >= len);
        let mut gap_end = high;
        let mut next = high.checked_sub(1).and_then(|last| self.place_of_last(last));
        while let Some((at, area)) = next.and_then(|at| Some((at, self.areas.get(at)?))) {
            if fits(area.record.end, gap_end) {
                return Some(gap_end - len);
            }
            gap_end = gap_end.min(area.start_gap());
            if gap_end < low {
                return None;
            }
            next = self.areas.before(at);
        }
        fits(low, gap_end).then(|| gap_end - len)
    }

    /// The lowest place for `len` bytes in `low..high`.
    pub fn unmapped_bottomup(&self, len: u32, low: u32, high: u32) -> Option<u32> {
        let fits = |from: u32, to: u32| to.checked_sub(from).is_some_and(|gap| gap >= len);
        let mut gap_start = low;
        for area in self.range(low, high) {
            if fits(gap_start, area.start_gap().min(high)) {
                return Some(gap_start);
            }
            gap_start = gap_start.max(area.record.end);
        }
        fits(gap_start, high).then_some(gap_start)
    }
}

fn record_ptr<P: AreaPtr>(area: &P) -> Ptr32<VmaRecord> {
    Ptr32::new((&raw const area.record).addr() as u32)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use proptest::prelude::*;
    use std::{format, string::String, vec, vec::Vec};

    use super::*;

    impl AreaFile for u32 {
        fn same(&self, other: &Self) -> bool {
            self == other
        }
    }

    type Tree = VmaTree<Box<VmArea<u32>>>;
    const P: u32 = 4096;

    fn area(start: u32, end: u32, flags: u32, file: Option<(u32, u32)>) -> Box<VmArea<u32>> {
        let pgoff = file.map_or(start, |(_, off)| off);
        let record = VmaRecord { start: start * P, end: end * P, flags, pgoff, ..Default::default() };
        Box::new(VmArea { record, file: file.map(|f| f.0), anon: false })
    }

    fn show(tree: &Tree) -> Vec<(u32, u32, u32)> {
        tree.iter().map(|a| (a.record.start / P, a.record.end / P, a.record.flags)).collect()
    }

    /// As mmap with MAP_FIXED does it.
    fn map(tree: &mut Tree, new: Box<VmArea<u32>>) {
        let (start, end) = (new.record.start, new.record.end);
        tree.remove_range(start, end, drop);
        tree.insert(new);
        tree.merge(start);
        tree.merge(end);
    }

    #[test]
    fn neighbours_with_equal_flags_become_one_and_protect_splits_them() {
        let mut tree = Tree::new();
        map(&mut tree, area(10, 13, 3, None));
        map(&mut tree, area(11, 12, 1, None));
        assert_eq!(show(&tree), [(10, 11, 3), (11, 12, 1), (12, 13, 3)]);
        map(&mut tree, area(11, 12, 3, None));
        assert_eq!(show(&tree), [(10, 13, 3)]);
    }

    proptest! {
        #[test]
        fn a_part_gets_flags_as_if_split_and_joined(
            ops in proptest::collection::vec((0u32..60, 1u32..12, 1u32..4, any::<bool>()), 1..60)
        ) {
            let (mut tree, mut other) = (Tree::new(), Tree::new());
            for (number, (start, len, flags, is_new)) in ops.into_iter().enumerate() {
                if is_new {
                    let file = (number % 3 == 0).then_some((7, start));
                    for tree in [&mut tree, &mut other] {
                        map(tree, area(start, start + len, flags, file));
                    }
                    continue;
                }
                let Some((start, end)) = other.find(start * P).map(|area| {
                    let first = area.record.start.max(start * P);
                    (first, area.record.end.min(first + len * P))
                }) else {
                    continue;
                };
                tree.set_part(start, end, flags);
                other.split(start);
                other.split(end);
                other.set_flags(start, end, |_| flags);
                other.merge_range(start, end);
                let records = |tree: &Tree| tree.iter().map(|area| {
                    let record = &area.record;
                    (record.start, record.end, record.flags, record.pgoff, area.file)
                }).collect::<Vec<_>>();
                prop_assert_eq!(records(&tree), records(&other));
                for area in tree.iter() {
                    let found = tree.lookup(area.record.start).map(|found| found.record.end);
                    prop_assert_eq!(found, Some(area.record.end));
                    let next = tree.find(area.record.end).map_or(Ptr32::NULL, |next| {
                        Ptr32::new((&raw const next.record).addr() as u32)
                    });
                    prop_assert_eq!(area.record.next, next);
                }
            }
        }
    }

    #[test]
    fn file_areas_join_only_where_file_and_offset_go_on() {
        let mut tree = Tree::new();
        map(&mut tree, area(10, 12, 1, Some((7, 0))));
        map(&mut tree, area(12, 13, 1, Some((7, 2))));
        map(&mut tree, area(13, 14, 1, Some((7, 9))));
        map(&mut tree, area(14, 15, 1, Some((8, 10))));
        assert_eq!(show(&tree), [(10, 13, 1), (13, 14, 1), (14, 15, 1)]);
    }

    #[test]
    fn a_split_file_area_keeps_its_offsets() {
        let mut tree = Tree::new();
        tree.insert(area(10, 20, 1, Some((7, 100))));
        tree.remove_range(13 * P, 15 * P, drop);
        let offsets: Vec<_> = tree.iter().map(|a| (a.record.start / P, a.record.pgoff)).collect();
        assert_eq!(offsets, [(10, 100), (15, 105)]);
    }

    #[test]
    fn the_guard_gap_of_a_growing_area_is_not_given_away() {
        let mut tree = Tree::new();
        tree.insert(area(0x1000, 0x1010, 3 | vm::GROWSDOWN, None));
        tree.insert(area(0x800, 0x900, 3, None));
        assert_eq!(tree.unmapped_topdown(P, 0x10 * P, 0x1010 * P), Some((0x1000 - 257) * P));
        assert_eq!(tree.unmapped_topdown(0x700 * P, 0x10 * P, 0x1010 * P), Some(0x100 * P));
        assert_eq!(tree.unmapped_topdown(0x7f1 * P, 0x10 * P, 0x1010 * P), None);
        assert_eq!(tree.unmapped_bottomup(0x601 * P, 0x400 * P, 0x2000 * P), Some(0x1010 * P));
    }

    proptest! {
        #[test]
        fn a_tree_agrees_with_a_page_by_page_model(
            ops in proptest::collection::vec((0u32..60, 1u32..12, 0u32..4), 1..60)
        ) {
            let (mut tree, mut model) = (Tree::new(), vec![None; 80]);
            for (start, len, flags) in ops {
                let end = start + len;
                if flags == 0 {
                    tree.remove_range(start * P, end * P, drop);
                } else {
                    map(&mut tree, area(start, end, flags, None));
                }
                for page in start..end {
                    model[page as usize] = (flags != 0).then_some(flags);
                }
                let mut expected: Vec<(u32, u32, u32)> = Vec::new();
                for (page, flags) in model.iter().enumerate().filter_map(|(p, f)| f.map(|f| (p as u32, f))) {
                    match expected.last_mut() {
                        Some(last) if last.1 == page && last.2 == flags => last.1 = page + 1,
                        _ => expected.push((page, page + 1, flags)),
                    }
                }
                prop_assert_eq!(show(&tree), expected);
                let chained = chain(&tree);
                prop_assert!(chained.is_empty(), "{}", chained);
            }
        }
    }

    /// What is wrong with the list of records, if anything.
    fn chain(tree: &Tree) -> String {
        let areas: Vec<_> = tree.areas.values().collect();
        let mut expected = tree.head();
        for area in areas {
            if record_ptr(area) != expected {
                return format!("{:?} is out of the list", area.record);
            }
            expected = area.record.next;
        }
        if expected.is_null() { String::new() } else { String::from("the list goes on after the last area") }
    }
}
