//! Kernel stacks.
#![allow(unsafe_code)]

use alloc::alloc::{Layout, alloc, dealloc};

use abi::errno::{ENOMEM, Result};

use crate::arch::THREAD_SIZE;

/// `THREAD_SIZE` bytes, aligned to their size.
pub struct KernelStack {
    base: u32,
    owned: bool,
}

const LAYOUT: Layout = match Layout::from_size_align(THREAD_SIZE as usize, THREAD_SIZE as usize) {
    Ok(layout) => layout,
    Err(_) => panic!("the size of a stack is a power of two"),
};

impl KernelStack {
    /// A new stack.
    pub fn new() -> Result<Self> {
        // SAFETY: the layout has a size.
        let base = unsafe { alloc(LAYOUT) } as usize as u32;
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
            // SAFETY: from `alloc` with this layout; the thread that ran on it is gone.
            unsafe { dealloc(self.base as usize as *mut u8, LAYOUT) };
        }
    }
}
