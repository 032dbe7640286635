//! Caches of equal objects.
//!
//! A slab is a block of frames that is cut into objects; those that are free form a list in
//! it. In front of the slabs each cache has an array of free objects of this CPU, which
//! serves most requests. With `slab_debug`, objects are watched instead (`slab_debug.rs`).
#![allow(unsafe_code)]

use core::{cell::UnsafeCell, sync::atomic::Ordering::Relaxed};

use abi::{
    Ptr32,
    books::KmemCacheRecord,
    errno::{EBUSY, Result},
};
use mm::slab::{self as geometry, ObjectLayout};

use super::{
    Gfp, PAGE_SHIFT, Page,
    gfp::GFP_KERNEL,
    kmalloc,
    page::{pfn_to_page, pg},
    page_alloc::{__free_pages, alloc_pages},
    slab_debug,
};
use crate::{
    arch::{PAGE_OFFSET, cpu},
    lib::{books, kallsyms},
    pr_info,
    sync::SpinLock,
};

/// Start objects on cache lines.
pub const SLAB_HWCACHE_ALIGN: u32 = 0x2000;
/// Objects can be given up when memory is short.
pub const SLAB_RECLAIM_ACCOUNT: u32 = 0x2_0000;
/// Stop on a failed creation.
pub const SLAB_PANIC: u32 = 0x4_0000;

/// Called on every object when its slab is made; objects are freed in that state again.
pub type Constructor = extern "C" fn(*mut u8);

/// Empty slabs that a cache keeps.
const MIN_PARTIAL: u32 = 5;
/// No frame: the end of the list of partial slabs.
const NO_SLAB: u32 = !0;
/// Largest objects that `slab_debug` watches.
const LARGEST_WATCHED: u32 = 8192;
/// What the second word of a free object holds, mixed with its address.
const FREE_KEY: u32 = 0x6fee_0b1d;
/// Room of a CPU's array.
const CPU_ARRAY: usize = 120;

/// `struct kmem_cache`.
#[repr(C)]
pub struct KmemCache {
    pub(super) record: KmemCacheRecord,
    pub(super) layout: ObjectLayout,
    pub(super) flags: u32,
    pub(super) order: u8,
    pub(super) ctor: Option<Constructor>,
    /// Slabs with free objects: frame of the first; links in `lru`.
    partial: u32,
    /// Slabs on that list without any used object.
    empty: u32,
    /// Free objects of this CPU, the newest last.
    array_len: u32,
    array: [u32; CPU_ARRAY],
}

/// A cache. The lock is that of all caches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CacheRef(pub(super) *mut KmemCache);

// SAFETY: the cache is only touched under `CHAIN`.
unsafe impl Send for CacheRef {}
// SAFETY: as above.
unsafe impl Sync for CacheRef {}

struct Chain {
    first: Ptr32<KmemCacheRecord>,
    caches: Option<CacheRef>,
}

/// All caches, newest first.
static CHAIN: SpinLock<Chain> = SpinLock::new(Chain { first: Ptr32::NULL, caches: None });

struct BootCache(UnsafeCell<KmemCache>);
// SAFETY: only reached through its `CacheRef`.
unsafe impl Sync for BootCache {}

/// The cache of caches.
static BOOT_CACHE: BootCache = BootCache(UnsafeCell::new(KmemCache::EMPTY));

/// Slabs that leave their cache, linked by `lru`, to be freed without the lock.
struct Leaving {
    first: u32,
    order: u8,
}

impl Leaving {
    fn add(&mut self, page: &'static Page) {
        page.lru[1].store(self.first, Relaxed);
        self.first = page.pfn();
    }

    fn free(self) {
        let mut at = self.first;
        while at != NO_SLAB {
            let page = pfn_to_page(at);
            at = page.lru[1].load(Relaxed);
            free_slab(page, self.order);
        }
    }
}

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
        layout: ObjectLayout { red_left: 0, object_size: 0, inuse: 0, link: 0, track: 0, end: 0, size: 0 },
        flags: 0,
        order: 0,
        ctor: None,
        partial: NO_SLAB,
        empty: 0,
        array_len: 0,
        array: [0; CPU_ARRAY],
    };

    fn new(name: &'static str, size: u32, align: u32, flags: u32, ctor: Option<Constructor>) -> Self {
        // Whole blocks of frames are not watched: there is no room around them.
        let flags = if size <= LARGEST_WATCHED { flags | slab_debug::flags_of(name) } else { flags };
        let align = if flags & SLAB_HWCACHE_ALIGN != 0 { align.max(geometry::hwcache_align(size)) } else { align };
        let layout = geometry::object_layout(size, align, flags, ctor.is_some());
        let slab = geometry::layout(layout.size, align, 1);
        let mut cache = KmemCache { layout, flags, order: slab.order, ctor, ..KmemCache::EMPTY };
        let record = &mut cache.record;
        (record.name, record.name_len) = (Ptr32::new(name.as_ptr() as u32), name.len() as u32);
        (record.objsize, record.objperslab, record.pagesperslab) = (slab.size, slab.objects, 1 << slab.order);
        if flags & geometry::debug::ALL == 0 {
            record.limit = geometry::cpu_array_limit(size);
            record.batchcount = record.limit.div_ceil(2);
        }
        cache
    }

    /// Where a free object keeps the address of the next.
    pub(super) fn link(&self, object: u32) -> *mut u32 {
        (object + self.layout.link) as *mut u32
    }

    /// The cache's name.
    pub fn name(&self) -> &'static str {
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
        slab_debug::poison_slab(self, base);
        let mut next = 0;
        for n in (0..self.record.objperslab).rev() {
            let object = base + n * self.record.objsize + self.layout.red_left;
            slab_debug::init_free_object(self, object);
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

    /// Takes a free object out of a slab, if one has any.
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
        Some(object)
    }

    /// Puts an object back into its slab. Returns the slab if it should leave the cache.
    fn give(&mut self, object: u32) -> Option<&'static Page> {
        let page = slab_head(object, self.order);
        let first = page.index.load(Relaxed);
        if first == object || page.private.load(Relaxed) == 0 {
            slab_debug::object_err(self, page, object, "Object already free");
        }
        // SAFETY: an object of this slab that its user has given up.
        unsafe { self.link(object).write(first) };
        page.index.store(object, Relaxed);
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

    /// The second word of a free object says that it is free, so that freeing it again is
    /// nearly always noticed without looking for it.
    fn key(&self, object: u32) -> Option<*mut u32> {
        (self.ctor.is_none() && self.record.limit != 0 && self.layout.object_size >= 8)
            .then_some((object + 4) as *mut u32)
    }

    fn set_key(&self, object: u32, key: u32) {
        if let Some(at) = self.key(object) {
            // SAFETY: inside an object that no user has.
            unsafe { at.write(key) };
        }
    }

    fn has_key(&self, object: u32) -> bool {
        // SAFETY: inside an object that its user gives up.
        self.key(object).is_some_and(|at| unsafe { at.read() } == FREE_KEY ^ object)
    }

    /// Whether an object is in this CPU's array or on the list of its slab.
    #[cold]
    fn is_free(&self, object: u32) -> bool {
        self.array[..self.array_len as usize].contains(&object)
            || slab_debug::on_freelist(self, slab_head(object, self.order), object)
    }

    /// An object for a user: from this CPU's array, which is filled when it is empty.
    fn alloc(&mut self) -> Option<u32> {
        if self.array_len == 0 {
            let first = self.take()?;
            while self.array_len + 1 < self.record.batchcount {
                let Some(object) = self.take() else { break };
                self.array[self.array_len as usize] = object;
                self.array_len += 1;
            }
            // The lowest of a fresh slab comes first.
            self.array[..self.array_len as usize].reverse();
            self.record.active_objs += 1;
            self.set_key(first, 0);
            return Some(first);
        }
        self.array_len -= 1;
        self.record.active_objs += 1;
        let object = self.array[self.array_len as usize];
        self.set_key(object, 0);
        Some(object)
    }

    /// Takes an object of a user back.
    fn free(&mut self, object: u32, leaving: &mut Leaving) {
        self.record.active_objs -= 1;
        if self.record.limit == 0 {
            self.give(object).into_iter().for_each(|page| leaving.add(page));
            return;
        }
        if self.has_key(object) && self.is_free(object) {
            slab_debug::object_err(self, slab_head(object, self.order), object, "Object already free");
        }
        self.set_key(object, FREE_KEY ^ object);
        if self.array_len == self.record.limit {
            self.drain(self.record.batchcount, leaving);
        }
        self.array[self.array_len as usize] = object;
        self.array_len += 1;
    }

    /// The oldest objects of this CPU's array go back to their slabs.
    fn drain(&mut self, count: u32, leaving: &mut Leaving) {
        let count = count.min(self.array_len) as usize;
        for n in 0..count {
            self.give(self.array[n]).into_iter().for_each(|page| leaving.add(page));
        }
        self.array.copy_within(count..self.array_len as usize, 0);
        self.array_len -= count as u32;
    }

    fn leaving(&self) -> Leaving {
        Leaving { first: NO_SLAB, order: self.order }
    }

    fn remove_slab(&mut self, page: &'static Page) -> &'static Page {
        self.unlink_partial(page);
        self.empty -= 1;
        self.record.num_slabs -= 1;
        self.record.num_objs -= self.record.objperslab;
        page
    }

    /// Takes all empty slabs out of the cache.
    fn shrink(&mut self) -> Leaving {
        let mut leaving = self.leaving();
        self.drain(self.array_len, &mut leaving);
        let mut at = self.partial;
        while self.empty > 0 && at != NO_SLAB {
            let page = pfn_to_page(at);
            at = page.lru[1].load(Relaxed);
            if page.private.load(Relaxed) == 0 {
                leaving.add(self.remove_slab(page));
            }
        }
        leaving
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
            let (order, flags) = {
                let _chain = CHAIN.lock_irqsave();
                // SAFETY: under the lock.
                let cache = unsafe { self.get() };
                if let Some(object) = cache.alloc() {
                    if cache.flags & geometry::debug::ALL != 0 {
                        slab_debug::alloc_object(cache, slab_head(object, cache.order), object, cpu::frame_pointer());
                    }
                    return object as *mut u8;
                }
                (cache.order, cache.flags)
            };
            let kind = if flags & SLAB_RECLAIM_ACCOUNT != 0 { Gfp::RECLAIMABLE } else { Gfp::empty() };
            let gfp = gfp & !(Gfp::HIGHMEM | Gfp::ZERO | Gfp::MOVABLE) | kind;
            let Some(page) = alloc_pages(gfp, order) else {
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
            if !page.is(pg::SLAB) || page.mapping.load(Relaxed) != self.0 as u32 {
                wrong_cache(cache, page, addr);
            }
            let base = page.address().unwrap_or(0) + cache.layout.red_left;
            if !addr.wrapping_sub(base).is_multiple_of(cache.record.objsize) {
                slab_debug::invalid_pointer(cache, page, addr);
            }
            if cache.flags & geometry::debug::ALL != 0 {
                slab_debug::free_object(cache, page, addr, cpu::frame_pointer());
            }
            let mut leaving = cache.leaving();
            cache.free(addr, &mut leaving);
            leaving
        };
        leaving.free();
    }

    /// `kmem_cache_shrink`: gives empty slabs back.
    pub fn shrink(self) {
        let leaving = {
            let _chain = CHAIN.lock_irqsave();
            // SAFETY: under the lock.
            unsafe { self.get() }.shrink()
        };
        leaving.free();
    }

    /// The cache's name.
    pub fn name(self) -> &'static str {
        let _chain = CHAIN.lock_irqsave();
        // SAFETY: under the lock.
        unsafe { self.get() }.name()
    }

    /// Where the cache lies, for those who know it by its address.
    pub fn as_ptr(self) -> *mut KmemCache {
        self.0
    }

    /// The cache at an address that [`Self::as_ptr`] gave.
    ///
    /// # Safety
    /// The cache has not been destroyed since.
    pub unsafe fn from_ptr(at: *mut KmemCache) -> Self {
        CacheRef(at)
    }

    /// Objects that users have.
    pub fn active_objs(self) -> u32 {
        let _chain = CHAIN.lock_irqsave();
        // SAFETY: under the lock.
        unsafe { self.get() }.record.active_objs
    }

    /// `kmem_cache_destroy`: EBUSY while objects live.
    #[inline(never)]
    pub fn destroy(self) -> Result<()> {
        let caller = cpu::return_address();
        let mut chain = CHAIN.lock_irqsave();
        // SAFETY: under the lock.
        let cache = unsafe { self.get() };
        if cache.record.active_objs != 0 {
            let name = cache.name();
            drop(chain);
            pr_info!(
                "kmem_cache_destroy {name}: Slab cache still has objects when called from {}",
                kallsyms::Symbol(caller)
            );
            return Err(EBUSY);
        }
        let leaving = cache.shrink();
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
        leaving.free();
        // SAFETY: it came from there, and nothing on the list names it any more.
        unsafe { caches.free(self.0.cast()) };
        Ok(())
    }
}

/// `cache_from_obj`: the object belongs to another cache, or to none.
#[cold]
fn wrong_cache(cache: &KmemCache, page: &'static Page, object: u32) -> ! {
    if !page.is(pg::SLAB) {
        slab_debug::not_a_slab("kmem_cache_free", page, object);
    }
    // SAFETY: a slab's page names its living cache.
    let other = unsafe { &*(page.mapping.load(Relaxed) as *const KmemCache) };
    slab_debug::wrong_cache(cache, other, page, object)
}

/// The first page of the slab that holds an address.
pub(super) fn slab_head(addr: u32, order: u8) -> &'static Page {
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
        assert!(flags & SLAB_PANIC == 0, "kmem_cache_create: Failed to create slab '{name}'");
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

/// Makes the cache of caches and the `kmalloc` caches.
pub fn init() {
    let boot = CacheRef(BOOT_CACHE.0.get());
    // SAFETY: nobody else knows it yet.
    unsafe { *boot.0 = KmemCache::new("kmem_cache", size_of::<KmemCache>() as u32, 4, SLAB_HWCACHE_ALIGN, None) };
    link(boot);
    CHAIN.lock_irqsave().caches = Some(boot);
    kmalloc::init();
}

/// Gives all empty slabs back, when memory is short.
pub fn shrink_all() {
    let mut at = CHAIN.lock_irqsave().first;
    while !at.is_null() {
        let (leaving, next) = {
            let _chain = CHAIN.lock_irqsave();
            // SAFETY: every record on the list begins a living cache; a cache that goes away
            // while the lock is open is only ever one that its own user destroys, and its
            // memory stays a cache's.
            let cache = unsafe { &mut *(at.0 as *mut KmemCache) };
            (cache.shrink(), cache.record.next)
        };
        leaving.free();
        at = next;
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

/// The order of the slabs of the cache that a slab's frame names; `None` if there is no such
/// cache.
pub fn slab_order(page: &Page) -> Option<u8> {
    let chain = CHAIN.lock_irqsave();
    let (named, mut at) = (page.mapping.load(Relaxed), chain.first);
    while !at.is_null() {
        // SAFETY: every record on the list begins a living cache; the lock is held.
        let cache = unsafe { &*(at.0 as *const KmemCache) };
        if at.0 == named {
            return Some(cache.order);
        }
        at = cache.record.next;
    }
    None
}

/// Pages of all slabs.
pub fn slab_pages() -> u32 {
    let mut pages = 0;
    for_each_cache(|record, _| pages += record.num_slabs * record.pagesperslab);
    pages
}
