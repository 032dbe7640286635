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

/// Reads a port again and again until `words` is full.
pub fn insw(port: u16, words: &mut [u16]) {
    // SAFETY: stores `len` words from the slice's beginning on; the ABI has DF clear.
    unsafe {
        asm!("rep insw", in("dx") port, inout("edi") words.as_mut_ptr() => _, inout("ecx") words.len() => _, options(nostack, preserves_flags));
    }
}

/// Writes all of `words` to a port.
pub fn outsw(port: u16, words: &[u16]) {
    // SAFETY: loads `len` words from the slice's beginning on; the ABI has DF clear. ESI is the
    // compiler's own, so it is exchanged.
    unsafe {
        asm!("xchg esi, {at}", "rep outsw", "mov esi, {at}", at = inout(reg) words.as_ptr() => _, in("dx") port, inout("ecx") words.len() => _, options(nostack, readonly, preserves_flags));
    }
}
