//! `kmap`, `kmap_local` and `kmap_atomic`, on frames of high memory where there are some.

use alloc::vec::Vec;

use crate::{
    arch::paging::{FIXADDR_KMAP, PKMAP_BASE},
    mm::{
        __free_pages, Page, alloc_page,
        gfp::GFP_HIGHUSER,
        highmem::{kmap_atomic, kmap_local},
        pkmap::{kmap, page_address},
    },
    sync::in_atomic,
};

/// Frames that are mapped one after the other: more than there are slots.
const FRAMES: usize = 2500;

/// See the module.
pub fn run() {
    let page = alloc_page(GFP_HIGHUSER).expect("a frame");
    one_address(page);
    in_stack_order(page);
    __free_pages(page, 0);
    more_frames_than_slots();
}

fn one_address(page: &'static Page) {
    let mut first = kmap(page);
    let second = kmap(page);
    assert_eq!(first.addr(), second.addr(), "kmap of one page twice gives one address");
    assert_eq!(page_address(page), Some(first.addr()));
    let is_high = page.address().is_none();
    assert_eq!((PKMAP_BASE..FIXADDR_KMAP).contains(&first.addr()), is_high);
    first.as_mut_slice()[5] = 55;
    drop(first);
    assert_eq!(second.as_slice()[5], 55, "the other user keeps it mapped");
    assert_eq!(kmap_local(page).as_slice()[5], 55);
}

fn in_stack_order(page: &'static Page) {
    let outer = kmap_local(page);
    {
        let mut inner = kmap_atomic(page);
        assert!(in_atomic());
        assert!(page.address().is_some() || inner.addr() == outer.addr() + crate::mm::PAGE_SIZE);
        inner.as_mut_slice()[9] = 99;
    }
    assert!(!in_atomic());
    assert_eq!(outer.as_slice()[9], 99);
    let again = kmap_local(page);
    assert!(page.address().is_some() || again.addr() == outer.addr() + crate::mm::PAGE_SIZE, "the slot is used again");
}

fn more_frames_than_slots() {
    let frames: Vec<&'static Page> = (0..FRAMES).map_while(|_| alloc_page(GFP_HIGHUSER)).collect();
    let keep = kmap(frames[0]);
    for (n, page) in frames.iter().enumerate() {
        kmap(page).as_mut_slice()[..4].copy_from_slice(&(n as u32).to_le_bytes());
    }
    // The pool has wrapped: what was written through a slot's former frame stays there.
    for (n, page) in frames.iter().enumerate() {
        assert_eq!(kmap(page).as_slice()[..4], (n as u32).to_le_bytes());
        assert_eq!(kmap_local(page).as_slice()[..4], (n as u32).to_le_bytes());
    }
    assert_eq!(page_address(frames[0]), Some(keep.addr()), "a slot with a user stays");
    drop(keep);
    frames.into_iter().for_each(|page| __free_pages(page, 0));
}
