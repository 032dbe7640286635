//! Memory that is shared without a file of any file system: `MAP_SHARED | MAP_ANONYMOUS`,
//! System V segments. To the books it is a deleted file on device 0:1.

use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::{Ptr32, books::FileRecord, errno::Result};

use super::{
    Page,
    filemap::{AddressSpace, Backing},
    nameless::Nameless,
    page_alloc::totals,
    swap_state::{add_to_swap, delete_from_swap_cache, entry_of},
    vma::{FileRef, MappedFile},
};
use crate::sync::SpinLock;

/// Minor number of the kernel's own tmpfs mount.
const SHM_MINOR: u32 = 1;

static NEXT_INO: AtomicU32 = AtomicU32::new(2);

/// `shmem_sb_info`: how many pages the files of a tmpfs may have, in memory and in swap.
pub struct ShmemRoom {
    max: u32,
    used: AtomicU32,
}

impl ShmemRoom {
    /// Room for half of the memory, which is what Linux gives a tmpfs by default.
    pub fn usual() -> Arc<Self> {
        Arc::new(ShmemRoom { max: totals().managed / 2, used: AtomicU32::new(0) })
    }

    /// Takes room for a page; `false` if it is full.
    pub fn take(&self) -> bool {
        let is_full = self.used.load(Relaxed) >= self.max;
        if !is_full {
            self.used.fetch_add(1, Relaxed);
        }
        !is_full
    }

    /// Gives the room of a page back.
    pub fn give(&self) {
        self.used.fetch_sub(1, Relaxed);
    }

    /// Pages that it has room for at all, and that are left.
    pub fn blocks(&self) -> (u32, u32) {
        (self.max, self.max - self.used.load(Relaxed))
    }
}

/// A file of shared memory.
pub type ShmemFile = Nameless<Arc<AddressSpace>>;

impl ShmemFile {
    /// A file of `size` bytes. `ino` 0 takes the next number.
    pub fn new(name: &str, size: u64, ino: u32) -> Arc<Self> {
        let mapping = Arc::new(AddressSpace::new(Backing::Shmem));
        mapping.inner.lock().size = size;
        let ino = if ino == 0 { NEXT_INO.fetch_add(1, Relaxed) } else { ino };
        Self::with_contents(name, SHM_MINOR, ino, mapping)
    }

    /// The pages.
    pub fn mapping(&self) -> &Arc<AddressSpace> {
        self.contents()
    }
}

impl MappedFile for ShmemFile {
    fn address_space(&self) -> Option<Arc<AddressSpace>> {
        Some(self.contents().clone())
    }
    fn record(&self) -> Ptr32<FileRecord> {
        self.record()
    }
    fn readable(&self) -> bool {
        true
    }
    fn writable(&self) -> bool {
        true
    }
}

/// Files of shared memory that have had a page in swap, for `swapoff`.
static SWAPLIST: SpinLock<Vec<Weak<AddressSpace>>> = SpinLock::new(Vec::new());

/// `shmem_writepage`: a locked page that no table maps leaves its file for the swap cache.
/// `false` when swap is full or somebody uses the page.
pub fn shmem_writepage(mapping: &Arc<AddressSpace>, page: &'static Page) -> bool {
    if !add_to_swap(page) {
        return false;
    }
    if !mapping.move_to_swap(page, entry_of(page)) {
        delete_from_swap_cache(page);
        return false;
    }
    let mut list = SWAPLIST.lock();
    if !list.iter().any(|known| core::ptr::eq(known.as_ptr(), Arc::as_ptr(mapping))) {
        list.retain(|known| known.strong_count() > 0);
        list.push(Arc::downgrade(mapping));
    }
    true
}

/// `shmem_unuse`: all files of shared memory take back what they have in a swap area. EIO,
/// ENOMEM.
pub fn unuse_all(kind: u32) -> Result<()> {
    let files: Vec<_> = SWAPLIST.lock().iter().filter_map(Weak::upgrade).collect();
    files.iter().try_for_each(|file| file.unuse(kind))
}

/// `shmem_zero_setup`: what a shared anonymous mapping of `size` bytes maps.
pub fn zero_setup(size: u32) -> FileRef {
    FileRef(ShmemFile::new("/dev/zero", size.into(), 0))
}
