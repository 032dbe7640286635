//! What removes translations: the guest's own acts and nothing else (SDM Vol. 3A,
//! "Operations that Invalidate TLBs and Paging-Structure Caches"). Each removal takes the
//! projections along.

use x86::LinearAddr;

use super::{tlb::Removed, walk::PageSize};
use crate::{
    Cpu, Occurrence,
    coherence::{self, Flush},
};

/// INVLPG.
pub(crate) fn invlpg(cpu: &mut Cpu, addr: LinearAddr) {
    let removed = cpu.state.tlb.invlpg(addr);
    clear_projections(cpu, addr, removed);
    tell(cpu, Flush::Page(addr.page_number()));
}

/// The delivery of #PF drops what is held for its address, so that a fault caused by a stale
/// entry happens once.
pub(crate) fn page_fault(cpu: &mut Cpu, addr: LinearAddr) {
    let removed = cpu.state.tlb.page_fault(addr);
    clear_projections(cpu, addr, removed);
}

/// A load of CR3, whose value was `before`, by MOV or by a task switch.
pub(crate) fn non_global(cpu: &mut Cpu, before: u32) {
    cpu.state.tlb.flush_non_global();
    cpu.projection().clear_non_global();
    let cr3 = cpu.state.cr3;
    if cpu.stops().is_some_and(|stops| stops.catches.cr3) {
        cpu.tell(Occurrence::LoadedCr3 { before, after: cr3 });
    }
    tell(cpu, if cr3 == before { Flush::Reload } else { Flush::Switch { cr3 } });
}

/// A change of CR0.PG, CR4.PGE, PSE or PAE, of SMEP from 0 to 1, and INIT.
pub(crate) fn all(cpu: &mut Cpu) {
    cpu.state.tlb.flush_all();
    cpu.projection().clear();
    tell(cpu, Flush::All);
}

/// A change of CR0.WP: rights are judged anew on the same translations.
pub(crate) fn write_protect(cpu: &mut Cpu) {
    cpu.state.tlb.clear_latch();
    cpu.projection().clear_supervisor();
}

/// A change of CR4.SMEP from 1 to 0 or of IA32_EFER.NXE: what is held stays, but may be fetched otherwise.
pub(crate) fn fetch_rights(cpu: &mut Cpu) {
    cpu.state.tlb.clear_latch();
    cpu.projection().clear();
}

/// Looks at address line 20: when it has changed, the same translations lead elsewhere.
pub(crate) fn address_line_20(cpu: &mut Cpu) {
    let mask = cpu.bus().a20_mask();
    if cpu.projection().a20_differs(mask) {
        cpu.state.tlb.clear_latch();
    }
}

/// Tells whoever watches.
fn tell(cpu: &mut Cpu, flush: Flush) {
    coherence::flushed(cpu, flush);
    let now = cpu.now();
    cpu.bus().flushed(now, flush);
}

fn clear_projections(cpu: &mut Cpu, addr: LinearAddr, removed: Removed) {
    cpu.projection().clear_page(addr.page_number(), removed.large.unwrap_or(PageSize::Kib4));
}
