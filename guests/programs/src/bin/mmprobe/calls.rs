//! The system calls of the mmap family as the kernel has them, without a library's opinion
//! on their arguments. What they do to this process is the probe's own affair: it uses
//! them on addresses of its window alone.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use libc::c_long;

/// A call's value, or the name of its error.
pub type Answer = Result<usize, String>;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// What a call has returned.
pub fn answer(value: c_long) -> Answer {
    if value == -1 { Err(errno_name(&io::Error::last_os_error())) } else { Ok(value as usize) }
}

/// The name of an error, or its text.
pub fn errno_name(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(libc::EACCES) => "EACCES",
        Some(libc::EAGAIN) => "EAGAIN",
        Some(libc::EBADF) => "EBADF",
        Some(libc::EEXIST) => "EEXIST",
        Some(libc::EFAULT) => "EFAULT",
        Some(libc::EINTR) => "EINTR",
        Some(libc::EINVAL) => "EINVAL",
        Some(libc::EIO) => "EIO",
        Some(libc::ENODEV) => "ENODEV",
        Some(libc::ENOMEM) => "ENOMEM",
        Some(libc::ENOSYS) => "ENOSYS",
        Some(libc::EOPNOTSUPP) => "EOPNOTSUPP",
        Some(libc::EOVERFLOW) => "EOVERFLOW",
        Some(libc::EPERM) => "EPERM",
        Some(libc::ESRCH) => "ESRCH",
        _ => return sys_reason(error),
    };
    name.into()
}

fn sys_reason(error: &io::Error) -> String {
    pagewalk_programs::sys::reason(error)
}

/// `mmap2`: the offset is in pages.
pub fn mmap(address: usize, len: usize, prot: i32, flags: i32, fd: i32, page_offset: usize) -> Answer {
    // SAFETY: see the module; MAP_FIXED is used on addresses of the window only.
    answer(unsafe { libc::syscall(libc::SYS_mmap2, address, len, prot, flags, fd, page_offset) })
}

/// `munmap`
pub fn munmap(address: usize, len: usize) -> Answer {
    // SAFETY: see the module.
    answer(unsafe { libc::syscall(libc::SYS_munmap, address, len) })
}

/// `mprotect`
pub fn mprotect(address: usize, len: usize, prot: i32) -> Answer {
    // SAFETY: see the module.
    answer(unsafe { libc::syscall(libc::SYS_mprotect, address, len, prot) })
}

/// `mremap`
pub fn mremap(address: usize, old_len: usize, new_len: usize, flags: i32, new_address: usize) -> Answer {
    // SAFETY: see the module.
    answer(unsafe { libc::syscall(libc::SYS_mremap, address, old_len, new_len, flags, new_address) })
}

/// `madvise`
pub fn madvise(address: usize, len: usize, advice: i32) -> Answer {
    // SAFETY: see the module.
    answer(unsafe { libc::syscall(libc::SYS_madvise, address, len, advice) })
}

/// `msync`
pub fn msync(address: usize, len: usize, flags: i32) -> Answer {
    // SAFETY: see the module.
    answer(unsafe { libc::syscall(libc::SYS_msync, address, len, flags) })
}

/// `mincore`: `r` for each page in memory, `-` for the others.
pub fn mincore(address: usize, pages: usize) -> Result<String, String> {
    let mut residency = vec![0u8; pages];
    // SAFETY: the vector has a byte for each page.
    answer(unsafe { libc::syscall(libc::SYS_mincore, address, pages * PAGE, residency.as_mut_ptr()) })?;
    Ok(residency.iter().map(|byte| if byte & 1 != 0 { 'r' } else { '-' }).collect())
}

/// `mincore` of a range, whose bytes go to `vec`.
pub fn mincore_at(address: usize, len: usize, vec: usize) -> Answer {
    // SAFETY: see the module; the bytes go to memory of the probe's, or give EFAULT.
    answer(unsafe { libc::syscall(libc::SYS_mincore, address, len, vec) })
}

/// `mlock`
pub fn mlock(address: usize, len: usize) -> Answer {
    // SAFETY: see the module.
    answer(unsafe { libc::syscall(libc::SYS_mlock, address, len) })
}

/// `munlock`
pub fn munlock(address: usize, len: usize) -> Answer {
    // SAFETY: see the module.
    answer(unsafe { libc::syscall(libc::SYS_munlock, address, len) })
}

/// `brk`: the program break after it, which is the old one if it failed.
pub fn brk(address: usize) -> usize {
    // SAFETY: the probe moves the break up and back, and allocates nothing in between.
    unsafe { libc::syscall(libc::SYS_brk, address) as usize }
}

/// A file in memory of `len` bytes, every page filled with its number, counted from 1.
pub fn memory_file(name: &std::ffi::CStr, len: usize) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let bytes: Vec<u8> = (0..len).map(|at| (at / PAGE) as u8 + 1).collect();
    // SAFETY: the length is that of the vector.
    let written = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), len) };
    if written == len as isize { Ok(fd) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Has the kernel put a byte at an address: the answer of `read` from `/dev/zero`.
pub fn kernel_writes(address: usize) -> Answer {
    let zeros = std::fs::File::open("/dev/zero").map_err(|error| errno_name(&error))?;
    // SAFETY: the kernel checks the address itself; only the window is written.
    answer(unsafe { libc::syscall(libc::SYS_read, zeros.as_raw_fd(), address, 1) })
}

/// Has the kernel take a byte from an address: the answer of `write` to a file in memory.
pub fn kernel_reads(address: usize) -> Answer {
    let file = memory_file(c"sink", 0).map_err(|error| errno_name(&error))?;
    // SAFETY: the kernel checks the address itself.
    answer(unsafe { libc::syscall(libc::SYS_write, file.as_raw_fd(), address, 1) })
}

/// Reads a byte. May fault, as the probe wants it to.
pub fn peek(address: usize) -> u8 {
    // SAFETY: a volatile access that the processor either performs or turns into a signal.
    unsafe { std::ptr::read_volatile(address as *const u8) }
}

/// Writes a byte of the window. May fault, as the probe wants it to.
pub fn poke(address: usize, value: u8) {
    // SAFETY: as for `peek`; only the window is written.
    unsafe { std::ptr::write_volatile(address as *mut u8, value) }
}

/// Reads a word, as [`peek`] does a byte.
pub fn load(address: usize) -> u32 {
    // SAFETY: as for `peek`.
    unsafe { std::ptr::read_volatile(address as *const u32) }
}

/// Writes a word of a mapping of the probe's own, as [`poke`] does a byte.
pub fn store(address: usize, value: u32) {
    // SAFETY: as for `poke`.
    unsafe { std::ptr::write_volatile(address as *mut u32, value) }
}

/// Runs the `ret` instruction that the probe has put at an address.
pub fn call(address: usize) {
    // SAFETY: the caller has written a `ret` there; if it can't be executed, a signal says so.
    unsafe {
        let function: extern "C" fn() = std::mem::transmute(address);
        function();
    }
}

/// Executes an instruction that ends in an exception.
pub fn instruction(which: Trap) {
    // SAFETY: each faults before it changes anything, or changes nothing but EAX and EDX.
    unsafe {
        match which {
            Trap::Hlt => std::arch::asm!("hlt"),
            Trap::Ud2 => std::arch::asm!("ud2"),
            Trap::Int3 => std::arch::asm!("int3"),
            Trap::In => std::arch::asm!("in al, 0x60", out("al") _),
            Trap::DivideByZero => {
                std::arch::asm!("div {0:e}", in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _)
            }
        }
    }
}

/// An instruction that ends in an exception.
#[derive(Clone, Copy, Debug)]
pub enum Trap {
    Hlt,
    Ud2,
    Int3,
    In,
    DivideByZero,
}
