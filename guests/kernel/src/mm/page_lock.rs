//! `PG_locked` and `PG_writeback`, and waiting for them.
//!
//! Whoever holds a page's lock decides about its contents, its place in a cache and whether
//! it is mapped privately. Locks of several pages are taken in the order of their indices in
//! one file. A page's lock comes after `mmap_lock`, but nobody waits for a device with both.

use alloc::vec::Vec;

use super::{Page, page::pg};
use crate::{
    sync::Once,
    task::wait::{WaitQueue, wait_event_uninterruptible},
};

/// Pages that share a queue wake each other in vain at times, never too late.
const QUEUES: usize = 64;

static WAIT_TABLE: Once<Vec<WaitQueue>> = Once::new();

/// Makes the queues.
pub fn init() {
    WAIT_TABLE.set((0..QUEUES).map(|_| WaitQueue::default()).collect());
}

fn queue(page: &Page) -> &'static WaitQueue {
    &WAIT_TABLE.get()[page.pfn() as usize % QUEUES]
}

/// Takes the lock if it is open.
#[must_use]
pub fn trylock_page(page: &Page) -> bool {
    !page.test_set(pg::LOCKED)
}

/// Takes the lock; sleeps while somebody has it.
pub fn lock_page(page: &Page) {
    while !trylock_page(page) {
        wait_event_uninterruptible(queue(page), || !page.is(pg::LOCKED));
    }
}

/// Opens the lock.
pub fn unlock_page(page: &Page) {
    assert!(page.test_clear(pg::LOCKED), "frame {:#x} is unlocked twice", page.pfn());
    queue(page).wake_all();
}

/// Sleeps until the lock is open.
pub fn wait_on_page_locked(page: &Page) {
    wait_event_uninterruptible(queue(page), || !page.is(pg::LOCKED));
}

/// Sleeps until the page has been written.
pub fn wait_on_page_writeback(page: &Page) {
    wait_event_uninterruptible(queue(page), || !page.is(pg::WRITEBACK));
}

/// The page has been written.
pub fn end_page_writeback(page: &Page) {
    page.clear(pg::WRITEBACK);
    queue(page).wake_all();
}
