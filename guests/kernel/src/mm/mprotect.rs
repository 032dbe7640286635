//! `mprotect`.

use abi::{
    books::vm,
    errno::{EACCES, EINVAL, ENOMEM, Result},
};

use super::{
    PAGE_SHIFT,
    filemap_fault::wants_writenotify,
    hugetlb_fault::may_split,
    memory::change_protection,
    mm_struct::MmStruct,
    mmap::{calc_vm_prot_bits, page_align, page_aligned, prot},
};

/// Changes the rights of a range. A hole ends it with ENOMEM, after what lies before the
/// hole has been changed.
pub fn do_mprotect(mm: &MmStruct, mut start: u32, len: u32, prot_bits: u32) -> Result<()> {
    let grows = prot_bits & (prot::GROWSDOWN | prot::GROWSUP);
    if grows == prot::GROWSDOWN | prot::GROWSUP || !page_aligned(start) {
        return Err(EINVAL);
    }
    if len == 0 {
        return Ok(());
    }
    let len = page_align(len).ok_or(ENOMEM)?;
    let end = start.checked_add(len).filter(|&end| end > start).ok_or(ENOMEM)?;
    if prot_bits & !(prot::READ | prot::WRITE | prot::EXEC | prot::SEM | grows) != 0 {
        return Err(EINVAL);
    }
    let mut mm = mm.lock();
    let first = mm.areas.find(start).ok_or(ENOMEM)?;
    if grows == prot::GROWSDOWN {
        if first.record.start >= end {
            return Err(ENOMEM);
        }
        if !first.is(vm::GROWSDOWN) {
            return Err(EINVAL);
        }
        start = first.record.start;
    } else if first.record.start > start {
        return Err(ENOMEM);
    } else if grows == prot::GROWSUP {
        return Err(EINVAL);
    }

    let new = calc_vm_prot_bits(prot_bits);
    let mut at = start;
    loop {
        let Some(area) = mm.areas.lookup(at) else { break Err(ENOMEM) };
        let (old, to) = (area.record.flags, area.record.end.min(end));
        let flags = old & !(vm::READ | vm::WRITE | vm::EXEC) | new;
        // Bits 4 to 6 say what may ever be allowed.
        if flags & !(flags >> 4) & (vm::READ | vm::WRITE | vm::EXEC) != 0 {
            break Err(EACCES);
        }
        if flags != old {
            if area.is(vm::HUGETLB) && !(may_split(&mm, at) && may_split(&mm, to)) {
                break Err(EINVAL);
            }
            let uncounted = vm::SHARED | vm::NORESERVE | vm::ACCOUNT | vm::HUGETLB;
            let accountable = flags & (vm::WRITE | uncounted) == vm::WRITE;
            let flags = if accountable {
                if !mm.enough_memory((to - at) >> PAGE_SHIFT) {
                    break Err(ENOMEM);
                }
                flags | vm::ACCOUNT
            } else {
                flags
            };
            let notify = wants_writenotify(area);
            mm.areas.set_part(at, to, flags);
            change_protection(&mut mm, at, to, flags, notify);
        }
        at = to;
        if at >= end {
            break Ok(());
        }
    }
}
