use devices::Outlet;

use x86::LinearAddr;

use crate::{InputEvent, Machine};

/// What a host may want to look at while the machine stands between two instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The CPU whose turn it is stands before this instruction, which [`Machine::tell_at`] named.
    Place(LinearAddr),
    /// A CPU has taken a double fault, and may have run on since.
    DoubleFault {
        /// Its number.
        cpu: usize,
    },
}

/// What is outside the machine during a run. Nothing that it does may depend on the host's
/// time except through input, which is stamped.
pub trait Host {
    /// Bytes that the machine put out, in order.
    fn output(&mut self, outlet: Outlet, bytes: &[u8]);

    /// Input that came by itself, if any. Asked often.
    fn poll_input(&mut self) -> Option<InputEvent> {
        None
    }

    /// The guest asks for input of serial port `port`, whose far end is read on demand. Blocks
    /// until there is some or it has ended; `None` stops the run as interrupted.
    fn demand_input(&mut self, port: u8) -> Option<InputEvent> {
        Some(InputEvent::SerialEnd { port })
    }

    /// Every CPU rests until `deadline_ns`, or for ever if only input can wake them. Gives the
    /// virtual time at which to go on: the deadline, or an earlier time because input came;
    /// `None` if nothing will.
    fn idle(&mut self, now_ns: u64, deadline_ns: Option<u64>) -> Option<u64> {
        let _ = now_ns;
        deadline_ns
    }

    /// Whether the run is to stop now. Asked often.
    fn interrupted(&mut self) -> bool {
        false
    }

    /// Something happened that is worth a look. The machine may be told what was found
    /// ([`Machine::keep_unresolved`]), and must else be left as it is.
    fn noticed(&mut self, machine: &mut Machine, notice: Notice) {
        let _ = (machine, notice);
    }
}

/// A host that drops all output, gives no input and never waits.
#[derive(Debug, Default)]
pub struct Detached;

impl Host for Detached {
    fn output(&mut self, _: Outlet, _: &[u8]) {}
}
