//! Rust's collections in a module: `alloc` on `kmalloc`.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};

use crate::{GFP_KERNEL, sys};

struct KernelHeap;

#[global_allocator]
static HEAP: KernelHeap = KernelHeap;

/// Bytes to ask for: objects whose size is a power of two are aligned to it.
fn size_for(layout: Layout) -> u32 {
    let size = layout.size() as u32;
    if layout.align() <= 4 { size } else { size.max(layout.align() as u32).next_power_of_two() }
}

// SAFETY: `kmalloc` gives disjoint, aligned memory that stays until `kfree`.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size may be asked for.
        unsafe { sys::kmalloc(size_for(layout), GFP_KERNEL) }
    }

    unsafe fn dealloc(&self, object: *mut u8, _: Layout) {
        // SAFETY: by the caller.
        unsafe { sys::kfree(object) };
    }
}
