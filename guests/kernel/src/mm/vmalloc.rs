//! Memory that is contiguous in addresses, not in frames: `vmalloc`, `vmap`, `ioremap`.
//!
//! All page tables of the range were made at boot and are shared by every page directory,
//! so that no address space ever has to be brought up to date with another.
#![allow(unsafe_code)]

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use abi::{
    Ptr32,
    books::VmStructRecord,
    proc::vmallocinfo::{
        Caller,
        vm_area::{ALLOC, IOREMAP, MAP},
    },
};
use mm::vmap::FreeSpace;
use x86::Pte;

use super::{
    __free_pages, Gfp, PAGE_SHIFT, PAGE_SIZE, Page, alloc_page,
    gfp::GFP_KERNEL,
    highmem::kmap_local,
    page::{get_page, pfn_to_page_checked, pg},
    vmstat::{self, Item},
};
use crate::{
    arch::{
        cpu,
        paging::{self, VMALLOC_END, VMALLOC_START},
        smp, tlb,
        traps::in_interrupt,
    },
    lib::{books, kallsyms},
    pr_info,
    sync::{Mutex, Once},
};

/// Freed pages of address space that may wait for one common flush (`lazy_max_pages`): 32 MiB for
/// one CPU, and as much again for each power of two of them.
pub fn lazy_max_pages() -> u32 {
    (u32::BITS - smp::num_online_cpus().leading_zeros()) * (32 << 20) / PAGE_SIZE
}
/// Largest alignment of device memory.
const IOREMAP_MAX_ALIGN: u32 = 4 << 20;

/// `vm_struct`.
#[repr(C)]
struct VmStruct {
    record: VmStructRecord,
    /// Frames that back the area: its own, or held while it maps them. None for devices.
    pages: Vec<&'static Page>,
}

/// The areas, and what is free around them.
struct VmapSpace {
    free: FreeSpace,
    /// By address. The records are linked in the same order, for the host.
    busy: BTreeMap<u32, Box<VmStruct>>,
    /// Freed areas whose translations a TLB may still hold. The records are linked, newest
    /// first.
    #[allow(clippy::vec_box, reason = "the host follows the records' addresses")]
    unpurged: Vec<Box<VmStruct>>,
    unpurged_pages: u32,
}

static SPACE: Once<Mutex<VmapSpace>> = Once::new();

/// Makes the space; the slab caches must work.
pub fn init() {
    SPACE.set(Mutex::new(VmapSpace {
        free: FreeSpace::new(VMALLOC_START, VMALLOC_END),
        busy: BTreeMap::new(),
        unpurged: Vec::new(),
        unpurged_pages: 0,
    }));
}

/// The lock that guards the lists in the books.
pub fn books() -> Ptr32<u8> {
    SPACE.get().flag()
}

/// Whether an address lies in the space.
pub fn is_vmalloc_addr(addr: *const u8) -> bool {
    (VMALLOC_START..VMALLOC_END).contains(&(addr as u32))
}

impl VmapSpace {
    /// Addresses for `size` bytes; translations that are still around from former areas are
    /// flushed when there are no others.
    fn alloc(&mut self, size: u32, align: u32) -> Option<u32> {
        if let Some(addr) = self.free.alloc(size, align) {
            return Some(addr);
        }
        self.purge();
        self.free.alloc(size, align)
    }

    fn insert(&mut self, area: Box<VmStruct>) {
        let (addr, this) = (area.record.addr, Ptr32::new(&raw const *area as u32));
        self.busy.insert(addr, area);
        let next = self.busy.range(addr + 1..).next().map_or(Ptr32::NULL, |(_, next)| record_of(next));
        if let Some(area) = self.busy.get_mut(&addr) {
            area.record.next = next;
        }
        self.link_before(addr, this);
    }

    fn remove(&mut self, addr: u32) -> Option<Box<VmStruct>> {
        let area = self.busy.remove(&addr)?;
        self.link_before(addr, area.record.next);
        Some(area)
    }

    /// What lies before `addr` is now followed by `next`.
    fn link_before(&mut self, addr: u32, next: Ptr32<VmStructRecord>) {
        match self.busy.range_mut(..addr).next_back() {
            Some((_, before)) => before.record.next = next,
            None => books::update(|books| books.vmap_areas = next),
        }
    }

    /// Keeps an unmapped area's addresses until the next flush.
    fn free_lazily(&mut self, mut area: Box<VmStruct>, flush: paging::KernelFlush) {
        flush.later();
        area.record.next = self.unpurged.last().map_or(Ptr32::NULL, |last| record_of(last));
        self.unpurged_pages += area.record.size / PAGE_SIZE;
        let this = record_of(&area);
        self.unpurged.push(area);
        books::update(|books| books.vmap_unpurged = this);
        if self.unpurged_pages > lazy_max_pages() {
            self.purge();
        }
    }

    /// `purge_vmap_area_lazy`: one flush for all freed areas, whose addresses are then free.
    fn purge(&mut self) {
        let first = self.unpurged.iter().map(|area| area.record.addr).min();
        let last = self.unpurged.iter().map(|area| area.record.addr + area.record.size).max();
        if let (Some(first), Some(last)) = (first, last) {
            tlb::flush_tlb_kernel_range(first, last);
        }
        books::update(|books| books.vmap_unpurged = Ptr32::NULL);
        for area in core::mem::take(&mut self.unpurged) {
            self.free.free(area.record.addr, area.record.size);
        }
        self.unpurged_pages = 0;
    }
}

fn record_of(area: &VmStruct) -> Ptr32<VmStructRecord> {
    Ptr32::new(&raw const area.record as u32)
}

/// The record of an area of `size` bytes with its guard page, asked for at `caller`.
fn new_record(addr: u32, size: u32, flags: u32, caller: u32) -> VmStructRecord {
    let mut record = VmStructRecord { addr, size, flags, caller, ..VmStructRecord::EMPTY };
    if let Some(symbol) = kallsyms::lookup_any(caller) {
        (record.caller_name, record.caller_name_len) = pointer_to(symbol.name);
        (record.caller_offset, record.caller_size) = (symbol.offset, symbol.size);
        (record.caller_module, record.caller_module_len) = symbol.module.map_or((Ptr32::NULL, 0), pointer_to);
    }
    record
}

fn pointer_to(text: &str) -> (Ptr32<u8>, u32) {
    (Ptr32::new(text.as_ptr() as u32), text.len() as u32)
}

/// A module's memory goes away: areas that it asked for and still has are shown without the
/// names that lie there.
pub fn forget_callers(start: u32, end: u32) {
    let mut space = SPACE.get().lock();
    for area in space.busy.values_mut().filter(|area| (start..end).contains(&area.record.caller)) {
        let record = &mut area.record;
        (record.caller_name, record.caller_module) = (Ptr32::NULL, Ptr32::NULL);
        (record.caller_name_len, record.caller_module_len) = (0, 0);
    }
}

/// Maps `pages` frames, `frame(n)` the n-th, at an address that nobody has yet.
fn map_range(addr: u32, pages: u32, bits: u32, frame: impl Fn(u32) -> u32) {
    let bits = Pte::P | Pte::RW | Pte::A | Pte::D | bits | paging::global_bit();
    for n in 0..pages {
        // SAFETY: the addresses are ours, and the last flush was after their last use.
        unsafe { paging::map_kernel_page(addr + n * PAGE_SIZE, Pte(frame(n) << PAGE_SHIFT | bits)) };
    }
}

/// Whole pages of `size`; `None` for 0 and for what no area can have.
fn pages_of(size: u32) -> Option<u32> {
    (size != 0 && size < VMALLOC_END - VMALLOC_START).then(|| size.div_ceil(PAGE_SIZE))
}

/// An area over `pages`, which have a user more for it.
fn map_pages(pages: Vec<&'static Page>, flags: u32, caller: u32) -> Option<*mut u8> {
    let count = pages.len() as u32;
    let size = (count + 1) * PAGE_SIZE;
    let mut area = Box::new(VmStruct { record: VmStructRecord::EMPTY, pages });
    let mut space = SPACE.get().lock();
    let Some(addr) = space.alloc(size, PAGE_SIZE) else {
        drop(space);
        pr_info!("vmap allocation for size {size} failed: use vmalloc=<size> to increase size");
        area.pages.iter().for_each(|page| __free_pages(page, 0));
        return None;
    };
    map_range(addr, count, 0, |n| area.pages[n as usize].pfn());
    area.record = new_record(addr, size, flags, caller);
    area.record.nr_pages = count;
    space.insert(area);
    Some(addr as *mut u8)
}

/// `__vmalloc_node_range` for somebody who is called from `caller`.
pub fn vmalloc_from(size: u32, gfp: Gfp, caller: u32) -> *mut u8 {
    let Some(count) = pages_of(size) else { return core::ptr::null_mut() };
    let mut pages = Vec::new();
    if pages.try_reserve_exact(count as usize).is_err() {
        return core::ptr::null_mut();
    }
    for _ in 0..count {
        let Some(page) = alloc_page(gfp | Gfp::HIGHMEM) else {
            pr_info!("vmalloc error: size {}, page order 0, failed to allocate pages", count * PAGE_SIZE);
            pages.into_iter().for_each(|page| __free_pages(page, 0));
            return core::ptr::null_mut();
        };
        pages.push(page);
    }
    let Some(addr) = map_pages(pages, ALLOC, caller) else { return core::ptr::null_mut() };
    vmstat::add(Item::nr_vmalloc_pages, count as i32);
    addr
}

/// `vmalloc`: `size` bytes in whole pages, uninitialised; null without memory or addresses.
/// May sleep.
#[inline(never)]
pub fn vmalloc(size: u32) -> *mut u8 {
    vmalloc_from(size, GFP_KERNEL, cpu::return_address())
}

/// `vzalloc`: the same, zeroed.
#[inline(never)]
pub fn vzalloc(size: u32) -> *mut u8 {
    vmalloc_from(size, GFP_KERNEL | Gfp::ZERO, cpu::return_address())
}

/// `vmap`: the frames side by side. Each has a user more until `vunmap`. Null without
/// addresses. May sleep.
#[inline(never)]
pub fn vmap(pages: &[&'static Page]) -> *mut u8 {
    let caller = cpu::return_address();
    if pages.is_empty() || pages.len() as u32 >= (VMALLOC_END - VMALLOC_START) / PAGE_SIZE {
        return core::ptr::null_mut();
    }
    let pages = pages.iter().map(|page| get_page(page)).collect();
    map_pages(pages, MAP, caller).unwrap_or(core::ptr::null_mut())
}

/// Takes the area at `addr` out, unmaps it and gives back its frames.
///
/// # Safety
/// Nobody uses the area any more.
unsafe fn remove_vm_area(addr: *mut u8, what: &str) {
    assert!(!in_interrupt(), "{what} in an interrupt handler");
    let mut space = SPACE.get().lock();
    let Some(mut area) = space.remove(addr as u32) else {
        panic!("Trying to {what}() nonexistent vm area ({addr:p})");
    };
    // SAFETY: by the caller; the addresses go to nobody before the flush.
    let flush = unsafe { paging::unmap_kernel_range(area.record.addr, area.record.addr + area.record.size) };
    let pages = core::mem::take(&mut area.pages);
    let owned = area.record.flags & ALLOC != 0;
    space.free_lazily(area, flush);
    drop(space);
    if owned {
        vmstat::add(Item::nr_vmalloc_pages, -(pages.len() as i32));
    }
    pages.into_iter().for_each(|page| __free_pages(page, 0));
}

/// `vfree`: gives back what `vmalloc` gave. Null is ignored. The addresses stay unused
/// until a flush.
///
/// # Panics
/// If there is no area at the address.
///
/// # Safety
/// Nobody uses the memory any more.
pub unsafe fn vfree(addr: *mut u8) {
    if !addr.is_null() {
        // SAFETY: by the caller.
        unsafe { remove_vm_area(addr, "vfree") };
    }
}

/// `vunmap`: ends a mapping of `vmap`; the frames lose the user that it was. Null is
/// ignored.
///
/// # Panics
/// If there is no area at the address.
///
/// # Safety
/// Nobody uses the mapping any more.
pub unsafe fn vunmap(addr: *mut u8) {
    if !addr.is_null() {
        // SAFETY: by the caller.
        unsafe { remove_vm_area(addr, "vunmap") };
    }
}

/// `ioremap`: uncached addresses for device memory. Null for an empty range, for one beyond
/// 4 GiB, for RAM that the kernel manages, and without addresses.
#[inline(never)]
pub fn ioremap(phys: u32, size: u32) -> *mut u8 {
    ioremap_from(phys, size, cpu::return_address())
}

/// The same for somebody who is called from `caller`.
pub fn ioremap_from(phys: u32, size: u32, caller: u32) -> *mut u8 {
    let offset = phys & (PAGE_SIZE - 1);
    let Some(last) = size.checked_sub(1).and_then(|more| phys.checked_add(more)) else {
        return core::ptr::null_mut();
    };
    let Some(pages) = offset.checked_add(size).and_then(pages_of) else { return core::ptr::null_mut() };
    let first_pfn = phys >> PAGE_SHIFT;
    let is_ram = |pfn: u32| pfn_to_page_checked(pfn).is_some_and(|page| !page.is(pg::RESERVED));
    if (first_pfn..first_pfn + pages).any(is_ram) {
        pr_info!("ioremap on RAM at {phys:#010x} - {last:#010x}");
        return core::ptr::null_mut();
    }
    let size = (pages + 1) * PAGE_SIZE;
    let align = (pages * PAGE_SIZE).next_power_of_two().min(IOREMAP_MAX_ALIGN);
    let mut area = Box::new(VmStruct { record: VmStructRecord::EMPTY, pages: Vec::new() });
    let mut space = SPACE.get().lock();
    let Some(addr) = space.alloc(size, align) else { return core::ptr::null_mut() };
    map_range(addr, pages, Pte::PCD | Pte::PWT, |n| first_pfn + n);
    area.record = new_record(addr, size, IOREMAP, caller);
    area.record.phys_addr = first_pfn << PAGE_SHIFT;
    space.insert(area);
    (addr + offset) as *mut u8
}

/// `iounmap`. Null is ignored.
///
/// # Panics
/// If `ioremap` did not give the address.
///
/// # Safety
/// Nobody uses the mapping any more.
pub unsafe fn iounmap(addr: *mut u8) {
    if !addr.is_null() {
        // SAFETY: by the caller.
        unsafe { remove_vm_area((addr as u32 & !(PAGE_SIZE - 1)) as *mut u8, "iounmap") };
    }
}

/// `vmalloc_to_page`: the frame behind an address of an area, if it has a descriptor.
pub fn vmalloc_to_page(addr: *const u8) -> Option<&'static Page> {
    let pte = is_vmalloc_addr(addr).then(|| paging::read_kernel_pte(addr as u32))?;
    if pte.present() { pfn_to_page_checked(pte.frame().frame()) } else { None }
}

/// Calls `in_use` with each area and the name of who asked for it, by address, then
/// `unpurged` with each that is freed and not flushed.
pub fn for_each_area(mut in_use: impl FnMut(&VmStructRecord, Caller<'_>), mut unpurged: impl FnMut(&VmStructRecord)) {
    let space = SPACE.get().lock();
    for area in space.busy.values() {
        let record = &area.record;
        let name = text_at(record.caller_name, record.caller_name_len);
        in_use(record, Caller { name, module: text_at(record.caller_module, record.caller_module_len) });
    }
    space.unpurged.iter().rev().for_each(|area| unpurged(&area.record));
}

/// Takes the right to write away from pages of an area, whose owner still has them.
///
/// # Safety
/// Nobody writes there any more.
pub unsafe fn set_memory_ro(addr: u32, pages: u32) {
    // SAFETY: the same frames with fewer rights, by the caller.
    unsafe { paging::set_kernel_rights(addr, addr + pages * PAGE_SIZE, |pte| Pte(pte.0 & !Pte::RW)) };
}

/// Calls `visit` with each frame that an area holds.
pub fn for_each_page(mut visit: impl FnMut(&'static Page)) {
    let space = SPACE.get().lock();
    space.busy.values().flat_map(|area| &area.pages).for_each(|page| visit(page));
}

/// A name in a record; the caller has the lock, without which no module's names go away.
fn text_at<'a>(at: Ptr32<u8>, len: u32) -> &'a [u8] {
    if at.is_null() {
        return b"";
    }
    // SAFETY: made of a `&str` of the kernel or of a module that is still there, in
    // `new_record`.
    unsafe { core::slice::from_raw_parts(at.0 as *const u8, len as usize) }
}

/// `vm_unmap_aliases`: flushes freed areas now, whose addresses are free then.
pub fn vm_unmap_aliases() {
    SPACE.get().lock().purge();
}

/// `vread`: copies from a page of an area on, by its frames. `false` at the first page without one.
pub fn vread(addr: *const u8, out: &mut [u8]) -> bool {
    let mut at = addr as u32;
    for chunk in out.chunks_mut(PAGE_SIZE as usize) {
        let Some(page) = vmalloc_to_page(at as *const u8) else { return false };
        chunk.copy_from_slice(&kmap_local(page).as_slice()[..chunk.len()]);
        at += PAGE_SIZE;
    }
    true
}
