//! Arguments that lie in the program's memory.

use alloc::{sync::Arc, vec::Vec};

use abi::{
    errno::{EINVAL, Result},
    stat::Timespec,
    wire::{record, u32_at, u64_at},
};

use crate::{
    fs::{Dentry, File, namei::PATH_MAX},
    mm::uaccess::{UserPtr, copy_from_user, copy_to_user, strncpy_from_user},
    task::current,
};

/// `AT_FDCWD`.
pub const AT_FDCWD: u32 = -100i32 as u32;
/// `AT_EMPTY_PATH`.
pub const AT_EMPTY_PATH: u32 = 0x1000;
/// `AT_SYMLINK_NOFOLLOW`.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// `AT_SYMLINK_FOLLOW`.
pub const AT_SYMLINK_FOLLOW: u32 = 0x400;
/// `AT_REMOVEDIR`.
pub const AT_REMOVEDIR: u32 = 0x200;
/// `AT_EACCESS`.
pub const AT_EACCESS: u32 = 0x200;

/// A path.
pub fn path(addr: u32) -> Result<Vec<u8>> {
    strncpy_from_user(UserPtr::new(addr), PATH_MAX)
}

/// The file of a descriptor.
pub fn file(fd: u32) -> Result<Arc<File>> {
    current().files().lock().get(fd)
}

/// Where a relative path begins: `None` for the working directory.
pub fn dirfd(fd: u32, path: &[u8]) -> Result<Option<Arc<Dentry>>> {
    if fd == AT_FDCWD || path.starts_with(b"/") {
        return Ok(None);
    }
    let file = file(fd)?;
    if !path.is_empty() && !file.inode().is_dir() {
        return Err(abi::errno::ENOTDIR);
    }
    Ok(Some(file.dentry().clone()))
}

/// Bytes at an address.
pub fn bytes<const N: usize>(addr: u32) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    copy_from_user(&mut bytes, UserPtr::new(addr))?;
    Ok(bytes)
}

/// Stores bytes.
pub fn store(addr: u32, bytes: &[u8]) -> Result<()> {
    copy_to_user(UserPtr::new(addr), bytes)
}

/// Stores a word, unless the address is null.
pub fn store_u32_opt(addr: u32, value: u32) -> Result<()> {
    if addr == 0 { Ok(()) } else { store(addr, &value.to_le_bytes()) }
}

/// Which of the two layouts of `timespec`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeFormat {
    /// Two words.
    Time32,
    /// Two 64-bit numbers.
    Time64,
}

/// A `timespec` as it is.
pub fn timespec(addr: u32, format: TimeFormat) -> Result<Timespec> {
    match format {
        TimeFormat::Time32 => {
            let b: [u8; 8] = bytes(addr)?;
            Ok(Timespec { sec: (u32_at(&b, 0) as i32).into(), nsec: u32_at(&b, 4) })
        }
        TimeFormat::Time64 => {
            let b: [u8; 16] = bytes(addr)?;
            Ok(Timespec { sec: u64_at(&b, 0) as i64, nsec: u32_at(&b, 8) })
        }
    }
}

/// A span of time in nanoseconds; EINVAL for one that is none.
pub fn duration_ns(addr: u32, format: TimeFormat) -> Result<u64> {
    let t = timespec(addr, format)?;
    if t.sec < 0 || t.nsec >= 1_000_000_000 {
        return Err(EINVAL);
    }
    // Longer than the machine will ever run is the same as for ever.
    let sec = (t.sec as u64).min(u64::MAX / 4_000_000_000);
    Ok(sec * 1_000_000_000 + u64::from(t.nsec))
}

/// Stores a time.
pub fn store_timespec(addr: u32, format: TimeFormat, ns: u64) -> Result<()> {
    let (sec, nsec) = (ns / 1_000_000_000, (ns % 1_000_000_000) as u32);
    match format {
        TimeFormat::Time32 => store(addr, &record::<8>(|w| _ = w.u32(sec as u32).u32(nsec))),
        TimeFormat::Time64 => store(addr, &record::<16>(|w| _ = w.u64(sec).u64(nsec.into()))),
    }
}
