//! The kernel's half of the address space.
//!
//! ```text
//! FFC00000..FFFFFFFF  fixed slots (kmap_local, 16 a CPU; the APICs)
//! FF800000..FFBFFFFF  pkmap
//! F8800000..FF7FDFFF  vmalloc
//! F8000000..F87FFFFF  a hole that catches overruns of the direct map
//! C0000000..F7FFFFFF  direct map of the first 896 MiB
//! 00000000..BFFFFFFF  user
//! ```
#![allow(unsafe_code)]

use core::arch::asm;

pub use abi::layout::{FIXADDR_KMAP, PKMAP_BASE, VMALLOC_END, VMALLOC_START};
use x86::{Cr4, LinearAddr, Pde, Pte};

use super::{
    PAGE_OFFSET,
    boot::sections,
    cpu::{self, feature},
    tlb,
};
use crate::mm::memblock;

/// First frame beyond the direct map, at most.
pub const MAXMEM_PFN: u32 = abi::layout::DIRECT_MAP_BYTES >> 12;
/// The local APIC's registers: behind the slots of all CPUs.
pub const FIX_APIC: u32 = FIXADDR_KMAP + 128 * 4096;
/// The I/O APIC's registers.
pub const FIX_IOAPIC: u32 = FIX_APIC + 4096;
/// From here on the kernel has page tables of its own, all made at boot, so that the
/// directories of all processes agree for ever.
const TABLES_START: u32 = 0xF800_0000;

/// The boot tables map this much; early page tables must lie in it.
const BOOT_MAPPED_PFN: u32 = 16 << 8;

/// First directory entry of the kernel's half.
pub const KERNEL_PDE: usize = (PAGE_OFFSET >> 22) as usize;

type Directory = [Pde; 1024];
type Table = [Pte; 1024];

fn swapper() -> *mut Directory {
    sections::swapper_pg_dir() as *mut Directory
}

/// Physical address of the kernel's own directory.
pub fn swapper_pg_dir_phys() -> u32 {
    sections::swapper_pg_dir() - PAGE_OFFSET
}

/// Bit G where the CPU has global pages.
pub fn global_bit() -> u32 {
    if cpu::has(feature::PGE) { Pte::G } else { 0 }
}

/// Builds the direct map of the first `max_low_pfn` frames and the empty tables above it,
/// and drops the boot mapping at 0.
pub fn init(max_low_pfn: u32) {
    let large_pages = cpu::has(feature::PSE);
    if large_pages {
        // SAFETY: no entry has bit PS yet.
        unsafe { cpu::set_cr4_bits(Cr4::PSE) };
    }
    let common = Pde::P | Pde::RW | Pde::A;
    for (n, first) in (0..max_low_pfn).step_by(1024).enumerate() {
        let entry = if large_pages && first + 1024 <= max_low_pfn {
            Pde(first << 12 | common | Pde::D | Pde::PS | global_bit())
        } else {
            let table = early_table();
            for (i, pfn) in (first..max_low_pfn.min(first + 1024)).enumerate() {
                // SAFETY: `early_table` gave a table of 1024 entries.
                unsafe { (*table)[i] = Pte(pfn << 12 | common | Pte::D | global_bit()) };
            }
            Pde((table as u32 - PAGE_OFFSET) | common)
        };
        // SAFETY: the new entry maps the same frames at the same addresses.
        unsafe { (&raw mut (*swapper())[KERNEL_PDE + n]).write_volatile(entry) };
    }
    for pde in (TABLES_START >> 22) as usize..1024 {
        let table = early_table() as u32 - PAGE_OFFSET;
        // SAFETY: nothing was mapped there.
        unsafe { (&raw mut (*swapper())[pde]).write_volatile(Pde(table | common)) };
    }
    for pde in 0..4 {
        // SAFETY: nothing runs at the boot addresses any more.
        unsafe { (&raw mut (*swapper())[pde]).write_volatile(Pde(0)) };
    }
    // SAFETY: the directory maps the kernel; global pages are right for all processes.
    unsafe {
        cpu::load_cr3(swapper_pg_dir_phys());
        if cpu::has(feature::PGE) {
            cpu::set_cr4_bits(Cr4::PGE);
        }
    }
}

/// The same for another CPU, which runs in the trampoline's directory so far.
pub fn init_secondary() {
    // SAFETY: as at the end of `init`.
    unsafe {
        cpu::load_cr3(swapper_pg_dir_phys());
        if cpu::has(feature::PGE) {
            cpu::set_cr4_bits(Cr4::PGE);
        }
    }
}

/// Maps a page of device registers at a fixed address, once.
pub fn set_fixmap(addr: u32, phys: u32) {
    let bits = Pte::P | Pte::RW | Pte::A | Pte::D | Pte::PCD | Pte::PWT | global_bit();
    // SAFETY: the fixed addresses are nobody's but the devices', and were never mapped.
    unsafe { map_kernel_page(addr, Pte(phys & !0xfff | bits)) };
}

/// A zeroed page table from memory that the boot tables map.
fn early_table() -> *mut Table {
    let pfn = memblock::alloc(1, BOOT_MAPPED_PFN).expect("the first 16 MiB have room for the kernel's page tables");
    let table = (PAGE_OFFSET + (pfn << 12)) as *mut Table;
    // SAFETY: ours, and mapped.
    unsafe { table.write_bytes(0, 1) };
    table
}

/// The kernel's page-table entry of an address above [`TABLES_START`].
fn kernel_pte(addr: u32) -> *mut Pte {
    assert!(addr >= TABLES_START);
    let laddr = LinearAddr(addr);
    // SAFETY: `init` gave every such address a table, in the direct map.
    unsafe {
        let pde = (*swapper())[laddr.pde_index() as usize];
        let table = (PAGE_OFFSET + pde.table().0 as u32) as *mut Pte;
        table.add(laddr.pte_index() as usize)
    }
}

/// Changes the mapping of a page above the direct map that only this CPU uses.
///
/// # Safety
/// The address is the caller's to map, and nobody uses what it mapped before.
pub unsafe fn set_kernel_pte(addr: u32, pte: Pte) {
    // SAFETY: by the caller.
    unsafe { kernel_pte(addr).write_volatile(pte) };
    flush_tlb_one(addr);
}

/// Changes the rights of pages above the direct map, for all CPUs.
///
/// # Safety
/// The pages are the caller's, and nobody needs the rights that go.
pub unsafe fn set_kernel_rights(start: u32, end: u32, change: impl Fn(Pte) -> Pte) {
    for addr in (start..end).step_by(4096) {
        // SAFETY: by the caller.
        unsafe { kernel_pte(addr).write_volatile(change(read_kernel_pte(addr))) };
    }
    tlb::flush_tlb_kernel_range(start, end);
}

/// Maps a page above the direct map that was not mapped: no CPU holds a translation of it.
///
/// # Safety
/// The address is the caller's to map, and was flushed since it was last mapped.
pub unsafe fn map_kernel_page(addr: u32, pte: Pte) {
    // SAFETY: by the caller.
    unsafe { kernel_pte(addr).write_volatile(pte) };
}

/// Kernel addresses that were unmapped and may still be in a TLB.
#[must_use = "flush, or keep the addresses unused until somebody does"]
pub struct KernelFlush {
    start: u32,
    end: u32,
}

impl KernelFlush {
    /// Forgets the translations now.
    pub fn now(self) {
        tlb::flush_tlb_kernel_range(self.start, self.end);
    }

    /// The addresses are kept unused until a flush that covers them.
    pub fn later(self) {}
}

/// Unmaps pages above the direct map.
///
/// # Safety
/// Nobody uses what they map.
pub unsafe fn unmap_kernel_range(start: u32, end: u32) -> KernelFlush {
    for addr in (start..end).step_by(4096) {
        // SAFETY: by the caller.
        unsafe { kernel_pte(addr).write_volatile(Pte(0)) };
    }
    KernelFlush { start, end }
}

/// The mapping of a page above the direct map.
pub fn read_kernel_pte(addr: u32) -> Pte {
    // SAFETY: the entry exists.
    unsafe { kernel_pte(addr).read_volatile() }
}

/// INVLPG: this CPU forgets the translation of a page.
pub fn flush_tlb_one(addr: u32) {
    // SAFETY: costs a walk, no more.
    unsafe { asm!("invlpg [{}]", in(reg) addr, options(nostack, preserves_flags)) };
}

/// Reloads CR3: this CPU forgets all translations but global ones.
pub fn flush_tlb_local() {
    // SAFETY: the directory in use stays in use.
    unsafe { cpu::load_cr3(cpu::read_cr3()) };
}

/// The kernel's entries of its own directory.
pub fn swapper_entries() -> &'static [Pde] {
    // SAFETY: they never change after `init`.
    unsafe { &(&(*swapper()))[KERNEL_PDE..] }
}

/// Copies the kernel's entries into a new directory.
///
/// # Safety
/// `directory` is the address of a page that becomes a page directory.
pub unsafe fn copy_kernel_entries(directory: u32) {
    let to = directory as *mut Pde;
    // SAFETY: both are directories; the kernel's entries never change after `init`.
    unsafe {
        let from = (&raw const (*swapper())[KERNEL_PDE]).cast::<Pde>();
        core::ptr::copy_nonoverlapping(from, to.add(KERNEL_PDE), 1024 - KERNEL_PDE);
    }
}
