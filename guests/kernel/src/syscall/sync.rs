//! What is written becomes safe, and what will be read is brought.

use abi::errno::{EINVAL, ESPIPE, Result};

use super::user::file;
use crate::{
    block,
    fs::super_block,
    mm::{PAGE_SHIFT, filemap::AddressSpace, page_writeback},
};

/// `sync`
pub fn sync() -> Result<u32> {
    // Failures are told by `fsync`.
    let _ = super_block::sync_all();
    page_writeback::sync_all();
    for device in block::devices() {
        let _ = device.flush();
    }
    Ok(0)
}

/// `syncfs`
pub fn syncfs(fd: u32) -> Result<u32> {
    let file = file(fd)?;
    file.inode().sb().ops().map_or(Ok(0), |ops| ops.sync().map(|()| 0))
}

/// `fsync`, `fdatasync`. EIO and ENOSPC tell of a write that has failed since the last call.
pub fn fsync(fd: u32) -> Result<u32> {
    let file = file(fd)?;
    file.ops().fsync(&file).map(|()| 0)
}

/// `sync_file_range`
pub fn sync_file_range(fd: u32, range: [u32; 4], flags: u32) -> Result<u32> {
    const VALID_FLAGS: u32 = 7;
    if flags & !VALID_FLAGS != 0 {
        return Err(EINVAL);
    }
    let file = file(fd)?;
    let mapping = file.inode().mapping().ok_or(ESPIPE)?;
    let (first, count) = pages(range)?;
    let last = if count == 0 { u32::MAX } else { first.saturating_add(count - 1) };
    mapping.write_and_wait(first, last).map(|()| 0)
}

/// The pages of an offset and a length in bytes, each in two words.
fn pages([offset_lo, offset_hi, len_lo, len_hi]: [u32; 4]) -> Result<(u32, u32)> {
    let offset = u64::from(offset_hi) << 32 | u64::from(offset_lo);
    let len = u64::from(len_hi) << 32 | u64::from(len_lo);
    if (offset as i64) < 0 || (len as i64) < 0 {
        return Err(EINVAL);
    }
    let first = offset >> PAGE_SHIFT;
    let end = offset.saturating_add(len).div_ceil(1 << PAGE_SHIFT);
    Ok((first.min(u32::MAX.into()) as u32, (end.saturating_sub(first)).min(u32::MAX.into()) as u32))
}

/// `readahead`
pub fn readahead(fd: u32, [offset_lo, offset_hi]: [u32; 2], count: u32) -> Result<u32> {
    let file = file(fd)?;
    if !file.readable() {
        return Err(abi::errno::EBADF);
    }
    let mapping = file.ops().mapping(&file).ok_or(EINVAL)?;
    let (first, pages) = pages([offset_lo, offset_hi, count, 0])?;
    mapping.force_readahead(first, pages);
    Ok(0)
}

/// `fadvise64`, `fadvise64_64`
pub fn fadvise(fd: u32, range: [u32; 4], advice: u32) -> Result<u32> {
    const WILLNEED: u32 = 3;
    const DONTNEED: u32 = 4;
    const NOREUSE: u32 = 5;
    let file = file(fd)?;
    if advice > NOREUSE {
        return Err(EINVAL);
    }
    let Some(mapping) = file.ops().mapping(&file) else { return Ok(0) };
    let (first, count) = pages(range)?;
    let count = if count == 0 { whole(&mapping) } else { count };
    match advice {
        WILLNEED => mapping.force_readahead(first, count),
        DONTNEED => {
            mapping.write_and_wait(first, first.saturating_add(count))?;
            mapping.drop_clean_pages(first, first.saturating_add(count));
        }
        _ => {}
    }
    Ok(0)
}

fn whole(mapping: &AddressSpace) -> u32 {
    mapping.size().div_ceil(1 << PAGE_SHIFT).min(u32::MAX.into()) as u32
}
