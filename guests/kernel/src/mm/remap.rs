//! What drivers do to fill an area of a program with pages of their own.

use abi::{
    books::vm,
    errno::{EBUSY, EFAULT, EINVAL, ENOMEM, Result},
};

use super::{
    PAGE_SHIFT, PAGE_SIZE, Page,
    boot::max_low_pfn,
    memory::map_page,
    mm_struct::MmGuard,
    page::{get_page, pg},
    pgtable::{PteExt, mk_special_pte},
    vma::{VmArea, is_cow_mapping, vm_page_prot},
};

/// `vm_insert_page`: maps a page that a driver holds, and counts the mapping: the page stays
/// until the program has unmapped it, too. EINVAL for one that is not the driver's to give
/// (of a slab, anonymous, in a file's cache), EFAULT beyond the area, EBUSY where something is
/// mapped.
pub fn vm_insert_page(mm: &mut MmGuard, area: &mut VmArea, addr: u32, page: &'static Page) -> Result<()> {
    if addr < area.record.start || addr >= area.record.end {
        return Err(EFAULT);
    }
    if page.count() == 0 || page.is(pg::SLAB) || page.is_anon() || page.file_mapping().is_some() {
        return Err(EINVAL);
    }
    // Never locked in memory: the page is no program's.
    area.record.flags = area.record.flags & !vm::LOCKED | vm::MIXEDMAP;
    if !mm.pgd.alloc_table(addr) {
        return Err(ENOMEM);
    }
    if !mm.pgd.get(addr).is_empty() {
        return Err(EBUSY);
    }
    map_page(mm, area, addr, get_page(page), vm_page_prot(area.record.flags));
    Ok(())
}

/// `remap_pfn_range`: maps frames as they are, without looking at their descriptors: device
/// memory, or memory that the driver keeps for as long as its file is open. EINVAL for a range
/// that is not the area's or not of whole pages, or for an area of private copies.
pub fn remap_pfn_range(mm: &mut MmGuard, area: &mut VmArea, addr: u32, pfn: u32, size: u32, rights: u32) -> Result<()> {
    let fits = addr >= area.record.start && size <= area.record.end - addr.max(area.record.start);
    let whole = (addr | size) & (PAGE_SIZE - 1) == 0 && size != 0;
    let in_space = pfn.checked_add(size >> PAGE_SHIFT).is_some_and(|end| end <= 1 << (32 - PAGE_SHIFT));
    if !fits || !whole || !in_space || is_cow_mapping(area.record.flags) {
        return Err(EINVAL);
    }
    area.record.flags = area.record.flags & !vm::LOCKED | vm::IO | vm::PFNMAP | vm::DONTEXPAND;
    for n in 0..size >> PAGE_SHIFT {
        let at = addr + (n << PAGE_SHIFT);
        if !mm.pgd.alloc_table(at) {
            return Err(ENOMEM);
        }
        if !mm.pgd.get(at).is_empty() {
            return Err(EBUSY);
        }
        mm.pgd.set(at, mk_special_pte(pfn + n, rights)).not_needed();
    }
    Ok(())
}

/// The frame behind an address of the direct map, where `kmalloc`'s memory lies (`__pa`).
pub fn virt_to_pfn(addr: u32) -> Option<u32> {
    let pfn = addr.checked_sub(crate::arch::PAGE_OFFSET)? >> PAGE_SHIFT;
    (pfn < max_low_pfn()).then_some(pfn)
}
