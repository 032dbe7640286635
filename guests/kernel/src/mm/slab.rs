//! Caches of equal objects.
//!
//! A slab is a block of frames that is cut into objects; those that are free form a list in
//! it. In front of the slabs each cache has an array of free objects for each CPU, which
//! serves most requests; one lock guards them all, so that a cache that shrinks empties those of
//! all CPUs. With `slab_debug`, objects are watched instead (`slab_debug.rs`).
#![allow(unsafe_code)]

use core::{cell::UnsafeCell, sync::atomic::Ordering::Relaxed};

use abi::{
    Ptr32,
    books::KmemCacheRecord,
    errno::{EBUSY, Result},
};
use mm::slab::{self as geometry, ObjectLayout};

use super::{
    Gfp, PAGE_SHIFT, PAGE_SIZE, Page,
    gfp::GFP_KERNEL,
    kmalloc,
    page::{pfn_to_page, pg},
    page_alloc::{__free_pages, alloc_pages},
    slab_debug,
};
use crate::{
    arch::{
        PAGE_OFFSET, cpu,
        percpu::{NR_CPUS, cpu_number},
    },
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
/// What the arrays of the CPUs that start after the first are made of.
type CpuArray = [u32; CPU_ARRAY];

/// `struct kmem_cache`.
#[repr(C)]
pub struct KmemCache {
    pub(super) record: KmemCacheRecord,
    pub(super) layout: ObjectLayout,
    pub(super) flags: u32,
    pub(super) order: u8,
    pub(super) ctor: Option<Constructor>,
    /// 2^32 by the distance of two objects, rounded up: to divide by it.
    reciprocal: u32,
    /// Free objects say that they are free.
    keyed: bool,
    /// Slabs with free objects: frame of the first; links in `lru`.
    partial: u32,
    /// Slabs on that list without any used object.
    empty: u32,
    /// Where each CPU has its free objects, the newest last; how many they are says the record.
    /// Null: its requests go to the slabs.
    arrays: [*mut u32; NR_CPUS],
    /// Those of the first CPU.
    array: CpuArray,
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
    /// Of the arrays of all CPUs but the first. It has none itself.
    arrays: Option<CacheRef>,
    /// The CPUs whose arrays caches have, as a mask.
    cpus: u32,
}

/// All caches, newest first.
static CHAIN: SpinLock<Chain> = SpinLock::new(Chain { first: Ptr32::NULL, caches: None, arrays: None, cpus: 1 });

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
            __free_pages(page, self.order);
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
            avail: [0; NR_CPUS],
        },
        layout: ObjectLayout { red_left: 0, object_size: 0, inuse: 0, link: 0, track: 0, end: 0, size: 0 },
        flags: 0,
        order: 0,
        ctor: None,
        reciprocal: 0,
        keyed: false,
        partial: NO_SLAB,
        empty: 0,
        arrays: [core::ptr::null_mut(); NR_CPUS],
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
        cache.keyed = cache.ctor.is_none() && cache.record.limit != 0 && layout.object_size >= 8;
        cache.reciprocal = u32::MAX / slab.size + 1;
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
        self.keyed.then_some((object + 4) as *mut u32)
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

    /// The free objects in the array of a CPU.
    fn cached(&mut self, cpu: usize) -> &mut [u32] {
        match (self.arrays[cpu], self.record.avail[cpu]) {
            (_, 0) => &mut [],
            // SAFETY: an array of this cache's own, for as long as it lives; it has at most `limit`
            // objects, for which there is room, and those counted have been put there.
            (array, len) => unsafe { core::slice::from_raw_parts_mut(array, len as usize) },
        }
    }

    /// Whether an object is in the array of a CPU or on the list of its slab.
    #[cold]
    fn is_free(&mut self, object: u32) -> bool {
        (0..NR_CPUS).any(|cpu| self.cached(cpu).contains(&object))
            || slab_debug::on_freelist(self, slab_head(object, self.order), object)
    }

    /// An object for a user: from this CPU's array, which is filled when it is empty.
    fn alloc(&mut self) -> Option<u32> {
        let cpu = cpu_number() as usize;
        let avail = &mut self.record.avail[cpu];
        let object = if *avail != 0 {
            *avail -= 1;
            // SAFETY: as in `cached`.
            unsafe { self.arrays[cpu].add(*avail as usize).read() }
        } else {
            let first = self.take()?;
            self.fill(cpu);
            first
        };
        self.record.active_objs += 1;
        self.set_key(object, 0);
        Some(object)
    }

    /// Takes objects out of slabs into the empty array of a CPU, one less than a batch.
    fn fill(&mut self, cpu: usize) {
        let array = self.arrays[cpu];
        if array.is_null() {
            return;
        }
        while self.record.avail[cpu] + 1 < self.record.batchcount {
            let Some(object) = self.take() else { break };
            // SAFETY: as in `cached`; a batch is less than the limit.
            unsafe { array.add(self.record.avail[cpu] as usize).write(object) };
            self.record.avail[cpu] += 1;
        }
        // The lowest of a fresh slab comes first.
        self.cached(cpu).reverse();
    }

    /// Whether an address may be that of an object of the slab whose first page begins at `base`.
    fn may_be_object(&self, object: u32, base: u32) -> bool {
        let offset = object.wrapping_sub(base + self.layout.red_left);
        let number = ((u64::from(offset) * u64::from(self.reciprocal)) >> 32) as u32;
        number.wrapping_mul(self.record.objsize) == offset
    }

    /// Takes an object of a user back into the array of this CPU. `false` without one, or if it is full.
    #[inline(always)]
    fn put(&mut self, object: u32) -> bool {
        let cpu = cpu_number() as usize;
        let (array, avail) = (self.arrays[cpu], self.record.avail[cpu]);
        if array.is_null() || avail == self.record.limit {
            return false;
        }
        if self.keyed {
            if self.has_key(object) && self.is_free(object) {
                slab_debug::object_err(self, slab_head(object, self.order), object, "Object already free");
            }
            self.set_key(object, FREE_KEY ^ object);
        }
        // SAFETY: as in `cached`; there is room.
        unsafe { array.add(avail as usize).write(object) };
        self.record.avail[cpu] = avail + 1;
        self.record.active_objs -= 1;
        true
    }

    /// Takes an object of a user back that [`Self::put`] has no room for.
    #[cold]
    fn give_back(&mut self, object: u32, leaving: &mut Leaving) {
        let cpu = cpu_number() as usize;
        if self.arrays[cpu].is_null() {
            self.record.active_objs -= 1;
            self.give(object).into_iter().for_each(|page| leaving.add(page));
            return;
        }
        // First, lest the object itself is among those.
        if self.has_key(object) && self.is_free(object) {
            slab_debug::object_err(self, slab_head(object, self.order), object, "Object already free");
        }
        self.drain(cpu, self.record.batchcount, leaving);
        self.put(object);
    }

    /// The oldest objects of a CPU's array go back to their slabs.
    fn drain(&mut self, cpu: usize, count: u32, leaving: &mut Leaving) {
        let count = count.min(self.record.avail[cpu]) as usize;
        for n in 0..count {
            let object = self.cached(cpu)[n];
            self.give(object).into_iter().for_each(|page| leaving.add(page));
        }
        self.cached(cpu).copy_within(count.., 0);
        self.record.avail[cpu] -= count as u32;
    }

    /// The arrays of all CPUs go back to the slabs (`drain_cpu_caches`).
    fn drain_all(&mut self, leaving: &mut Leaving) {
        (0..NR_CPUS).for_each(|cpu| self.drain(cpu, u32::MAX, leaving));
    }

    fn leaving(&self) -> Leaving {
        Leaving { first: NO_SLAB, order: self.order }
    }

    fn remove_slab(&mut self, page: &'static Page) -> &'static Page {
        self.unlink_partial(page);
        self.empty -= 1;
        self.record.num_slabs -= 1;
        self.record.num_objs -= self.record.objperslab;
        for pfn in page.pfn()..page.pfn() + (1 << self.order) {
            let page = pfn_to_page(pfn);
            page.clear(pg::SLAB);
            page.mapping.store(0, Relaxed);
        }
        page
    }

    /// Takes all empty slabs out of the cache, with what lies in the arrays of the CPUs.
    fn shrink(&mut self) -> Leaving {
        let mut leaving = self.leaving();
        self.drain_all(&mut leaving);
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

impl CacheRef {
    /// # Safety
    /// Under `CHAIN`.
    #[allow(clippy::mut_from_ref)]
    unsafe fn get(&self) -> &mut KmemCache {
        // SAFETY: caches live until destroyed; the lock gives one user at a time.
        unsafe { &mut *self.0 }
    }

    /// The first CPU has its array in the cache itself, which will not move from here on.
    fn use_first_array(self) {
        // SAFETY: nobody else knows the cache yet.
        let cache = unsafe { self.get() };
        if cache.record.limit != 0 {
            cache.arrays[0] = cache.array.as_mut_ptr();
        }
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
            if !cache.may_be_object(addr, addr & !((PAGE_SIZE << cache.order) - 1)) {
                slab_debug::invalid_pointer(cache, page, addr);
            }
            if cache.flags & geometry::debug::ALL != 0 {
                slab_debug::free_object(cache, page, addr, cpu::frame_pointer());
            }
            if cache.put(addr) {
                return;
            }
            let mut leaving = cache.leaving();
            cache.give_back(addr, &mut leaving);
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
        let (arrays, own) = (chain.arrays, cache.arrays);
        drop(chain);
        leaving.free();
        // The first one is a part of the cache.
        for array in own.into_iter().skip(1).filter(|array| !array.is_null()) {
            // SAFETY: made in `add_array`; nobody knows the cache any more.
            arrays.into_iter().for_each(|arrays| unsafe { arrays.free(array.cast()) });
        }
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
    let (cache, cpus) = (CacheRef(at), CHAIN.lock_irqsave().cpus);
    cache.use_first_array();
    (1..NR_CPUS).filter(|cpu| cpus & 1 << cpu != 0).for_each(|cpu| add_array(cache, cpu));
    Some(link(cache))
}

/// Gives a cache the array of another CPU than the first. Without memory for it, that CPU takes
/// its objects from the slabs.
fn add_array(cache: CacheRef, cpu: usize) {
    let arrays = {
        let chain = CHAIN.lock_irqsave();
        // SAFETY: under the lock.
        let it = unsafe { cache.get() };
        if it.record.limit == 0 || !it.arrays[cpu].is_null() {
            return;
        }
        chain.arrays
    };
    let Some(array) = arrays.map(|arrays| arrays.alloc(GFP_KERNEL)).filter(|array| !array.is_null()) else { return };
    let _chain = CHAIN.lock_irqsave();
    // SAFETY: under the lock. An array is as large as an object of its cache, and nothing is read
    // there before it has been written.
    unsafe { cache.get() }.arrays[cpu] = array.cast();
}

/// Another CPU is about to run: all caches get an array for it, those that are there and those that
/// are made later.
pub fn add_cpu(number: u32) {
    let mut at = {
        let mut chain = CHAIN.lock_irqsave();
        chain.cpus |= 1 << number;
        chain.first
    };
    while !at.is_null() {
        // A cache whose record is on the list begins with it, and only its own user destroys it.
        add_array(CacheRef(at.0 as *mut KmemCache), number as usize);
        let _chain = CHAIN.lock_irqsave();
        // SAFETY: as above; the lock is held.
        at = unsafe { (*(at.0 as *const KmemCacheRecord)).next };
    }
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
#[cold]
#[inline(never)]
pub fn init() {
    let boot = CacheRef(BOOT_CACHE.0.get());
    // SAFETY: nobody else knows it yet.
    unsafe { *boot.0 = KmemCache::new("kmem_cache", size_of::<KmemCache>() as u32, 4, SLAB_HWCACHE_ALIGN, None) };
    boot.use_first_array();
    link(boot);
    CHAIN.lock_irqsave().caches = Some(boot);
    let arrays = kmem_cache_of::<CpuArray>("cpu_array");
    // It would need an array to make one.
    // SAFETY: nobody else is here yet.
    let cache = unsafe { arrays.get() };
    (cache.record.limit, cache.record.batchcount) = (0, 0);
    cache.arrays = KmemCache::EMPTY.arrays;
    CHAIN.lock_irqsave().arrays = Some(arrays);
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

/// An object in the array of a CPU that is none of the cache's; `None` if all is well.
pub fn stray_object() -> Option<u32> {
    let chain = CHAIN.lock_irqsave();
    let mut at = chain.first;
    while !at.is_null() {
        // SAFETY: every record on the list begins a living cache; the lock is held.
        let cache = unsafe { &mut *(at.0 as *mut KmemCache) };
        let (order, size, first) = (cache.order, cache.record.objsize, cache.layout.red_left);
        for cpu in 0..NR_CPUS {
            let stray = cache.cached(cpu).iter().copied().find(|&object| {
                let page = slab_head(object, order);
                let base = page.address().unwrap_or(0) + first;
                !page.is(pg::SLAB)
                    || page.mapping.load(Relaxed) != at.0
                    || !object.wrapping_sub(base).is_multiple_of(size)
            });
            if stray.is_some() {
                return stray;
            }
        }
        at = cache.record.next;
    }
    None
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
