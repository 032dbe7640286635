//! Memory management.

pub mod fault;
pub mod gfp;
pub mod highmem;
pub mod init;
pub mod memblock;
pub mod page;
pub mod page_alloc;
pub mod slab;
pub mod uaccess;
mod watermark;

pub use gfp::Gfp;
pub use page::{Page, get_page, put_page};
pub use page_alloc::{__free_pages, alloc_page, alloc_pages};
pub use x86::{PAGE_SHIFT, PAGE_SIZE};
