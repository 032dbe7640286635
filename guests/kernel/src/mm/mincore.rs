//! `mincore`.

use abi::errno::{EFAULT, EINVAL, ENOMEM, Result};
use x86::Pte;

use super::{
    PAGE_SHIFT, PAGE_SIZE,
    mm_struct::MmStruct,
    mmap::{page_align, page_aligned},
    page::put_page,
    pgtable::PteExt,
    swap_state::lookup_swap_cache,
    swapops::SwapEntry,
    uaccess::{UserPtr, access_ok, copy_to_user},
    vma::VmArea,
};
use crate::arch::TASK_SIZE;

/// Pages that are looked at with the lock held, before the bytes about them are handed out.
const BATCH: usize = 256;

/// One byte for each page of the range, at `vec`: bit 0 says whether it is in memory. A hole
/// gives ENOMEM after the bytes before it; EFAULT where there is no room for a byte.
pub fn do_mincore(mm: &MmStruct, start: u32, len: u32, mut vec: UserPtr<u8>) -> Result<()> {
    let (end, len) = check(start, len)?;
    if !access_ok(vec.addr(), (len >> PAGE_SHIFT) as usize) {
        return Err(EFAULT);
    }
    let (mut at, mut bytes) = (start, [0; BATCH]);
    while at < end {
        let (known, result) = look(mm, at, end, &mut bytes);
        copy_to_user(vec, &bytes[..known as usize])?;
        result?;
        vec = vec.add(known);
        at += known << PAGE_SHIFT;
    }
    Ok(())
}

/// The bytes about the first pages from `at` on; how many there are.
fn look(mm: &MmStruct, at: u32, end: u32, bytes: &mut [u8; BATCH]) -> (u32, Result<()>) {
    let mm = mm.lock();
    let mut known = 0;
    for (addr, byte) in (at..end).step_by(PAGE_SIZE as usize).zip(bytes) {
        let Some(area) = mm.areas.lookup(addr) else { return (known, Err(ENOMEM)) };
        *byte = u8::from(is_resident(mm.pgd.get(addr), area, addr));
        known += 1;
    }
    (known, Ok(()))
}

fn check(start: u32, len: u32) -> Result<(u32, u32)> {
    if !page_aligned(start) {
        return Err(EINVAL);
    }
    let len = page_align(len).ok_or(ENOMEM)?;
    let end = start.checked_add(len).filter(|&end| end <= TASK_SIZE).ok_or(ENOMEM)?;
    Ok((end, len))
}

/// Whether the page is mapped, or a fault would find it in memory.
fn is_resident(pte: Pte, area: &VmArea, addr: u32) -> bool {
    if pte.maps_page() {
        return true;
    }
    let page = match SwapEntry::of_pte(pte) {
        Some(entry) => lookup_swap_cache(entry),
        None => {
            let mapping = area.file.as_ref().and_then(|file| file.address_space());
            mapping.and_then(|mapping| mapping.find_uptodate(area.pgoff(addr)))
        }
    };
    page.map(put_page).is_some()
}
