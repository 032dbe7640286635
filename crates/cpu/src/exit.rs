use x86::LinearAddr;

use crate::Exception;

/// Which accesses a watchpoint stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchKind {
    /// Stores.
    Write,
    /// Loads.
    Read,
    /// Both.
    Access,
}

/// Why [`crate::Engine::run`] returned. State is precise: it rests between two instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The budget is used up.
    Budget,
    /// The CPU executed HLT, or rests in it and no interrupt can wake it now.
    Halted,
    /// The CPU executed the last PAUSE, or what counts as one, that the request allowed.
    Paused,
    /// A device wants the machine to look at interrupt lines, deadlines or the end of the run.
    Bus,
    /// The instruction at EIP, not yet executed, has a debugger's breakpoint.
    Breakpoint {
        /// Linear address of the instruction.
        addr: LinearAddr,
    },
    /// The instruction before EIP touched watched memory.
    Watchpoint {
        /// First watched byte touched.
        addr: LinearAddr,
        /// The kind of the watchpoint that hit.
        kind: WatchKind,
    },
    /// A third exception while a double fault was being delivered: the CPU has shut down.
    /// The state is that before the instruction which began it.
    TripleFault {
        /// The exception that could not be delivered first.
        first: Exception,
    },
}
