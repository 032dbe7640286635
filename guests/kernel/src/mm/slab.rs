//! Caches of equal objects, `kmalloc` on top of them, and Rust's allocator on `kmalloc`.
#![allow(unsafe_code)]

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use abi::{
    Ptr32,
    books::KmemCacheRecord,
    errno::{EBUSY, Result},
};
use mm::slab::{self as geometry, KMALLOC_NAMES, KMALLOC_SIZES};

use super::{
    Gfp, PAGE_SHIFT, Page,
    gfp::GFP_KERNEL,
    page::{pfn_to_page, pg, virt_to_page},
    page_alloc::{__free_pages, alloc_pages},
};
use crate::{arch::PAGE_OFFSET, lib::books, sync::SpinLock};

/// Start objects on cache lines.
pub const SLAB_HWCACHE_ALIGN: u32 = 0x2000;
/// Stop on a failed allocation.
pub const SLAB_PANIC: u32 = 0x4_0000;

/// Called on every object when its slab is made; objects are freed in that state again.
pub type Constructor = fn(*mut u8);

/// Empty slabs that a cache keeps.
const MIN_PARTIAL: u32 = 5;
/// No frame: the end of the list of partial slabs.
const NO_SLAB: u32 = !0;

/// `struct kmem_cache`.
#[repr(C)]
pub struct KmemCache {
    record: KmemCacheRecord,
    order: u8,
    ctor: Option<Constructor>,
    /// Slabs with free objects: frame of the first; links in `lru`.
    partial: u32,
    /// Slabs on that list without any used object.
    empty: u32,
}

/// A cache that lives for ever. The lock is that of all caches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CacheRef(*mut KmemCache);

// SAFETY: the cache is only touched under `CHAIN`.
unsafe impl Send for CacheRef {}
// SAFETY: as above.
unsafe impl Sync for CacheRef {}

struct Chain {
    first: Ptr32<KmemCacheRecord>,
    kmalloc: [Option<CacheRef>; KMALLOC_SIZES.len()],
    caches: Option<CacheRef>,
}

/// All caches, newest first.
static CHAIN: SpinLock<Chain> =
    SpinLock::new(Chain { first: Ptr32::NULL, kmalloc: [None; KMALLOC_SIZES.len()], caches: None });

struct BootCache(UnsafeCell<KmemCache>);
// SAFETY: only reached through its `CacheRef`.
unsafe impl Sync for BootCache {}

/// The cache of caches.
static BOOT_CACHE: BootCache = BootCache(UnsafeCell::new(KmemCache::EMPTY));

impl KmemCache {
    const EMPTY: KmemCache = KmemCache {
        record: KmemCacheRecord {
            next: Ptr32::NULL,
            name: Ptr32::NULL,
            name_len: 0,
            active_objs: 0,
            num_objs: 0,
            objsize: 0,
            objperslab: 0,
            pagesperslab: 0,
            limit: 0,
            batchcount: 0,
            shared: 0,
            active_slabs: 0,
            num_slabs: 0,
            sharedavail: 0,
        },
        order: 0,
        ctor: None,
        partial: NO_SLAB,
        empty: 0,
    };

    fn new(name: &'static str, size: u32, align: u32, flags: u32, ctor: Option<Constructor>) -> Self {
        let align = if flags & SLAB_HWCACHE_ALIGN != 0 { align.max(geometry::hwcache_align(size)) } else { align };
        // A constructed object must survive on the free list: its link stands behind it.
        let size = if ctor.is_some() { size.next_multiple_of(4) + 4 } else { size };
        let layout = geometry::layout(size, align, 1);
        let mut cache = KmemCache { order: layout.order, ctor, ..KmemCache::EMPTY };
        cache.record.name = Ptr32::new(name.as_ptr() as u32);
        cache.record.name_len = name.len() as u32;
        cache.record.objsize = layout.size;
        cache.record.objperslab = layout.objects;
        cache.record.pagesperslab = 1 << layout.order;
        cache
    }

    /// Where a free object keeps the address of the next.
    fn link(&self, object: u32) -> *mut u32 {
        let offset = if self.ctor.is_some() { self.record.objsize - 4 } else { 0 };
        (object + offset) as *mut u32
    }

    fn name(&self) -> &'static str {
        // SAFETY: made from a `&'static str` in `new`.
        unsafe {
            let bytes = core::slice::from_raw_parts(self.record.name.0 as *const u8, self.record.name_len as usize);
            core::str::from_utf8_unchecked(bytes)
        }
    }

    fn push_partial(&mut self, page: &Page) {
        let pfn = page.pfn();
        page.lru[0].store(NO_SLAB, Relaxed);
        page.lru[1].store(self.partial, Relaxed);
        if self.partial != NO_SLAB {
            pfn_to_page(self.partial).lru[0].store(pfn, Relaxed);
        }
        self.partial = pfn;
    }

    fn unlink_partial(&mut self, page: &Page) {
        let [prev, next] = [page.lru[0].load(Relaxed), page.lru[1].load(Relaxed)];
        match prev {
            NO_SLAB => self.partial = next,
            prev => pfn_to_page(prev).lru[1].store(next, Relaxed),
        }
        if next != NO_SLAB {
            pfn_to_page(next).lru[0].store(prev, Relaxed);
        }
    }

    /// Turns a fresh block into a slab with all objects free, in ascending order.
    fn add_slab(&mut self, page: &'static Page, this: u32) {
        let base = page.address().expect("slabs lie in the direct map");
        for pfn in page.pfn()..page.pfn() + (1 << self.order) {
            let page = pfn_to_page(pfn);
            page.set(pg::SLAB);
            page.mapping.store(this, Relaxed);
        }
        let mut next = 0;
        for n in (0..self.record.objperslab).rev() {
            let object = base + n * self.record.objsize;
            if let Some(ctor) = self.ctor {
                ctor(object as *mut u8);
            }
            // SAFETY: inside the new slab.
            unsafe { self.link(object).write(next) };
            next = object;
        }
        page.index.store(next, Relaxed);
        page.private.store(0, Relaxed);
        self.push_partial(page);
        self.empty += 1;
        self.record.num_slabs += 1;
        self.record.num_objs += self.record.objperslab;
    }

    /// Takes a free object, if a slab has one.
    fn take(&mut self) -> Option<u32> {
        if self.partial == NO_SLAB {
            return None;
        }
        let page = pfn_to_page(self.partial);
        let object = page.index.load(Relaxed);
        // SAFETY: a free object of the slab.
        let next = unsafe { self.link(object).read() };
        page.index.store(next, Relaxed);
        if page.private.fetch_add(1, Relaxed) == 0 {
            self.empty -= 1;
            self.record.active_slabs += 1;
        }
        if next == 0 {
            self.unlink_partial(page);
        }
        self.record.active_objs += 1;
        Some(object)
    }

    /// Takes an object back. Returns the slab if it should leave the cache.
    fn give(&mut self, page: &'static Page, object: u32) -> Option<&'static Page> {
        let base = page.address().expect("slabs lie in the direct map");
        let first = page.index.load(Relaxed);
        assert!(
            (object - base).is_multiple_of(self.record.objsize) && page.private.load(Relaxed) != 0 && first != object,
            "kfree: bad or double free of {object:#x} in {}",
            self.name()
        );
        // SAFETY: an object of this slab that its user has given up.
        unsafe { self.link(object).write(first) };
        page.index.store(object, Relaxed);
        self.record.active_objs -= 1;
        if first == 0 {
            self.push_partial(page);
        }
        if page.private.fetch_sub(1, Relaxed) > 1 {
            return None;
        }
        self.record.active_slabs -= 1;
        self.empty += 1;
        (self.empty > MIN_PARTIAL || self.order > 3).then(|| self.remove_slab(page))
    }

    fn remove_slab(&mut self, page: &'static Page) -> &'static Page {
        self.unlink_partial(page);
        self.empty -= 1;
        self.record.num_slabs -= 1;
        self.record.num_objs -= self.record.objperslab;
        page
    }

    /// An empty slab, taken out of the cache.
    fn pop_empty(&mut self) -> Option<&'static Page> {
        let mut at = self.partial;
        while self.empty > 0 && at != NO_SLAB {
            let page = pfn_to_page(at);
            if page.private.load(Relaxed) == 0 {
                return Some(self.remove_slab(page));
            }
            at = page.lru[1].load(Relaxed);
        }
        None
    }
}

fn free_slab(page: &'static Page, order: u8) {
    for pfn in page.pfn()..page.pfn() + (1 << order) {
        let page = pfn_to_page(pfn);
        page.clear(pg::SLAB);
        page.mapping.store(0, Relaxed);
    }
    __free_pages(page, order);
}

impl CacheRef {
    /// # Safety
    /// Under `CHAIN`.
    #[allow(clippy::mut_from_ref)]
    unsafe fn get(&self) -> &mut KmemCache {
        // SAFETY: caches live until destroyed; the lock gives one user at a time.
        unsafe { &mut *self.0 }
    }

    /// `kmem_cache_alloc`: an object, uninitialised or as its constructor left it; null if
    /// there is no memory.
    pub fn alloc(self, gfp: Gfp) -> *mut u8 {
        loop {
            let order = {
                let _chain = CHAIN.lock_irqsave();
                // SAFETY: under the lock.
                let cache = unsafe { self.get() };
                if let Some(object) = cache.take() {
                    return object as *mut u8;
                }
                cache.order
            };
            let Some(page) = alloc_pages(gfp & !(Gfp::HIGHMEM | Gfp::ZERO | Gfp::MOVABLE), order) else {
                return core::ptr::null_mut();
            };
            let _chain = CHAIN.lock_irqsave();
            // SAFETY: under the lock.
            unsafe { self.get() }.add_slab(page, self.0 as u32);
        }
    }

    /// `kmem_cache_free`.
    ///
    /// # Safety
    /// `object` came from this cache, and nobody uses it any more.
    pub unsafe fn free(self, object: *mut u8) {
        let addr = object as u32;
        let leaving = {
            let _chain = CHAIN.lock_irqsave();
            // SAFETY: under the lock.
            let cache = unsafe { self.get() };
            let page = slab_head(addr, cache.order);
            assert!(
                page.is(pg::SLAB) && page.mapping.load(Relaxed) == self.0 as u32,
                "kmem_cache_free: {addr:#x} does not belong to {}",
                cache.name()
            );
            cache.give(page, addr).map(|page| (page, cache.order))
        };
        if let Some((page, order)) = leaving {
            free_slab(page, order);
        }
    }

    /// `kmem_cache_destroy`: EBUSY while objects live.
    pub fn destroy(self) -> Result<()> {
        let mut chain = CHAIN.lock_irqsave();
        // SAFETY: under the lock.
        let cache = unsafe { self.get() };
        if cache.record.active_objs != 0 {
            return Err(EBUSY);
        }
        while let Some(page) = cache.pop_empty() {
            free_slab(page, cache.order);
        }
        let (this, next) = (Ptr32::new(self.0 as u32), cache.record.next);
        if chain.first == this {
            chain.first = next;
            books::update(|books| books.caches = next);
        } else {
            let mut at = chain.first;
            while !at.is_null() {
                // SAFETY: every record on the list begins a living cache.
                let record = unsafe { &mut *(at.0 as *mut KmemCacheRecord) };
                if record.next == this {
                    record.next = next;
                    break;
                }
                at = record.next;
            }
        }
        let caches = chain.caches.expect("slab::init has run");
        drop(chain);
        // SAFETY: it came from there, and nothing on the list names it any more.
        unsafe { caches.free(self.0.cast()) };
        Ok(())
    }
}

/// The first page of the slab that holds an address.
fn slab_head(addr: u32, order: u8) -> &'static Page {
    let pfn = (addr - PAGE_OFFSET) >> PAGE_SHIFT;
    pfn_to_page(pfn & !((1 << order) - 1))
}

/// `kmem_cache_create`.
pub fn kmem_cache_create(
    name: &'static str,
    size: u32,
    align: u32,
    flags: u32,
    ctor: Option<Constructor>,
) -> Option<CacheRef> {
    let caches = CHAIN.lock_irqsave().caches.expect("slab::init has run");
    let at = caches.alloc(GFP_KERNEL).cast::<KmemCache>();
    if at.is_null() {
        assert!(flags & SLAB_PANIC == 0, "cannot create the cache {name}");
        return None;
    }
    // SAFETY: a fresh object of the right size.
    unsafe { at.write(KmemCache::new(name, size, align, flags, ctor)) };
    Some(link(CacheRef(at)))
}

/// A cache for objects of one type.
pub fn kmem_cache_of<T>(name: &'static str) -> CacheRef {
    kmem_cache_create(name, size_of::<T>() as u32, align_of::<T>() as u32, SLAB_HWCACHE_ALIGN | SLAB_PANIC, None)
        .expect("SLAB_PANIC")
}

fn link(cache: CacheRef) -> CacheRef {
    let mut chain = CHAIN.lock_irqsave();
    // SAFETY: under the lock.
    unsafe { cache.get() }.record.next = chain.first;
    chain.first = Ptr32::new(cache.0 as u32);
    books::update(|books| books.caches = chain.first);
    cache
}

/// Makes the cache of caches and the `kmalloc` caches. `/proc/slabinfo` lists the newest
/// first, so the smallest size is made first.
pub fn init() {
    let boot = CacheRef(BOOT_CACHE.0.get());
    // SAFETY: nobody else knows it yet.
    unsafe { *boot.0 = KmemCache::new("kmem_cache", size_of::<KmemCache>() as u32, 4, SLAB_HWCACHE_ALIGN, None) };
    link(boot);
    CHAIN.lock_irqsave().caches = Some(boot);
    for (n, size) in KMALLOC_SIZES.into_iter().enumerate() {
        let align = geometry::kmalloc_align(size).min(4096);
        let cache = kmem_cache_create(KMALLOC_NAMES[n], size, align, SLAB_PANIC, None);
        CHAIN.lock_irqsave().kmalloc[n] = cache;
    }
}

/// Gives all empty slabs back, when memory is short.
pub fn shrink_all() {
    loop {
        let found = {
            let chain = CHAIN.lock_irqsave();
            let mut at = chain.first;
            let mut found = None;
            while !at.is_null() && found.is_none() {
                // SAFETY: every record on the list begins a living cache; the lock is held.
                let cache = unsafe { &mut *(at.0 as *mut KmemCache) };
                found = cache.pop_empty().map(|page| (page, cache.order));
                at = cache.record.next;
            }
            found
        };
        match found {
            Some((page, order)) => free_slab(page, order),
            None => return,
        }
    }
}

/// The first cache of `/proc/slabinfo`, and the lock of all of them.
pub fn books() -> (Ptr32<KmemCacheRecord>, Ptr32<u8>) {
    (CHAIN.lock_irqsave().first, CHAIN.flag())
}

/// Calls `visit` with each cache's record and name, while nothing changes.
pub fn for_each_cache(mut visit: impl FnMut(&KmemCacheRecord, &'static str)) {
    let chain = CHAIN.lock_irqsave();
    let mut at = chain.first;
    while !at.is_null() {
        // SAFETY: every record on the list begins a living cache; the lock is held.
        let cache = unsafe { &*(at.0 as *const KmemCache) };
        visit(&cache.record, cache.name());
        at = cache.record.next;
    }
}

/// Pages of all slabs.
pub fn slab_pages() -> u32 {
    let mut pages = 0;
    for_each_cache(|record, _| pages += record.num_slabs * record.pagesperslab);
    pages
}

/// `kmalloc` with an alignment: contiguous memory of the direct map; null if there is none
/// or the size is above 4 MiB.
pub fn kmalloc_aligned(size: u32, align: u32, gfp: Gfp) -> *mut u8 {
    let Some(n) = geometry::kmalloc_index(size, align) else { return core::ptr::null_mut() };
    let cache = CHAIN.lock_irqsave().kmalloc[n];
    let object = match cache {
        Some(cache) => cache.alloc(gfp),
        None => return core::ptr::null_mut(),
    };
    if gfp.contains(Gfp::ZERO) && !object.is_null() {
        // SAFETY: a fresh object of at least `size` bytes.
        unsafe { object.write_bytes(0, size as usize) };
    }
    object
}

/// `kmalloc`.
pub fn kmalloc(size: u32, gfp: Gfp) -> *mut u8 {
    kmalloc_aligned(size, 1, gfp)
}

/// `ksize`: how many bytes an object of `kmalloc` really has.
///
/// # Safety
/// `object` came from `kmalloc` or a cache.
pub unsafe fn ksize(object: *mut u8) -> u32 {
    // SAFETY: by the caller, the page is a slab's and names its cache.
    unsafe { (*cache_of(object).0).record.objsize }
}

fn cache_of(object: *mut u8) -> CacheRef {
    let page = virt_to_page(object as u32);
    assert!(page.is(pg::SLAB), "kfree: {object:p} is no slab object");
    CacheRef(page.mapping.load(Relaxed) as *mut KmemCache)
}

/// `kfree`; null is ignored.
///
/// # Safety
/// `object` came from `kmalloc`, and nobody uses it any more.
pub unsafe fn kfree(object: *mut u8) {
    if !object.is_null() {
        // SAFETY: by the caller.
        unsafe { cache_of(object).free(object) };
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
