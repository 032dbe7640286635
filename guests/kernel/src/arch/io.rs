//! Port I/O.
#![allow(unsafe_code)]

use core::arch::asm;

macro_rules! port_access {
    ($in:ident, $out:ident, $ty:ty, $reg:tt) => {
        /// Reads a port. No port of a PC harms memory safety by being read.
        pub fn $in(port: u16) -> $ty {
            let value: $ty;
            // SAFETY: touches no memory of ours.
            unsafe { asm!(concat!("in ", $reg, ", dx"), in("dx") port, out($reg) value, options(nomem, nostack, preserves_flags)) };
            value
        }

        /// Writes a port. Only drivers of devices without bus mastering use it.
        pub fn $out(value: $ty, port: u16) {
            // SAFETY: touches no memory of ours.
            unsafe { asm!(concat!("out dx, ", $reg), in("dx") port, in($reg) value, options(nomem, nostack, preserves_flags)) };
        }
    };
}
port_access!(inb, outb, u8, "al");
port_access!(inw, outw, u16, "ax");
port_access!(inl, outl, u32, "eax");
