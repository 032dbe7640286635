//! Status flags that are worked out only when somebody asks.

use x86::Eflags;

use crate::alu::{self, Flags};

/// What the operation was that last set the status flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub(crate) enum Kind {
    /// None: the flags are in `state.eflags`.
    #[default]
    Eager,
    /// `a + b`, with or without a carry in.
    Add,
    /// `a - b`, with or without a borrow in.
    Sub,
    /// AND, OR, XOR.
    Logic,
    /// `a + 1`; CF is in `cf`.
    Inc,
    /// `a - 1`; CF is in `cf`.
    Dec,
    /// 32-bit `a` shifted left by `b`, 1 to 31.
    Shl,
    /// 32-bit `a` shifted right by `b`, 1 to 31.
    Shr,
    /// 32-bit `a` shifted right by `b`, 1 to 31, filling with the sign.
    Sar,
}

/// The operands and the result of the operation that last set the status flags.
///
/// All are sign-extended to 32 bits from the width of the operation: then carry, overflow
/// and sign stand in bit 31 whatever the width, and comparisons keep their order, signed
/// and unsigned.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct LazyFlags {
    pub kind: Kind,
    pub a: u32,
    pub b: u32,
    pub result: u32,
    /// CF before an INC or DEC.
    pub cf: u32,
}

impl LazyFlags {
    /// `eflags` with the status flags put in.
    pub(crate) fn eflags(&self, eflags: Eflags) -> Eflags {
        let (a, b) = (self.a, self.b);
        let before = Flags::default(); // a shift by at least 1 keeps nothing of it
        let flags = match self.kind {
            Kind::Eager => return eflags,
            Kind::Shl => alu::shl(a, b as u8, before).1,
            Kind::Shr => alu::shr(a, b as u8, before).1,
            Kind::Sar => alu::sar(a, b as u8, before).1,
            _ => Flags {
                cf: self.cf(),
                af: self.kind != Kind::Logic && (a ^ b ^ self.result) & 0x10 != 0,
                of: match self.kind {
                    Kind::Add | Kind::Inc => (a ^ self.result) & (b ^ self.result),
                    Kind::Sub | Kind::Dec => (a ^ b) & (a ^ self.result),
                    _ => 0,
                } >> 31
                    != 0,
                ..Flags::of_result(self.result)
            },
        };
        (eflags - Eflags::STATUS) | Eflags::from(flags)
    }

    /// CF of every kind but the eager one and the shifts.
    fn cf(&self) -> bool {
        let (a, b) = (self.a, self.b);
        match self.kind {
            Kind::Add => ((a & b) | ((a | b) & !self.result)) >> 31 != 0,
            Kind::Sub => ((!a & b) | ((!a | b) & self.result)) >> 31 != 0,
            Kind::Inc | Kind::Dec => self.cf != 0,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alu::Word;

    fn sext<W: Word>(w: W) -> u32 {
        w.sext() as u32
    }

    fn check<W: Word>(kind: Kind, a: W, b: W, cf: bool, (result, flags): (W, Flags)) {
        let lazy = LazyFlags { kind, a: sext(a), b: sext(b), result: sext(result), cf: cf.into() };
        let want = Eflags::from(flags) | Eflags::IF;
        assert_eq!(lazy.eflags(Eflags::IF | Eflags::ZF), want, "{kind:?} {a:?} {b:?} {cf}");
    }

    fn all_kinds<W: Word>(a: W, b: W) {
        for cf in [false, true] {
            let before = Flags { cf, ..Flags::default() };
            check(Kind::Add, a, b, cf, alu::adc(a, b, cf));
            check(Kind::Sub, a, b, cf, alu::sbb(a, b, cf));
            check(Kind::Logic, a, b, cf, alu::xor(a, b));
            check(Kind::Inc, a, W::from_bool(true), cf, alu::inc(a, before));
            check(Kind::Dec, a, W::from_bool(true), cf, alu::dec(a, before));
        }
    }

    #[test]
    fn lazy_flags_are_those_of_the_arithmetic_at_every_width() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                all_kinds(a, b);
            }
        }
        let edges =
            [0u32, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1234_5678];
        for a in edges {
            for b in edges {
                all_kinds(a as u16, b as u16);
                all_kinds(a, b);
            }
        }
    }

    #[test]
    fn lazy_flags_of_shifts_are_those_of_the_arithmetic() {
        for a in [0u32, 1, 0x8000_0001, 0x4000_0000, 0xffff_ffff] {
            for b in 1..32u32 {
                let f = Flags::default();
                for (kind, (result, flags)) in [
                    (Kind::Shl, alu::shl(a, b as u8, f)),
                    (Kind::Shr, alu::shr(a, b as u8, f)),
                    (Kind::Sar, alu::sar(a, b as u8, f)),
                ] {
                    let lazy = LazyFlags { kind, a, b, result, cf: 0 };
                    assert_eq!(lazy.eflags(Eflags::empty()), Eflags::from(flags), "{kind:?} {a:#x} {b}");
                }
            }
        }
    }
}
