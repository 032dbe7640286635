//! Memory management.
//!
//! From the bottom: `memblock` → `page_alloc` → `slab`; `pgtable` → `memory`, `fault`
//! (`anon`, `filemap_fault`); one file for each verb of the mmap family.

pub mod anon;
pub mod boot;
pub mod brk;
pub mod fault;
pub mod filemap;
mod filemap_fault;
pub mod gfp;
pub mod highmem;
pub mod madvise;
pub mod memblock;
pub mod memory;
pub mod mincore;
pub mod mlock;
mod mm_struct;
pub mod mmap;
pub mod mprotect;
pub mod mremap;
pub mod msync;
pub mod munmap;
pub mod oom;
pub mod page;
pub mod page_alloc;
pub mod pgtable;
pub mod remote;
pub mod shmem;
pub mod slab;
pub mod uaccess;
pub mod vma;
pub mod vmalloc;
pub mod vmstat;
mod watermark;

pub use gfp::Gfp;
pub use mm_struct::{MmGuard, MmRef, MmStruct};
pub use page::{Page, get_page, put_page};
pub use page_alloc::{__free_pages, alloc_page, alloc_pages};
pub use vma::{FileRef, MappedFile, VmArea};
pub use x86::{PAGE_SHIFT, PAGE_SIZE};

/// The space of vmalloc, the caches of address spaces and areas, and the frame of zeros.
pub fn init() {
    vmalloc::init();
    anon::init();
    vma::init();
    mm_struct::init();
}
