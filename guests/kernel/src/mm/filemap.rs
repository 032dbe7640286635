//! The page cache: one set of pages for `read`, `write` and `mmap` of a file.
//!
//! Here is the cache itself; `filemap_io` fills it from devices and copies from and to it,
//! `page_writeback` writes it back, `filemap_fault` maps it.
#![allow(unsafe_code)]

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::{ops::ControlFlow, ptr::NonNull, sync::atomic::Ordering::Relaxed};

use abi::errno::{EIO, ENOENT, ENOMEM, ENOSPC, Errno, Result};

use super::{
    Gfp, PAGE_SHIFT, PAGE_SIZE, Page, alloc_page,
    filemap_io::ReadAhead,
    gfp::GFP_HIGHUSER_MOVABLE,
    highmem::kmap_local,
    memory::zap_area_range,
    oom,
    page::{get_page, pg, put_page},
    page_lock::{lock_page, trylock_page, unlock_page, wait_on_page_writeback},
    page_writeback,
    shmem::ShmemRoom,
    swap::lru_cache_add,
    swap_state, swapfile,
    swapops::SwapEntry,
    vma::VmArea,
    vmstat::{self, Item},
};
use crate::sync::SpinLock;

/// How a file's pages count, and where they are when they are not in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// ramfs: file pages that are nowhere else.
    Ram,
    /// tmpfs, shared memory: `Shmem` pages; they may go to swap.
    Shmem,
    /// A file of a file system on a device.
    File,
    /// A device's own pages, which `Buffers` counts.
    BlockDevice,
}

/// What a file system on a device does for the pages of its files.
pub trait AddressSpaceOps: Send + Sync {
    /// Fills a locked page that is not up to date with page `index` of the file; what lies
    /// behind the file's end becomes zeros. The page is still locked when this returns, and
    /// the caller marks it up to date. May sleep. EIO.
    fn read_folio(&self, index: u32, page: &'static Page) -> Result<()>;

    /// Writes a locked page (its DIRTY already cleared, WRITEBACK set) to the device. May
    /// sleep. EIO, ENOSPC.
    fn writepage(&self, index: u32, page: &'static Page) -> Result<()>;

    /// Before a page is written or made writable: reserves what `writepage` will need, so
    /// that ENOSPC comes now, not later. May sleep.
    fn write_begin(&self, index: u32) -> Result<()> {
        let _ = index;
        Ok(())
    }
}

/// What the cache has at an index.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    Page(&'static Page),
    /// The page is in swap, or on its way.
    Swap(SwapEntry),
}

pub(super) struct Inner {
    pub slots: BTreeMap<u32, Slot>,
    pub size: u64,
    /// Indices of pages to be written to the device.
    pub dirty: BTreeSet<u32>,
    /// When the first of them became dirty.
    pub dirtied_when_ns: u64,
    /// A write that failed, until `fsync` has told it.
    pub error: Option<Errno>,
    pub readahead: ReadAhead,
}

/// An area that maps a file; it stays where it is until it takes itself out.
#[derive(Clone, Copy, PartialEq, Eq)]
struct AreaPtr(NonNull<VmArea>);

// SAFETY: followed only while the area is registered.
unsafe impl Send for AreaPtr {}

/// `address_space`: the pages and the size of an inode. It always lives in an `Arc`.
pub struct AddressSpace {
    backing: Backing,
    ops: Option<Arc<dyn AddressSpaceOps>>,
    /// What the pages of a tmpfs are counted by.
    room: Option<Arc<ShmemRoom>>,
    /// The areas that map it.
    i_mmap: SpinLock<Vec<AreaPtr>>,
    pub(super) inner: SpinLock<Inner>,
}

impl AddressSpace {
    /// An empty file in memory.
    pub fn new(backing: Backing) -> Self {
        Self::make(backing, None, None)
    }

    /// An empty file of a tmpfs.
    pub fn in_tmpfs(room: Option<Arc<ShmemRoom>>) -> Self {
        Self::make(Backing::Shmem, None, room)
    }

    /// The cache of a file that has its home on a device.
    pub fn with_ops(backing: Backing, ops: Arc<dyn AddressSpaceOps>) -> Self {
        Self::make(backing, Some(ops), None)
    }

    fn make(backing: Backing, ops: Option<Arc<dyn AddressSpaceOps>>, room: Option<Arc<ShmemRoom>>) -> Self {
        AddressSpace {
            backing,
            ops,
            room,
            i_mmap: SpinLock::new(Vec::new()),
            inner: SpinLock::new(Inner {
                slots: BTreeMap::new(),
                size: 0,
                dirty: BTreeSet::new(),
                dirtied_when_ns: 0,
                error: None,
                readahead: ReadAhead::default(),
            }),
        }
    }

    /// Where the pages are when they are not in memory.
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// The file system's part; `None` for files in memory.
    pub fn ops(&self) -> Option<&Arc<dyn AddressSpaceOps>> {
        self.ops.as_ref()
    }

    /// `i_size`.
    pub fn size(&self) -> u64 {
        self.inner.lock().size
    }

    /// Pages of the file that have contents: in memory or in swap.
    pub fn nr_pages(&self) -> u32 {
        self.inner.lock().slots.len() as u32
    }

    /// The page at an index, if it is in memory, with one user more. It may be locked, and
    /// not up to date.
    pub fn find_get_page(&self, index: u32) -> Option<&'static Page> {
        match self.inner.lock().slots.get(&index) {
            Some(Slot::Page(page)) => Some(get_page(page)),
            _ => None,
        }
    }

    /// The same, if it has its contents.
    pub fn find_uptodate(&self, index: u32) -> Option<&'static Page> {
        let page = self.find_get_page(index)?;
        if page.is(pg::UPTODATE) {
            return Some(page);
        }
        put_page(page);
        None
    }

    /// Whether the page at an index must be brought from somewhere, for which the caller
    /// must be able to wait.
    pub fn must_be_brought(&self, index: u32) -> bool {
        match self.inner.lock().slots.get(&index) {
            Some(Slot::Page(page)) => !page.is(pg::UPTODATE),
            Some(Slot::Swap(_)) => true,
            None => self.ops.is_some(),
        }
    }

    /// The page at an index of a file in memory, made if it is missing, with one user more.
    /// ENOSPC when the tmpfs is full, ENOMEM, EIO.
    pub fn grab_page(self: &Arc<Self>, index: u32) -> Result<&'static Page> {
        debug_assert!(self.ops.is_none());
        loop {
            match self.slot(index) {
                Some(Slot::Page(page)) => return Ok(page),
                Some(Slot::Swap(entry)) => self.shmem_swapin(index, entry)?,
                None => {
                    if self.room.as_ref().is_some_and(|room| !room.take()) {
                        return Err(ENOSPC);
                    }
                    let page = oom::retry(|| alloc_page(GFP_HIGHUSER_MOVABLE | Gfp::ZERO));
                    if let Some(page) = page {
                        page.set(pg::UPTODATE);
                        if self.add_page(index, page) {
                            return Ok(page);
                        }
                        put_page(page);
                    }
                    self.give_room();
                    page.ok_or(ENOMEM)?;
                }
            }
        }
    }

    /// A page of the file is gone.
    fn give_room(&self) {
        if let Some(room) = &self.room {
            room.give();
        }
    }

    /// What is at an index; a page with one user more.
    fn slot(&self, index: u32) -> Option<Slot> {
        let slot = self.inner.lock().slots.get(&index).copied();
        if let Some(Slot::Page(page)) = slot {
            get_page(page);
        }
        slot
    }

    /// `filemap_add_folio`: puts a page into the cache, which becomes one of its users.
    /// `false` if something is there.
    pub(super) fn add_page(self: &Arc<Self>, index: u32, page: &'static Page) -> bool {
        let mut inner = self.inner.lock();
        if inner.slots.contains_key(&index) {
            return false;
        }
        match self.backing {
            Backing::Shmem => page.set(pg::SWAPBACKED),
            // There is nowhere else to put it.
            Backing::Ram => page.set(pg::UNEVICTABLE),
            Backing::File | Backing::BlockDevice => {}
        }
        page.mapping.store(Arc::as_ptr(self) as u32, Relaxed);
        page.index.store(index, Relaxed);
        inner.slots.insert(index, Slot::Page(get_page(page)));
        drop(inner);
        self.account(1);
        lru_cache_add(page);
        true
    }

    /// Counts pages that came into the cache or left it.
    fn account(&self, delta: i32) {
        vmstat::add(Item::nr_file_pages, delta);
        match self.backing {
            Backing::Shmem => vmstat::add(Item::nr_shmem, delta),
            Backing::BlockDevice => vmstat::add(Item::nr_buffers, delta),
            Backing::Ram | Backing::File => {}
        }
    }

    /// Takes a locked page out of the cache, whose use of it ends; the caller has one.
    fn remove_page(&self, index: u32, page: &'static Page, instead: Option<Slot>) {
        page_writeback::cancel_dirty_page(self, page);
        let mut inner = self.inner.lock();
        match instead {
            Some(slot) => drop(inner.slots.insert(index, slot)),
            None => drop(inner.slots.remove(&index)),
        }
        drop(inner);
        self.account(-1);
        page.mapping.store(0, Relaxed);
        put_page(page);
    }

    /// A locked page is in another frame from now on, which has its data then. `false` if the
    /// page is not in the cache.
    pub fn replace_page(&self, old: &'static Page, new: &'static Page) -> bool {
        let mut inner = self.inner.lock();
        match inner.slots.get_mut(&old.index.load(Relaxed)) {
            Some(Slot::Page(there)) if core::ptr::eq(*there, old) => {
                *there = new;
                true
            }
            _ => false,
        }
    }

    /// `remove_mapping`: takes a clean, unmapped, locked page out of the cache, if nobody but
    /// the cache and the caller uses it.
    pub fn remove_unused(&self, page: &'static Page) -> bool {
        if page.count() != 2 || page.mapcount() != 0 || page.is(pg::DIRTY) || page.is(pg::WRITEBACK) {
            return false;
        }
        self.remove_page(page.index.load(Relaxed), page, None);
        true
    }

    /// The second half of `shmem_writepage`: the page leaves the file for the swap cache,
    /// which the caller has put it into. `false` if somebody else uses it.
    pub(super) fn move_to_swap(&self, page: &'static Page, entry: SwapEntry) -> bool {
        // The cache, the swap cache, and the caller.
        if page.count() != 3 || page.mapcount() != 0 {
            return false;
        }
        let index = page.index.load(Relaxed);
        swapfile::swap_duplicate(entry);
        self.remove_page(index, page, Some(Slot::Swap(entry)));
        page.set(pg::DIRTY);
        true
    }

    /// `shmem_swapin_folio`: brings a page of shared memory back. Another may have been
    /// faster.
    fn shmem_swapin(self: &Arc<Self>, index: u32, entry: SwapEntry) -> Result<()> {
        let page = match swap_state::swapin(entry) {
            // The slot became free: another has brought the page, or the file was cut off.
            Err(ENOENT) => return Ok(()),
            found => found?,
        };
        lock_page(page);
        wait_on_page_writeback(page);
        let mut inner = self.inner.lock();
        let still = matches!(inner.slots.get(&index), Some(Slot::Swap(there)) if *there == entry);
        if still && swap_state::is_cached_as(page, entry) {
            if !page.is(pg::UPTODATE) {
                drop(inner);
                unlock_page(page);
                put_page(page);
                return Err(EIO);
            }
            // The page's index in the swap cache is not kept there.
            inner.slots.insert(index, Slot::Page(get_page(page)));
            drop(inner);
            self.account(1);
            swap_state::delete_from_swap_cache(page);
            page.mapping.store(Arc::as_ptr(self) as u32, Relaxed);
            page.index.store(index, Relaxed);
            page.set(pg::DIRTY);
            swapfile::swap_free(entry);
        } else {
            drop(inner);
        }
        unlock_page(page);
        put_page(page);
        Ok(())
    }

    /// `shmem_unuse`: brings every page back that lies in a swap area.
    pub(super) fn unuse(self: &Arc<Self>, kind: u32) -> Result<()> {
        loop {
            let found = self.inner.lock().slots.iter().find_map(|(index, slot)| match slot {
                Slot::Swap(entry) if entry.kind() == kind => Some((*index, *entry)),
                _ => None,
            });
            match found {
                Some((index, entry)) => self.shmem_swapin(index, entry)?,
                None => return Ok(()),
            }
        }
    }

    /// An area maps the file. It must take itself out before it is freed or moved in memory.
    ///
    /// # Safety
    /// The area stays at this address until `remove_area`.
    pub unsafe fn insert_area(&self, area: NonNull<VmArea>) {
        self.i_mmap.lock().push(AreaPtr(area));
    }

    /// It does so no more.
    pub fn remove_area(&self, area: NonNull<VmArea>) {
        let mut areas = self.i_mmap.lock();
        if let Some(at) = areas.iter().position(|known| known.0 == area) {
            areas.swap_remove(at);
        }
    }

    /// Whether some area maps it.
    pub fn is_mapped(&self) -> bool {
        !self.i_mmap.lock().is_empty()
    }

    /// Calls `visit` with every area that maps the file, until it says so. `visit` must
    /// neither sleep nor change areas.
    pub fn for_each_area(&self, mut visit: impl FnMut(&VmArea) -> ControlFlow<()>) {
        for area in self.i_mmap.lock().iter() {
            // SAFETY: registered areas are alive.
            if visit(unsafe { area.0.as_ref() }).is_break() {
                return;
            }
        }
    }

    /// `unmap_mapping_range`: no process maps what lies at or behind page `index` any more,
    /// private copies included.
    fn unmap_from(&self, index: u32) {
        self.for_each_area(|area| {
            let skip = index.saturating_sub(area.record.pgoff);
            if skip < area.pages() {
                zap_area_range(area, area.record.start + (skip << PAGE_SHIFT), area.record.end);
            }
            ControlFlow::Continue(())
        });
    }

    /// Sets the size. Pages beyond it leave the cache and the page tables, and the rest of
    /// the last one is zeroed, so that a later growth reads zeros. EIO if that last page
    /// cannot be read: then nothing has changed.
    pub fn set_size(self: &Arc<Self>, size: u64) -> Result<()> {
        // First the size, so that no fault brings back what is unmapped here.
        let old = core::mem::replace(&mut self.inner.lock().size, size);
        if size < old {
            let keep = size.div_ceil(PAGE_SIZE.into()) as u32;
            if let Err(error) = self.zero_tail(size) {
                self.inner.lock().size = old;
                return Err(error);
            }
            self.unmap_from(keep);
            self.truncate_pages(keep);
            // A fault that was on its way may have mapped a page before it was cut off.
            self.unmap_from(keep);
        }
        Ok(())
    }

    /// The part of the last page behind a new, smaller size.
    fn zero_tail(self: &Arc<Self>, size: u64) -> Result<()> {
        let offset = size as u32 & (PAGE_SIZE - 1);
        if offset == 0 {
            return Ok(());
        }
        let Some(page) = self.page_for_reading((size >> PAGE_SHIFT) as u32)? else { return Ok(()) };
        lock_page(page);
        kmap_local(page).as_mut_slice()[offset as usize..].fill(0);
        page_writeback::set_page_dirty(page);
        unlock_page(page);
        put_page(page);
        Ok(())
    }

    /// `truncate_inode_pages`: everything from page `keep` on leaves the cache.
    fn truncate_pages(&self, keep: u32) {
        loop {
            let found = self.inner.lock().slots.range(keep..).next().map(|(index, slot)| (*index, *slot));
            match found {
                None => return,
                Some((index, Slot::Swap(entry))) => {
                    self.inner.lock().slots.remove(&index);
                    swapfile::free_swap_and_cache(entry);
                    self.give_room();
                }
                Some((index, Slot::Page(page))) => {
                    get_page(page);
                    lock_page(page);
                    wait_on_page_writeback(page);
                    if core::ptr::eq(page.mapping.load(Relaxed) as *const AddressSpace, self) {
                        super::rmap::unmap_page_everywhere(page);
                        self.remove_page(index, page, None);
                        self.give_room();
                    }
                    unlock_page(page);
                    put_page(page);
                }
            }
        }
    }
}

impl AddressSpace {
    /// `invalidate_mapping_pages`: drops the clean pages with indices `first..end` that
    /// nobody uses.
    pub fn drop_clean_pages(&self, first: u32, end: u32) {
        let mut at = first;
        while at < end && self.ops.is_some() {
            let found = {
                let inner = self.inner.lock();
                inner.slots.range(at..end).find_map(|(index, slot)| match slot {
                    Slot::Page(page) => Some((*index, get_page(page))),
                    Slot::Swap(_) => None,
                })
            };
            let Some((index, page)) = found else { return };
            if trylock_page(page) {
                self.remove_unused(page);
                unlock_page(page);
            }
            put_page(page);
            at = index.saturating_add(1);
        }
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        // Nobody maps the file and nobody waits for a page of it: that would keep it alive.
        let slots = core::mem::take(&mut self.inner.get_mut().slots);
        for (_, slot) in slots {
            self.give_room();
            match slot {
                Slot::Page(page) => {
                    page_writeback::cancel_dirty_page(self, page);
                    self.account(-1);
                    page.mapping.store(0, Relaxed);
                    put_page(page);
                }
                Slot::Swap(entry) => swapfile::free_swap_and_cache(entry),
            }
        }
    }
}
