//! Sequences of mmap, munmap, mprotect and mremap on the kernel's tree of areas, held against a list of pages.

use std::collections::BTreeMap;

use abi::books::{VmaRecord, vm};
use mm::vma::{AreaFile, VmArea, VmaTree};

const PAGES: u32 = 256;
const BASE: u32 = 0x1000_0000;

/// A file by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct File(u8);

impl AreaFile for File {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

type Tree = VmaTree<Box<VmArea<File>>>;

/// What a page is mapped to: flags, file, offset in it.
type Page = (u32, Option<File>, u32);

/// Each five bytes are an operation.
///
/// # Panics
/// When the tree says of a page something else than the list.
pub fn body(bytes: &[u8]) {
    let mut tree = Tree::new();
    let mut pages: BTreeMap<u32, Page> = BTreeMap::new();
    for operation in bytes.chunks_exact(5).take(400) {
        let &[kind, at, len, flags, file] = operation else { unreachable!("five") };
        let len = u32::from(len % 32) + 1;
        let at = u32::from(at).min(PAGES - len);
        let (start, end) = (BASE + at * 4096, BASE + (at + len) * 4096);
        let flags = u32::from(flags) & (vm::READ | vm::WRITE | vm::EXEC);
        let file = (file % 3 != 0).then_some(File(file % 3));
        match kind % 5 {
            0 | 1 => map(&mut tree, &mut pages, (start, end), (flags, file)),
            2 => {
                tree.remove_range(start, end, drop);
                pages.retain(|&page, _| !(start..end).contains(&page));
            }
            3 => {
                tree.split(start);
                tree.split(end);
                tree.set_flags(start, end, |_| flags);
                tree.merge_range(start, end);
                for (_, page) in pages.range_mut(start..end) {
                    page.0 = flags;
                }
            }
            _ => {
                for found in [
                    tree.unmapped_topdown(len * 4096, BASE, BASE + PAGES * 4096),
                    tree.unmapped_bottomup(len * 4096, BASE, BASE + PAGES * 4096),
                ] {
                    let free = |from: u32| pages.range(from..from + len * 4096).next().is_none();
                    match found {
                        Some(from) => assert!(free(from), "{from:#x} is taken"),
                        None => assert!((0..=PAGES - len).all(|page| !free(BASE + page * 4096)), "there was room"),
                    }
                }
            }
        }
        check(&tree, &pages);
    }
}

fn map(tree: &mut Tree, pages: &mut BTreeMap<u32, Page>, (start, end): (u32, u32), (flags, file): (u32, Option<File>)) {
    tree.remove_range(start, end, drop);
    let pgoff = start >> 12;
    let record = VmaRecord { start, end, flags, pgoff, ..VmaRecord::default() };
    tree.insert(Box::new(VmArea { record, file, anon: false }));
    tree.merge_range(start, end);
    for page in (start..end).step_by(4096) {
        pages.insert(page, (flags, file, page >> 12));
    }
}

fn check(tree: &Tree, pages: &BTreeMap<u32, Page>) {
    let mut seen = 0;
    let mut last_end = 0;
    for area in tree.iter() {
        assert!(area.record.start >= last_end && area.record.start < area.record.end, "areas are in order");
        last_end = area.record.end;
        for page in (area.record.start..area.record.end).step_by(4096) {
            assert_eq!(pages.get(&page), Some(&(area.record.flags, area.file, area.pgoff(page))), "{page:#x}");
            seen += 1;
        }
    }
    assert_eq!(seen, pages.len(), "every page has its area");
}
