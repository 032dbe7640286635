//! `madvise`.

use abi::{
    books::vm,
    errno::{EFAULT, EINVAL, EIO, ENOENT, ENOMEM, Result},
};

use super::{
    PAGE_SIZE, Page,
    fault::{Access, FaultError, Force, fault_in},
    hugetlb::HPAGE_SIZE,
    hugetlb_fault::{huge_aligned, may_split},
    memory::zap_range,
    mm_struct::{MmGuard, MmStruct},
    mmap::{page_align, page_aligned},
    page::{pg, put_page},
    pgtable::PteExt,
    swap_state::swapin,
    swapops::SwapEntry,
    vma::VmArea,
    vmscan::{deactivate_page, reclaim_page},
};
use crate::sync::cond_resched;

mod advice {
    pub const NORMAL: u32 = 0;
    pub const RANDOM: u32 = 1;
    pub const SEQUENTIAL: u32 = 2;
    pub const WILLNEED: u32 = 3;
    pub const DONTNEED: u32 = 4;
    pub const FREE: u32 = 8;
    pub const DONTFORK: u32 = 10;
    pub const DOFORK: u32 = 11;
    pub const DONTDUMP: u32 = 16;
    pub const DODUMP: u32 = 17;
    pub const COLD: u32 = 20;
    pub const PAGEOUT: u32 = 21;
    pub const POPULATE_READ: u32 = 22;
    pub const POPULATE_WRITE: u32 = 23;
    pub const DONTNEED_LOCKED: u32 = 24;
}

/// Takes advice about a range. Holes give ENOMEM, after the rest has been done.
pub fn do_madvise(mm: &MmStruct, start: u32, len: u32, behavior: u32) -> Result<()> {
    use advice::*;
    let known = matches!(
        behavior,
        NORMAL
            | RANDOM
            | SEQUENTIAL
            | WILLNEED
            | DONTNEED
            | FREE
            | DONTFORK
            | DOFORK
            | DONTDUMP
            | DODUMP
            | COLD
            | PAGEOUT
            | POPULATE_READ
            | POPULATE_WRITE
            | DONTNEED_LOCKED
    );
    if !known || !page_aligned(start) {
        return Err(EINVAL);
    }
    let len = page_align(len).ok_or(EINVAL)?;
    let end = start.checked_add(len).ok_or(EINVAL)?;
    if start == end {
        return Ok(());
    }
    let mut mm = mm.lock();
    if matches!(behavior, POPULATE_READ | POPULATE_WRITE) {
        return populate(&mut mm, start, end, behavior == POPULATE_WRITE);
    }
    let (mut at, mut hole) = (start, false);
    while at < end {
        let Some(area) = mm.areas.find(at).filter(|area| area.record.start < end).cloned() else {
            return Err(ENOMEM);
        };
        if area.record.start > at {
            hole = true;
            at = area.record.start;
        }
        let to = area.record.end.min(end);
        advise_area(&mut mm, &area, at, to, behavior)?;
        at = to;
    }
    mm.areas.merge_range(start, end);
    if hole { Err(ENOMEM) } else { Ok(()) }
}

fn advise_area(mm: &mut MmGuard, area: &VmArea, start: u32, end: u32, behavior: u32) -> Result<()> {
    let flags = area.record.flags;
    match behavior {
        advice::DONTNEED | advice::DONTNEED_LOCKED if flags & vm::HUGETLB != 0 => {
            if !huge_aligned(start) {
                return Err(EINVAL);
            }
            // Half of a page at the end stays.
            zap_range(mm, start, end & !(HPAGE_SIZE - 1));
            Ok(())
        }
        advice::DONTNEED | advice::FREE | advice::DONTNEED_LOCKED => {
            let locked = if behavior == advice::DONTNEED_LOCKED { 0 } else { vm::LOCKED };
            if flags & (locked | vm::PFNMAP | vm::HUGETLB) != 0 {
                return Err(EINVAL);
            }
            if behavior == advice::FREE && (area.file.is_some() || flags & vm::SHARED != 0) {
                return Err(EINVAL);
            }
            zap_range(mm, start, end);
            Ok(())
        }
        advice::COLD | advice::PAGEOUT if flags & (vm::LOCKED | vm::PFNMAP | vm::HUGETLB) != 0 => Err(EINVAL),
        advice::COLD | advice::PAGEOUT => {
            let act = if behavior == advice::COLD { deactivate_page } else { reclaim_page };
            for_each_page(mm, start, end, act);
            Ok(())
        }
        advice::WILLNEED => {
            bring(mm, area, start, end);
            Ok(())
        }
        advice::DONTFORK => change_flags(mm, start, end, |flags| flags | vm::DONTCOPY),
        advice::DOFORK if flags & vm::IO != 0 => Err(EINVAL),
        advice::DOFORK => change_flags(mm, start, end, |flags| flags & !vm::DONTCOPY),
        // Readahead finds out about order itself, and there are no dumps.
        _ => Ok(()),
    }
}

/// Calls `act` with every page of a range that no other address space maps.
fn for_each_page(mm: &MmGuard, start: u32, end: u32, act: fn(&'static Page)) {
    let mut at = start;
    while let Some(addr) = mm.pgd.next_with_table(at, end) {
        at = addr + PAGE_SIZE;
        let page = mm.pgd.get(addr).page().filter(|page| !page.is(pg::RESERVED) && page.mapcount() == 1);
        if let Some(page) = page {
            act(page);
        }
    }
}

/// `MADV_WILLNEED`: brings what of a range is in a file or in swap.
fn bring(mm: &mut MmGuard, area: &VmArea, start: u32, end: u32) {
    if let Some(mapping) = area.file.as_ref().and_then(|file| file.address_space()) {
        let (first, count) = (area.pgoff(start), (end - start) / PAGE_SIZE);
        return mm.unlocked(|| mapping.force_readahead(first, count));
    }
    let mut at = start;
    while let Some(addr) = mm.pgd.next_with_table(at, end) {
        at = addr + PAGE_SIZE;
        let Some(entry) = SwapEntry::of_pte(mm.pgd.get(addr)) else { continue };
        match mm.unlocked(|| swapin(entry)) {
            Ok(page) => put_page(page),
            // Somebody was faster.
            Err(ENOENT) => {}
            Err(_) => return,
        }
    }
}

fn change_flags(mm: &mut MmGuard, start: u32, end: u32, change: impl Fn(u32) -> u32) -> Result<()> {
    if !may_split(mm, start) || !may_split(mm, end) {
        return Err(EINVAL);
    }
    mm.areas.split(start);
    mm.areas.split(end);
    mm.areas.set_flags(start, end, change);
    Ok(())
}

fn populate(mm: &mut MmGuard, start: u32, end: u32, write: bool) -> Result<()> {
    for at in (start..end).step_by(PAGE_SIZE as usize) {
        cond_resched();
        let area = mm.areas.lookup(at).ok_or(ENOMEM)?.clone();
        let needed = if write { vm::WRITE } else { vm::READ };
        if !area.is(needed) || area.is(vm::PFNMAP) {
            return Err(EINVAL);
        }
        let pte_ok = {
            use super::pgtable::PteExt;
            let pte = mm.pgd.get(at);
            pte.maps_page() && (!write || pte.writable())
        };
        if !pte_ok {
            fault_in(mm, at, Access { write, present: false }, Force::No).map_err(|error| match error {
                FaultError::Sigbus => EFAULT,
                FaultError::Oom => ENOMEM,
                FaultError::Maperr | FaultError::Accerr => EIO,
            })?;
        }
    }
    Ok(())
}
