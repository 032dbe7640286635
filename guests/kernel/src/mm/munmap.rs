//! `munmap`.

use abi::errno::{EINVAL, ENOMEM, Result};

use super::{
    hugetlb_fault::{close_huge_areas, may_split},
    memory::{free_pgtables, zap_range},
    mm_struct::{MmGuard, MmStruct},
    mmap::{page_align, page_aligned},
};
use crate::arch::TASK_SIZE;

/// Unmaps a range; what is not mapped in it stays so.
pub fn do_munmap(mm: &MmStruct, start: u32, len: u32) -> Result<()> {
    munmap_locked(&mut mm.lock(), start, len)
}

/// The same, with the lock held.
pub fn munmap_locked(mm: &mut MmGuard, start: u32, len: u32) -> Result<()> {
    if !page_aligned(start) || start > TASK_SIZE || len > TASK_SIZE - start {
        return Err(EINVAL);
    }
    let len = page_align(len).filter(|&len| len != 0).ok_or(EINVAL)?;
    let end = start + len;
    if !may_split(mm, start) || !may_split(mm, end) {
        return Err(EINVAL);
    }
    // A hole in one area makes one more.
    let splits = mm.areas.lookup(start).is_some_and(|area| area.record.start < start && area.record.end > end);
    if splits && !mm.may_add_area() {
        return Err(ENOMEM);
    }
    unmap_range(mm, start, end);
    Ok(())
}

/// Takes all areas of a range out, with their pages and the tables that are empty then.
pub fn unmap_range(mm: &mut MmGuard, start: u32, end: u32) {
    if !mm.areas.intersects(start, end) {
        return;
    }
    zap_range(mm, start, end);
    close_huge_areas(mm, start, end);
    remove_areas(mm, start, end);
}

/// Takes all areas of a range out that map nothing any more.
pub fn remove_areas(mm: &mut MmGuard, start: u32, end: u32) {
    let mut pages = 0;
    mm.areas.remove_range(start, end, |area| pages += area.pages());
    mm.change_total_vm(-(pages as i32));
    free_pgtables(mm, start, end);
}
