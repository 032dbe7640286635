//! `pgd_list`: all page directories, linked through their descriptors.

use core::sync::atomic::Ordering::Relaxed;

use super::{Page, page::pfn_to_page};
use crate::sync::SpinLock;

/// No frame: an end of the list.
const END: u32 = !0;

/// The newest directory's frame.
static PGD_LIST: SpinLock<u32> = SpinLock::new(END);

/// `pgd_list_add`: a new directory.
pub fn add(page: &'static Page) {
    let mut first = PGD_LIST.lock();
    page.lru[0].store(END, Relaxed);
    page.lru[1].store(*first, Relaxed);
    if *first != END {
        pfn_to_page(*first).lru[0].store(page.pfn(), Relaxed);
    }
    *first = page.pfn();
}

/// `pgd_list_del`: a directory that nobody uses any more.
pub fn remove(page: &'static Page) {
    let mut first = PGD_LIST.lock();
    let [prev, next] = [page.lru[0].load(Relaxed), page.lru[1].load(Relaxed)];
    match prev {
        END => *first = next,
        prev => pfn_to_page(prev).lru[1].store(next, Relaxed),
    }
    if next != END {
        pfn_to_page(next).lru[0].store(prev, Relaxed);
    }
}

/// Calls `visit` with each directory, newest first.
pub fn for_each(mut visit: impl FnMut(&'static Page)) {
    let first = PGD_LIST.lock();
    let mut at = *first;
    while at != END {
        let page = pfn_to_page(at);
        visit(page);
        at = page.lru[1].load(Relaxed);
    }
}
