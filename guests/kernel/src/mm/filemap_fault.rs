//! Faults of file mappings.

use abi::books::vm;
use x86::{PAGE_SIZE, Pte};

use super::{
    anon::map_private_copy,
    fault::FaultError,
    filemap::AddressSpace,
    memory::map_page,
    mm_struct::MmGuard,
    page::{pg, put_page},
    pgtable::PteExt,
    vma::{VmArea, vm_page_prot},
};

/// A read fault maps what the cache has of this many bytes around it
/// (`fault_around_bytes`).
const FAULT_AROUND_BYTES: u32 = 64 << 10;

/// `do_read_fault`, `do_cow_fault`, `do_shared_fault`.
pub fn map_file_page(mm: &mut MmGuard, area: &VmArea, addr: u32, write: bool) -> Result<(), FaultError> {
    let Some(mapping) = area.file.as_ref().and_then(|file| file.address_space()) else {
        return Err(FaultError::Sigbus);
    };
    let index = area.pgoff(addr);
    if u64::from(index) << 12 >= mapping.size() {
        return Err(FaultError::Sigbus);
    }
    mapping.note_mapped();
    let page = mapping.grab_page(index).map_err(|_| FaultError::Oom)?;
    page.set(pg::REFERENCED);
    if write && !area.is(vm::SHARED) {
        let result = map_private_copy(mm, area, addr, page);
        put_page(page);
        return result;
    }
    let dirty = if write { Pte::D } else { 0 };
    if write {
        page.set(pg::DIRTY);
    }
    map_page(mm, addr, page, vm_page_prot(area.record.flags) | dirty);
    if !write {
        map_around(mm, area, addr, &mapping);
    }
    Ok(())
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
        if let Some(page) = mapping.find_get_page(index) {
            map_page(mm, at, page, vm_page_prot(area.record.flags));
        }
    }
}
