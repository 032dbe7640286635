//! Kernel stacks.
#![allow(unsafe_code)]

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

/// What lies in the lowest word of a stack, and is gone when the stack was too small.
const STACK_END_MAGIC: u32 = 0x57ac_6e9d;

/// `THREAD_SIZE` bytes, aligned to their size.
pub struct KernelStack {
    base: u32,
    owned: bool,
}

impl KernelStack {
    /// A new stack.
    pub fn new() -> Result<Self> {
        let base = get_free_pages(GFP_KERNEL | Gfp::COMP, THREAD_SIZE_ORDER);
        if base == 0 {
            return Err(ENOMEM);
        }
        if usage::is_wanted() {
            // SAFETY: the stack is nobody else's yet.
            unsafe { (base as *mut u8).write_bytes(0, THREAD_SIZE as usize) };
        }
        Ok(KernelStack { base, owned: true }.marked())
    }

    /// The stack that boot runs on, which is never freed.
    pub fn boot(base: u32) -> Self {
        KernelStack { base, owned: false }.marked()
    }

    /// `set_task_stack_end_magic`
    fn marked(self) -> Self {
        // SAFETY: the stack is nobody else's, and what runs on it is far above its end.
        unsafe { (self.base as *mut u32).write_volatile(STACK_END_MAGIC) };
        self
    }

    /// Whether whoever runs on it has not gone beyond its end (`task_stack_end_corrupted`).
    #[inline]
    pub fn end_is_whole(&self) -> bool {
        // SAFETY: the lowest word of the stack.
        unsafe { (self.base as *const u32).read_volatile() == STACK_END_MAGIC }
    }

    /// Lowest address.
    pub fn base(&self) -> u32 {
        self.base
    }
}

/// `debug_stack_usage`: how deep stacks have been, told when a task ends that went deeper than any before.
pub mod usage {
    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::{STACK_END_MAGIC, THREAD_SIZE};
    use crate::{lib::cmdline, pr_info, task};

    /// The least that a stack had left so far, in bytes; 0 if nobody wants to know.
    static LEAST_LEFT: AtomicU32 = AtomicU32::new(0);

    /// Reads the parameter. Stacks that are older are not looked at.
    pub fn init() {
        if cmdline::value_of("debug_stack_usage").is_some() {
            LEAST_LEFT.store(THREAD_SIZE, Relaxed);
        }
    }

    /// Whether new stacks are to be zeros.
    pub(super) fn is_wanted() -> bool {
        LEAST_LEFT.load(Relaxed) != 0
    }

    /// Called by a task that ends, with the lowest address of its stack (`check_stack_usage`).
    pub fn check(base: u32) {
        if !is_wanted() {
            return;
        }
        let words = (base..base + THREAD_SIZE).step_by(4);
        // SAFETY: words of the running task's own stack.
        let is_unused = |at: &u32| matches!(unsafe { (*at as *const u32).read_volatile() }, 0 | STACK_END_MAGIC);
        let left = words.take_while(is_unused).count() as u32 * 4;
        if left < LEAST_LEFT.load(Relaxed) {
            LEAST_LEFT.store(left, Relaxed);
            let task = task::running();
            pr_info!("{task} ({}) used greatest stack depth: {left} bytes left", task.pid);
        }
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
