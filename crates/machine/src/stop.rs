use std::fmt;

use cpu::{Exception, Occurrence, Watch};
use devices::ResetCause;
use x86::LinearAddr;

/// Why [`crate::Machine::run`] returned. The machine rests between two instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The guest ended the machine through the debug-exit port.
    PowerOff {
        /// The value that it wrote.
        status: u32,
    },
    /// The guest pulled the reset line. [`crate::Machine::reboot`] does what it asked for.
    Reset {
        /// By which chip.
        cause: ResetCause,
    },
    /// The processor has shut down. Registers are those before the instruction that did it.
    TripleFault {
        /// The exception that could not be delivered first.
        first: Exception,
    },
    /// Nothing will ever happen again.
    Idle(IdleReason),
    /// The count of instructions of [`crate::RunLimit`] is reached.
    Limit,
    /// The host wanted a stop.
    Interrupted,
    /// The next instruction has a debugger's breakpoint.
    Breakpoint {
        /// Its address.
        addr: LinearAddr,
    },
    /// The last instruction touched watched memory; [`crate::Machine::watch_hits`] tells all that it met.
    Watchpoint {
        /// The watchpoint that it met first.
        watch: Watch,
        /// The first watched byte that it touched there, in the watchpoint's own space.
        addr: u32,
    },
    /// An event that [`crate::Machine::set_catches`] asked for.
    Caught(Occurrence),
}

/// Why a halted machine cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleReason {
    /// HLT with interrupts disabled.
    InterruptsOff,
    /// HLT, and no device that may interrupt has anything to come.
    NothingToCome,
    /// A triple fault has shut the processor down.
    Shutdown,
}

impl fmt::Display for IdleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdleReason::InterruptsOff => "halted with interrupts off",
            IdleReason::NothingToCome => "halted, and no timer or input can wake it",
            IdleReason::Shutdown => "shut down by a triple fault",
        })
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::PowerOff { status } => write!(f, "powered off with status {status}"),
            Stop::Reset { cause } => write!(f, "reset by {cause}"),
            Stop::TripleFault { first } => {
                let name = first.vector.mnemonic().unwrap_or("an interrupt");
                write!(f, "triple fault after {name} (error code {:#x}", first.code)?;
                if first.vector == x86::Vector::PAGE_FAULT {
                    write!(f, ", address {:#010x}", first.addr)?;
                }
                f.write_str(")")
            }
            Stop::Idle(reason) => write!(f, "{reason}"),
            Stop::Limit => f.write_str("the instruction limit is reached"),
            Stop::Interrupted => f.write_str("interrupted"),
            Stop::Breakpoint { addr } => write!(f, "breakpoint at {:#010x}", addr.0),
            Stop::Watchpoint { addr, .. } => write!(f, "watchpoint at {addr:#010x}"),
            Stop::Caught(occurrence) => write!(f, "caught {occurrence:?}"),
        }
    }
}
