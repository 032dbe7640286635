//! `brk`: the end of the heap.

use abi::books::{VmaRecord, vm};

use super::{
    PAGE_SHIFT, PAGE_SIZE,
    mm_struct::{MmGuard, MmStruct},
    mmap::page_align,
    munmap::unmap_range,
    vma::VmArea,
};
use crate::{arch::TASK_SIZE, task};

const RLIMIT_DATA: u32 = 2;

/// Moves the break and returns it; where that is impossible, it stays.
pub fn do_brk(mm: &MmStruct, brk: u32) -> u32 {
    let mut mm = mm.lock();
    if let Some(brk) = move_brk(&mut mm, brk) {
        mm.record_mut().brk = brk;
    }
    mm.record().brk
}

fn move_brk(mm: &mut MmGuard, brk: u32) -> Option<u32> {
    let r = *mm.record();
    if brk < r.start_brk || brk > TASK_SIZE {
        return None;
    }
    let data = brk - r.start_brk + (r.end_data - r.start_data);
    if data > task::rlimit(RLIMIT_DATA) {
        return None;
    }
    let (new, old) = (page_align(brk)?, page_align(r.brk)?);
    if new < old {
        unmap_range(mm, new, old);
    } else if new > old {
        // A page stays free below what follows.
        if mm.areas.find(old).is_some_and(|next| new + PAGE_SIZE > next.start_gap()) {
            return None;
        }
        do_brk_flags(mm, old, new - old, 0)?;
    }
    Some(brk)
}

/// `vm_brk_flags`: anonymous private memory at a fixed place, for the heap and for a
/// program's zeroed data. `exec` adds `VM_EXEC` by `flags`.
pub fn do_brk_flags(mm: &mut MmGuard, addr: u32, len: u32, flags: u32) -> Option<()> {
    let pages = len >> PAGE_SHIFT;
    if addr > TASK_SIZE - len || !mm.may_add_area() || !mm.enough_memory(pages) {
        return None;
    }
    if !mm.may_lock_more(mm.def_flags, len) || !mm.may_expand_vm(pages, addr, addr + len) {
        return None;
    }
    unmap_range(mm, addr, addr + len);
    let flags = flags | mm.def_flags | (vm::READ | vm::WRITE | vm::MAYREAD | vm::MAYWRITE | vm::MAYEXEC | vm::ACCOUNT);
    let record = VmaRecord { start: addr, end: addr + len, flags, pgoff: addr >> PAGE_SHIFT, ..VmaRecord::default() };
    mm.insert_area(VmArea { record, file: None, anon: false });
    mm.areas.merge(addr);
    mm.areas.merge(addr + len);
    if flags & vm::LOCKED != 0 {
        mm.populate(addr, addr + len);
    }
    Some(())
}
