//! Accesses by linear address: translate, check rights, then touch memory or the bus.
//! Everything that can fault comes before anything that commits.

use x86::LinearAddr;

use crate::{Cpu, Exception};

/// With whose rights an access is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum View {
    /// By CPL, as ordinary loads and stores.
    Current,
    /// As supervisor: descriptor tables, TSS, IDT.
    Supervisor,
}

/// Reads `N` bytes (1 … 16, or more for FXRSTOR and the like); may cross pages.
pub(crate) fn read<const N: usize>(cpu: &mut Cpu, addr: LinearAddr, view: View) -> Result<[u8; N], Exception> {
    let _ = (cpu, addr, view);
    unimplemented!("lands with the MMU")
}

/// Writes `N` bytes; both pages are translated before anything changes.
pub(crate) fn write<const N: usize>(
    cpu: &mut Cpu,
    addr: LinearAddr,
    bytes: &[u8; N],
    view: View,
) -> Result<(), Exception> {
    let _ = (cpu, addr, bytes, view);
    unimplemented!("lands with the MMU")
}

/// Makes sure that a later `write` of `len` bytes at `addr` cannot fault: takes its page faults
/// now, sets A and D. For read-modify-write and for instructions that store more than once.
pub(crate) fn probe_write(cpu: &mut Cpu, addr: LinearAddr, len: u32, view: View) -> Result<(), Exception> {
    let _ = (cpu, addr, len, view);
    unimplemented!("lands with the MMU")
}
