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

/// Reads words of 16 bits from a port until `bytes`, an even number of them, is full.
pub fn insw(port: u16, bytes: &mut [u8]) {
    // SAFETY: stores no more than the slice from its beginning on; the ABI has DF clear.
    unsafe {
        asm!("rep insw", in("dx") port, inout("edi") bytes.as_mut_ptr() => _, inout("ecx") bytes.len() / 2 => _, options(nostack, preserves_flags));
    }
}

/// Writes `bytes`, an even number of them, to a port in words of 16 bits.
pub fn outsw(port: u16, bytes: &[u8]) {
    // SAFETY: loads no more than the slice from its beginning on; the ABI has DF clear. ESI is the
    // compiler's own, so it is exchanged.
    unsafe {
        asm!("xchg esi, {at}", "rep outsw", "mov esi, {at}", at = inout(reg) bytes.as_ptr() => _, in("dx") port, inout("ecx") bytes.len() / 2 => _, options(nostack, readonly, preserves_flags));
    }
}
