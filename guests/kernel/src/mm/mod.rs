//! Memory management.
//!
//! From the bottom: `memblock` → `page_alloc` → `slab`; `pgtable` → `memory`, `fault`
//! (`anon`, `filemap_fault`); one file for each verb of the mmap family. From a frame to the
//! tables that map it: `rmap`. What goes when memory is short: `vmscan`, by the lists of
//! `swap`; anonymous pages through `swap_state` to `swapfile`, files through
//! `page_writeback`. Pages of 4 MiB keep to themselves: `hugetlb`, `hugetlb_fault`.
//!
//! Locks, outermost first: a file system's own → `mmap_lock` → a page's lock
//! ([`page_lock`]) → spin locks: `i_mmap` and the members of an `AnonVma` → an address
//! space's pages → the swap cache → the swap areas → the lists → a file of huge pages → their
//! pool → the zones.

pub mod anon;
pub mod boot;
pub mod brk;
pub mod compaction;
pub mod drop_caches;
pub mod fault;
pub mod filemap;
mod filemap_fault;
pub mod filemap_io;
pub mod gfp;
pub mod highmem;
pub mod hugetlb;
mod hugetlb_fault;
pub mod kmalloc;
pub mod madvise;
pub mod memblock;
pub mod memory;
pub mod migrate;
pub mod mincore;
pub mod mlock;
mod mm_struct;
pub mod mmap;
pub mod mprotect;
pub mod mremap;
pub mod msync;
pub mod munmap;
mod nameless;
pub mod oom;
pub mod page;
pub mod page_alloc;
pub mod page_lock;
pub mod page_writeback;
mod pgd_list;
pub mod pgtable;
pub mod pkmap;
pub mod remap;
pub mod remote;
pub mod rmap;
pub mod shmem;
mod show_mem;
pub mod slab;
mod slab_debug;
pub mod swap;
pub mod swap_state;
pub mod swapfile;
pub mod swapops;
pub mod uaccess;
pub mod verify;
pub mod vma;
pub mod vmalloc;
pub mod vmscan;
pub mod vmstat;
mod watermark;
mod zone;

pub use gfp::Gfp;
pub use mm_struct::{MmGuard, MmRef, MmStruct};
pub use page::{Page, get_page, put_page};
pub use page_alloc::{__free_pages, alloc_page, alloc_pages};
pub use vma::{FileRef, MappedFile, VmArea};
pub use x86::{PAGE_SHIFT, PAGE_SIZE};

/// The space of vmalloc, the caches of address spaces and areas, and the frame of zeros.
pub fn init() {
    vmalloc::init();
    page_lock::init();
    anon::init();
    vma::init();
    mm_struct::init();
    hugetlb::init();
}

/// The threads of memory management, once there is a scheduler.
pub fn start_threads() {
    vmscan::start();
    page_writeback::start();
}
