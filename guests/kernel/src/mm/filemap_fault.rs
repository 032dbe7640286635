//! Faults of file mappings.

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use abi::books::vm;
use x86::{PAGE_SIZE, Pte};

use super::{
    Page,
    anon::map_private_copy,
    fault::{Bring, Fault, FaultError},
    filemap::AddressSpace,
    memory::map_page,
    mm_struct::MmGuard,
    page::{get_page, pg, put_page},
    page_lock::{lock_page, unlock_page, wait_on_page_writeback},
    page_writeback::{balance_dirty_pages, set_page_dirty},
    pgtable::{PteExt, RIGHTS_NONE, rights},
    vma::{VmArea, vm_page_prot},
};

/// A read fault maps what the cache has of this many bytes around it
/// (`fault_around_bytes`).
const FAULT_AROUND_BYTES: u32 = 64 << 10;

/// Whether the first write to a clean page of the area must fault, so that it is noticed
/// (`vma_wants_writenotify`).
pub fn wants_writenotify(area: &VmArea) -> bool {
    area.is(vm::SHARED)
        && area.file.as_ref().and_then(|file| file.address_space()).is_some_and(|mapping| mapping.ops().is_some())
}

/// The rights of a fresh entry for a file's page. Where writes must be noticed, only a dirty
/// page is writable.
fn file_prot(area: &VmArea, mapping: &AddressSpace, write: bool) -> u32 {
    match vm_page_prot(area.record.flags) {
        RIGHTS_NONE => RIGHTS_NONE,
        _ if mapping.ops().is_some() && !write => rights(false),
        prot => prot,
    }
}

/// `do_read_fault`, `do_cow_fault`, `do_shared_fault`.
pub fn map_file_page(mm: &mut MmGuard, area: &VmArea, addr: u32, write: bool) -> Result<Fault, FaultError> {
    let Some(mapping) = area.file.as_ref().and_then(|file| file.address_space()) else {
        return Err(FaultError::Sigbus);
    };
    let index = area.pgoff(addr);
    if u64::from(index) << 12 >= mapping.size() {
        return Err(FaultError::Sigbus);
    }
    if mapping.must_be_brought(index) {
        return Ok(Fault::Wait(Bring::File(mapping, index)));
    }
    // Of a file in memory a hole becomes a page here.
    let page = match mapping.find_uptodate(index) {
        Some(page) => page,
        None if mapping.ops().is_some() => return Ok(Fault::Wait(Bring::File(mapping, index))),
        None => mapping.grab_page(index).map_err(FaultError::of)?,
    };
    if write && !area.is(vm::SHARED) {
        let result = map_private_copy(mm, area, addr, page);
        put_page(page);
        return result;
    }
    if write && mapping.ops().is_some() && !page.is(pg::DIRTY) {
        return Ok(Fault::Wait(Bring::Mkwrite(mapping, index, page)));
    }
    if page.mapping.load(Relaxed) != Arc::as_ptr(&mapping) as u32 || !mm.pgd.get(addr).is_empty() {
        // It was cut off, or a thread was faster, while memory was sought.
        put_page(page);
        return Ok(Fault::Mapped);
    }
    let dirty = if write { Pte::D } else { 0 };
    if write {
        set_page_dirty(page);
    }
    map_page(mm, area, addr, page, file_prot(area, &mapping, write) | dirty);
    if !write {
        map_around(mm, area, addr, &mapping);
    }
    Ok(Fault::Mapped)
}

/// Maps the neighbours that are in the cache and have an empty entry in the same table.
fn map_around(mm: &mut MmGuard, area: &VmArea, addr: u32, mapping: &AddressSpace) {
    let first = (addr & !(FAULT_AROUND_BYTES - 1)).max(area.record.start);
    let last = ((addr | (FAULT_AROUND_BYTES - 1)) - (PAGE_SIZE - 1)).min(area.record.end - PAGE_SIZE);
    let size = mapping.size();
    for at in (first..=last).step_by(PAGE_SIZE as usize) {
        let index = area.pgoff(at);
        if !mm.pgd.get(at).is_empty() || u64::from(index) << 12 >= size {
            continue;
        }
        if let Some(page) = mapping.find_uptodate(index) {
            if page.is(pg::LOCKED) {
                put_page(page);
            } else {
                // Not used yet: reclaim must not take it for so.
                map_page(mm, area, at, page, file_prot(area, mapping, false));
                let pte = mm.pgd.get(at);
                mm.pgd.set(at, Pte(pte.0 & !Pte::A)).not_needed();
            }
        }
    }
}

/// A write to a page that is mapped read-only in a shared area: what must be waited for
/// first, if anything.
pub fn page_mkwrite(area: &VmArea, addr: u32, page: &'static Page) -> Option<Bring> {
    let mapping = area.file.as_ref().and_then(|file| file.address_space())?;
    if mapping.ops().is_none() {
        page.set(pg::DIRTY);
        return None;
    }
    (!page.is(pg::DIRTY)).then(|| Bring::Mkwrite(mapping, area.pgoff(addr), get_page(page)))
}

/// `block_page_mkwrite`: reserves what the page will need on its device and marks it dirty.
/// What is too much is written back before that: the page must still be dirty when the fault
/// is tried again. ENOSPC, EIO.
pub fn make_writable(mapping: &Arc<AddressSpace>, index: u32, page: &'static Page) -> abi::errno::Result<()> {
    let Some(ops) = mapping.ops() else { return Ok(()) };
    balance_dirty_pages(mapping);
    ops.write_begin(index)?;
    lock_page(page);
    if page.mapping.load(Relaxed) == Arc::as_ptr(mapping) as u32 {
        wait_on_page_writeback(page);
        set_page_dirty(page);
    }
    unlock_page(page);
    Ok(())
}
