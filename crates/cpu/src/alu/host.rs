//! Runs one instruction on the host, for the tests of pure arithmetic: every value and flag at
//! 8 bits, random and edge values at 16 and 32.
#![allow(unsafe_code)]

use x86::Eflags;

use super::{Flags, Word};

/// EFLAGS bits for the host with these status flags.
pub(crate) fn host_flags(flags: Flags) -> u64 {
    u64::from(Eflags::from(flags).bits() | 2)
}

/// The status flags that the host left.
pub(crate) fn guest_flags(rflags: u64) -> Flags {
    Flags::from(Eflags::from_bits_retain(rflags as u32) & Eflags::STATUS)
}

/// All clear, all set, and CF or AF alone.
pub(crate) fn flag_samples() -> [Flags; 4] {
    let clear = Flags::default();
    let set = Flags { cf: true, pf: true, af: true, zf: true, sf: true, of: true };
    [clear, set, Flags { cf: true, ..clear }, Flags { af: true, ..clear }]
}

/// Edges and reproducible random values.
pub(crate) fn samples<W: Word>(count: usize) -> Vec<W> {
    if W::BITS == 8 {
        return (0..256).map(W::truncate).collect();
    }
    let top = 1 << (W::BITS - 1);
    let edges = [0, 1, 2, 0xf, 0x10, 0x7f, 0x80, 0xff, 0x100, top - 1, top, top + 1, !0 - 1, !0];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    // Random widths too: small numbers make divisions succeed.
    let random = std::iter::repeat_with(move || random.next() >> (random.next() % 64));
    edges.into_iter().chain(random.take(count)).map(W::truncate).collect()
}

/// xorshift64*.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// `insn dst` against a closure `(dst, flags) -> (dst, flags)`.
macro_rules! against_host1 {
    ($name:ident, $insn:literal, $ours:expr) => {
        #[test]
        fn $name() {
            $crate::alu::host::against_host1!(@width u8, reg_byte, "{d}", $insn, $ours);
            $crate::alu::host::against_host1!(@width u16, reg, "{d:x}", $insn, $ours);
            $crate::alu::host::against_host1!(@width u32, reg, "{d:e}", $insn, $ours);
        }
    };
    (@width $word:ty, $class:ident, $d:literal, $insn:literal, $ours:expr) => {{
        let ours: fn($word, Flags) -> ($word, Flags) = $ours;
        for d in $crate::alu::host::samples::<$word>(2000) {
            for before in $crate::alu::host::flag_samples() {
                let mut result = d;
                let mut flags = $crate::alu::host::host_flags(before);
                // SAFETY: the instruction touches its register and flags only; the stack is balanced.
                #[allow(unsafe_code)]
                unsafe {
                    std::arch::asm!(
                        "push {f}", "popfq", concat!($insn, " ", $d), "pushfq", "pop {f}",
                        d = inout($class) result, f = inout(reg) flags,
                    );
                }
                let host = (result, $crate::alu::host::guest_flags(flags));
                assert_eq!(ours(d, before), host, "{} {d:#x} with {before:?}", $insn);
            }
        }
    }};
}

/// `insn dst, src` against a closure `(dst, src, flags) -> (dst, flags)`.
macro_rules! against_host2 {
    ($name:ident, $insn:literal, $ours:expr) => {
        #[test]
        fn $name() {
            let all = |flags: Flags| flags;
            $crate::alu::host::against_host2!(@width u8, reg_byte, "{d}, {s}", $insn, $ours, all);
            $crate::alu::host::against_host2!(@width u16, reg, "{d:x}, {s:x}", $insn, $ours, all);
            $crate::alu::host::against_host2!(@width u32, reg, "{d:e}, {s:e}", $insn, $ours, all);
        }
    };
    (@width $word:ty, $class:ident, $operands:literal, $insn:literal, $ours:expr, $defined:expr) => {{
        let ours: fn($word, $word, Flags) -> ($word, Flags) = $ours;
        let values = $crate::alu::host::samples::<$word>(200);
        for &d in &values {
            for &s in &values {
                for before in $crate::alu::host::flag_samples() {
                    let mut result = d;
                    let mut flags = $crate::alu::host::host_flags(before);
                    // SAFETY: the instruction touches its registers and flags only; the stack is balanced.
                    #[allow(unsafe_code)]
                    unsafe {
                        std::arch::asm!(
                            "push {f}", "popfq", concat!($insn, " ", $operands), "pushfq", "pop {f}",
                            d = inout($class) result, s = in($class) s, f = inout(reg) flags,
                        );
                    }
                    let host = (result, $crate::alu::host::guest_flags(flags));
                    // What is undefined differs between processors.
                    let defined = |(value, flags): ($word, Flags)| (value, $defined(flags));
                    let ours = defined(ours(d, s, before));
                    assert_eq!(ours, defined(host), "{} {d:#x}, {s:#x} with {before:?}", $insn);
                }
            }
        }
    }};
}

/// As `against_host2`, for instructions without an 8-bit form; the flags that are compared are those that the
/// last function leaves.
macro_rules! against_host2_wide {
    ($name:ident, $insn:literal, $ours:expr) => {
        $crate::alu::host::against_host2_wide!($name, $insn, $ours, |flags: Flags| flags);
    };
    ($name:ident, $insn:literal, $ours:expr, $defined:expr) => {
        #[test]
        fn $name() {
            $crate::alu::host::against_host2!(@width u16, reg, "{d:x}, {s:x}", $insn, $ours, $defined);
            $crate::alu::host::against_host2!(@width u32, reg, "{d:e}, {s:e}", $insn, $ours, $defined);
        }
    };
}

/// `insn dst, cl` against a function `(dst, count, flags) -> (dst, flags)`.
macro_rules! against_host_shift {
    ($name:ident, $insn:literal, $ours:expr) => {
        #[test]
        fn $name() {
            $crate::alu::host::against_host_shift!(@width u8, reg_byte, "{d}, cl", $insn, $ours);
            $crate::alu::host::against_host_shift!(@width u16, reg, "{d:x}, cl", $insn, $ours);
            $crate::alu::host::against_host_shift!(@width u32, reg, "{d:e}, cl", $insn, $ours);
        }
    };
    (@width $word:ty, $class:ident, $operands:literal, $insn:literal, $ours:expr) => {{
        let ours: fn($word, u8, Flags) -> ($word, Flags) = $ours;
        for d in $crate::alu::host::samples::<$word>(500) {
            for count in 0..=255 {
                for before in $crate::alu::host::flag_samples() {
                    let mut result = d;
                    let mut flags = $crate::alu::host::host_flags(before);
                    // SAFETY: the instruction touches its register and flags only; the stack is balanced.
                    #[allow(unsafe_code)]
                    unsafe {
                        std::arch::asm!(
                            "push {f}", "popfq", concat!($insn, " ", $operands), "pushfq", "pop {f}",
                            d = inout($class) result, in("cl") count, f = inout(reg) flags,
                        );
                    }
                    let host = (result, $crate::alu::host::guest_flags(flags));
                    assert_eq!(ours(d, count, before), host, "{} {d:#x}, {count} with {before:?}", $insn);
                }
            }
        }
    }};
}

/// `insn dst, src, cl` against a function `(dst, src, count, flags) -> (dst, flags)`.
macro_rules! against_host_double_shift {
    ($name:ident, $insn:literal, $ours:expr) => {
        #[test]
        fn $name() {
            $crate::alu::host::against_host_double_shift!(@width u16, "{d:x}, {s:x}, cl", $insn, $ours);
            $crate::alu::host::against_host_double_shift!(@width u32, "{d:e}, {s:e}, cl", $insn, $ours);
        }
    };
    (@width $word:ty, $operands:literal, $insn:literal, $ours:expr) => {{
        let ours: fn($word, $word, u8, Flags) -> ($word, Flags) = $ours;
        let values = $crate::alu::host::samples::<$word>(100);
        for &d in &values {
            for &s in &values {
                for count in 0..32 {
                    let before = $crate::alu::host::flag_samples()[usize::from(count % 4)];
                    let mut result = d;
                    let mut flags = $crate::alu::host::host_flags(before);
                    // SAFETY: the instruction touches its registers and flags only; the stack is balanced.
                    #[allow(unsafe_code)]
                    unsafe {
                        std::arch::asm!(
                            "push {f}", "popfq", concat!($insn, " ", $operands), "pushfq", "pop {f}",
                            d = inout(reg) result, s = in(reg) s, in("cl") count, f = inout(reg) flags,
                        );
                    }
                    let host = (result, $crate::alu::host::guest_flags(flags));
                    assert_eq!(ours(d, s, count, before), host, "{} {d:#x}, {s:#x}, {count} with {before:?}", $insn);
                }
            }
        }
    }};
}

/// `insn src` on the double-width accumulator against a closure
/// `(high, low, src, flags) -> Option<(high, low, flags)>`, `None` being #DE, which the host is spared.
macro_rules! against_host_accumulator {
    ($name:ident, $insn:literal, $ours:expr) => {
        #[test]
        fn $name() {
            $crate::alu::host::against_host_accumulator!(@byte $insn, $ours);
            $crate::alu::host::against_host_accumulator!(@width u16, "{s:x}", "dx", "ax", $insn, $ours);
            $crate::alu::host::against_host_accumulator!(@width u32, "{s:e}", "edx", "eax", $insn, $ours);
        }
    };
    (@byte $insn:literal, $ours:expr) => {{
        let ours: fn(u8, u8, u8, Flags) -> Option<(u8, u8, Flags)> = $ours;
        for high in 0..=255u8 {
            for (low, s) in (0..=255u8).flat_map(|low| (0..=255u8).step_by(3).map(move |s| (low, s))) {
                let before = $crate::alu::host::flag_samples()[usize::from(low % 4)];
                let Some(expected) = ours(high, low, s, before) else { continue };
                let mut ax = u16::from(high) << 8 | u16::from(low);
                let mut flags = $crate::alu::host::host_flags(before);
                // SAFETY: the instruction touches its registers and flags only; the stack is balanced;
                // it cannot raise #DE, unless our arithmetic is wrong.
                #[allow(unsafe_code)]
                unsafe {
                    std::arch::asm!(
                        "push {f}", "popfq", concat!($insn, " {s}"), "pushfq", "pop {f}",
                        s = in(reg_byte) s, inout("ax") ax, f = inout(reg) flags,
                    );
                }
                let host = ((ax >> 8) as u8, ax as u8, $crate::alu::host::guest_flags(flags));
                assert_eq!(expected, host, "{} {s:#x} on {high:#x}:{low:#x} with {before:?}", $insn);
            }
        }
    }};
    (@width $word:ty, $operand:literal, $high:tt, $low:tt, $insn:literal, $ours:expr) => {{
        let ours: fn($word, $word, $word, Flags) -> Option<($word, $word, Flags)> = $ours;
        let values = $crate::alu::host::samples::<$word>(60);
        for &hi in &values {
            for (&lo, &s) in values.iter().flat_map(|lo| values.iter().map(move |s| (lo, s))) {
                let before = $crate::alu::host::flag_samples()[lo as usize % 4];
                let Some(expected) = ours(hi, lo, s, before) else { continue };
                let (mut high, mut low) = (hi, lo);
                let mut flags = $crate::alu::host::host_flags(before);
                // SAFETY: as for bytes.
                #[allow(unsafe_code)]
                unsafe {
                    std::arch::asm!(
                        "push {f}", "popfq", concat!($insn, " ", $operand), "pushfq", "pop {f}",
                        s = in(reg) s, inout($high) high, inout($low) low, f = inout(reg) flags,
                    );
                }
                let host = (high, low, $crate::alu::host::guest_flags(flags));
                assert_eq!(expected, host, "{} {s:#x} on {hi:#x}:{lo:#x} with {before:?}", $insn);
            }
        }
    }};
}

pub(crate) use {
    against_host_accumulator, against_host_double_shift, against_host_shift, against_host1, against_host2,
    against_host2_wide,
};
