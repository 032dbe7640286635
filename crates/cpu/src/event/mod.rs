//! Exceptions, interrupts and task switches: their delivery.

use crate::{Cpu, Exception};

/// What is delivered through the IDT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// An exception; EIP is at the faulting instruction (faults) or behind it (traps).
    Exception(Exception),
    /// INT n, INT3, INTO: gate DPL is checked; `return_eip` is behind the instruction.
    Software { vector: u8, return_eip: u32 },
    /// An external interrupt.
    External { vector: u8 },
    /// NMI.
    Nmi,
}

/// Delivers `event`, with double and triple faults. `Err` is the first exception of a triple fault:
/// the CPU has shut down.
pub(crate) fn deliver(cpu: &mut Cpu, event: Event) -> Result<(), Exception> {
    let _ = (cpu, event);
    unimplemented!("lands with the events")
}
