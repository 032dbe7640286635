//! The page cache: one set of pages for `read`, `write` and `mmap` of a file.

use alloc::{collections::BTreeMap, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::errno::{EFAULT, EFBIG, ENOSPC, Result};

use super::{
    Gfp, PAGE_SHIFT, PAGE_SIZE, Page, alloc_page,
    gfp::GFP_HIGHUSER_MOVABLE,
    highmem::kmap_local,
    memory::zap_range,
    oom,
    page::{get_page, pg, put_page},
    uaccess::{UserPtr, copy_from_user_partial, copy_to_user_partial},
    vmstat::{self, Item},
};
use crate::sync::SpinLock;

/// The largest file: an index of 32 bits, less the last page.
const MAX_BYTES: u64 = (1 << 44) - 4096;

/// How a file's pages count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// ramfs: file pages.
    Ram,
    /// tmpfs, shared memory: `Shmem` pages.
    Shmem,
}

struct Inner {
    pages: BTreeMap<u32, &'static Page>,
    size: u64,
}

/// `address_space`: the pages and the size of an inode. The pages of these file systems
/// live nowhere else, so a page that is missing below the size is a hole and reads as zeros.
pub struct AddressSpace {
    backing: Backing,
    /// Some page table has mapped a page of it.
    was_mapped: AtomicBool,
    inner: SpinLock<Inner>,
}

impl AddressSpace {
    /// An empty file.
    pub const fn new(backing: Backing) -> Self {
        AddressSpace {
            backing,
            was_mapped: AtomicBool::new(false),
            inner: SpinLock::new(Inner { pages: BTreeMap::new(), size: 0 }),
        }
    }

    /// Whether the pages count as shared memory.
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// `i_size`.
    pub fn size(&self) -> u64 {
        self.inner.lock().size
    }

    /// Pages in memory.
    pub fn nr_pages(&self) -> u32 {
        self.inner.lock().pages.len() as u32
    }

    /// The page at an index, if it is in memory, with one user more.
    pub fn find_get_page(&self, index: u32) -> Option<&'static Page> {
        self.inner.lock().pages.get(&index).map(|page| get_page(page))
    }

    /// The page at an index, made if it is missing, with one user more. ENOSPC without
    /// memory.
    pub fn grab_page(&self, index: u32) -> Result<&'static Page> {
        if let Some(page) = self.find_get_page(index) {
            return Ok(page);
        }
        let page = oom::retry(|| alloc_page(GFP_HIGHUSER_MOVABLE | Gfp::ZERO)).ok_or(ENOSPC)?;
        page.set(pg::UPTODATE | if self.backing == Backing::Shmem { pg::SWAPBACKED } else { 0 });
        page.mapping.store((self as *const AddressSpace) as u32, Relaxed);
        page.index.store(index, Relaxed);
        let mut inner = self.inner.lock();
        // Nobody could have come in between on one CPU, but the lock was open.
        if let Some(other) = inner.pages.get(&index) {
            let other = get_page(other);
            drop(inner);
            put_page(page);
            return Ok(other);
        }
        inner.pages.insert(index, get_page(page));
        self.account(1);
        Ok(page)
    }

    fn account(&self, delta: i32) {
        vmstat::add(Item::nr_file_pages, delta);
        if self.backing == Backing::Shmem {
            vmstat::add(Item::nr_shmem, delta);
        }
    }

    /// A page of the file is about to be mapped.
    pub fn note_mapped(&self) {
        self.was_mapped.store(true, Relaxed);
    }

    /// `unmap_mapping_range`: no process maps what lies at or behind page `index` any more,
    /// private copies included.
    fn unmap_from(&self, index: u32) {
        let this: *const AddressSpace = self;
        crate::task::for_each_process(&mut |process| {
            let mut mm = process.mm.lock();
            let ranges: Vec<(u32, u32)> = mm
                .areas
                .iter()
                .filter(|area| {
                    let mapping = area.file.as_ref().and_then(|file| file.address_space());
                    mapping.is_some_and(|mapping| core::ptr::eq(&raw const *mapping, this))
                })
                .filter_map(|area| {
                    let skip = index.saturating_sub(area.record.pgoff);
                    (skip < area.pages()).then(|| (area.record.start + (skip << PAGE_SHIFT), area.record.end))
                })
                .collect();
            for (start, end) in ranges {
                zap_range(&mut mm, start, end);
            }
        });
    }

    /// Sets the size. Pages beyond it leave the cache and the page tables, and the rest of
    /// the last one is zeroed, so that a later growth reads zeros.
    pub fn set_size(&self, size: u64) {
        let shrinks = size < self.size();
        if shrinks && self.was_mapped.load(Relaxed) {
            // First the size, so that no fault brings back what is unmapped here.
            self.inner.lock().size = size;
            self.unmap_from(size.div_ceil(PAGE_SIZE.into()) as u32);
        }
        let (gone, tail) = {
            let mut inner = self.inner.lock();
            let keep = size.div_ceil(PAGE_SIZE.into()) as u32;
            inner.size = size;
            let gone = if shrinks { inner.pages.split_off(&keep) } else { BTreeMap::new() };
            let offset = size as u32 & (PAGE_SIZE - 1);
            let tail = if shrinks && offset != 0 { inner.pages.get(&(keep - 1)).map(|p| get_page(p)) } else { None };
            (gone, tail.map(|page| (page, offset)))
        };
        if let Some((page, offset)) = tail {
            kmap_local(page).as_mut_slice()[offset as usize..].fill(0);
            put_page(page);
        }
        self.account(-(gone.len() as i32));
        gone.into_values().for_each(put_page);
    }

    /// Copies from the file at `pos`; returns how many bytes there were.
    pub fn read(&self, pos: u64, out: &mut [u8]) -> usize {
        self.for_each_part(pos, out.len().min(self.left(pos)), |page, offset, done, len| {
            match page {
                Some(page) => out[done..done + len].copy_from_slice(&kmap_local(page).as_slice()[offset..offset + len]),
                None => out[done..done + len].fill(0),
            }
            len
        })
    }

    /// `read` into a program's memory. EFAULT if not even the first byte could be copied.
    pub fn read_to_user(&self, pos: u64, to: UserPtr<u8>, len: usize) -> Result<usize> {
        static ZEROES: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];
        let len = len.min(self.left(pos));
        let done = self.for_each_part(pos, len, |page, offset, done, len| {
            let to = to.add(done as u32);
            match page {
                Some(page) => copy_to_user_partial(to, &kmap_local(page).as_slice()[offset..offset + len]),
                None => copy_to_user_partial(to, &ZEROES[..len]),
            }
        });
        if done == 0 && len != 0 { Err(EFAULT) } else { Ok(done) }
    }

    fn left(&self, pos: u64) -> usize {
        self.size().saturating_sub(pos).min(i32::MAX as u64) as usize
    }

    /// Calls `copy` with (page, offset in it, bytes done, bytes wanted) for each page of a
    /// range, until it does less than wanted.
    fn for_each_part(
        &self,
        pos: u64,
        len: usize,
        mut copy: impl FnMut(Option<&'static Page>, usize, usize, usize) -> usize,
    ) -> usize {
        let mut done = 0;
        while done < len {
            let at = pos + done as u64;
            let offset = at as usize & (PAGE_SIZE as usize - 1);
            let step = (len - done).min(PAGE_SIZE as usize - offset);
            let page = self.find_get_page((at >> PAGE_SHIFT) as u32);
            let copied = copy(page, offset, done, step);
            if let Some(page) = page {
                page.set(pg::REFERENCED);
                put_page(page);
            }
            done += copied;
            if copied < step {
                break;
            }
        }
        done
    }

    /// Copies into the file at `pos`, growing it. ENOSPC if not even the first page found
    /// memory.
    pub fn write(&self, pos: u64, data: &[u8]) -> Result<usize> {
        self.write_parts(pos, data.len(), |page, offset, done, len| {
            kmap_local(page).as_mut_slice()[offset..offset + len].copy_from_slice(&data[done..done + len]);
            len
        })
    }

    /// `write` from a program's memory.
    pub fn write_from_user(&self, pos: u64, from: UserPtr<u8>, len: usize) -> Result<usize> {
        self.write_parts(pos, len, |page, offset, done, len| {
            copy_from_user_partial(&mut kmap_local(page).as_mut_slice()[offset..offset + len], from.add(done as u32))
        })
    }

    fn write_parts(
        &self,
        pos: u64,
        len: usize,
        mut copy: impl FnMut(&'static Page, usize, usize, usize) -> usize,
    ) -> Result<usize> {
        if pos >= MAX_BYTES && len != 0 {
            return Err(EFBIG);
        }
        let len = len.min((MAX_BYTES - pos.min(MAX_BYTES)).min(i32::MAX as u64) as usize);
        let mut done = 0;
        while done < len {
            let at = pos + done as u64;
            let offset = at as usize & (PAGE_SIZE as usize - 1);
            let step = (len - done).min(PAGE_SIZE as usize - offset);
            let page = match self.grab_page((at >> PAGE_SHIFT) as u32) {
                Ok(page) => page,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            let copied = copy(page, offset, done, step);
            page.set(pg::DIRTY | pg::REFERENCED);
            put_page(page);
            done += copied;
            {
                let mut inner = self.inner.lock();
                inner.size = inner.size.max(at + copied as u64);
            }
            if copied < step {
                if done == 0 {
                    return Err(EFAULT);
                }
                break;
            }
        }
        Ok(done)
    }

    /// The whole contents, for the kernel's own readers of small files.
    pub fn read_all(&self) -> Vec<u8> {
        let mut data = alloc::vec![0; self.left(0)];
        let len = self.read(0, &mut data);
        data.truncate(len);
        data
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        let pages = core::mem::take(&mut self.inner.get_mut().pages);
        self.account(-(pages.len() as i32));
        pages.into_values().for_each(put_page);
    }
}
