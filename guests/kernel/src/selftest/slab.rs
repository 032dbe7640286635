//! Caches and `kmalloc`.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::errno::EBUSY;
use mm::slab::KMALLOC_SIZES;

use super::Random;
use crate::mm::{
    gfp::GFP_KERNEL,
    kmalloc::{ZERO_SIZE_PTR, kfree, kmalloc, krealloc, ksize, kzalloc},
    slab::{SLAB_HWCACHE_ALIGN, SLAB_RECLAIM_ACCOUNT, for_each_cache, kmem_cache_create},
};

/// See the module.
pub fn run() {
    constructed_objects_come_back_as_they_were();
    a_cache_with_objects_is_not_destroyed();
    every_class_of_kmalloc();
    krealloc_keeps_the_contents();
    a_storm_of_objects();
}

static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn construct(object: *mut u8) {
    CONSTRUCTED.fetch_add(1, Relaxed);
    // SAFETY: the object has 40 bytes.
    unsafe { object.write_bytes(0x11, 40) };
}

fn constructed_objects_come_back_as_they_were() {
    let cache = kmem_cache_create("selftest_ctor", 40, 4, SLAB_RECLAIM_ACCOUNT, Some(construct)).expect("a cache");
    let objects: Vec<*mut u8> = (0..300).map(|_| cache.alloc(GFP_KERNEL)).collect();
    for _ in 0..3 {
        for &object in &objects {
            // SAFETY: ours, of 40 bytes.
            let bytes = unsafe { core::slice::from_raw_parts(object, 40) };
            assert!(bytes.iter().all(|&byte| byte == 0x11), "a free object keeps what its constructor wrote");
        }
        // SAFETY: ours, and in the constructed state.
        objects.iter().for_each(|&object| unsafe { cache.free(object) });
        assert_eq!(cache.active_objs(), 0);
        let again: Vec<*mut u8> = (0..300).map(|_| cache.alloc(GFP_KERNEL)).collect();
        assert!(again.iter().all(|object| objects.contains(object)), "the freed ones are used again");
    }
    // SAFETY: as above.
    objects.iter().for_each(|&object| unsafe { cache.free(object) });
    let made = CONSTRUCTED.load(Relaxed);
    assert!((300..600).contains(&made), "{made} constructions: once an object, not once an allocation");
    assert_eq!(cache.destroy(), Ok(()));
}

fn a_cache_with_objects_is_not_destroyed() {
    const NAME: &str = "selftest_busy";
    let cache = kmem_cache_create(NAME, 33, 4, SLAB_HWCACHE_ALIGN, None).expect("a cache");
    let exists = || {
        let mut found = false;
        for_each_cache(|_, name| found |= name == NAME);
        found
    };
    let object = cache.alloc(GFP_KERNEL);
    assert!((object as u32).is_multiple_of(64), "33 bytes on a cache line of 64");
    assert_eq!(cache.destroy(), Err(EBUSY));
    assert!(exists());
    // SAFETY: ours.
    unsafe { cache.free(object) };
    cache.shrink();
    for_each_cache(|record, name| assert!(name != NAME || record.num_slabs == 0, "a shrunk cache has no empty slab"));
    assert_eq!(cache.destroy(), Ok(()));
    assert!(!exists());
}

fn every_class_of_kmalloc() {
    assert_eq!(kmalloc(0, GFP_KERNEL), ZERO_SIZE_PTR);
    // SAFETY: neither is an object.
    unsafe {
        kfree(ZERO_SIZE_PTR);
        kfree(core::ptr::null_mut());
    }
    assert!(kmalloc((4 << 20) + 1, GFP_KERNEL).is_null());
    for size in KMALLOC_SIZES {
        let object = kzalloc(size, GFP_KERNEL);
        if object.is_null() {
            // Small machines have no block as large to spare.
            assert!(size > 1 << 20, "no {size} bytes");
            continue;
        }
        // SAFETY: a fresh object.
        unsafe {
            assert_eq!(ksize(object), size);
            assert!(core::slice::from_raw_parts(object, size as usize).iter().all(|&byte| byte == 0));
            kfree(object);
        }
    }
}

fn krealloc_keeps_the_contents() {
    // SAFETY: only the newest pointer is used.
    unsafe {
        let mut object = krealloc(core::ptr::null_mut(), 10, GFP_KERNEL);
        (0..10).for_each(|n| object.add(n).write(n as u8));
        for size in [16, 17, 100, 5000, 9] {
            object = krealloc(object, size, GFP_KERNEL);
            (0..9).for_each(|n| assert_eq!(object.add(n).read(), n as u8, "byte {n} of {size}"));
        }
        assert_eq!(krealloc(object, 0, GFP_KERNEL), ZERO_SIZE_PTR);
    }
}

fn a_storm_of_objects() {
    let before = active();
    let mut held: Vec<(*mut u8, u32, u8)> = Vec::with_capacity(500);
    let mut random = Random(7);
    for n in 0..8000u32 {
        if held.len() == 500 || (!held.is_empty() && random.below(2) == 0) {
            let (object, size, mark) = held.swap_remove(random.below(held.len() as u32) as usize);
            // SAFETY: ours, of `size` bytes.
            unsafe {
                assert_eq!([object.read(), object.add(size as usize - 1).read()], [mark; 2], "{size} bytes");
                kfree(object);
            }
        } else {
            let largest = 8 << random.below(11);
            let size = 1 + random.below(largest);
            let object = kmalloc(size, GFP_KERNEL);
            assert!(!object.is_null());
            // SAFETY: fresh, of `size` bytes.
            unsafe { object.write_bytes(n as u8, size as usize) };
            held.push((object, size, n as u8));
        }
    }
    // SAFETY: ours.
    held.drain(..).for_each(|(object, ..)| unsafe { kfree(object) });
    drop(held);
    assert_eq!(active(), before, "objects of all caches before and after the storm");
}

/// Objects in use, of all caches.
fn active() -> u32 {
    let mut sum = 0;
    for_each_cache(|record, _| sum += record.active_objs);
    sum
}
