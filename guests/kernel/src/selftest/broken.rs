//! Things that kernel code must not do: each ends in an oops that names it.
#![allow(unsafe_code)]

use crate::{
    mm::{
        __free_pages, alloc_page,
        gfp::{GFP_HIGHUSER, GFP_KERNEL},
        kmalloc::{kfree, kmalloc},
        pkmap::kmap,
        slab::kmem_cache_create,
    },
    sync::{SpinLock, preempt_disable},
    task::sched,
};

static LOCK: SpinLock<()> = SpinLock::new(());

/// Sleeps, or would if it had to, with a spin lock.
pub fn sleep_in_atomic() {
    let page = alloc_page(GFP_HIGHUSER).expect("a frame");
    let _guard = LOCK.lock();
    let _map = kmap(page);
}

/// Gives the CPU away where it said that it would not.
pub fn schedule_in_atomic() {
    let _atomic = preempt_disable();
    sched::schedule();
}

/// Frees a frame twice.
pub fn double_free_page() {
    let page = alloc_page(GFP_KERNEL).expect("a frame");
    __free_pages(page, 0);
    __free_pages(page, 0);
}

/// Bytes of the objects below.
const SIZE: u32 = 64;

/// Frees an object twice, with another one in between.
pub fn double_free() {
    let (a, b) = (kmalloc(SIZE, GFP_KERNEL), kmalloc(SIZE, GFP_KERNEL));
    // SAFETY: none for the last: that is the point.
    unsafe {
        kfree(a);
        kfree(b);
        kfree(a);
    }
}

/// Gives an object to a cache that it is not from.
pub fn foreign_free() {
    let cache = kmem_cache_create("selftest", SIZE, 4, 0, None).expect("a cache");
    let object = kmalloc(SIZE, GFP_KERNEL);
    // SAFETY: none: that is the point.
    unsafe { cache.free(object) };
}

/// Frees an address inside an object.
pub fn free_inside() {
    let object = kmalloc(SIZE, GFP_KERNEL);
    // SAFETY: none: that is the point.
    unsafe { kfree(object.add(8)) };
}

/// Writes to an object that it has freed, and then allocates as many as it takes to get it
/// again.
pub fn write_after_free() {
    let object = kmalloc(SIZE, GFP_KERNEL);
    // SAFETY: none for the write: that is the point.
    unsafe {
        kfree(object);
        object.add(20).write(0);
    }
    kmalloc(SIZE, GFP_KERNEL);
}

/// Writes a byte behind an object.
pub fn overrun() {
    let object = kmalloc(SIZE, GFP_KERNEL);
    // SAFETY: none for the write: that is the point.
    unsafe {
        object.add(SIZE as usize).write(0);
        kfree(object);
    }
}

/// Writes a byte before an object.
pub fn underrun() {
    let object = kmalloc(SIZE, GFP_KERNEL);
    // SAFETY: none for the write: that is the point.
    unsafe {
        object.sub(1).write(0);
        kfree(object);
    }
}
