//! `kmalloc`: contiguous memory of the direct map, from caches of 8 bytes to 4 MiB; and
//! Rust's allocator on it.
#![allow(unsafe_code)]

use core::{
    alloc::{GlobalAlloc, Layout},
    sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed},
};

use mm::slab::{self as geometry, KMALLOC_NAMES, KMALLOC_SIZES};

use super::{
    Gfp,
    page::{pg, virt_to_page},
    slab::{CacheRef, KmemCache, SLAB_PANIC, kmem_cache_create},
    slab_debug,
};
use crate::arch::PAGE_OFFSET;

/// What a request for nothing gets: an address that is no null and maps nothing
/// (`ZERO_SIZE_PTR`).
pub const ZERO_SIZE_PTR: *mut u8 = 16 as *mut u8;

/// The caches by size; null before `init`.
static CACHES: [AtomicPtr<KmemCache>; KMALLOC_SIZES.len()] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; KMALLOC_SIZES.len()];

/// Makes the caches. `/proc/slabinfo` lists the newest first, so the smallest size is made
/// first.
pub fn init() {
    for (n, size) in KMALLOC_SIZES.into_iter().enumerate() {
        let align = geometry::kmalloc_align(size).min(8192);
        if let Some(cache) = kmem_cache_create(KMALLOC_NAMES[n], size, align, SLAB_PANIC, None) {
            CACHES[n].store(cache.0, Relaxed);
        }
    }
}

/// `kmalloc` with an alignment; null if there is no memory or the size is above 4 MiB.
pub fn kmalloc_aligned(size: u32, align: u32, gfp: Gfp) -> *mut u8 {
    let Some(n) = geometry::kmalloc_index(size, align) else { return core::ptr::null_mut() };
    let cache = CACHES[n].load(Relaxed);
    if cache.is_null() {
        return core::ptr::null_mut();
    }
    let object = CacheRef(cache).alloc(gfp);
    if gfp.contains(Gfp::ZERO) && !object.is_null() {
        // SAFETY: a fresh object of at least `size` bytes.
        unsafe { object.write_bytes(0, size as usize) };
    }
    object
}

/// `kmalloc`: at least `size` bytes; null if there is no memory or the size is above 4 MiB.
pub fn kmalloc(size: u32, gfp: Gfp) -> *mut u8 {
    if size == 0 { ZERO_SIZE_PTR } else { kmalloc_aligned(size, 1, gfp) }
}

/// `kzalloc`: the same, zeroed.
pub fn kzalloc(size: u32, gfp: Gfp) -> *mut u8 {
    kmalloc(size, gfp | Gfp::ZERO)
}

/// `ksize`: how many bytes an object of `kmalloc` really has.
///
/// # Safety
/// `object` came from `kmalloc` or a cache.
pub unsafe fn ksize(object: *const u8) -> u32 {
    if object <= ZERO_SIZE_PTR {
        return 0;
    }
    // SAFETY: by the caller, the page is a slab's and names its cache.
    unsafe { (*cache_of("ksize", object as u32).0).layout.object_size }
}

/// `krealloc`: the same contents in `size` bytes, in place if they have room there. Null
/// without memory, and the object stays; a size of 0 frees it.
///
/// # Safety
/// `object` is null or came from `kmalloc`; only the result may be used afterwards.
pub unsafe fn krealloc(object: *mut u8, size: u32, gfp: Gfp) -> *mut u8 {
    // SAFETY: by the caller.
    let room = unsafe { ksize(object) };
    if size != 0 && size <= room {
        return object;
    }
    let new = kmalloc(size, gfp);
    if !new.is_null() {
        // SAFETY: both have as many bytes; the old one is given up.
        unsafe {
            core::ptr::copy_nonoverlapping(object, new, room.min(size) as usize);
            kfree(object);
        }
    }
    new
}

fn cache_of(what: &str, object: u32) -> CacheRef {
    if object < PAGE_OFFSET || (object - PAGE_OFFSET) >> super::PAGE_SHIFT >= super::boot::max_low_pfn() {
        slab_debug::no_memory_of_ours(what, object);
    }
    let page = virt_to_page(object);
    if !page.is(pg::SLAB) {
        slab_debug::not_a_slab(what, page, object);
    }
    CacheRef(page.mapping.load(Relaxed) as *mut KmemCache)
}

/// `kfree`; null is ignored.
///
/// # Safety
/// `object` came from `kmalloc`, and nobody uses it any more.
pub unsafe fn kfree(object: *mut u8) {
    if object > ZERO_SIZE_PTR {
        // SAFETY: by the caller.
        unsafe { cache_of("kfree", object as u32).free(object) };
    }
}

/// For Rust's collections, which are changed under spin locks and by reclaim itself: never
/// sleeps, and takes the reserve, which is filled again before the return to ring 3.
const GFP_COLLECTIONS: Gfp = Gfp::HIGH.union(Gfp::KSWAPD_RECLAIM);

/// Rust's allocator.
struct KernelAllocator;

#[global_allocator]
static ALLOCATOR: KernelAllocator = KernelAllocator;

static FAILED: AtomicU32 = AtomicU32::new(0);

/// Allocations of Rust collections that found no memory.
pub fn failed_allocations() -> u32 {
    FAILED.load(Relaxed)
}

// SAFETY: `kmalloc` gives disjoint, aligned memory that stays until `kfree`.
unsafe impl GlobalAlloc for KernelAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let object = kmalloc_aligned(layout.size() as u32, layout.align() as u32, GFP_COLLECTIONS);
        if object.is_null() {
            FAILED.fetch_add(1, Relaxed);
        }
        object
    }

    unsafe fn dealloc(&self, object: *mut u8, _layout: Layout) {
        // SAFETY: by the caller.
        unsafe { kfree(object) };
    }

    unsafe fn realloc(&self, object: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the object is living.
        if new_size as u32 <= unsafe { ksize(object) } {
            return object;
        }
        // SAFETY: sizes and alignment are valid, as they were for `layout`.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                core::ptr::copy_nonoverlapping(object, new, layout.size());
                kfree(object);
            }
            new
        }
    }
}
