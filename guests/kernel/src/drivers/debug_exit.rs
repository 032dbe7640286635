//! The ports that end a test machine.

use crate::arch::io::{outb, outl};

/// QEMU's `isa-debug-exit` and Pagewalk: a write ends the machine with a status.
const PORT: u16 = 0xf4;
/// Bochs: a word, letter by letter, ends the machine.
const BOCHS_PORT: u16 = 0x8900;

/// Ends the machine with `status`, if it has such a port; returns if it has none.
pub fn exit(status: u32) {
    outl(status, PORT);
    for letter in b"Shutdown" {
        outb(*letter, BOCHS_PORT);
    }
}
