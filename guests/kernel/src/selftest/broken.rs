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
    task::{self, sched},
};

static LOCK: SpinLock<()> = SpinLock::new(());

/// The last act of each of them: what comes before it is a call to return from, so that its frame is there for the
/// backtrace.
#[inline(always)]
fn stays() {
    core::hint::black_box(0u8);
}

/// Sleeps, or would if it had to, with a spin lock.
#[inline(never)]
pub fn sleep_in_atomic() {
    let page = alloc_page(GFP_HIGHUSER).expect("a frame");
    let _guard = LOCK.lock();
    let _map = kmap(page);
    stays();
}

/// Gives the CPU away where it said that it would not.
#[inline(never)]
pub fn schedule_in_atomic() {
    let _atomic = preempt_disable();
    sched::schedule();
    stays();
}

/// Leaves what a call that was too deep leaves, and nothing else of it, and gives the CPU away.
#[inline(never)]
pub fn stack_overflow() {
    // SAFETY: none: that is the point. The lowest word of a stack is there to be looked at.
    unsafe { (task::current().stack_base() as *mut u32).write_volatile(0) };
    sched::schedule();
    stays();
}

/// Frees a frame twice.
#[inline(never)]
pub fn double_free_page() {
    let page = alloc_page(GFP_KERNEL).expect("a frame");
    __free_pages(page, 0);
    __free_pages(page, 0);
    stays();
}

/// Bytes of the objects below.
const SIZE: u32 = 64;

/// Frees an object twice, with another one in between.
#[inline(never)]
pub fn double_free() {
    let (a, b) = (kmalloc(SIZE, GFP_KERNEL), kmalloc(SIZE, GFP_KERNEL));
    // SAFETY: none for the last: that is the point.
    unsafe {
        kfree(a);
        kfree(b);
        kfree(a);
    }
    stays();
}

/// Gives an object to a cache that it is not from.
#[inline(never)]
pub fn foreign_free() {
    let cache = kmem_cache_create("selftest", SIZE, 4, 0, None).expect("a cache");
    let object = kmalloc(SIZE, GFP_KERNEL);
    // SAFETY: none: that is the point.
    unsafe { cache.free(object) };
    stays();
}

/// Frees an address inside an object.
#[inline(never)]
pub fn free_inside() {
    let object = kmalloc(SIZE, GFP_KERNEL);
    // SAFETY: none: that is the point.
    unsafe { kfree(object.add(8)) };
    stays();
}

/// Writes to an object that it has freed, and then allocates as many as it takes to get it
/// again.
#[inline(never)]
pub fn write_after_free() {
    let object = kmalloc(SIZE, GFP_KERNEL);
    // SAFETY: none for the write: that is the point.
    unsafe {
        kfree(object);
        object.add(20).write(0);
    }
    kmalloc(SIZE, GFP_KERNEL);
    stays();
}

/// Writes a byte behind an object.
#[inline(never)]
pub fn overrun() {
    let object = kmalloc(SIZE, GFP_KERNEL);
    // SAFETY: none for the write: that is the point.
    unsafe {
        object.add(SIZE as usize).write(0);
        kfree(object);
    }
    stays();
}

/// Writes a byte before an object.
#[inline(never)]
pub fn underrun() {
    let object = kmalloc(SIZE, GFP_KERNEL);
    // SAFETY: none for the write: that is the point.
    unsafe {
        object.sub(1).write(0);
        kfree(object);
    }
    stays();
}
