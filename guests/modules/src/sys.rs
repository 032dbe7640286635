//! The functions that the kernel exports (`guests/kernel/src/module/exports`). All are
//! `unsafe`: the kernel believes a module what it is given.
#![allow(unsafe_code)]

use core::ffi::c_void;

use abi::module::{FileOperations, VmAreaStruct};

/// A cache of equal objects.
#[repr(C)]
pub struct KmemCache {
    _opaque: [u8; 0],
}

/// The descriptor of a frame.
#[repr(C)]
pub struct Page {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    /// A line of the log: text and length.
    pub fn printk(line: *const u8, len: usize);
    /// Ends the kernel, and says why.
    pub fn panic(why: *const u8, len: usize) -> !;
    /// Nanoseconds since boot.
    pub fn ktime_get_ns() -> u64;

    /// Memory in one piece, null without; at most 4 MiB.
    pub fn kmalloc(size: u32, gfp: u32) -> *mut u8;
    /// The same, zeroed.
    pub fn kzalloc(size: u32, gfp: u32) -> *mut u8;
    /// The same contents in another size.
    pub fn krealloc(object: *mut u8, size: u32, gfp: u32) -> *mut u8;
    /// Gives back what `kmalloc` gave; null is ignored.
    pub fn kfree(object: *mut u8);
    /// How many bytes an object really has.
    pub fn ksize(object: *const u8) -> u32;
    /// A cache of objects of `size` bytes; null without memory. The name is copied.
    pub fn kmem_cache_create(
        name: *const u8,
        size: u32,
        align: u32,
        flags: u32,
        ctor: Option<extern "C" fn(*mut u8)>,
    ) -> *mut KmemCache;
    /// An object; null without memory.
    pub fn kmem_cache_alloc(cache: *mut KmemCache, gfp: u32) -> *mut u8;
    /// Gives an object back.
    pub fn kmem_cache_free(cache: *mut KmemCache, object: *mut u8);
    /// Ends a cache, all of whose objects have come back.
    pub fn kmem_cache_destroy(cache: *mut KmemCache);

    /// Memory in pages side by side, null without.
    pub fn vmalloc(size: u32) -> *mut u8;
    /// The same, zeroed.
    pub fn vzalloc(size: u32) -> *mut u8;
    /// Gives back what `vmalloc` gave; null is ignored.
    pub fn vfree(addr: *mut u8);
    /// Addresses for device memory; null if there is RAM.
    pub fn ioremap(phys: u32, size: u32) -> *mut u8;
    /// Gives them back.
    pub fn iounmap(addr: *mut u8);

    /// The descriptor of `kmalloc`'s memory; null elsewhere.
    pub fn virt_to_page(addr: *const c_void) -> *const Page;
    /// The descriptor of a page of `vmalloc`'s memory; null elsewhere.
    pub fn vmalloc_to_page(addr: *const c_void) -> *const Page;
    /// The physical address of `kmalloc`'s memory; 0 elsewhere.
    pub fn virt_to_phys(addr: *const c_void) -> u32;
    /// In a driver's `mmap`: maps a page of `vmalloc`'s memory, and counts it. 0 or an error.
    pub fn vm_insert_page(vma: *mut VmAreaStruct, addr: u32, page: *const Page) -> i32;
    /// In a driver's `mmap`: maps frames as they are. 0 or an error.
    pub fn remap_pfn_range(vma: *mut VmAreaStruct, addr: u32, pfn: u32, size: u32, prot: u32) -> i32;

    /// Copies to a program's memory: how many bytes were not copied.
    pub fn copy_to_user(to: *mut u8, from: *const u8, len: usize) -> usize;
    /// Copies from a program's memory: how many bytes were not copied.
    pub fn copy_from_user(to: *mut u8, from: *const u8, len: usize) -> usize;

    /// Claims I/O ports under a name, a C string of the module: 0, or the negative of EBUSY.
    pub fn request_region(start: u32, len: u32, name: *const u8) -> i32;
    /// Gives back exactly what was claimed.
    pub fn release_region(start: u32, len: u32);
    /// The same for physical memory.
    pub fn request_mem_region(start: u32, len: u32, name: *const u8) -> i32;
    /// The same for physical memory.
    pub fn release_mem_region(start: u32, len: u32);

    /// The driver of a major number, of any free one for 0, which is then the result; else 0,
    /// or the negative of an error.
    pub fn register_chrdev(major: u32, name: *const u8, fops: *const FileOperations) -> i32;
    /// It drives no more.
    pub fn unregister_chrdev(major: u32, name: *const u8);
    /// A node `/dev/NAME` for a device of a registered major: 0, or the negative of an error.
    pub fn device_create(major: u32, minor: u32, name: *const u8) -> i32;
    /// The node goes.
    pub fn device_destroy(major: u32, minor: u32);
}
