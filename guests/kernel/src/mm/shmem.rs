//! Memory that is shared without a file of any file system: `MAP_SHARED | MAP_ANONYMOUS`,
//! System V segments. To the books it is a deleted file on device 0:1.

use alloc::{
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    mem::offset_of,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use abi::{
    Ptr32,
    books::{DentryRecord, FileRecord, InodeRecord},
    errno::Result,
};

use super::{
    Page,
    filemap::{AddressSpace, Backing},
    swap_state::{add_to_swap, delete_from_swap_cache, entry_of},
    vma::{FileRef, MappedFile},
};
use crate::sync::SpinLock;

/// Deleted, and the name is whole.
const DENTRY_FLAGS: u32 = 3;
/// Minor number of the kernel's own tmpfs mount.
const SHM_MINOR: u32 = 1;

static NEXT_INO: AtomicU32 = AtomicU32::new(2);

/// A file that only its mappings keep alive. The records point at each other and at the
/// name, so it lives in one place.
pub struct ShmemFile {
    file: FileRecord,
    dentry: DentryRecord,
    inode: InodeRecord,
    name: String,
    mapping: Arc<AddressSpace>,
}

impl ShmemFile {
    /// A file of `size` bytes. `ino` 0 takes the next number.
    pub fn new(name: &str, size: u64, ino: u32) -> Arc<Self> {
        let mapping = Arc::new(AddressSpace::new(Backing::Shmem));
        mapping.inner.lock().size = size;
        let ino = if ino == 0 { NEXT_INO.fetch_add(1, Relaxed) } else { ino };
        let name = String::from(name);
        Arc::new_cyclic(|this| {
            let this: *const ShmemFile = this.as_ptr();
            let field = |offset: usize| (this as usize + offset) as u32;
            ShmemFile {
                file: FileRecord {
                    dentry: Ptr32::new(field(offset_of!(ShmemFile, dentry))),
                    inode: Ptr32::new(field(offset_of!(ShmemFile, inode))),
                },
                dentry: DentryRecord {
                    parent: Ptr32::NULL,
                    name: Ptr32::new(name.as_ptr() as u32),
                    name_len: name.len() as u32,
                    flags: DENTRY_FLAGS,
                },
                inode: InodeRecord { ino, major: 0, minor: SHM_MINOR },
                name,
                mapping,
            }
        })
    }

    /// The name, without ` (deleted)`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pages.
    pub fn mapping(&self) -> &Arc<AddressSpace> {
        &self.mapping
    }
}

impl MappedFile for ShmemFile {
    fn address_space(&self) -> Option<Arc<AddressSpace>> {
        Some(self.mapping.clone())
    }
    fn record(&self) -> Ptr32<FileRecord> {
        Ptr32::new((&raw const self.file) as u32)
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
/// ENOSPC.
pub fn unuse_all(kind: u32) -> Result<()> {
    let files: Vec<_> = SWAPLIST.lock().iter().filter_map(Weak::upgrade).collect();
    files.iter().try_for_each(|file| file.unuse(kind))
}

/// `shmem_zero_setup`: what a shared anonymous mapping of `size` bytes maps.
pub fn zero_setup(size: u32) -> FileRef {
    FileRef(ShmemFile::new("/dev/zero", size.into(), 0))
}
