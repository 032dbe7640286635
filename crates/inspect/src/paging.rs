//! The page tables as data: the CPU's own walk, which fills nothing and sets no bit.

use cpu::CpuState;
use cpu::mmu::{self, Mapping, PageSize, Paging, Rights, WalkResult};
use memory::PhysMem;
use x86::{Cr0, LinearAddr, PhysAddr};

/// As `cpu` would translate with `cr3` loaded into CR3 and paging on.
pub fn with_directory(cpu: &CpuState, mem: &PhysMem, cr3: u32) -> Paging {
    let paging = cpu.paging();
    Paging { cr0: paging.cr0 | Cr0::PG, ..paging }.with_cr3(mem, cr3)
}

/// The page that holds `addr`; with paging off every page is its own frame.
pub fn mapping(mem: &PhysMem, paging: Paging, addr: LinearAddr) -> Option<Mapping> {
    match mmu::walk(mem, paging, addr).result {
        WalkResult::Mapped(mapping) => Some(mapping),
        WalkResult::PagingOff => Some(Mapping {
            base: PhysAddr::from_frame(addr.page_number()),
            size: PageSize::Kib4,
            rights: Rights { writable: true, user: true, executable: true },
            accessed: false,
            dirty: false,
            global: false,
        }),
        WalkResult::NotPresent | WalkResult::Reserved => None,
    }
}
