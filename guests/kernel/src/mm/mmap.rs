//! `mmap`: a new area.

use alloc::sync::Arc;

use abi::{
    books::{VmaRecord, vm},
    errno::{EACCES, EAGAIN, EEXIST, EINVAL, ENODEV, ENOMEM, EOPNOTSUPP, EOVERFLOW, EPERM, Result},
};

use super::{
    PAGE_SHIFT, PAGE_SIZE,
    fault::{Access, Force, fault_in},
    hugetlb::{self, HPAGE_PAGES, HPAGE_SHIFT, HPAGE_SIZE, Sharing},
    hugetlb_fault::{huge_aligned, may_split},
    memory::{free_pgtables, zap_range},
    mlock::can_do_mlock,
    mm_struct::{MmGuard, MmStruct},
    munmap::unmap_range,
    shmem,
    vma::{FileRef, MappedFile, VmArea},
};
use crate::{arch::TASK_SIZE, sync::cond_resched};

/// Rights of a mapping.
pub mod prot {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const READ: u32 = 1;
    pub const WRITE: u32 = 2;
    pub const EXEC: u32 = 4;
    pub const SEM: u32 = 8;
    pub const GROWSDOWN: u32 = 0x0100_0000;
    pub const GROWSUP: u32 = 0x0200_0000;
}

/// Flags of a mapping.
pub mod map {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const SHARED: u32 = 1;
    pub const PRIVATE: u32 = 2;
    pub const SHARED_VALIDATE: u32 = 3;
    pub const TYPE: u32 = 0xf;
    pub const FIXED: u32 = 0x10;
    pub const ANONYMOUS: u32 = 0x20;
    pub const GROWSDOWN: u32 = 0x100;
    pub const DENYWRITE: u32 = 0x800;
    pub const EXECUTABLE: u32 = 0x1000;
    pub const LOCKED: u32 = 0x2000;
    pub const NORESERVE: u32 = 0x4000;
    pub const POPULATE: u32 = 0x8000;
    pub const NONBLOCK: u32 = 0x1_0000;
    pub const STACK: u32 = 0x2_0000;
    pub const HUGETLB: u32 = 0x4_0000;
    pub const FIXED_NOREPLACE: u32 = 0x10_0000;
    /// What `MAP_SHARED_VALIDATE` accepts without a file system's consent.
    pub const LEGACY_MASK: u32 = 0x40
        | SHARED
        | PRIVATE
        | FIXED
        | ANONYMOUS
        | DENYWRITE
        | EXECUTABLE
        | GROWSDOWN
        | LOCKED
        | NORESERVE
        | POPULATE
        | NONBLOCK
        | STACK
        | HUGETLB
        | 0x7c00_0000;
}

/// `mmap_min_addr`: what is not given away unasked.
const MMAP_MIN_ADDR: u32 = 65536;
/// Where bottom-up mappings begin, when the space above is used up.
const TASK_UNMAPPED_BASE: u32 = (TASK_SIZE / 3) & !(PAGE_SIZE - 1);
/// Where the flags name the size of a huge page, and how wide that is.
const MAP_HUGE_SHIFT: u32 = 26;
const MAP_HUGE_MASK: u32 = 0x3f;

/// Rounds up to whole pages; `None` if that leaves the address space.
pub fn page_align(len: u32) -> Option<u32> {
    Some(len.checked_add(PAGE_SIZE - 1)? & !(PAGE_SIZE - 1))
}

/// Whether an address begins a page.
pub fn page_aligned(addr: u32) -> bool {
    addr & (PAGE_SIZE - 1) == 0
}

/// `mmap_pgoff`: maps `len` bytes of `file` from page `pgoff` (or anonymous memory) and
/// returns where.
pub fn do_mmap(
    mm: &MmStruct,
    addr: u32,
    len: u32,
    prot: u32,
    flags: u32,
    file: Option<Arc<dyn MappedFile>>,
    pgoff: u32,
) -> Result<u32> {
    let (file, len) = match file {
        file if flags & map::HUGETLB == 0 => (file.map(FileRef), len),
        // A file of another file system has no huge pages.
        Some(_) => return Err(EINVAL),
        None => huge_file(mm, len, flags, pgoff).map(|(file, len)| (Some(file), len))?,
    };
    let mut guard = mm.lock();
    let (at, vm_flags) = guard.map(addr, len, prot, flags, file, pgoff)?;
    let populate = flags & (map::POPULATE | map::NONBLOCK) == map::POPULATE || vm_flags & vm::LOCKED != 0;
    if populate {
        guard.populate(at, at + page_align(len).unwrap_or(0));
    }
    Ok(at)
}

/// The file of a mapping of huge pages, whose length is that of whole ones. EINVAL for a size
/// of page that there is not.
fn huge_file(mm: &MmStruct, len: u32, flags: u32, pgoff: u32) -> Result<(FileRef, u32)> {
    let size = flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
    if !hugetlb::supported() || (size != 0 && size != HPAGE_SHIFT) {
        return Err(EINVAL);
    }
    let len = len.checked_next_multiple_of(HPAGE_SIZE).filter(|&len| len != 0).ok_or(EINVAL)?;
    if len > TASK_SIZE {
        return Err(ENOMEM);
    }
    let sharing = if flags & map::TYPE == map::PRIVATE { Sharing::Private } else { Sharing::Shared };
    Ok((hugetlb::file_setup(mm, len, pgoff, sharing), len))
}

/// The `VM_*` bits of `PROT_*` bits.
pub fn calc_vm_prot_bits(prot: u32) -> u32 {
    prot & (prot::READ | prot::WRITE | prot::EXEC)
}

impl MmGuard<'_> {
    fn map(
        &mut self,
        hint: u32,
        len: u32,
        prot: u32,
        mut flags: u32,
        mut file: Option<FileRef>,
        mut pgoff: u32,
    ) -> Result<(u32, u32)> {
        if len == 0 {
            return Err(EINVAL);
        }
        if flags & map::FIXED_NOREPLACE != 0 {
            flags |= map::FIXED;
        }
        let hint = if flags & map::FIXED == 0 { round_hint_to_min(hint) } else { hint };
        let len = page_align(len).ok_or(ENOMEM)?;
        pgoff.checked_add(len >> PAGE_SHIFT).ok_or(EOVERFLOW)?;
        if !self.may_add_area() {
            return Err(ENOMEM);
        }
        let is_huge = file.as_ref().is_some_and(|file| file.huge_pages().is_some());
        let addr = if is_huge {
            self.hugetlb_get_unmapped_area(hint, len, flags & map::FIXED != 0)?
        } else {
            self.get_unmapped_area(hint, len, flags & map::FIXED != 0)?
        };
        let end = addr + len;
        if flags & map::FIXED_NOREPLACE != 0 && self.areas.intersects(addr, end) {
            return Err(EEXIST);
        }

        let mut vm_flags = calc_vm_prot_bits(prot)
            | calc_vm_flag_bits(flags)
            | self.def_flags
            | (vm::MAYREAD | vm::MAYWRITE | vm::MAYEXEC);
        if flags & map::LOCKED != 0 && !can_do_mlock() {
            return Err(EPERM);
        }
        if !self.may_lock_more(vm_flags, len) {
            return Err(EAGAIN);
        }
        match &file {
            Some(f) => {
                vm_flags = file_flags(f, vm_flags, prot, flags)?;
                if f.is_zero_device() {
                    if vm_flags & vm::MAYSHARE == 0 {
                        (file, pgoff) = (None, addr >> PAGE_SHIFT);
                    } else {
                        file = Some(shmem::zero_setup(len));
                    }
                }
            }
            None => match flags & map::TYPE {
                map::SHARED => {
                    if vm_flags & vm::GROWSDOWN != 0 {
                        return Err(EINVAL);
                    }
                    pgoff = 0;
                    vm_flags |= vm::SHARED | vm::MAYSHARE;
                }
                map::PRIVATE => pgoff = addr >> PAGE_SHIFT,
                _ => return Err(EINVAL),
            },
        }
        if !self.may_expand_vm(len >> PAGE_SHIFT, addr, end) {
            return Err(ENOMEM);
        }
        if flags & map::NORESERVE != 0 {
            vm_flags |= vm::NORESERVE;
        }
        if is_huge {
            if !pgoff.is_multiple_of(HPAGE_PAGES) {
                return Err(EINVAL);
            }
            vm_flags = vm_flags & !vm::LOCKED | vm::HUGETLB | vm::DONTEXPAND;
        }
        // Private writable memory, and memory shared without a file, must have somewhere
        // to be in the end.
        let accountable = vm_flags & (vm::NORESERVE | vm::SHARED | vm::WRITE | vm::HUGETLB) == vm::WRITE;
        if accountable || (file.is_none() && vm_flags & (vm::SHARED | vm::NORESERVE) == vm::SHARED) {
            if !self.enough_memory(len >> PAGE_SHIFT) {
                return Err(ENOMEM);
            }
            vm_flags |= if accountable { vm::ACCOUNT } else { 0 };
        }

        if !may_split(self, addr) || !may_split(self, end) {
            return Err(ENOMEM);
        }
        unmap_range(self, addr, end);
        if file.is_none() && vm_flags & vm::SHARED != 0 {
            file = Some(shmem::zero_setup(len));
        } else if let Some(file) = &file {
            file.mmap(vm_flags)?;
        }
        let record = VmaRecord { start: addr, end, flags: vm_flags, pgoff, ..VmaRecord::default() };
        let mut area = VmArea { record, file, anon: false };
        self.fill_area(&mut area)?;
        self.insert_area(area);
        self.areas.merge(addr);
        self.areas.merge(end);
        Ok((addr, vm_flags))
    }

    /// Has a device fill an area; what it filled before it failed is unmapped again.
    fn fill_area(&mut self, area: &mut VmArea) -> Result<()> {
        let (start, end) = (area.record.start, area.record.end);
        let Some(file) = area.file.clone().filter(|file| file.fills_areas()) else { return Ok(()) };
        file.fill_area(self, area).inspect_err(|_| {
            zap_range(self, start, end);
            free_pgtables(self, start, end);
        })
    }

    /// Where `len` bytes can go: at the hint, else as high as possible.
    pub fn get_unmapped_area(&self, hint: u32, len: u32, fixed: bool) -> Result<u32> {
        if len > TASK_SIZE {
            return Err(ENOMEM);
        }
        if fixed {
            return match hint {
                h if h > TASK_SIZE - len => Err(ENOMEM),
                h if !page_aligned(h) => Err(EINVAL),
                h => Ok(h),
            };
        }
        if hint != 0 {
            let at = page_align(hint).unwrap_or(TASK_SIZE);
            let free = self.areas.find(at).is_none_or(|area| at + len <= area.start_gap());
            if at <= TASK_SIZE - len && free {
                return Ok(at);
            }
        }
        self.areas
            .unmapped_topdown(len, MMAP_MIN_ADDR, self.mmap_base)
            .or_else(|| self.areas.unmapped_bottomup(len, TASK_UNMAPPED_BASE, TASK_SIZE))
            .ok_or(ENOMEM)
    }

    /// The same for huge pages: at the hint, rounded up, else as high as possible. EINVAL for
    /// a fixed place where none begins.
    fn hugetlb_get_unmapped_area(&self, hint: u32, len: u32, fixed: bool) -> Result<u32> {
        if fixed {
            return if huge_aligned(hint) { self.get_unmapped_area(hint, len, true) } else { Err(EINVAL) };
        }
        if hint != 0 {
            let at = hint.checked_next_multiple_of(HPAGE_SIZE).unwrap_or(TASK_SIZE);
            if at <= TASK_SIZE - len && self.areas.find(at).is_none_or(|area| at + len <= area.start_gap()) {
                return Ok(at);
            }
        }
        // Room for the way to the next border.
        let room = len.checked_add(HPAGE_SIZE - PAGE_SIZE).filter(|&room| room <= TASK_SIZE).ok_or(ENOMEM)?;
        let found = self.get_unmapped_area(0, room, false)?;
        Ok((found + (HPAGE_SIZE - PAGE_SIZE)) & !(HPAGE_SIZE - 1))
    }

    /// `mm_populate`: brings the pages of a range, as far as that goes.
    pub fn populate(&mut self, start: u32, end: u32) {
        let mut addr = start;
        while addr < end {
            let Some(area) = self.areas.find(addr).cloned() else { return };
            addr = addr.max(area.record.start);
            if area.record.flags & (vm::READ | vm::WRITE | vm::EXEC) == 0 || area.is(vm::PFNMAP) {
                addr = area.record.end;
                continue;
            }
            // Private writable pages are copied now, so that no fault is left.
            let write = area.record.flags & (vm::WRITE | vm::SHARED) == vm::WRITE;
            while addr < area.record.end.min(end) {
                cond_resched();
                if fault_in(self, addr, Access { write, present: false }, Force::Yes).is_err() {
                    return;
                }
                addr += if area.is(vm::HUGETLB) { HPAGE_SIZE - addr % HPAGE_SIZE } else { PAGE_SIZE };
            }
        }
    }
}

fn round_hint_to_min(hint: u32) -> u32 {
    match hint & !(PAGE_SIZE - 1) {
        0 => 0,
        hint if hint < MMAP_MIN_ADDR => MMAP_MIN_ADDR,
        hint => hint,
    }
}

fn calc_vm_flag_bits(flags: u32) -> u32 {
    let bit = |flag: u32, vm_flag: u32| if flags & flag != 0 { vm_flag } else { 0 };
    bit(map::GROWSDOWN, vm::GROWSDOWN) | bit(map::LOCKED, vm::LOCKED)
}

/// What the way a file was opened allows.
fn file_flags(file: &FileRef, mut vm_flags: u32, prot: u32, flags: u32) -> Result<u32> {
    match flags & map::TYPE {
        kind @ (map::SHARED | map::SHARED_VALIDATE) => {
            if kind == map::SHARED_VALIDATE && flags & !map::LEGACY_MASK != 0 {
                return Err(EOPNOTSUPP);
            }
            if prot & prot::WRITE != 0 && !file.writable() {
                return Err(EACCES);
            }
            vm_flags |= vm::SHARED | vm::MAYSHARE;
            if !file.writable() {
                vm_flags &= !(vm::MAYWRITE | vm::SHARED);
            }
        }
        map::PRIVATE => {}
        _ => return Err(EINVAL),
    }
    if !file.readable() {
        return Err(EACCES);
    }
    if !file.may_exec() {
        if vm_flags & vm::EXEC != 0 {
            return Err(EPERM);
        }
        vm_flags &= !vm::MAYEXEC;
    }
    if file.address_space().is_none() && file.huge_pages().is_none() && !file.is_zero_device() && !file.fills_areas() {
        return Err(ENODEV);
    }
    if vm_flags & vm::GROWSDOWN != 0 {
        return Err(EINVAL);
    }
    Ok(vm_flags)
}
