//! The debug exit port of test machines: a write ends the machine with a status.

use crate::arch::io::outl;

const PORT: u16 = 0xf4;

/// Ends the machine with `status`, if it has the port; returns if it has not.
pub fn exit(status: u32) {
    outl(status, PORT);
}
