//! `mincore`.

use alloc::vec::Vec;

use abi::errno::{EINVAL, ENOMEM, Result};
use x86::Pte;

use super::{
    PAGE_SHIFT, PAGE_SIZE,
    mm_struct::MmStruct,
    mmap::{page_align, page_aligned},
    page::put_page,
    pgtable::PteExt,
    swap_state::lookup_swap_cache,
    swapops::SwapEntry,
    vma::VmArea,
};
use crate::arch::TASK_SIZE;

/// One byte for each page of the range: bit 0 says whether it is in memory. A hole gives
/// ENOMEM with the bytes before it, which the caller still hands out.
pub fn do_mincore(mm: &MmStruct, start: u32, len: u32) -> (Vec<u8>, Result<()>) {
    let (end, len) = match check(start, len) {
        Ok(range) => range,
        Err(error) => return (Vec::new(), Err(error)),
    };
    let mm = mm.lock();
    let mut bytes = Vec::with_capacity((len >> PAGE_SHIFT) as usize);
    for at in (start..end).step_by(PAGE_SIZE as usize) {
        match mm.areas.lookup(at) {
            None => return (bytes, Err(ENOMEM)),
            Some(area) => bytes.push(u8::from(is_resident(mm.pgd.get(at), area, at))),
        }
    }
    (bytes, Ok(()))
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
