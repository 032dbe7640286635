//! Memory: objects, pages side by side, pages for programs.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::ffi::c_void;

use abi::{
    errno::{EFAULT, EINVAL, Errno, Result},
    module::VmAreaStruct,
};

use super::text::string;
use crate::{
    arch::cpu,
    mm::{
        Gfp, Page,
        gfp::GFP_KERNEL,
        kmalloc as objects,
        page::pfn_to_page_checked,
        remap,
        slab::{self, CacheRef, KmemCache},
        vmalloc as areas,
    },
    module::chrdev,
};

/// The result of a call as C has it.
pub(super) fn code(result: Result<()>) -> i32 {
    result.map_or_else(Errno::to_ret, |()| 0)
}

/// `kmalloc`.
pub unsafe extern "C" fn kmalloc(size: u32, gfp: u32) -> *mut u8 {
    objects::kmalloc(size, Gfp::from_bits_truncate(gfp))
}

/// `kzalloc`.
pub unsafe extern "C" fn kzalloc(size: u32, gfp: u32) -> *mut u8 {
    objects::kzalloc(size, Gfp::from_bits_truncate(gfp))
}

/// `krealloc`.
pub unsafe extern "C" fn krealloc(object: *mut u8, size: u32, gfp: u32) -> *mut u8 {
    // SAFETY: by the module.
    unsafe { objects::krealloc(object, size, Gfp::from_bits_truncate(gfp)) }
}

/// `kfree`.
pub unsafe extern "C" fn kfree(object: *mut u8) {
    // SAFETY: by the module.
    unsafe { objects::kfree(object) };
}

/// `ksize`.
pub unsafe extern "C" fn ksize(object: *const u8) -> u32 {
    // SAFETY: by the module.
    unsafe { objects::ksize(object) }
}

/// `kmem_cache_create`. The name is copied.
pub unsafe extern "C" fn kmem_cache_create(
    name: *const u8,
    size: u32,
    align: u32,
    flags: u32,
    ctor: Option<extern "C" fn(*mut u8)>,
) -> *mut KmemCache {
    const LARGEST: u32 = 4 << 20;
    // SAFETY: by the module.
    let name = unsafe { string(name) };
    if name.is_empty() || size == 0 || size > LARGEST || !(align == 0 || align.is_power_of_two()) {
        return core::ptr::null_mut();
    }
    let name: &'static str = Box::leak(Box::<str>::from(name));
    let flags = flags & !slab::SLAB_PANIC;
    match slab::kmem_cache_create(name, size, align.max(1), flags, ctor) {
        Some(cache) => cache.as_ptr(),
        None => {
            free_name(name);
            core::ptr::null_mut()
        }
    }
}

/// Gives back a name that `kmem_cache_create` copied.
fn free_name(name: &'static str) {
    // SAFETY: it came from `Box::leak`, and no cache has it.
    drop(unsafe { Box::from_raw(core::ptr::from_ref(name).cast_mut()) });
}

/// `kmem_cache_alloc`.
pub unsafe extern "C" fn kmem_cache_alloc(cache: *mut KmemCache, gfp: u32) -> *mut u8 {
    let gfp = Gfp::from_bits_truncate(gfp);
    // SAFETY: by the module: a cache that it has made.
    unsafe { CacheRef::from_ptr(cache) }.alloc(gfp)
}

/// `kmem_cache_free`.
pub unsafe extern "C" fn kmem_cache_free(cache: *mut KmemCache, object: *mut u8) {
    if !object.is_null() {
        // SAFETY: by the module: an object of a cache that it has made.
        unsafe { CacheRef::from_ptr(cache).free(object) };
    }
}

/// `kmem_cache_destroy`. A cache with objects in use stays, as in Linux.
pub unsafe extern "C" fn kmem_cache_destroy(cache: *mut KmemCache) {
    if cache.is_null() {
        return;
    }
    // SAFETY: by the module: a cache that it has made.
    let cache = unsafe { CacheRef::from_ptr(cache) };
    let name = cache.name();
    if cache.destroy().is_ok() {
        free_name(name);
    }
}

/// `vmalloc`.
#[inline(never)]
pub unsafe extern "C" fn vmalloc(size: u32) -> *mut u8 {
    areas::vmalloc_from(size, GFP_KERNEL, cpu::return_address())
}

/// `vzalloc`.
#[inline(never)]
pub unsafe extern "C" fn vzalloc(size: u32) -> *mut u8 {
    areas::vmalloc_from(size, GFP_KERNEL | Gfp::ZERO, cpu::return_address())
}

/// `vfree`.
pub unsafe extern "C" fn vfree(addr: *mut u8) {
    // SAFETY: by the module.
    unsafe { areas::vfree(addr) };
}

/// `ioremap`.
#[inline(never)]
pub unsafe extern "C" fn ioremap(phys: u32, size: u32) -> *mut u8 {
    areas::ioremap_from(phys, size, cpu::return_address())
}

/// `iounmap`.
pub unsafe extern "C" fn iounmap(addr: *mut u8) {
    // SAFETY: by the module.
    unsafe { areas::iounmap(addr) };
}

fn page_or_null(page: Option<&'static Page>) -> *const Page {
    page.map_or(core::ptr::null(), core::ptr::from_ref)
}

/// `virt_to_page`: the descriptor of `kmalloc`'s memory; null elsewhere.
pub unsafe extern "C" fn virt_to_page(addr: *const c_void) -> *const Page {
    page_or_null(remap::virt_to_pfn(addr as u32).and_then(pfn_to_page_checked))
}

/// `vmalloc_to_page`: the descriptor of a page of `vmalloc`'s memory; null elsewhere.
pub unsafe extern "C" fn vmalloc_to_page(addr: *const c_void) -> *const Page {
    page_or_null(areas::vmalloc_to_page(addr.cast()))
}

/// `virt_to_phys`: the physical address of `kmalloc`'s memory; 0 elsewhere.
pub unsafe extern "C" fn virt_to_phys(addr: *const c_void) -> u32 {
    remap::virt_to_pfn(addr as u32).map_or(0, |_| addr as u32 - crate::arch::PAGE_OFFSET)
}

/// `vm_insert_page`.
pub unsafe extern "C" fn vm_insert_page(vma: *mut VmAreaStruct, addr: u32, page: *const Page) -> i32 {
    if page.is_null() || !addr.is_multiple_of(crate::mm::PAGE_SIZE) {
        return if page.is_null() { EINVAL.to_ret() } else { EFAULT.to_ret() };
    }
    // SAFETY: by the driver: what its `mmap` got, and a descriptor that we gave it.
    code(unsafe { chrdev::with_area(vma, |mm, area| remap::vm_insert_page(mm, area, addr, &*page)) })
}

/// `remap_pfn_range`.
pub unsafe extern "C" fn remap_pfn_range(vma: *mut VmAreaStruct, addr: u32, pfn: u32, size: u32, prot: u32) -> i32 {
    // SAFETY: by the driver: what its `mmap` got.
    code(unsafe { chrdev::with_area(vma, |mm, area| remap::remap_pfn_range(mm, area, addr, pfn, size, prot)) })
}
