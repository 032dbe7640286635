//! Dirty pages and their way back to the device.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::errno::Result;

use super::{
    Page,
    filemap::{AddressSpace, Slot},
    page::{get_page, mem_map, pg, put_page},
    page_alloc::totals,
    page_lock::{end_page_writeback, lock_page, trylock_page, unlock_page, wait_on_page_writeback},
    rmap, swap,
    vmstat::{self, Item},
};
use crate::{
    pr_info,
    sync::{SpinLock, cond_resched},
    task::{kthread::kthread_run, wait::WaitQueue, wait::wait_event_idle},
    time::ktime_get_ns,
};

/// `/proc/sys/vm/dirty_background_ratio`: percent of the memory that could be clean, from
/// which on the thread writes back.
pub static DIRTY_BACKGROUND_RATIO: AtomicU32 = AtomicU32::new(10);
/// `/proc/sys/vm/dirty_ratio`: from which on writers write back themselves.
pub static DIRTY_RATIO: AtomicU32 = AtomicU32::new(20);
/// How often the thread looks.
static DIRTY_WRITEBACK_CENTISECS: AtomicU32 = AtomicU32::new(500);
/// `/proc/sys/vm/dirty_expire_centisecs`: how long a page may stay dirty.
pub static DIRTY_EXPIRE_CENTISECS: AtomicU32 = AtomicU32::new(3000);

/// Nanoseconds in a hundredth of a second.
const CENTISEC_NS: u64 = 10_000_000;
/// Pages that a writer over the limit writes back at a time.
const WRITER_BATCH: u32 = 64;

/// Files with dirty pages, oldest first. Being here keeps them alive until they are written.
static DIRTY_FILES: SpinLock<Vec<Arc<AddressSpace>>> = SpinLock::new(Vec::new());
static WAKE: WaitQueue = WaitQueue::new();
static BACKGROUND_WANTED: AtomicU32 = AtomicU32::new(0);

/// `folio_mark_dirty`: the page was written. Says whether it was clean before.
pub fn set_page_dirty(page: &Page) -> bool {
    if page.test_set(pg::DIRTY) {
        return false;
    }
    let Some(mapping) = page.file_mapping().filter(|mapping| mapping.ops().is_some()) else { return true };
    let first = {
        let mut inner = mapping.inner.lock();
        let first = inner.dirty.is_empty();
        if first {
            inner.dirtied_when_ns = ktime_get_ns();
        }
        inner.dirty.insert(page.index.load(Relaxed));
        first
    };
    vmstat::count(Item::nr_dirty);
    vmstat::count(Item::nr_dirtied);
    let mut files = DIRTY_FILES.lock();
    if first && !files.iter().any(|file| Arc::ptr_eq(file, &mapping)) {
        files.push(mapping);
        drop(files);
        WAKE.wake_all();
    }
    true
}

/// Takes the mark of a page, and its note in the file.
fn clear_mark(mapping: &AddressSpace, page: &Page) -> bool {
    if !page.test_clear(pg::DIRTY) {
        return false;
    }
    if mapping.ops().is_some() && mapping.inner.lock().dirty.remove(&page.index.load(Relaxed)) {
        vmstat::add(Item::nr_dirty, -1);
    }
    true
}

/// The page is cut off its file: nobody will ever read it.
pub fn cancel_dirty_page(mapping: &AddressSpace, page: &Page) {
    clear_mark(mapping, page);
}

/// `clear_page_dirty_for_io`: the locked page is about to be written. From here on a write
/// through a mapping faults and marks it again.
pub fn clear_page_dirty_for_io(mapping: &AddressSpace, page: &'static Page) -> bool {
    rmap::page_mkclean(page);
    clear_mark(mapping, page)
}

/// `pageout` of a file's page: writes a locked dirty page. It is still locked afterwards.
pub fn write_one_page(mapping: &Arc<AddressSpace>, page: &'static Page) -> Result<()> {
    let Some(ops) = mapping.ops() else { return Ok(()) };
    wait_on_page_writeback(page);
    if !clear_page_dirty_for_io(mapping, page) {
        return Ok(());
    }
    page.set(pg::WRITEBACK);
    vmstat::count(Item::nr_writeback);
    let result = ops.writepage(page.index.load(Relaxed), page);
    vmstat::add(Item::nr_writeback, -1);
    vmstat::count(Item::nr_written);
    match result {
        Ok(()) => page.clear(pg::ERROR),
        Err(error) => {
            page.set(pg::ERROR);
            mapping.inner.lock().error.get_or_insert(error);
        }
    }
    end_page_writeback(page);
    if page.test_clear(pg::RECLAIM) {
        swap::rotate_reclaimable_page(page);
    }
    result
}

impl AddressSpace {
    /// Writes up to `limit` dirty pages with indices `first..=last` back, in order. The first
    /// failure is returned at the end; it is also kept for the next `fsync`.
    fn write_dirty(self: &Arc<Self>, first: u32, last: u32, mut limit: u32) -> Result<()> {
        let (mut at, mut result) = (first, Ok(()));
        while limit > 0 {
            let found = {
                let inner = self.inner.lock();
                let index = inner.dirty.range(at..=last).next().copied();
                index.map(|index| match inner.slots.get(&index) {
                    Some(Slot::Page(page)) => (index, Some(get_page(page))),
                    _ => (index, None),
                })
            };
            let Some((index, page)) = found else { break };
            if let Some(page) = page {
                lock_page(page);
                if core::ptr::eq(page.mapping.load(Relaxed) as *const AddressSpace, Arc::as_ptr(self)) {
                    let written = write_one_page(self, page);
                    result = result.and(written);
                }
                unlock_page(page);
                put_page(page);
                limit -= 1;
            }
            match index.checked_add(1).filter(|next| *next <= last) {
                Some(next) => at = next,
                None => break,
            }
        }
        self.leave_dirty_files();
        result
    }

    /// A file without dirty pages is forgotten.
    fn leave_dirty_files(self: &Arc<Self>) {
        let removed = {
            let mut files = DIRTY_FILES.lock();
            let at = files.iter().position(|file| Arc::ptr_eq(file, self));
            match at {
                Some(at) if self.inner.lock().dirty.is_empty() => Some(files.remove(at)),
                // What became dirty meanwhile is the youngest.
                Some(at) => {
                    let file = files.remove(at);
                    files.push(file);
                    None
                }
                None => None,
            }
        };
        drop(removed);
    }

    /// `filemap_write_and_wait_range`: all dirty pages with indices `first..=last` are on the
    /// device when this returns. EIO, ENOSPC.
    pub fn write_and_wait(self: &Arc<Self>, first: u32, last: u32) -> Result<()> {
        self.write_dirty(first, last, u32::MAX)
    }

    /// `fsync`'s half: everything is written, and a failure since the last call is told once.
    pub fn sync(self: &Arc<Self>) -> Result<()> {
        let result = self.write_and_wait(0, u32::MAX);
        match self.inner.lock().error.take() {
            Some(error) => Err(error),
            None => result,
        }
    }
}

/// `(background, limit)` in pages: `global_dirty_limits`.
fn dirty_limits() -> (u32, u32) {
    let file = vmstat::read(Item::nr_active_file) + vmstat::read(Item::nr_inactive_file);
    let dirtyable = totals().free + file;
    let part = |ratio: &AtomicU32| (u64::from(dirtyable) * u64::from(ratio.load(Relaxed)) / 100) as u32;
    let (background, limit) = (part(&DIRTY_BACKGROUND_RATIO), part(&DIRTY_RATIO));
    let background = if background >= limit { limit / 2 } else { background };
    vmstat::set(Item::nr_dirty_background_threshold, background);
    vmstat::set(Item::nr_dirty_threshold, limit);
    (background, limit)
}

/// `balance_dirty_pages_ratelimited`: a page of `mapping` was made dirty. Wakes the thread,
/// and writes back itself when there is too much.
pub fn balance_dirty_pages(mapping: &Arc<AddressSpace>) {
    let (background, limit) = dirty_limits();
    let dirty = vmstat::read(Item::nr_dirty) + vmstat::read(Item::nr_writeback);
    if dirty > background {
        wakeup_flusher();
    }
    if dirty > limit {
        // A failure is kept for `fsync`.
        let _ = mapping.write_dirty(0, u32::MAX, WRITER_BATCH);
    }
}

/// Wakes the write-back thread: reclaim meets dirty pages, or there are too many.
pub fn wakeup_flusher() {
    BACKGROUND_WANTED.store(1, Relaxed);
    WAKE.wake_all();
}

/// `/proc/sys/vm/dirty_writeback_centisecs`: how often the thread looks; 0 never.
pub fn dirty_writeback_centisecs() -> u32 {
    DIRTY_WRITEBACK_CENTISECS.load(Relaxed)
}

/// Sets it (`dirty_writeback_centisecs_handler`): the thread goes by it at once.
pub fn set_dirty_writeback_centisecs(centisecs: u32) {
    DIRTY_WRITEBACK_CENTISECS.store(centisecs, Relaxed);
    WAKE.wake_all();
}

fn dirty_files() -> Vec<Arc<AddressSpace>> {
    DIRTY_FILES.lock().clone()
}

/// `sync`: everything dirty is on its device when this returns.
pub fn sync_all() {
    for file in dirty_files() {
        // Failures are told by `fsync`.
        let _ = file.write_and_wait(0, u32::MAX);
    }
}

/// Starts the write-back thread.
pub fn start() {
    if let Err(error) = kthread_run("kworker/u2:0-wb", flusher) {
        pr_info!("no write-back thread: {error}");
    }
}

/// `wb_workfn`: every five seconds what has been dirty for thirty, and when there is much,
/// more.
fn flusher() -> ! {
    loop {
        let centisecs = dirty_writeback_centisecs();
        // Without anything dirty there is nothing to wake up for.
        let idle = DIRTY_FILES.lock().is_empty() || centisecs == 0;
        let deadline = (!idle).then(|| ktime_get_ns() + u64::from(centisecs) * CENTISEC_NS);
        wait_event_idle(&WAKE, deadline, || {
            BACKGROUND_WANTED.load(Relaxed) != 0
                || dirty_writeback_centisecs() != centisecs
                || (idle && centisecs != 0 && !DIRTY_FILES.lock().is_empty())
        });
        let wanted = BACKGROUND_WANTED.swap(0, Relaxed) != 0;
        let expire = u64::from(DIRTY_EXPIRE_CENTISECS.load(Relaxed)) * CENTISEC_NS;
        for file in dirty_files() {
            let age = ktime_get_ns().saturating_sub(file.inner.lock().dirtied_when_ns);
            if wanted || age >= expire {
                // A failure is kept for `fsync`.
                let _ = file.write_and_wait(0, u32::MAX);
            }
        }
    }
}

/// `drop_caches`: clean pages of files on devices that nobody uses leave the cache. Returns
/// how many did.
pub fn drop_pagecache() -> u32 {
    let mut dropped = 0;
    for page in mem_map() {
        cond_resched();
        if !page.is(pg::LRU) || page.is(pg::SWAPBACKED) || !trylock_page(page) {
            continue;
        }
        get_page(page);
        if let Some(mapping) = page.file_mapping().filter(|mapping| mapping.ops().is_some()) {
            dropped += u32::from(mapping.remove_unused(page));
        }
        unlock_page(page);
        put_page(page);
    }
    dropped
}
