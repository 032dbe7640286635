//! Signals.

use crate::arch::PtRegs;

/// Sends a signal for an exception of the running thread, which cannot be ignored.
pub fn force_sig_fault(signal: u32, code: u32, addr: u32, trap_nr: u32, error_code: u32) {
    panic!("signal {signal} (code {code}, trap {trap_nr}, error {error_code:#x}) at {addr:#x} without a program");
}

/// Whether the running thread has a handler for the signal (or ignores it).
pub fn is_handled(_signal: u32) -> bool {
    false
}

/// Whether a signal waits for the running thread.
pub fn pending() -> bool {
    false
}

/// Delivers a waiting signal: changes `regs` to run its handler, or ends the thread.
pub fn do_signal(_regs: &mut PtRegs) {}

/// Whether SIGKILL waits for the running thread.
pub fn fatal_pending() -> bool {
    false
}
