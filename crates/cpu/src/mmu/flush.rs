//! What removes translations: the guest's own acts and nothing else (SDM Vol. 3A,
//! "Operations that Invalidate TLBs and Paging-Structure Caches"). Each removal takes the
//! projections along.

use x86::LinearAddr;

use super::walk::PageSize;
use crate::Cpu;

/// INVLPG.
pub(crate) fn invlpg(cpu: &mut Cpu, addr: LinearAddr) {
    let removed = cpu.state.tlb.invlpg(addr);
    clear_projections(cpu, addr, removed.large);
}

/// The delivery of #PF drops what is held for its address, so that a fault caused by a stale
/// entry happens once.
pub(crate) fn page_fault(cpu: &mut Cpu, addr: LinearAddr) {
    let removed = cpu.state.tlb.page_fault(addr);
    clear_projections(cpu, addr, removed.large);
}

/// A load of CR3 by MOV or by a task switch.
pub(crate) fn non_global(cpu: &mut Cpu) {
    cpu.state.tlb.flush_non_global();
    cpu.projection().clear_non_global();
}

/// A change of CR0.PG, CR4.PGE, PSE or PAE, of SMEP from 0 to 1, and INIT.
pub(crate) fn all(cpu: &mut Cpu) {
    cpu.state.tlb.flush_all();
    cpu.projection().clear();
}

/// A change of CR0.WP: rights are judged anew on the same translations.
pub(crate) fn write_protect(cpu: &mut Cpu) {
    cpu.state.tlb.clear_latch();
    cpu.projection().clear_supervisor();
}

fn clear_projections(cpu: &mut Cpu, addr: LinearAddr, large: bool) {
    let size = if large { PageSize::Large } else { PageSize::Small };
    cpu.projection().clear_page(addr.page_number(), size);
}
