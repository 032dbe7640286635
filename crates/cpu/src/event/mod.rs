//! Exceptions, interrupts and task switches: their delivery, and the return from them.

mod frame;
mod interrupt;
mod iret;
mod quick;
mod record;
mod task;

use x86::{Vector, has_error_code};

use crate::{Activity, Cpu, Exception, Occurrence, coherence, mmu::flush};

pub(crate) use frame::{Stack, inner_stack};
pub(crate) use iret::{iret, loaded_flags};
pub use record::{FaultLog, FaultRecord};
pub(crate) use task::{Reason, available as available_task, switch as switch_task};

/// What is delivered through the IDT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// An exception; EIP is at the faulting instruction (faults) or behind it (traps).
    Exception(Exception),
    /// INT n, INT3, INTO: gate DPL is checked; `return_eip` is behind the instruction.
    Software { vector: u8, return_eip: u32 },
    /// INT1: a debug exception that sets nothing in DR6; no gate's DPL is asked.
    Icebp { return_eip: u32 },
    /// An external interrupt.
    External { vector: u8 },
    /// NMI.
    Nmi,
}

impl Event {
    fn vector(self) -> u8 {
        match self {
            Event::Exception(e) => e.vector.0,
            Event::Software { vector, .. } | Event::External { vector } => vector,
            Event::Icebp { .. } => Vector::DEBUG.0,
            Event::Nmi => Vector::NMI.0,
        }
    }

    /// The error code that its delivery pushes in protected mode.
    fn error_code(self) -> Option<u32> {
        match self {
            Event::Exception(e) if has_error_code(e.vector) => Some(e.code),
            _ => None,
        }
    }

    fn is_software(self) -> bool {
        matches!(self, Event::Software { .. })
    }
}

/// Delivers `event`, with double and triple faults. `Err` is the first exception of a triple fault:
/// the CPU has shut down, in the state before the event but for CR2.
pub(crate) fn deliver(cpu: &mut Cpu, event: Event) -> Result<(), Exception> {
    if let Event::Exception(e) = event {
        if e.vector == Vector::X87_ERROR && !cpu.state.cr0().contains(x86::Cr0::NE) {
            return Ok(()); // the board was told by FERR#, and answers by an interrupt
        }
        // Breakpoints that an instruction meets before it faults are met again when it is restarted.
        cpu.state.pending_debug = 0;
    }
    if cpu.state.cpl == 3 {
        coherence::leaves_ring_3(cpu);
    }
    let mut event = event;
    let mut first = None;
    let mut is_second = false;
    if let Event::Exception(e) = event {
        record::note(cpu, e);
        note_page_fault(cpu, e);
    }
    loop {
        if let Event::Exception(e) = event {
            first.get_or_insert(e);
        }
        let Err(mut second) = interrupt::through_idt(cpu, event) else {
            if is_second {
                tell(cpu, event);
            }
            return Ok(());
        };
        is_second = true;
        // The EXT bit: what went wrong was not the program's own doing.
        if !event.is_software() && matches!(second.vector.0, 10..=13) {
            second.code |= 1;
        }
        let outcome = Severity::of(event).with(Severity::of(Event::Exception(second)));
        match outcome {
            Outcome::Serial => record::note(cpu, second),
            Outcome::Double | Outcome::Triple => record::note_next(cpu, event, second),
        }
        note_page_fault(cpu, second);
        event = match outcome {
            Outcome::Serial => Event::Exception(second),
            Outcome::Double => Event::Exception(Exception::df()),
            Outcome::Triple => {
                cpu.state.activity = Activity::Shutdown;
                return Err(first.unwrap_or(second));
            }
        };
    }
}

/// Tells a debugger that waits for its vector of an event that was delivered.
pub(crate) fn tell(cpu: &mut Cpu, event: Event) {
    let vector = event.vector();
    if cpu.stops().is_some_and(|stops| stops.catches.vectors.holds(vector)) {
        cpu.tell(Occurrence::Delivered { vector: Vector(vector) });
    }
}

/// A page fault sets CR2 and drops what is held for its address, also one that becomes a double fault.
fn note_page_fault(cpu: &mut Cpu, exception: Exception) {
    if exception.vector == Vector::PAGE_FAULT {
        cpu.state.cr2 = exception.addr;
        flush::page_fault(cpu, x86::LinearAddr(exception.addr));
    }
}

/// How an event combines with an exception in its delivery (SDM Vol. 3A, "Conditions for
/// Generating a Double Fault").
#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

enum Outcome {
    Serial,
    Double,
    Triple,
}

impl Severity {
    fn of(event: Event) -> Self {
        let Event::Exception(e) = event else { return Severity::Benign };
        match e.vector.0 {
            0 | 10..=13 => Severity::Contributory,
            14 => Severity::PageFault,
            8 => Severity::DoubleFault,
            _ => Severity::Benign,
        }
    }

    fn with(self, second: Severity) -> Outcome {
        use Severity::{Benign, Contributory, DoubleFault, PageFault};
        match (self, second) {
            (DoubleFault, _) => Outcome::Triple,
            (Contributory, Contributory) | (PageFault, Contributory | PageFault) => Outcome::Double,
            (Benign | Contributory | PageFault, _) => Outcome::Serial,
        }
    }
}

#[cfg(test)]
mod nmi_tests;
#[cfg(test)]
mod test_machine;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trap_tests;
