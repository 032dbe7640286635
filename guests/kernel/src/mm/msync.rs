//! `msync`.

use abi::{
    books::vm,
    errno::{EBUSY, EINVAL, ENOMEM, Result},
};

use super::{
    mm_struct::MmStruct,
    mmap::{page_align, page_aligned},
};

const MS_ASYNC: u32 = 1;
const MS_INVALIDATE: u32 = 2;
const MS_SYNC: u32 = 4;

/// Brings a range of shared file memory to its file. EIO, ENOSPC.
pub fn do_msync(mm: &MmStruct, start: u32, len: u32, flags: u32) -> Result<()> {
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0
        || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC
        || !page_aligned(start)
    {
        return Err(EINVAL);
    }
    let len = page_align(len).ok_or(ENOMEM)?;
    let end = start.checked_add(len).ok_or(ENOMEM)?;
    let mut mm = mm.lock();
    let (mut at, mut hole) = (start, false);
    while at < end {
        let area = mm.areas.find(at).filter(|area| area.record.start < end).ok_or(ENOMEM)?.clone();
        hole |= area.record.start > at;
        at = at.max(area.record.start);
        if flags & MS_INVALIDATE != 0 && area.is(vm::LOCKED) {
            return Err(EBUSY);
        }
        let (first, last) = (area.pgoff(at), area.pgoff(area.record.end.min(end) - 1));
        let mapping = area.file.as_ref().filter(|_| area.is(vm::SHARED)).and_then(|file| file.address_space());
        if let Some(mapping) = mapping.filter(|_| flags & MS_SYNC != 0) {
            mm.unlocked(|| mapping.write_and_wait(first, last))?;
        }
        at = area.record.end;
    }
    if hole { Err(ENOMEM) } else { Ok(()) }
}
