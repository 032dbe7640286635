//! A module that is a character device, `/dev/sample_chardev`: what is written can be read
//! again, and its memory can be mapped. With `insmod sample_chardev.ko pfn=1` the memory comes
//! from `kmalloc` and is mapped by frame numbers (`remap_pfn_range`), else from `vmalloc`, page
//! by page (`vm_insert_page`).
#![no_std]
#![allow(unsafe_code)]

use core::{
    ptr::null_mut,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed},
};

use kmod::{
    File, FileOperations, Fops, GFP_KERNEL, Inode, PAGE_SIZE, VmAreaStruct, copy_from_user, copy_to_user,
    device_create, device_destroy, errno, kfree, kzalloc, module, module_param, pr_info, register_chrdev,
    remap_pfn_range, unregister_chrdev, vfree, virt_to_phys, vm_insert_page, vmalloc_to_page, vzalloc,
};

module! {
    name: "sample_chardev",
    license: "MIT OR Apache-2.0",
    description: "a character device whose memory programs can map",
}

/// How the memory is mapped: a parameter.
static mut PFN: bool = false;
module_param!(PFN, "pfn", BOOL);

/// The device's memory.
const SIZE: u32 = 2 * PAGE_SIZE;
/// What it holds at first, at the beginning of each page.
const GREETING: &[u8] = b"the kernel's bytes, page ";
/// `ioctl`: how many opened the device.
const IOCTL_OPENED: u32 = 0x7001;

const NAME: &core::ffi::CStr = c"sample_chardev";

static MEMORY: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static MAJOR: AtomicU32 = AtomicU32::new(0);
static OPENED: AtomicU32 = AtomicU32::new(0);

static FOPS: Fops = Fops(FileOperations {
    open: Some(open),
    read: Some(read),
    write: Some(write),
    unlocked_ioctl: Some(ioctl),
    mmap: Some(mmap),
    ..FileOperations::NONE
});

fn by_pfn() -> bool {
    // SAFETY: set by the loader, and not since.
    unsafe { PFN }
}

fn free_memory() {
    let memory = MEMORY.swap(null_mut(), Relaxed);
    // SAFETY: ours; no program has the device open, or the module would stay.
    unsafe { if by_pfn() { kfree(memory) } else { vfree(memory) } };
}

#[unsafe(no_mangle)]
extern "C" fn init_module() -> i32 {
    // SAFETY: any size may be asked for.
    let memory = unsafe { if by_pfn() { kzalloc(SIZE, GFP_KERNEL) } else { vzalloc(SIZE) } };
    if memory.is_null() {
        return errno::ENOMEM.to_ret();
    }
    for page in 0..SIZE / PAGE_SIZE {
        // SAFETY: the beginning of one of our pages has room for it.
        unsafe {
            let at = memory.add((page * PAGE_SIZE) as usize);
            at.copy_from_nonoverlapping(GREETING.as_ptr(), GREETING.len());
            at.add(GREETING.len()).write(b'0' + page as u8);
            at.add(GREETING.len() + 1).write(b'\n');
        }
    }
    MEMORY.store(memory, Relaxed);
    // SAFETY: the functions and the name are of this module.
    let major = unsafe { register_chrdev(0, NAME.as_ptr().cast(), FOPS.as_ptr()) };
    if major < 0 {
        free_memory();
        return major;
    }
    MAJOR.store(major as u32, Relaxed);
    // SAFETY: our major, and a name of this module.
    let made = unsafe { device_create(major as u32, 0, NAME.as_ptr().cast()) };
    if made < 0 {
        // SAFETY: as it was registered.
        unsafe { unregister_chrdev(major as u32, NAME.as_ptr().cast()) };
        free_memory();
        return made;
    }
    pr_info!("sample_chardev: major {major}");
    0
}

#[unsafe(no_mangle)]
extern "C" fn cleanup_module() {
    let major = MAJOR.load(Relaxed);
    // SAFETY: as they were made.
    unsafe {
        device_destroy(major, 0);
        unregister_chrdev(major, NAME.as_ptr().cast());
    }
    free_memory();
    pr_info!("sample_chardev: opened {} times", OPENED.load(Relaxed));
}

unsafe extern "C" fn open(_: *mut Inode, _: *mut File) -> i32 {
    OPENED.fetch_add(1, Relaxed);
    0
}

/// What is left from an offset on, at most `count` bytes: where, and how many.
fn window(pos: i64, count: usize) -> (*mut u8, usize) {
    let pos = u32::try_from(pos).unwrap_or(SIZE).min(SIZE);
    (MEMORY.load(Relaxed).wrapping_add(pos as usize), count.min((SIZE - pos) as usize))
}

unsafe extern "C" fn read(_: *mut File, to: *mut u8, count: usize, pos: *mut i64) -> isize {
    // SAFETY: the kernel's, for this call.
    let pos = unsafe { &mut *pos };
    let (at, count) = window(*pos, count);
    // SAFETY: as many bytes of ours.
    if unsafe { copy_to_user(to, at, count) } != 0 {
        return errno::EFAULT.to_ret() as isize;
    }
    *pos += count as i64;
    count as isize
}

unsafe extern "C" fn write(_: *mut File, from: *const u8, count: usize, pos: *mut i64) -> isize {
    // SAFETY: the kernel's, for this call.
    let pos = unsafe { &mut *pos };
    let wanted = count;
    let (at, count) = window(*pos, count);
    if count == 0 && wanted > 0 {
        return errno::ENOSPC.to_ret() as isize;
    }
    // SAFETY: room for as many bytes of ours.
    if unsafe { copy_from_user(at, from, count) } != 0 {
        return errno::EFAULT.to_ret() as isize;
    }
    *pos += count as i64;
    count as isize
}

unsafe extern "C" fn ioctl(_: *mut File, cmd: u32, _: usize) -> isize {
    match cmd {
        IOCTL_OPENED => OPENED.load(Relaxed) as isize,
        _ => errno::ENOTTY.to_ret() as isize,
    }
}

unsafe extern "C" fn mmap(_: *mut File, vma: *mut VmAreaStruct) -> i32 {
    // SAFETY: the kernel's, for this call; the functions below have their turn alone.
    let (start, size, offset, prot) = unsafe {
        let area = &*vma;
        (area.vm_start, area.vm_end - area.vm_start, area.vm_pgoff, area.vm_page_prot)
    };
    let fits = offset.checked_mul(PAGE_SIZE).and_then(|at| at.checked_add(size)).is_some_and(|end| end <= SIZE);
    if !fits {
        return errno::EINVAL.to_ret();
    }
    let memory = MEMORY.load(Relaxed).wrapping_add((offset * PAGE_SIZE) as usize);
    if by_pfn() {
        // SAFETY: frames that stay while the device is open, and a mapping keeps it open.
        return unsafe { remap_pfn_range(vma, start, virt_to_phys(memory.cast()) / PAGE_SIZE, size, prot) };
    }
    for at in (0..size).step_by(PAGE_SIZE as usize) {
        // SAFETY: pages of ours, which are counted.
        let result = unsafe {
            let page = vmalloc_to_page(memory.wrapping_add(at as usize).cast());
            vm_insert_page(vma, start + at, page)
        };
        if result != 0 {
            return result;
        }
    }
    0
}
