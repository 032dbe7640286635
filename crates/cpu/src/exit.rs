use x86::LinearAddr;

use crate::{Exception, Occurrence, Watch};

/// Why [`crate::Engine::run`] returned. State is precise: it rests between two instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The budget is used up.
    Budget,
    /// The CPU executed HLT, or rests in it and no interrupt can wake it now.
    Halted,
    /// The CPU executed the last PAUSE, or what counts as one, that the request allowed.
    Paused,
    /// The CPU has switched to another address space and takes interrupts; see [`crate::RunRequest::switch`].
    Switched,
    /// A device wants the machine to look at interrupt lines, deadlines or the end of the run.
    Bus,
    /// The instruction at EIP, not yet executed, has a debugger's breakpoint.
    Breakpoint {
        /// Linear address of the instruction.
        addr: LinearAddr,
    },
    /// The instruction before EIP touched watched memory. [`crate::Engine::watch_hits`] tells all that it met.
    Watchpoint {
        /// The watchpoint that it met first.
        watch: Watch,
        /// The first watched byte that it touched there, in the watchpoint's own space.
        addr: u32,
    },
    /// An event that was asked for; see [`crate::Catches`].
    Caught(Occurrence),
    /// A third exception while a double fault was being delivered: the CPU has shut down.
    /// The state is that before the instruction which began it.
    TripleFault {
        /// The exception that could not be delivered first.
        first: Exception,
    },
}
