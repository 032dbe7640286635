//! `mremap`: grows, shrinks and moves mappings.

use abi::{
    books::vm,
    errno::{EAGAIN, EFAULT, EINVAL, ENOMEM, Result},
};

use super::{
    PAGE_SHIFT,
    hugetlb::HPAGE_SIZE,
    hugetlb_fault::{huge_aligned, move_huge_range},
    memory::{move_page_tables, zap_range},
    mm_struct::{MAX_MAP_COUNT, MmGuard, MmStruct},
    mmap::{page_align, page_aligned},
    munmap::{munmap_locked, remove_areas},
    vma::VmArea,
};
use crate::arch::TASK_SIZE;

const MREMAP_MAYMOVE: u32 = 1;
const MREMAP_FIXED: u32 = 2;
const MREMAP_DONTUNMAP: u32 = 4;

/// Gives the `old_len` bytes at `addr` the length `new_len`; returns where they are then.
pub fn do_mremap(mm: &MmStruct, addr: u32, old_len: u32, new_len: u32, flags: u32, new_addr: u32) -> Result<u32> {
    let moves = flags & MREMAP_MAYMOVE != 0;
    if flags & !(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP) != 0
        || (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) != 0 && !moves)
        || (flags & MREMAP_DONTUNMAP != 0 && old_len != new_len)
        || !page_aligned(addr)
    {
        return Err(EINVAL);
    }
    let old_len = page_align(old_len).ok_or(EINVAL)?;
    let new_len = page_align(new_len).filter(|&len| len != 0).ok_or(EINVAL)?;
    let mut mm = mm.lock();
    let (mut old_len, mut new_len) = (old_len, new_len);
    if mm.areas.lookup(addr).ok_or(EFAULT)?.is(vm::HUGETLB) {
        let whole = |len: u32| len.checked_next_multiple_of(HPAGE_SIZE).ok_or(EINVAL);
        (old_len, new_len) = (whole(old_len)?, whole(new_len)?);
        // What is promised cannot grow.
        if !huge_aligned(addr) || !huge_aligned(new_addr) || new_len > old_len {
            return Err(EINVAL);
        }
    }

    let result = if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) != 0 {
        mm.remap_to(addr, old_len, new_len, flags, new_addr)?
    } else if old_len >= new_len {
        if old_len > new_len {
            munmap_locked(&mut mm, addr + new_len, old_len - new_len)?;
        }
        addr
    } else {
        let area = mm.vma_to_resize(addr, old_len, new_len, flags)?;
        if old_len == area.record.end - addr && mm.expandable(&area, new_len - old_len) {
            mm.expand(&area, new_len - old_len);
            addr
        } else if moves {
            let to = mm.get_unmapped_area(0, new_len, false)?;
            mm.move_vma(&area, addr, old_len, new_len, to, flags)?
        } else {
            return Err(ENOMEM);
        }
    };
    let locked = mm.areas.lookup(result).is_some_and(|area| area.is(vm::LOCKED));
    if locked && new_len > old_len {
        mm.populate(result + old_len, result + new_len);
    }
    Ok(result)
}

impl MmGuard<'_> {
    /// `mremap_to`: to a place that the caller names, or with the old mapping left empty.
    fn remap_to(&mut self, addr: u32, mut old_len: u32, new_len: u32, flags: u32, new_addr: u32) -> Result<u32> {
        let fixed = flags & MREMAP_FIXED != 0;
        if !page_aligned(new_addr) || new_len > TASK_SIZE || new_addr > TASK_SIZE - new_len {
            return Err(EINVAL);
        }
        let overlap = u64::from(addr) + u64::from(old_len) > u64::from(new_addr)
            && u64::from(new_addr) + u64::from(new_len) > u64::from(addr);
        if overlap {
            return Err(EINVAL);
        }
        if self.areas.len() + 2 >= MAX_MAP_COUNT - 3 {
            return Err(ENOMEM);
        }
        if fixed {
            munmap_locked(self, new_addr, new_len)?;
        }
        if old_len > new_len {
            munmap_locked(self, addr + new_len, old_len - new_len)?;
            old_len = new_len;
        }
        let area = self.vma_to_resize(addr, old_len, new_len, flags)?;
        let to = self.get_unmapped_area(new_addr, new_len, fixed)?;
        self.move_vma(&area, addr, old_len, new_len, to, flags)
    }

    /// The area, if it may change like this.
    fn vma_to_resize(&self, addr: u32, old_len: u32, new_len: u32, flags: u32) -> Result<VmArea> {
        let area = self.areas.lookup(addr).ok_or(EFAULT)?;
        // Only what is shared can be doubled.
        if old_len == 0 && area.record.flags & (vm::SHARED | vm::MAYSHARE) == 0 {
            return Err(EINVAL);
        }
        if flags & MREMAP_DONTUNMAP != 0 && area.record.flags & (vm::DONTEXPAND | vm::PFNMAP) != 0 {
            return Err(EINVAL);
        }
        if old_len > area.record.end - addr {
            return Err(EFAULT);
        }
        if new_len == old_len {
            return Ok(area.clone());
        }
        let pgoff = area.pgoff(addr);
        if pgoff.checked_add(new_len >> PAGE_SHIFT).is_none() {
            return Err(EINVAL);
        }
        if area.record.flags & (vm::DONTEXPAND | vm::PFNMAP) != 0 {
            return Err(EFAULT);
        }
        if !self.may_lock_more(area.record.flags, new_len.saturating_sub(old_len)) {
            return Err(EAGAIN);
        }
        let more = new_len.saturating_sub(old_len) >> PAGE_SHIFT;
        if !self.may_expand_vm(more, 0, 0) || area.is(vm::ACCOUNT) && !self.enough_memory(more) {
            return Err(ENOMEM);
        }
        Ok(area.clone())
    }

    /// Whether the area can grow upwards where it is.
    fn expandable(&self, area: &VmArea, delta: u32) -> bool {
        let end = area.record.end;
        end <= TASK_SIZE - delta && self.areas.find(end).is_none_or(|next| next.record.start >= end + delta)
    }

    fn expand(&mut self, area: &VmArea, delta: u32) {
        let (start, end) = (area.record.start, area.record.end + delta);
        self.areas.resize(start, start, end);
        self.change_total_vm((delta >> PAGE_SHIFT) as i32);
        self.areas.merge(end);
    }

    fn move_vma(&mut self, area: &VmArea, addr: u32, old_len: u32, new_len: u32, to: u32, flags: u32) -> Result<u32> {
        if self.areas.len() >= MAX_MAP_COUNT - 3 {
            return Err(ENOMEM);
        }
        let mut copy = area.clone();
        copy.record.pgoff = area.pgoff(addr);
        // Anonymous memory without a page has no history: it counts from its new address.
        if area.file.is_none() && !area.anon {
            copy.record.pgoff = to >> PAGE_SHIFT;
        }
        (copy.record.start, copy.record.end) = (to, to + new_len);
        self.insert_area(copy);
        if area.is(vm::HUGETLB) {
            // What was promised there is promised here: nothing is closed.
            move_huge_range(self, addr, to, old_len);
            remove_areas(self, addr, addr + old_len);
            return Ok(to);
        }
        if let Err(error) = move_page_tables(self, addr, to, old_len) {
            // What had been moved goes back; its tables still exist.
            let back = move_page_tables(self, to, addr, old_len);
            debug_assert!(back.is_ok());
            munmap_locked(self, to, new_len)?;
            return Err(error);
        }
        if flags & MREMAP_DONTUNMAP != 0 {
            if old_len != 0 {
                zap_range(self, addr, addr + old_len);
            }
        } else if old_len != 0 {
            munmap_locked(self, addr, old_len)?;
        }
        self.areas.merge(to);
        self.areas.merge(to + new_len);
        Ok(to)
    }
}
