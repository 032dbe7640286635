//! Page faults: from the exception to a mapped page, a signal, or an oops.
#![allow(unsafe_code)]

use alloc::sync::Arc;

use abi::{
    books::{DentryRecord, FileRecord, VmaRecord, vm},
    errno::{ENOMEM, Errno},
};
use mm::vma::STACK_GUARD_GAP;
use x86::{PAGE_SIZE, PageFaultCode, Pte};

use super::{
    Gfp, Page, alloc_page,
    anon::{map_anonymous, swap_fault, wp_fault},
    filemap::AddressSpace,
    filemap_fault::{make_writable, map_file_page},
    filemap_io::Want,
    gfp::GFP_HIGHUSER_MOVABLE,
    hugetlb_fault::hugetlb_fault,
    mm_struct::{MmGuard, MmStruct},
    oom,
    page::{get_page, pg, put_page},
    page_lock::wait_on_page_locked,
    pgtable::PteExt,
    swap_state::swapin,
    swapops::SwapEntry,
    uaccess::{UserPtr, copy_from_user_partial},
    vma::VmArea,
    vmstat::{self, Item},
};
use crate::{
    arch::{PtRegs, TASK_SIZE, extable, percpu::this_cpu, traps::in_interrupt},
    lib::{oops, points},
    pr_info, printk,
    task::{self, signal},
};

/// Why a fault could not be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// No area there.
    Maperr,
    /// The area does not allow the access.
    Accerr,
    /// Beyond the end of the file, or its contents or room for them cannot be had.
    Sigbus,
    /// No memory.
    Oom,
}

impl FaultError {
    /// Why the contents of a page cannot be had (`vmf_error`).
    pub fn of(error: Errno) -> Self {
        if error == ENOMEM { FaultError::Oom } else { FaultError::Sigbus }
    }
}

/// What the access was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// A write.
    pub write: bool,
    /// The translation was present.
    pub present: bool,
}

/// How far a fault was resolved.
pub enum Fault {
    /// The page is mapped, or the access is to be tried again.
    Mapped,
    /// Something must be waited for first, with `mmap_lock` open (`VM_FAULT_RETRY`).
    Wait(Bring),
}

/// What a fault waits for.
pub enum Bring {
    /// A page of a file.
    File(Arc<AddressSpace>, u32),
    /// The consent of a file's system to a write to the page.
    Mkwrite(Arc<AddressSpace>, u32, &'static Page),
    /// A page of a swap area.
    Swap(SwapEntry),
    /// A page that somebody has locked; with a use of it.
    Unlocked(&'static Page),
}

/// A page that was waited for. It stays in memory at least until the fault has been tried
/// again.
struct Pinned(Option<&'static Page>);

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(page) = self.0 {
            put_page(page);
        }
    }
}

impl Bring {
    /// Waits. Says whether a device was asked, which makes the fault a major one.
    fn wait(self) -> Result<(Pinned, bool), FaultError> {
        match self {
            Bring::File(mapping, index) => match mapping.bring(index, Want::Around) {
                Ok(brought) => Ok((Pinned(Some(brought.page)), brought.from_device)),
                Err(error) => Err(FaultError::of(error)),
            },
            Bring::Mkwrite(mapping, index, page) => {
                let pinned = Pinned(Some(page));
                make_writable(&mapping, index, page).map_err(FaultError::of)?;
                Ok((pinned, false))
            }
            Bring::Swap(entry) => match swapin(entry) {
                Ok(page) => Ok((Pinned(Some(page)), true)),
                Err(ENOMEM) => Err(FaultError::Oom),
                // The slot became free: the next look finds out why.
                Err(_) => Ok((Pinned(None), false)),
            },
            Bring::Unlocked(page) => {
                wait_on_page_locked(page);
                Ok((Pinned(Some(page)), false))
            }
        }
    }
}

/// Whether an area's rights stand in the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Force {
    /// They do.
    No,
    /// The caller has looked at them himself.
    Yes,
}

const SIGBUS: u32 = 7;
const SIGSEGV: u32 = 11;
const SEGV_MAPERR: u32 = 1;
const SEGV_ACCERR: u32 = 2;
const BUS_ADRERR: u32 = 2;
const RLIMIT_STACK: u32 = 3;

/// `do_page_fault`: resolves the fault, or sends a signal, or stops the kernel.
#[unsafe(no_mangle)]
pub fn do_page_fault(regs: &mut PtRegs, error_code: u32, addr: u32) {
    vmstat::count(Item::pgfault);
    let code = PageFaultCode::from_bits_truncate(error_code);
    let user = regs.user_mode();
    let mm = if in_interrupt() || addr >= TASK_SIZE { None } else { task::current_mm() };
    let access = Access { write: code.contains(PageFaultCode::WR), present: code.contains(PageFaultCode::P) };
    let error = match mm {
        None => FaultError::Maperr,
        Some(mm) => match handle_mm_fault(mm, addr, access) {
            Ok(is_major) => {
                if is_major {
                    vmstat::count(Item::pgmajfault);
                }
                task::account_fault(is_major);
                return;
            }
            Err(error) => error,
        },
    };
    if !user {
        if let Some(fixup) = extable::search(regs.eip) {
            regs.eip = fixup;
            return;
        }
        kernel_fault(regs, code, addr);
    }
    // A program must not learn what the kernel's half maps.
    let shown = if addr >= TASK_SIZE { error_code | PageFaultCode::P.bits() } else { error_code };
    match error {
        FaultError::Oom => oom::out_of_memory(),
        FaultError::Sigbus => {
            points::refused(regs, addr, error_code, SIGBUS);
            signal::force_sig_fault(SIGBUS, BUS_ADRERR, addr, 14, shown);
        }
        FaultError::Maperr | FaultError::Accerr => {
            points::refused(regs, addr, error_code, SIGSEGV);
            show_signal_message(regs, error_code, addr);
            let si_code = if error == FaultError::Maperr { SEGV_MAPERR } else { SEGV_ACCERR };
            signal::force_sig_fault(SIGSEGV, si_code, addr, 14, shown);
        }
    }
}

fn kernel_fault(regs: &PtRegs, code: PageFaultCode, addr: u32) -> ! {
    crate::lib::printk::set_console(true);
    if addr < PAGE_SIZE {
        pr_info!("BUG: kernel NULL pointer dereference, address: {:08x}", addr);
    } else {
        pr_info!("BUG: unable to handle page fault for address: {:08x}", addr);
    }
    let what = if code.contains(PageFaultCode::WR) { "write access" } else { "read access" };
    pr_info!("#PF: supervisor {} in kernel mode", what);
    let why = if code.contains(PageFaultCode::P) { "permissions violation" } else { "not-present page" };
    pr_info!("#PF: error_code({:#06x}) - {}", code.bits(), why);
    oops::die(format_args!("SMP"), regs, code.bits())
}

/// Makes the page at `addr` accessible as asked, or says why not. `true` if a device had to
/// be waited for.
pub fn handle_mm_fault(mm: &MmStruct, addr: u32, access: Access) -> Result<bool, FaultError> {
    fault_in(&mut mm.lock(), addr, access, Force::No)
}

/// The same for a caller with the lock, which is open while something is waited for: areas
/// and pages may be others afterwards.
pub fn fault_in(mm: &mut MmGuard, addr: u32, access: Access, force: Force) -> Result<bool, FaultError> {
    let (mut is_major, mut _pinned) = (false, Pinned(None));
    loop {
        let area = find_area(mm, addr)?;
        if force == Force::No {
            check_access(&area, access)?;
        }
        match fault_page(mm, &area, addr & !(PAGE_SIZE - 1), access.write)? {
            Fault::Mapped => return Ok(is_major),
            Fault::Wait(bring) => {
                let (page, from_device) = mm.unlocked(|| bring.wait())?;
                (_pinned, is_major) = (page, is_major | from_device);
            }
        }
    }
}

fn check_access(area: &VmArea, access: Access) -> Result<(), FaultError> {
    let needed = if access.write { vm::WRITE } else { vm::READ | vm::WRITE | vm::EXEC };
    if area.record.flags & needed == 0 { Err(FaultError::Accerr) } else { Ok(()) }
}

/// The area of an address; a stack grows to it.
fn find_area(mm: &mut MmGuard, addr: u32) -> Result<VmArea, FaultError> {
    let area = mm.areas.find(addr).ok_or(FaultError::Maperr)?;
    if area.record.start <= addr {
        return Ok(area.clone());
    }
    if !area.is(vm::GROWSDOWN) {
        return Err(FaultError::Maperr);
    }
    let start = area.record.start;
    expand_downwards(mm, start, addr & !(PAGE_SIZE - 1))?;
    mm.areas.lookup(addr).cloned().ok_or(FaultError::Maperr)
}

/// `expand_downwards`: moves the lower border of the area at `start` to `addr`.
fn expand_downwards(mm: &mut MmGuard, start: u32, addr: u32) -> Result<(), FaultError> {
    let Some(area) = mm.areas.lookup(start) else { return Err(FaultError::Maperr) };
    let (end, locked) = (area.record.end, area.is(vm::LOCKED));
    let too_large = end - addr > task::rlimit(RLIMIT_STACK) || !mm.may_expand_vm((start - addr) / PAGE_SIZE, 0, 0);
    if addr < PAGE_SIZE || too_large {
        return Err(FaultError::Maperr);
    }
    if let Some(prev) = mm.areas.prev(start) {
        let accessible = prev.record.flags & (vm::READ | vm::WRITE | vm::EXEC) != 0;
        if prev.record.end > addr || (!prev.is(vm::GROWSDOWN) && accessible && addr - prev.record.end < STACK_GUARD_GAP)
        {
            return Err(FaultError::Maperr);
        }
    }
    mm.areas.resize(start, addr, end);
    mm.change_total_vm(((start - addr) / PAGE_SIZE) as i32);
    if locked {
        for page in (addr..start).step_by(PAGE_SIZE as usize) {
            fault_in(mm, page, Access { write: true, present: false }, Force::No)?;
        }
    }
    Ok(())
}

/// `handle_pte_fault`: the area allows the access; the page is brought and mapped.
fn fault_page(mm: &mut MmGuard, area: &VmArea, addr: u32, write: bool) -> Result<Fault, FaultError> {
    if area.is(vm::PFNMAP) {
        let pte = mm.pgd.get(addr);
        if write && pte.maps_page() && !pte.writable() {
            // Such areas are shared, and this one may be written: its driver gave fewer rights.
            mm.pgd.update(addr, |pte| Pte(pte.0 | Pte::RW | Pte::A | Pte::D)).1.here();
        }
        return if pte.maps_page() { Ok(Fault::Mapped) } else { Err(FaultError::Sigbus) };
    }
    if area.is(vm::HUGETLB) {
        return hugetlb_fault(mm, area, addr, write);
    }
    if !mm.pgd.alloc_table(addr) {
        return Err(FaultError::Oom);
    }
    let pte = mm.pgd.get(addr);
    if pte.maps_page() {
        if write && !pte.writable() {
            return wp_fault(mm, area, addr, pte);
        }
        // The translation was stale, or another thread was faster.
        mm.pgd.update(addr, |pte| Pte(pte.0 | Pte::A)).1.here();
        return Ok(Fault::Mapped);
    }
    if !pte.is_empty() {
        return swap_fault(mm, area, addr, pte, write);
    }
    match &area.file {
        None => map_anonymous(mm, area, addr, write),
        Some(_) => map_file_page(mm, area, addr, write),
    }
}

/// A frame for a program. `mmap_lock` stays held while somebody is killed for it: who dies
/// needs only the lock of an address space that nobody else has.
pub fn alloc_user_page(zeroed: bool) -> Result<&'static Page, FaultError> {
    let gfp = if zeroed { GFP_HIGHUSER_MOVABLE | Gfp::ZERO } else { GFP_HIGHUSER_MOVABLE };
    oom::retry(|| alloc_page(gfp)).ok_or(FaultError::Oom)
}

/// The page at an address of some address space, made accessible first, with one user
/// more: for those who reach into it from outside.
pub fn get_user_page(mm: &MmStruct, addr: u32, write: bool, force: bool) -> Result<&'static Page, FaultError> {
    let at = addr & !(PAGE_SIZE - 1);
    let mut guard = mm.lock();
    let area = find_area(&mut guard, addr)?;
    let may = |now: u32, ever: u32| area.is(now) || (force && area.is(ever));
    let allowed = if write { may(vm::WRITE, vm::MAYWRITE) } else { may(vm::READ, vm::MAYREAD) };
    // A forced write into a shared read-only mapping would change the file; huge pages take
    // none at all.
    if !allowed || (write && !area.is(vm::WRITE) && area.record.flags & (vm::SHARED | vm::HUGETLB) != 0) {
        return Err(FaultError::Accerr);
    }
    loop {
        let pte = guard.pgd.get(at);
        // A forced write goes to a private copy, which stays read-only for the program.
        let is_own = |page: &Page| force && !area.is(vm::WRITE) && page.is(pg::ANON_EXCLUSIVE);
        match pte.page() {
            Some(page) if !write || pte.writable() || is_own(page) => return Ok(get_page(page)),
            None if pte.maps_page() => return Err(FaultError::Accerr),
            _ => {}
        }
        fault_in(&mut guard, addr, Access { write, present: false }, Force::Yes)?;
    }
}

/// Linux's line about a program that is about to die.
fn show_signal_message(regs: &PtRegs, error_code: u32, addr: u32) {
    if signal::is_handled(SIGSEGV) {
        return;
    }
    let (pid, comm) = task::pid_and_comm();
    printk!("{comm}[{pid}]: segfault at {addr:x} ip {:08x} sp {:08x} error {error_code:x}", regs.eip, regs.esp);
    print_vma_addr(" in ", regs.eip);
    let cpu = this_cpu();
    printk!(" likely on CPU {} (core 0, socket {})\n", cpu.number(), cpu.apic_id());
    show_opcodes(regs.eip);
}

/// The 64 bytes around a user instruction, with the first of it in brackets.
pub fn show_opcodes(eip: u32) {
    const PROLOGUE: u32 = 42;
    let mut bytes = [0u8; 64];
    let start = eip.wrapping_sub(PROLOGUE);
    if copy_from_user_partial(&mut bytes, UserPtr::new(start)) < bytes.len() {
        pr_info!("Code: Unable to access opcode bytes at {:#x}.", start);
        return;
    }
    printk!("Code:");
    for (n, byte) in bytes.iter().enumerate() {
        if n as u32 == PROLOGUE { printk!(" <{byte:02x}>") } else { printk!(" {byte:02x}") }
    }
    printk!("\n");
}

/// The file and range that an address lies in, as Linux adds it to its lines.
pub fn print_vma_addr(prefix: &str, addr: u32) {
    let Some(mm) = task::current_mm() else { return };
    let Some(guard) = mm.try_lock() else { return };
    let Some(VmaRecord { start, end, file, .. }) = guard.areas.lookup(addr).map(|area| area.record) else { return };
    if file.is_null() {
        return;
    }
    // SAFETY: the area keeps its file open, the file its dentry, and the lock the area.
    let name = unsafe {
        let dentry = (*(file.0 as *const FileRecord)).dentry;
        let dentry = &*(dentry.0 as *const DentryRecord);
        core::slice::from_raw_parts(dentry.name.0 as *const u8, dentry.name_len as usize)
    };
    let base = name.rsplit(|&b| b == b'/').next().unwrap_or(name);
    printk!("{prefix}{}[{start:x}+{:x}]", core::str::from_utf8(base).unwrap_or("?"), end - start);
}
