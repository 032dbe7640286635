//! Filling the page cache from devices, and copying from and to it.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering::Relaxed;

use abi::errno::{EFBIG, EIO, ENOMEM, Result};

use super::{
    Gfp, PAGE_SHIFT, PAGE_SIZE, Page, alloc_page,
    filemap::{AddressSpace, AddressSpaceOps},
    gfp::GFP_HIGHUSER_MOVABLE,
    highmem::kmap_local,
    oom,
    page::{pg, put_page},
    page_lock::{lock_page, unlock_page, wait_on_page_writeback},
    page_writeback::{balance_dirty_pages, set_page_dirty},
    swap::mark_page_accessed,
};
use crate::sync::cond_resched;

/// The largest file: an index of 32 bits, less the last page.
const MAX_BYTES: u64 = (1 << 44) - 4096;
/// Most pages read ahead (`read_ahead_kb` of 128).
const RA_MAX: u32 = 32;
/// Pages read at the first look at a file's beginning.
const RA_INITIAL: u32 = 4;
/// Pages that a fault reads around itself, aligned.
const READ_AROUND: u32 = 16;

/// `file_ra_state`: how far a reader is, and how much was read for it the last time.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadAhead {
    next: u32,
    size: u32,
}

impl ReadAhead {
    /// How many pages to read from `index` on, which is missing: more each time that a
    /// reader goes on where it was, one for a random access.
    fn ondemand(&mut self, index: u32) -> u32 {
        self.size = match index {
            0 => RA_INITIAL,
            at if at == self.next && self.size > 0 => (self.size * 2).clamp(RA_INITIAL, RA_MAX),
            _ => 1,
        };
        self.next = index + self.size;
        self.size
    }
}

/// Why a page is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// `read`: what follows may be wanted, too.
    Ahead,
    /// A fault: what lies around may be wanted, too.
    Around,
    /// The page alone.
    Alone,
}

/// A page brought from somewhere, with one user more, and whether a device was asked.
#[derive(Clone, Copy)]
pub struct Brought {
    /// The page; up to date.
    pub page: &'static Page,
    /// Somebody had to wait for a device.
    pub from_device: bool,
}

impl AddressSpace {
    /// The page at an index, up to date, with one user more; `None` for a hole of a file in
    /// memory. EIO, ENOMEM.
    pub fn page_for_reading(self: &Arc<Self>, index: u32) -> Result<Option<&'static Page>> {
        if self.ops().is_none() && !self.must_be_brought(index) {
            return Ok(self.find_get_page(index));
        }
        self.bring(index, Want::Ahead).map(|brought| Some(brought.page))
    }

    /// Brings the page at an index into memory, from its device or from swap; a hole of a
    /// file in memory becomes a page of zeros. May sleep. EIO, ENOMEM; ENOSPC for a hole.
    pub fn bring(self: &Arc<Self>, index: u32, want: Want) -> Result<Brought> {
        let Some(ops) = self.ops().cloned() else {
            let from_device = self.must_be_brought(index);
            return Ok(Brought { page: self.grab_page(index)?, from_device });
        };
        if let Some(page) = self.find_uptodate(index) {
            return Ok(Brought { page, from_device: false });
        }
        let page = loop {
            if let Some(page) = self.find_get_page(index) {
                lock_page(page);
                if page.mapping.load(Relaxed) == Arc::as_ptr(self) as u32 {
                    break page;
                }
                // It was cut off while we waited.
                unlock_page(page);
                put_page(page);
                continue;
            }
            let page = oom::retry(|| alloc_page(GFP_HIGHUSER_MOVABLE)).ok_or(ENOMEM)?;
            page.set(pg::LOCKED);
            if self.add_page(index, page) {
                break page;
            }
            unlock_page(page);
            put_page(page);
        };
        let from_device = !page.is(pg::UPTODATE);
        let result = if from_device { read_locked(&*ops, index, page) } else { Ok(()) };
        unlock_page(page);
        if let Err(error) = result {
            put_page(page);
            return Err(error);
        }
        if from_device {
            self.read_ahead(&*ops, index, want);
        }
        Ok(Brought { page, from_device })
    }

    /// Reads the pages that may be wanted next. What goes wrong here will be told when they
    /// are wanted.
    fn read_ahead(self: &Arc<Self>, ops: &dyn AddressSpaceOps, index: u32, want: Want) {
        let (first, count) = match want {
            Want::Alone => return,
            Want::Ahead => (index, self.inner.lock().readahead.ondemand(index)),
            Want::Around => (index & !(READ_AROUND - 1), READ_AROUND),
        };
        let pages = self.size().div_ceil(PAGE_SIZE.into()).min(u64::from(u32::MAX)) as u32;
        for at in first..first.saturating_add(count).min(pages) {
            if self.has_page(at) {
                continue;
            }
            let Some(page) = alloc_page(GFP_HIGHUSER_MOVABLE | Gfp::NORETRY | Gfp::NOWARN) else { return };
            page.set(pg::LOCKED);
            let failed = self.add_page(at, page) && read_locked(ops, at, page).is_err();
            unlock_page(page);
            put_page(page);
            if failed {
                return;
            }
        }
    }

    /// `readahead`, `POSIX_FADV_WILLNEED`, `MADV_WILLNEED`: brings a range as far as that
    /// goes.
    pub fn force_readahead(self: &Arc<Self>, first: u32, count: u32) {
        let pages = self.size().div_ceil(PAGE_SIZE.into()).min(u64::from(u32::MAX)) as u32;
        for at in first..first.saturating_add(count).min(pages) {
            if self.must_be_brought(at) {
                match self.bring(at, Want::Alone) {
                    Ok(brought) => put_page(brought.page),
                    Err(_) => return,
                }
            }
        }
    }

    fn has_page(&self, index: u32) -> bool {
        self.find_get_page(index).map(put_page).is_some()
    }

    /// Copies from the file at `pos`; returns how many bytes there were. EIO or ENOMEM if not
    /// even the first page could be read.
    pub fn read(self: &Arc<Self>, pos: u64, out: &mut [u8]) -> Result<usize> {
        let len = out.len().min(self.left(pos));
        let mut done = 0;
        while done < len {
            cond_resched();
            let at = pos + done as u64;
            let offset = at as usize & (PAGE_SIZE as usize - 1);
            let step = (len - done).min(PAGE_SIZE as usize - offset);
            match self.page_for_reading((at >> PAGE_SHIFT) as u32) {
                Ok(Some(page)) => {
                    let bytes = kmap_local(page);
                    out[done..done + step].copy_from_slice(&bytes.as_slice()[offset..offset + step]);
                    drop(bytes);
                    mark_page_accessed(page);
                    put_page(page);
                }
                Ok(None) => out[done..done + step].fill(0),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            done += step;
        }
        Ok(done)
    }

    fn left(&self, pos: u64) -> usize {
        self.size().saturating_sub(pos).min(i32::MAX as u64) as usize
    }

    /// Copies into the file at `pos`, growing it. ENOSPC or ENOMEM if not even the first page
    /// found room, EIO if it had to be read and could not.
    pub fn write(self: &Arc<Self>, pos: u64, data: &[u8]) -> Result<usize> {
        if pos >= MAX_BYTES && !data.is_empty() {
            return Err(EFBIG);
        }
        let len = data.len().min((MAX_BYTES - pos.min(MAX_BYTES)).min(i32::MAX as u64) as usize);
        let mut done = 0;
        while done < len {
            cond_resched();
            let at = pos + done as u64;
            let offset = at as usize & (PAGE_SIZE as usize - 1);
            let step = (len - done).min(PAGE_SIZE as usize - offset);
            let page = match self.write_begin((at >> PAGE_SHIFT) as u32, offset, step) {
                Ok(page) => page,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            kmap_local(page).as_mut_slice()[offset..offset + step].copy_from_slice(&data[done..done + step]);
            page.set(pg::UPTODATE);
            set_page_dirty(page);
            done += step;
            {
                let mut inner = self.inner.lock();
                inner.size = inner.size.max(at + step as u64);
            }
            unlock_page(page);
            mark_page_accessed(page);
            put_page(page);
            if self.ops().is_some() {
                balance_dirty_pages(self);
            }
        }
        Ok(done)
    }

    /// A locked page to write `len` bytes at `offset` into, with one user more. Bytes around
    /// them are as they were in the file.
    fn write_begin(self: &Arc<Self>, index: u32, offset: usize, len: usize) -> Result<&'static Page> {
        let Some(ops) = self.ops().cloned() else {
            loop {
                let page = self.grab_page(index)?;
                lock_page(page);
                if page.mapping.load(Relaxed) == Arc::as_ptr(self) as u32 {
                    return Ok(page);
                }
                // It was cut off while we waited.
                unlock_page(page);
                put_page(page);
            }
        };
        ops.write_begin(index)?;
        loop {
            let page = match self.find_get_page(index) {
                Some(page) => {
                    lock_page(page);
                    page
                }
                None => {
                    let page = oom::retry(|| alloc_page(GFP_HIGHUSER_MOVABLE)).ok_or(ENOMEM)?;
                    page.set(pg::LOCKED);
                    // If another was faster, the page has no mapping, and the next look finds his.
                    self.add_page(index, page);
                    page
                }
            };
            if page.mapping.load(Relaxed) != Arc::as_ptr(self) as u32 {
                unlock_page(page);
                put_page(page);
                continue;
            }
            wait_on_page_writeback(page);
            if !page.is(pg::UPTODATE) {
                let start = u64::from(index) << PAGE_SHIFT;
                if start >= self.size() {
                    kmap_local(page).write_bytes(0);
                } else if len < PAGE_SIZE as usize
                    && let Err(error) = read_locked(&*ops, index, page)
                {
                    unlock_page(page);
                    put_page(page);
                    return Err(error);
                }
                debug_assert!(offset + len <= PAGE_SIZE as usize);
            }
            return Ok(page);
        }
    }

    /// The whole contents, for the kernel's own readers of small files.
    pub fn read_all(self: &Arc<Self>) -> Result<Vec<u8>> {
        let mut data = alloc::vec![0; self.left(0)];
        let len = self.read(0, &mut data)?;
        data.truncate(len);
        Ok(data)
    }
}

/// Reads a locked page. Any failure of a device is EIO to the reader, unless memory is short.
fn read_locked(ops: &dyn AddressSpaceOps, index: u32, page: &'static Page) -> Result<()> {
    page.clear(pg::ERROR);
    match ops.read_folio(index, page) {
        Ok(()) => {
            page.set(pg::UPTODATE);
            Ok(())
        }
        Err(error) => {
            page.set(pg::ERROR);
            Err(if error == ENOMEM { ENOMEM } else { EIO })
        }
    }
}
