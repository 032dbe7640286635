//! A module that takes objects from `kmalloc` and from a cache of its own:
//! `insmod sample_kmalloc.ko objects=20`. `/proc/slabinfo` has the cache's row while it is
//! there. Other modules may ask how many bytes it holds (`sample_user`).
#![no_std]
#![allow(unsafe_code, clippy::missing_safety_doc)]

use core::{cell::UnsafeCell, ptr::null_mut};

use kmod::{
    GFP_KERNEL, KmemCache, SLAB_HWCACHE_ALIGN, errno, export_symbol, kfree, kmalloc, kmem_cache_alloc,
    kmem_cache_create, kmem_cache_destroy, kmem_cache_free, ksize, module, module_param, pr_info,
};

module! {
    name: "sample_kmalloc",
    license: "MIT OR Apache-2.0",
    description: "takes objects from kmalloc and from a cache of its own",
}

/// Objects of the cache: a parameter.
static mut OBJECTS: i32 = 10;
module_param!(OBJECTS, "objects", INT);

/// Sizes that are asked of `kmalloc`.
const SIZES: [u32; 4] = [24, 100, 1000, 5000];
/// Bytes of an object of the cache.
const OBJECT_SIZE: u32 = 72;
/// Most objects.
const MAX_OBJECTS: usize = 256;
/// What the constructor leaves in every byte.
const CONSTRUCTED: u8 = 0xc5;

struct State {
    blocks: [*mut u8; SIZES.len()],
    cache: *mut KmemCache,
    objects: [*mut u8; MAX_OBJECTS],
}

struct Shared(UnsafeCell<State>);

// SAFETY: only the first and the last function change it, and nothing runs beside them.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    blocks: [null_mut(); SIZES.len()],
    cache: null_mut(),
    objects: [null_mut(); MAX_OBJECTS],
}));

extern "C" fn construct(object: *mut u8) {
    // SAFETY: an object of the cache, which nobody uses yet.
    unsafe { object.write_bytes(CONSTRUCTED, OBJECT_SIZE as usize) };
}

#[unsafe(no_mangle)]
extern "C" fn init_module() -> i32 {
    // SAFETY: set by the loader, and not since.
    let wanted = unsafe { OBJECTS };
    if !(1..=MAX_OBJECTS as i32).contains(&wanted) {
        pr_info!("sample_kmalloc: objects is 1 to {MAX_OBJECTS}");
        return errno::EINVAL.to_ret();
    }
    // SAFETY: see `Shared`.
    let state = unsafe { &mut *STATE.0.get() };
    if !take(state, wanted as usize) {
        give_back(state);
        return errno::ENOMEM.to_ret();
    }
    pr_info!("sample_kmalloc: {} blocks and {wanted} objects, {} bytes", SIZES.len(), sample_kmalloc_bytes());
    0
}

fn take(state: &mut State, wanted: usize) -> bool {
    for (block, size) in state.blocks.iter_mut().zip(SIZES) {
        // SAFETY: any size may be asked for.
        *block = unsafe { kmalloc(size, GFP_KERNEL) };
        if block.is_null() {
            return false;
        }
        // SAFETY: as many bytes are ours.
        unsafe { block.write_bytes(0x6b, size as usize) };
    }
    let name = c"sample_kmalloc";
    // SAFETY: the name is copied, the constructor stays as long as the cache.
    state.cache =
        unsafe { kmem_cache_create(name.as_ptr().cast(), OBJECT_SIZE, 4, SLAB_HWCACHE_ALIGN, Some(construct)) };
    if state.cache.is_null() {
        return false;
    }
    for object in &mut state.objects[..wanted] {
        // SAFETY: our cache.
        *object = unsafe { kmem_cache_alloc(state.cache, GFP_KERNEL) };
        // SAFETY: a fresh object.
        if object.is_null() || unsafe { object.read() } != CONSTRUCTED {
            return false;
        }
    }
    true
}

fn give_back(state: &mut State) {
    for object in state.objects.iter_mut().filter(|object| !object.is_null()) {
        // SAFETY: ours, and used no more.
        unsafe { kmem_cache_free(state.cache, *object) };
        *object = null_mut();
    }
    for block in &mut state.blocks {
        // SAFETY: ours, and used no more.
        unsafe { kfree(*block) };
        *block = null_mut();
    }
    // SAFETY: all its objects have come back.
    unsafe { kmem_cache_destroy(state.cache) };
    state.cache = null_mut();
}

/// How many bytes the module holds.
#[unsafe(no_mangle)]
pub extern "C" fn sample_kmalloc_bytes() -> u32 {
    // SAFETY: see `Shared`; a user of the symbol keeps the module from going.
    let state = unsafe { &*STATE.0.get() };
    // SAFETY: living blocks.
    let blocks: u32 = state.blocks.iter().map(|&block| unsafe { ksize(block) }).sum();
    blocks + state.objects.iter().filter(|object| !object.is_null()).count() as u32 * OBJECT_SIZE
}
export_symbol!(sample_kmalloc_bytes);

#[unsafe(no_mangle)]
extern "C" fn cleanup_module() {
    // SAFETY: see `Shared`.
    give_back(unsafe { &mut *STATE.0.get() });
    pr_info!("sample_kmalloc: gave everything back");
}
