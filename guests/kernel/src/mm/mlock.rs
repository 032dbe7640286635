//! `mlock` and its kin.

use abi::{
    books::vm,
    errno::{EINVAL, ENOMEM, Result},
};

use super::{
    PAGE_SIZE,
    mm_struct::{MmGuard, MmStruct},
    mmap::page_align,
    page::pg,
    pgtable::PteExt,
    swap::{mlock_page, munlock_page},
};
use crate::arch::TASK_SIZE;

const MCL_CURRENT: u32 = 1;
const MCL_FUTURE: u32 = 2;
const MCL_ONFAULT: u32 = 4;

/// Keeps the pages of a range in memory, bringing them now unless `on_fault`.
pub fn do_mlock(mm: &MmStruct, start: u32, len: u32, on_fault: bool) -> Result<()> {
    let (start, end) = apply(mm, start, len, |flags| flags | vm::LOCKED)?;
    let mut mm = mm.lock();
    relist(&mm, start, end);
    if !on_fault {
        mm.populate(start, end);
    }
    Ok(())
}

/// Lets them go.
pub fn do_munlock(mm: &MmStruct, start: u32, len: u32) -> Result<()> {
    let (start, end) = apply(mm, start, len, |flags| flags & !vm::LOCKED)?;
    relist(&mm.lock(), start, end);
    Ok(())
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

fn apply(mm: &MmStruct, start: u32, len: u32, change: impl Fn(u32) -> u32) -> Result<(u32, u32)> {
    let offset = start & (PAGE_SIZE - 1);
    let start = start - offset;
    let len = len.checked_add(offset).and_then(page_align).ok_or(ENOMEM)?;
    let end = start.checked_add(len).ok_or(EINVAL)?;
    let mut mm = mm.lock();
    let mut at = start;
    while at < end {
        let area = mm.areas.lookup(at).ok_or(ENOMEM)?;
        let to = area.record.end.min(end);
        // Huge pages never leave memory, and are not counted.
        if !area.is(vm::HUGETLB) {
            mm.areas.split(at);
            mm.areas.split(to);
            mm.areas.set_flags(at, to, &change);
        }
        at = to;
    }
    mm.areas.merge_range(start, end);
    Ok((start, end))
}

/// `mlockall`.
pub fn do_mlockall(mm: &MmStruct, flags: u32) -> Result<()> {
    if flags == 0 || flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 || flags == MCL_ONFAULT {
        return Err(EINVAL);
    }
    let mut mm = mm.lock();
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
