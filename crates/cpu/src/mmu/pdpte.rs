//! The four page-directory-pointer registers of PAE paging: filled from memory at fixed
//! moments, and not looked up there in between (SDM Vol. 3A, "PDPTE Registers").

use x86::{Cr0, Cr4, Pdpte};

use super::{flush, walk::Paging};
use crate::{Cpu, Exception};

/// Loads the registers from where `cr3` leads, if `cr0` and `cr4` mean PAE paging.
///
/// # Errors
/// #GP(0), with the registers as they were, if an entry that is present has a reserved bit set.
pub(crate) fn load(cpu: &mut Cpu, cr0: Cr0, cr4: Cr4, cr3: u32) -> Result<(), Exception> {
    if !cr0.contains(Cr0::PG) || !cr4.contains(Cr4::PAE) {
        return Ok(());
    }
    flush::address_line_20(cpu);
    let a20_mask = cpu.projection().a20_mask();
    let paging = Paging { cr0, cr4, cr3, a20_mask, ..cpu.state.paging() };
    let pdpte = paging.pdptes_in_memory(cpu.mem());
    if pdpte.iter().any(|&entry| Pdpte(entry).invalid()) {
        return Err(Exception::gp(0));
    }
    cpu.state.pdpte = pdpte;
    Ok(())
}
