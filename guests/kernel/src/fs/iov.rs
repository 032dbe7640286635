//! Where the bytes of a read go and those of a write come from.

use alloc::vec::Vec;

use abi::errno::{EFAULT, EINVAL, Result};

use crate::mm::uaccess::{self, UserPtr};

/// A piece of user memory: address and length.
pub type IoVec = (u32, u32);

/// Most pieces in one call.
pub const UIO_MAXIOV: u32 = 1024;
/// Linux moves at most this many bytes in one call.
pub const MAX_RW_COUNT: u32 = 0x7fff_f000;

/// Reads the array of a `readv` or `writev`: EINVAL for too many or a negative length, EFAULT
/// for a piece in the kernel's half.
pub fn import_iovec(addr: u32, count: u32) -> Result<Vec<IoVec>> {
    let mut list = iovec_from_user(addr, count)?;
    let mut left = MAX_RW_COUNT;
    for (base, len) in &mut list {
        if !uaccess::access_ok(*base, *len as usize) {
            return Err(EFAULT);
        }
        *len = left.min(*len);
        left -= *len;
    }
    Ok(list)
}

/// The same for an array that tells of another process's memory, whose addresses are not
/// looked at yet.
pub fn iovec_from_user(addr: u32, count: u32) -> Result<Vec<IoVec>> {
    if count > UIO_MAXIOV {
        return Err(EINVAL);
    }
    let mut bytes = alloc::vec![0; count as usize * 8];
    uaccess::copy_from_user(&mut bytes, UserPtr::new(addr))?;
    let piece = |bytes: &[u8]| (abi::wire::u32_at(bytes, 0), abi::wire::u32_at(bytes, 4));
    let list: Vec<IoVec> = bytes.chunks_exact(8).map(piece).collect();
    if list.iter().any(|&(_, len)| len > i32::MAX as u32) { Err(EINVAL) } else { Ok(list) }
}

/// The target of a read: user memory in pieces, or a buffer of the kernel.
pub enum Dest<'a> {
    /// User memory.
    User(&'a mut [IoVec]),
    /// A buffer of the kernel and how much of it is filled.
    Kernel(&'a mut [u8], usize),
}

impl Dest<'_> {
    /// Bytes that still fit.
    pub fn remaining(&self) -> usize {
        match self {
            Dest::User(list) => list.iter().map(|&(_, len)| len as usize).sum(),
            Dest::Kernel(buffer, filled) => buffer.len() - *filled,
        }
    }

    /// Stores as many of `bytes` as fit and says how many; EFAULT if the first byte has
    /// nowhere to go.
    pub fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Dest::User(list) => {
                pieces(list, bytes.len(), |addr, from, to| uaccess::copy_to_user(UserPtr::new(addr), &bytes[from..to]))
            }
            Dest::Kernel(buffer, filled) => {
                let count = bytes.len().min(buffer.len() - *filled);
                buffer[*filled..*filled + count].copy_from_slice(&bytes[..count]);
                *filled += count;
                Ok(count)
            }
        }
    }
}

/// The origin of a write.
pub enum Source<'a> {
    /// User memory.
    User(&'a mut [IoVec]),
    /// Bytes of the kernel.
    Kernel(&'a [u8]),
}

impl Source<'_> {
    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        match self {
            Source::User(list) => list.iter().map(|&(_, len)| len as usize).sum(),
            Source::Kernel(bytes) => bytes.len(),
        }
    }

    /// Fills `buffer` as far as there is something, and says how far; EFAULT if the first
    /// byte cannot be read.
    pub fn take(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Source::User(list) => {
                let want = buffer.len();
                pieces(list, want, |addr, from, to| uaccess::copy_from_user(&mut buffer[from..to], UserPtr::new(addr)))
            }
            Source::Kernel(bytes) => {
                let count = buffer.len().min(bytes.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                *bytes = &bytes[count..];
                Ok(count)
            }
        }
    }
}

/// Moves up to `want` bytes piece by piece, never more than one page at a time, so that the
/// bytes before a bad page count.
fn pieces(list: &mut [IoVec], want: usize, mut copy: impl FnMut(u32, usize, usize) -> Result<()>) -> Result<usize> {
    let mut done = 0;
    for (addr, len) in list.iter_mut() {
        while *len > 0 && done < want {
            let to_page_end = 4096 - (*addr as usize & 0xfff);
            let count = to_page_end.min(*len as usize).min(want - done);
            if copy(*addr, done, done + count).is_err() {
                return if done > 0 { Ok(done) } else { Err(EFAULT) };
            }
            *addr = addr.wrapping_add(count as u32);
            *len -= count as u32;
            done += count;
        }
    }
    Ok(done)
}
