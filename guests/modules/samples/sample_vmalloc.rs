//! A module that takes pages from `vmalloc`: `insmod sample_vmalloc.ko pages=32`.
//! `/proc/vmallocinfo` has a row for them, with the function that asked.
#![no_std]
#![allow(unsafe_code)]

use core::{
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};

use kmod::{PAGE_SIZE, errno, module, module_param, pr_info, vfree, vmalloc};

module! {
    name: "sample_vmalloc",
    license: "MIT OR Apache-2.0",
    description: "takes pages from vmalloc",
}

/// Pages: a parameter.
static mut PAGES: u32 = 16;
module_param!(PAGES, "pages", UINT);

/// Most pages.
const MAX_PAGES: u32 = 4096;

static MEMORY: AtomicPtr<u8> = AtomicPtr::new(null_mut());

#[unsafe(no_mangle)]
extern "C" fn init_module() -> i32 {
    // SAFETY: set by the loader, and not since.
    let pages = unsafe { PAGES };
    if !(1..=MAX_PAGES).contains(&pages) {
        pr_info!("sample_vmalloc: pages is 1 to {MAX_PAGES}");
        return errno::EINVAL.to_ret();
    }
    // SAFETY: any size may be asked for.
    let memory = unsafe { vmalloc(pages * PAGE_SIZE) };
    if memory.is_null() {
        return errno::ENOMEM.to_ret();
    }
    let mut sum = 0u32;
    for n in 0..pages {
        let word = memory.wrapping_add((n * PAGE_SIZE) as usize).cast::<u32>();
        // SAFETY: the first word of one of our pages.
        unsafe {
            word.write(n);
            sum += word.read();
        }
    }
    MEMORY.store(memory, Relaxed);
    pr_info!("sample_vmalloc: {pages} pages at {memory:p}, sum {sum}");
    0
}

#[unsafe(no_mangle)]
extern "C" fn cleanup_module() {
    // SAFETY: ours, and used no more.
    unsafe { vfree(MEMORY.swap(null_mut(), Relaxed)) };
    pr_info!("sample_vmalloc: gave everything back");
}
