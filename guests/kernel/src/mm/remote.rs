//! Another process's memory: by its areas and a walk of its tables.

use abi::{Ptr32, books::MmRecord};

use super::{
    MmRef, MmStruct, PAGE_SIZE, Page,
    fault::get_user_page,
    highmem::kmap_local,
    page::{pg, put_page},
    page_writeback::set_page_dirty,
};
use crate::{arch::TASK_SIZE, task::pid};

/// An address space that may be gone when it is used (`mmgrab`): an open `/proc/PID/mem` does
/// not keep the memory of a process that has ended or runs another program.
pub struct MmHandle {
    record: Ptr32<MmRecord>,
    id: u32,
}

impl MmHandle {
    /// For an address space that is there now.
    pub fn new(mm: &MmStruct) -> Self {
        MmHandle { record: mm.record(), id: mm.id() }
    }

    /// `mmget_not_zero`: the address space while a task has it.
    pub fn get(&self) -> Option<MmRef> {
        let users = pid::select(|task| task.record().with(|r| r.mm) == self.record);
        users.iter().find_map(|task| task.mm()).filter(|mm| mm.id() == self.id)
    }
}

/// `access_remote_vm`: reads memory of any address space; returns how many bytes were
/// readable. `force` ignores the area's rights, as `/proc/PID/mem` does.
pub fn read_remote_vm(mm: &MmStruct, addr: u32, out: &mut [u8], force: bool) -> usize {
    for_each_page(addr, out.len(), |at, offset, done, len| {
        let Ok(page) = get_user_page(mm, at, false, force) else { return false };
        out[done..done + len].copy_from_slice(&kmap_local(page).as_slice()[offset..offset + len]);
        put_page(page);
        true
    })
}

/// The same for writing; private pages are copied first.
pub fn write_remote_vm(mm: &MmStruct, addr: u32, data: &[u8], force: bool) -> usize {
    for_each_page(addr, data.len(), |at, offset, done, len| {
        let Ok(page) = get_user_page(mm, at, true, force) else { return false };
        kmap_local(page).as_mut_slice()[offset..offset + len].copy_from_slice(&data[done..done + len]);
        mark_dirty(page);
        put_page(page);
        true
    })
}

/// The page was written through no entry of a table that would tell so.
fn mark_dirty(page: &Page) {
    if page.is_anon() {
        page.set(pg::DIRTY);
    } else {
        set_page_dirty(page);
    }
}

fn for_each_page(addr: u32, len: usize, mut visit: impl FnMut(u32, usize, usize, usize) -> bool) -> usize {
    let mut done = 0;
    while done < len {
        let at = match addr.checked_add(done as u32) {
            Some(at) if at < TASK_SIZE => at,
            _ => break,
        };
        let offset = (at & (PAGE_SIZE - 1)) as usize;
        let step = (len - done).min(PAGE_SIZE as usize - offset);
        if !visit(at, offset, done, step) {
            break;
        }
        done += step;
    }
    done
}
