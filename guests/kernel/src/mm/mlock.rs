//! `mlock` and its kin.

use abi::{
    books::vm,
    errno::{EINVAL, ENOMEM, EPERM, Result},
};

use super::{
    PAGE_SHIFT, PAGE_SIZE,
    mm_struct::{MmGuard, MmStruct},
    mmap::page_align,
    page::pg,
    pgtable::PteExt,
    swap::{mlock_page, munlock_page},
    vma::VmArea,
};
use crate::{
    arch::TASK_SIZE,
    task::{self, current},
};

const RLIMIT_MEMLOCK: u32 = 8;

const MCL_CURRENT: u32 = 1;
const MCL_FUTURE: u32 = 2;
const MCL_ONFAULT: u32 = 4;

/// Whether the caller may lock as much as he likes (`CAP_IPC_LOCK`).
fn is_unlimited() -> bool {
    current().cred.lock().euid == 0
}

/// `can_do_mlock`: whether he may lock anything.
pub fn can_do_mlock() -> bool {
    is_unlimited() || task::rlimit(RLIMIT_MEMLOCK) != 0
}

impl MmGuard<'_> {
    /// `mlock_future_check`: whether `len` bytes more in an area with these flags stay below the
    /// limit of locked memory.
    pub fn may_lock_more(&self, flags: u32, len: u32) -> bool {
        flags & vm::LOCKED == 0 || self.locked_vm() + (len >> PAGE_SHIFT) <= lock_limit() || is_unlimited()
    }

    /// Locked pages of a range.
    fn locked_in(&self, start: u32, end: u32) -> u32 {
        let locked = self.areas.iter().filter(|area| area.is(vm::LOCKED));
        let inside = |area: &VmArea| area.record.end.min(end).saturating_sub(area.record.start.max(start));
        locked.map(|area| inside(area) >> PAGE_SHIFT).sum()
    }
}

/// Pages that may be locked (`RLIMIT_MEMLOCK`).
fn lock_limit() -> u32 {
    task::rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT
}

/// Keeps the pages of a range in memory, bringing them now unless `on_fault`. EPERM and ENOMEM
/// for who may lock nothing or not so much; ENOMEM for a hole, up to which it is done.
pub fn do_mlock(mm: &MmStruct, start: u32, len: u32, on_fault: bool) -> Result<()> {
    if !can_do_mlock() {
        return Err(EPERM);
    }
    let (start, end) = whole_pages(start, len)?;
    let mut mm = mm.lock();
    let locked = mm.locked_vm() - mm.locked_in(start, end) + ((end - start) >> PAGE_SHIFT);
    if locked > lock_limit() && !is_unlimited() {
        return Err(ENOMEM);
    }
    apply(&mut mm, start, end, |flags| flags | vm::LOCKED)?;
    if !on_fault {
        mm.populate(start, end);
    }
    Ok(())
}

/// Lets them go. ENOMEM for a hole, up to which it is done.
pub fn do_munlock(mm: &MmStruct, start: u32, len: u32) -> Result<()> {
    let (start, end) = whole_pages(start, len)?;
    apply(&mut mm.lock(), start, end, |flags| flags & !vm::LOCKED)
}

/// Puts the pages of a range that are there onto the lists that their areas mean.
fn relist(mm: &MmGuard, start: u32, end: u32) {
    let mut at = start;
    while let Some(addr) = mm.pgd.next_with_table(at, end) {
        at = addr + PAGE_SIZE;
        let Some(page) = mm.pgd.get(addr).page().filter(|page| !page.is(pg::RESERVED)) else { continue };
        match mm.areas.lookup(addr) {
            Some(area) if area.is(vm::LOCKED) => mlock_page(page),
            Some(_) => munlock_page(page),
            None => {}
        }
    }
}

/// The pages that a range lies in.
fn whole_pages(start: u32, len: u32) -> Result<(u32, u32)> {
    let offset = start & (PAGE_SIZE - 1);
    let start = start - offset;
    let len = len.checked_add(offset).and_then(page_align).ok_or(ENOMEM)?;
    Ok((start, start.checked_add(len).ok_or(EINVAL)?))
}

/// Changes the flags of a range up to the first hole, and the lists of its pages.
fn apply(mm: &mut MmGuard, start: u32, end: u32, change: impl Fn(u32) -> u32) -> Result<()> {
    let mut at = start;
    while at < end {
        let Some(area) = mm.areas.lookup(at) else { break };
        let to = area.record.end.min(end);
        // Huge pages never leave memory, and are not counted.
        if !area.is(vm::HUGETLB) {
            mm.areas.split(at);
            mm.areas.split(to);
            mm.areas.set_flags(at, to, &change);
        }
        at = to;
    }
    mm.areas.merge_range(start, at);
    relist(mm, start, at);
    if at < end { Err(ENOMEM) } else { Ok(()) }
}

/// `mlockall`. EPERM and ENOMEM for who may lock nothing or not so much.
pub fn do_mlockall(mm: &MmStruct, flags: u32) -> Result<()> {
    if flags == 0 || flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 || flags == MCL_ONFAULT {
        return Err(EINVAL);
    }
    if !can_do_mlock() {
        return Err(EPERM);
    }
    let mut mm = mm.lock();
    if flags & MCL_CURRENT != 0 && mm.record().total_vm > lock_limit() && !is_unlimited() {
        return Err(ENOMEM);
    }
    mm.def_flags = if flags & MCL_FUTURE != 0 { mm.def_flags | vm::LOCKED } else { mm.def_flags & !vm::LOCKED };
    if flags & MCL_CURRENT != 0 {
        let lock = |flags: u32| if flags & vm::HUGETLB == 0 { flags | vm::LOCKED } else { flags };
        mm.areas.set_flags(0, TASK_SIZE, lock);
        relist(&mm, 0, TASK_SIZE);
        if flags & MCL_ONFAULT == 0 {
            let mut at = 0;
            while let Some((start, end)) = mm.areas.find(at).map(|area| (area.record.start, area.record.end)) {
                mm.populate(start, end);
                at = end;
            }
        }
    }
    Ok(())
}

/// `munlockall`.
pub fn do_munlockall(mm: &MmStruct) {
    let mut mm = mm.lock();
    mm.def_flags &= !vm::LOCKED;
    mm.areas.set_flags(0, TASK_SIZE, |flags| flags & !vm::LOCKED);
    relist(&mm, 0, TASK_SIZE);
    mm.areas.merge_range(0, TASK_SIZE);
}
