//! Reading, writing, seeking.

use abi::errno::{EBADF, EFAULT, EINVAL, Result};

use super::user::{bytes, file, store};
use crate::{
    fs::{
        Dest, File, Source, Whence,
        file::o,
        iov::{IoVec, MAX_RW_COUNT, import_iovec},
    },
    mm::uaccess::access_ok,
};

fn one(addr: u32, len: u32) -> Result<[IoVec; 1]> {
    if len as i32 <= -1 {
        return Err(EINVAL);
    }
    if !access_ok(addr, len as usize) {
        return Err(EFAULT);
    }
    Ok([(addr, len.min(MAX_RW_COUNT))])
}

fn offset(low: u32, high: u32) -> Result<u64> {
    let at = u64::from(low) | u64::from(high) << 32;
    if at as i64 >= 0 { Ok(at) } else { Err(EINVAL) }
}

fn count(result: Result<usize>) -> Result<u32> {
    result.map(|count| count as u32)
}

/// `read`
pub fn read(fd: u32, addr: u32, len: u32) -> Result<u32> {
    let file = file(fd)?;
    let mut list = if file.readable() { one(addr, len)? } else { return Err(EBADF) };
    count(file.read(&mut Dest::User(&mut list)))
}

/// `write`
pub fn write(fd: u32, addr: u32, len: u32) -> Result<u32> {
    let file = file(fd)?;
    let mut list = if file.writable() { one(addr, len)? } else { return Err(EBADF) };
    count(file.write(&mut Source::User(&mut list)))
}

/// `readv`
pub fn readv(fd: u32, iov: u32, len: u32) -> Result<u32> {
    let file = file(fd)?;
    count(file.read(&mut Dest::User(&mut import_iovec(iov, len)?)))
}

/// `writev`
pub fn writev(fd: u32, iov: u32, len: u32) -> Result<u32> {
    let file = file(fd)?;
    count(file.write(&mut Source::User(&mut import_iovec(iov, len)?)))
}

/// `pread64`
pub fn pread64(fd: u32, addr: u32, len: u32, low: u32, high: u32) -> Result<u32> {
    let (file, at) = (file(fd)?, offset(low, high)?);
    count(file.read_at(&mut Dest::User(&mut one(addr, len)?), at))
}

/// `pwrite64`
pub fn pwrite64(fd: u32, addr: u32, len: u32, low: u32, high: u32) -> Result<u32> {
    let (file, at) = (file(fd)?, offset(low, high)?);
    count(file.write_at(&mut Source::User(&mut one(addr, len)?), at))
}

/// `preadv`
pub fn preadv(fd: u32, iov: u32, len: u32, low: u32, high: u32) -> Result<u32> {
    let (file, at) = (file(fd)?, offset(low, high)?);
    count(file.read_at(&mut Dest::User(&mut import_iovec(iov, len)?), at))
}

/// `pwritev`
pub fn pwritev(fd: u32, iov: u32, len: u32, low: u32, high: u32) -> Result<u32> {
    let (file, at) = (file(fd)?, offset(low, high)?);
    count(file.write_at(&mut Source::User(&mut import_iovec(iov, len)?), at))
}

/// `lseek`
pub fn lseek(fd: u32, offset: u32, whence: u32) -> Result<u32> {
    let file = file(fd)?;
    let at = file.ops().llseek(&file, (offset as i32).into(), Whence::new(whence)?)?;
    u32::try_from(at).ok().filter(|&at| at as i32 >= 0).ok_or(abi::errno::EOVERFLOW)
}

/// `_llseek`
pub fn llseek(fd: u32, high: u32, low: u32, result: u32, whence: u32) -> Result<u32> {
    let file = file(fd)?;
    let offset = (u64::from(high) << 32 | u64::from(low)) as i64;
    let at = file.ops().llseek(&file, offset, Whence::new(whence)?)?;
    store(result, &at.to_le_bytes())?;
    Ok(0)
}

/// Bytes moved at a time between two files.
const CHUNK: usize = 16384;

/// Moves up to `len` bytes from `from` at `at` (`None`: its own offset) to `to`.
fn splice(to: &File, to_at: Option<&mut u64>, from: &File, at: Option<&mut u64>, len: u32) -> Result<usize> {
    let (mut at, mut to_at) = (at, to_at);
    let mut left = len.min(MAX_RW_COUNT) as usize;
    let mut chunk = alloc::vec![0; left.min(CHUNK)];
    let mut done = 0;
    while left > 0 {
        let want = left.min(chunk.len());
        let start = at.as_deref().copied().unwrap_or(from.pos());
        let mut dest = Dest::Kernel(&mut chunk[..want], 0);
        let got = match if at.is_some() { from.read_at(&mut dest, start) } else { from.read(&mut dest) } {
            Ok(0) => break,
            Ok(got) => got,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        let mut source = Source::Kernel(&chunk[..got]);
        let written = match to_at.as_deref() {
            Some(&to_at) => to.write_at(&mut source, to_at),
            None => to.write(&mut source),
        };
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                if at.is_none() {
                    from.set_pos(start);
                }
                if done > 0 {
                    break;
                }
                return Err(error);
            }
        };
        done += written;
        left -= written;
        match &mut at {
            Some(at) => **at += written as u64,
            None if written < got => from.set_pos(start + written as u64),
            None => {}
        }
        if let Some(to_at) = &mut to_at {
            **to_at += written as u64;
        }
        if written < got || got < want {
            break;
        }
    }
    Ok(done)
}

/// `sendfile64`, and with words as offsets `sendfile`.
pub fn sendfile(out: u32, input: u32, offset_addr: u32, len: u32, offset_bytes: usize) -> Result<u32> {
    let (to, from) = (file(out)?, file(input)?);
    if !from.readable() || !to.writable() {
        return Err(EBADF);
    }
    // Only a file with pages can be sent, and not to one in append mode.
    if from.inode().mapping().is_none() || to.flags() & o::APPEND != 0 {
        return Err(EINVAL);
    }
    if offset_addr == 0 {
        return count(splice(&to, None, &from, None, len));
    }
    let mut at = match offset_bytes {
        4 => u64::from(u32::from_le_bytes(bytes(offset_addr)?)),
        _ => u64::from_le_bytes(bytes(offset_addr)?),
    };
    let done = splice(&to, None, &from, Some(&mut at), len)?;
    store(offset_addr, &at.to_le_bytes()[..offset_bytes])?;
    Ok(done as u32)
}

/// `copy_file_range`
pub fn copy_file_range(input: u32, in_addr: u32, out: u32, out_addr: u32, len: u32, flags: u32) -> Result<u32> {
    let (from, to) = (file(input)?, file(out)?);
    if flags != 0 || from.inode().mapping().is_none() || to.inode().mapping().is_none() {
        return Err(EINVAL);
    }
    if !from.readable() || !to.writable() || to.flags() & o::APPEND != 0 {
        return Err(EBADF);
    }
    let load = |addr: u32| -> Result<Option<u64>> {
        if addr == 0 { Ok(None) } else { Ok(Some(u64::from_le_bytes(bytes(addr)?))) }
    };
    let (mut in_at, mut out_at) = (load(in_addr)?, load(out_addr)?);
    let done = splice(&to, out_at.as_mut(), &from, in_at.as_mut(), len)?;
    for (addr, at) in [(in_addr, in_at), (out_addr, out_at)] {
        if let Some(at) = at {
            store(addr, &at.to_le_bytes())?;
        }
    }
    Ok(done as u32)
}
