use std::fmt;

use serde::{Deserialize, Serialize};

/// What a chip may ask of the board that it sits on.
pub trait Board {
    /// Virtual time since power-on, in nanoseconds.
    fn now_ns(&self) -> u64;

    /// The chip pulls the machine's reset line.
    fn reset(&mut self, cause: ResetCause);

    /// The guest ends the machine with `status`.
    fn power_off(&mut self, status: u32);

    /// A byte leaves the machine.
    fn emit(&mut self, outlet: Outlet, byte: u8);
}

/// Where a byte leaves the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Outlet {
    /// The serial port of this number (COM1 is 0).
    Serial(u8),
    /// The debug console, port 0xe9.
    Debug,
    /// The port of power-on self-test codes, where the machine has one that is shown.
    Post,
}

/// Who pulled the reset line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetCause {
    /// The keyboard controller pulsed bit 0 of its output port.
    KeyboardController,
    /// System control port A, 0x92 bit 0.
    FastReset,
    /// The reset control register, 0xcf9.
    ResetControl,
}

impl fmt::Display for ResetCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResetCause::KeyboardController => "the keyboard controller (port 0x64)",
            ResetCause::FastReset => "system control port A (port 0x92)",
            ResetCause::ResetControl => "the reset control register (port 0xcf9)",
        })
    }
}
