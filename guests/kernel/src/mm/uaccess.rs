//! Reading and writing the memory of the running program. Any access may fault: demand
//! paging and copy-on-write happen as for the program itself, and what cannot be resolved
//! comes back as EFAULT through the exception table.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::{arch::asm, fmt, marker::PhantomData, mem::MaybeUninit};

use abi::errno::{EFAULT, ENAMETOOLONG, Result};

use crate::{arch::TASK_SIZE, sync::preemptible};

/// An address that a program claims to hold a `T`.
#[repr(transparent)]
pub struct UserPtr<T>(u32, PhantomData<fn() -> *mut T>);

impl<T> UserPtr<T> {
    /// From a system call's argument.
    pub const fn new(addr: u32) -> Self {
        UserPtr(addr, PhantomData)
    }

    /// The claimed address.
    pub const fn addr(self) -> u32 {
        self.0
    }

    /// The null pointer.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The pointer `count` elements further on.
    pub const fn add(self, count: u32) -> Self {
        UserPtr::new(self.0.wrapping_add(count.wrapping_mul(size_of::<T>() as u32)))
    }

    /// The same address as a pointer to something else.
    pub const fn cast<U>(self) -> UserPtr<U> {
        UserPtr::new(self.0)
    }
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for UserPtr<T> {}
impl<T> fmt::Debug for UserPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {:#010x}", self.0)
    }
}

/// Plain data: any bytes make a value, and it has no padding that could leak.
///
/// # Safety
/// Exactly that.
pub unsafe trait UserData: Copy {}

macro_rules! user_data {
    ($($ty:ty),*) => { $(
        // SAFETY: an integer.
        unsafe impl UserData for $ty {}
    )* };
}
user_data!(u8, i8, u16, i16, u32, i32, u64, i64);
// SAFETY: an array of such data has no padding of its own.
unsafe impl<T: UserData, const N: usize> UserData for [T; N] {}
// SAFETY: four words.
unsafe impl UserData for crate::arch::tls::UserDesc {}

/// Whether `len` bytes at `addr` lie below the kernel.
pub fn access_ok(addr: u32, len: usize) -> bool {
    addr.checked_add(len as u32).is_some_and(|end| end <= TASK_SIZE) && len <= TASK_SIZE as usize
}

/// Copies with faults allowed; returns how many bytes were not copied.
///
/// # Safety
/// The kernel's side is valid for `len` bytes.
unsafe fn raw_copy(to: u32, from: u32, len: usize) -> usize {
    let left: usize;
    // A fault in the word copy leaves ECX words and the rest to go; one in the byte copy ECX
    // bytes. ESI is reserved by the compiler, hence the exchange.
    // SAFETY: by the caller; faults continue at the labels of the exception table.
    unsafe {
        asm!(
            "xchg esi, {from}",
            "mov edx, ecx",
            "and edx, 3",
            "shr ecx, 2",
            "2: rep movsd",
            "mov ecx, edx",
            "3: rep movsb",
            "jmp 5f",
            "4: lea ecx, [edx + ecx * 4]",
            "5: mov esi, {from}",
            ".pushsection __ex_table, \"a\"",
            ".long 2b, 4b, 3b, 5b",
            ".popsection",
            from = inout(reg) from => _,
            inout("ecx") len => left,
            out("edx") _,
            inout("edi") to => _,
            options(nostack),
        );
    }
    left
}

/// The same; an interrupt may give the CPU away in the middle, as a fault may in any case.
///
/// # Safety
/// As for [`raw_copy`].
unsafe fn copy(to: u32, from: u32, len: usize) -> usize {
    // SAFETY: by the caller.
    preemptible(|| unsafe { raw_copy(to, from, len) })
}

/// Copies bytes out of the program's memory.
pub fn copy_from_user(to: &mut [u8], from: UserPtr<u8>) -> Result<()> {
    if !access_ok(from.0, to.len()) {
        return Err(EFAULT);
    }
    // SAFETY: `to` is ours.
    match unsafe { copy(to.as_mut_ptr() as u32, from.0, to.len()) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}

/// Copies bytes into the program's memory.
pub fn copy_to_user(to: UserPtr<u8>, from: &[u8]) -> Result<()> {
    if !access_ok(to.0, from.len()) {
        return Err(EFAULT);
    }
    // SAFETY: `from` is ours.
    match unsafe { copy(to.0, from.as_ptr() as u32, from.len()) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}

/// As `copy_to_user`, but says how many bytes were written before a fault.
pub fn copy_to_user_partial(to: UserPtr<u8>, from: &[u8]) -> usize {
    if to.0 >= TASK_SIZE {
        return 0;
    }
    let len = from.len().min((TASK_SIZE - to.0) as usize);
    // SAFETY: `from` is ours.
    len - unsafe { copy(to.0, from.as_ptr() as u32, len) }
}

/// As `copy_from_user`, but says how many bytes were read before a fault.
pub fn copy_from_user_partial(to: &mut [u8], from: UserPtr<u8>) -> usize {
    if from.0 >= TASK_SIZE {
        return 0;
    }
    let len = to.len().min((TASK_SIZE - from.0) as usize);
    // SAFETY: `to` is ours.
    len - unsafe { copy(to.as_mut_ptr() as u32, from.0, len) }
}

/// Reads a value. Once it is read nothing else runs in the kernel until the caller sleeps.
pub fn get_user<T: UserData>(from: UserPtr<T>) -> Result<T> {
    let mut value = MaybeUninit::<T>::uninit();
    if !access_ok(from.0, size_of::<T>()) {
        return Err(EFAULT);
    }
    // SAFETY: the value is ours; any bytes make a `T`.
    unsafe {
        match raw_copy(value.as_mut_ptr() as u32, from.0, size_of::<T>()) {
            0 => Ok(value.assume_init()),
            _ => Err(EFAULT),
        }
    }
}

/// Writes a value. As with [`get_user`], nothing runs between it and what follows.
pub fn put_user<T: UserData>(to: UserPtr<T>, value: T) -> Result<()> {
    if !access_ok(to.0, size_of::<T>()) {
        return Err(EFAULT);
    }
    // SAFETY: the value is ours.
    match unsafe { raw_copy(to.0, (&raw const value) as u32, size_of::<T>()) } {
        0 => Ok(()),
        _ => Err(EFAULT),
    }
}

/// Zeroes bytes of the program's memory.
pub fn clear_user(to: UserPtr<u8>, len: usize) -> Result<()> {
    static ZEROES: [u8; 512] = [0; 512];
    let mut done = 0;
    while done < len {
        let step = (len - done).min(ZEROES.len());
        copy_to_user(to.add(done as u32), &ZEROES[..step])?;
        done += step;
    }
    Ok(())
}

/// Reads a string up to its zero, which is not kept. ENAMETOOLONG if there is none within
/// `max` bytes.
pub fn strncpy_from_user(from: UserPtr<u8>, max: usize) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut chunk = [0u8; 64];
    while text.len() < max {
        // To the end of an aligned chunk: what lies behind the string may be unmapped.
        let at = from.add(text.len() as u32);
        let room = 64 - (at.0 & 63) as usize;
        let got = copy_from_user_partial(&mut chunk[..room], at);
        if let Some(end) = chunk[..got].iter().position(|&b| b == 0) {
            if text.len() + end >= max {
                return Err(ENAMETOOLONG);
            }
            text.extend_from_slice(&chunk[..end]);
            return Ok(text);
        }
        if got < room {
            return Err(EFAULT);
        }
        text.extend_from_slice(&chunk[..got]);
    }
    Err(ENAMETOOLONG)
}
