//! Kernel stacks.

use abi::errno::{ENOMEM, Result};

use crate::{
    arch::THREAD_SIZE,
    mm::{
        Gfp,
        gfp::GFP_KERNEL,
        page_alloc::{free_pages, get_free_pages},
    },
};

/// log2 of the pages of a stack.
const THREAD_SIZE_ORDER: u8 = (THREAD_SIZE / crate::mm::PAGE_SIZE).trailing_zeros() as u8;

/// `THREAD_SIZE` bytes, aligned to their size.
pub struct KernelStack {
    base: u32,
    owned: bool,
}

impl KernelStack {
    /// A new stack.
    pub fn new() -> Result<Self> {
        let base = get_free_pages(GFP_KERNEL | Gfp::COMP, THREAD_SIZE_ORDER);
        if base == 0 { Err(ENOMEM) } else { Ok(KernelStack { base, owned: true }) }
    }

    /// The stack that boot runs on, which is never freed.
    pub fn boot(base: u32) -> Self {
        KernelStack { base, owned: false }
    }

    /// Lowest address.
    pub fn base(&self) -> u32 {
        self.base
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        if self.owned {
            // The thread that ran on it is gone.
            free_pages(self.base, THREAD_SIZE_ORDER);
        }
    }
}
