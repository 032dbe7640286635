//! Status flags in a form that is cheap to set and to ask.

use x86::Eflags;

use crate::alu::{Flags, Word};

/// The status flags of a running CPU, as what they follow from. Every combination of flags has
/// a form here, so that nothing ever has to be settled first.
///
/// | flag | is |
/// |---|---|
/// | ZF | `result` is 0 |
/// | SF | bit 31 of `result ^ carry` |
/// | PF | even parity of the low byte of `result ^ carry >> 8` |
/// | CF | bit 0 of `carry` |
/// | AF | bit 4 of `carries` |
/// | OF | bit 31 of `carries`, xor CF |
///
/// Results and carries of narrow operations are sign-extended, so that the sign stands in bit
/// 31 whatever the width. The upper bits of `carry` are 0 unless somebody has set SF or PF to
/// what no result with that ZF has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(8))]
pub(crate) struct LazyFlags {
    /// The carry or borrow into each bit: `a ^ b ^ result`.
    pub carries: u32,
    pub carry: u32,
    pub result: u32,
}

const MSB: u32 = 1 << 31;
const AF: u32 = 1 << 4;

impl LazyFlags {
    /// After `a + b`, with or without a carry in, or `a - b`: `carry` is that out of the top.
    #[inline(always)]
    pub(crate) fn set_sum<W: Word>(&mut self, a: W, b: W, result: W, carry: bool) {
        self.carries = (a.sext() ^ b.sext() ^ result.sext()) as u32;
        self.carry = carry.into();
        self.result = result.sext() as u32;
    }

    /// After AND, OR, XOR.
    #[inline(always)]
    pub(crate) fn set_logic<W: Word>(&mut self, result: W) {
        self.carries = 0;
        self.carry = 0;
        self.result = result.sext() as u32;
    }

    /// After INC or DEC of `a`: as an addition or subtraction of 1, but CF stays.
    #[inline(always)]
    pub(crate) fn set_step<W: Word>(&mut self, a: W, result: W, out: bool) {
        let cf = self.carry & 1;
        self.carries = (a.sext() ^ 1 ^ result.sext()) as u32 ^ (u32::from(out) ^ cf) << 31;
        self.carry = cf;
        self.result = result.sext() as u32;
    }

    /// After a shift, which sets AF.
    #[inline(always)]
    pub(crate) fn set_shift(&mut self, result: u32, cf: bool, of: bool) {
        self.carries = u32::from(of ^ cf) << 31 | AF;
        self.carry = cf.into();
        self.result = result;
    }

    /// After DIV and IDIV, which leave CF and OF.
    #[inline(always)]
    pub(crate) fn set_division(&mut self) {
        self.carries = self.carries & MSB | AF;
        self.carry &= 1;
        self.result = 1;
    }

    /// Sets CF and OF alone.
    #[inline(always)]
    pub(crate) fn set_cf_of(&mut self, cf: bool, of: bool) {
        self.carries = self.carries & !MSB | u32::from(of ^ cf) << 31;
        self.carry = self.carry & !1 | u32::from(cf);
    }

    /// Sets CF alone.
    #[inline(always)]
    pub(crate) fn set_cf(&mut self, cf: bool) {
        let of = self.of();
        self.set_cf_of(cf, of);
    }

    /// Sets ZF alone.
    #[inline(always)]
    pub(crate) fn set_zf(&mut self, zf: bool) {
        let (sf, pf) = (self.sf(), self.pf());
        self.set_result_flags(zf, sf, pf);
    }

    #[inline(always)]
    fn set_result_flags(&mut self, zf: bool, sf: bool, pf: bool) {
        // 0 has SF clear and PF set, 1 has both clear.
        self.result = (!zf).into();
        self.carry = self.carry & 1 | u32::from(pf != zf) << 8 | u32::from(sf) << 31;
    }

    #[inline(always)]
    pub(crate) fn cf(&self) -> bool {
        self.carry & 1 != 0
    }

    #[inline(always)]
    pub(crate) fn zf(&self) -> bool {
        self.result == 0
    }

    #[inline(always)]
    pub(crate) fn sf(&self) -> bool {
        (self.result ^ self.carry) >> 31 != 0
    }

    #[inline(always)]
    pub(crate) fn of(&self) -> bool {
        (self.carries >> 31 ^ self.carry) & 1 != 0
    }

    #[inline(always)]
    pub(crate) fn pf(&self) -> bool {
        ((self.result ^ self.carry >> 8) as u8).count_ones() & 1 == 0
    }

    /// SF differs from OF.
    #[inline(always)]
    pub(crate) fn less(&self) -> bool {
        self.sf() != self.of()
    }

    /// `eflags` with the status flags put in.
    pub(crate) fn eflags(&self, eflags: Eflags) -> Eflags {
        (eflags - Eflags::STATUS) | Eflags::from(Flags::from(*self))
    }
}

impl From<LazyFlags> for Flags {
    fn from(lazy: LazyFlags) -> Self {
        Flags { cf: lazy.cf(), pf: lazy.pf(), af: lazy.carries & AF != 0, zf: lazy.zf(), sf: lazy.sf(), of: lazy.of() }
    }
}

impl From<Flags> for LazyFlags {
    fn from(flags: Flags) -> Self {
        let mut lazy = LazyFlags::default();
        lazy.set_result_flags(flags.zf, flags.sf, flags.pf);
        lazy.set_cf_of(flags.cf, flags.of);
        lazy.carries |= u32::from(flags.af) << 4;
        lazy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alu;

    fn every_combination() -> impl Iterator<Item = Flags> {
        (0..64u32).map(|n| {
            let bit = |place: u32| n >> place & 1 != 0;
            Flags { cf: bit(0), pf: bit(1), af: bit(2), zf: bit(3), sf: bit(4), of: bit(5) }
        })
    }

    fn check(context: &str, set: impl Fn(&mut LazyFlags), want: impl Fn(Flags) -> Flags) {
        for before in every_combination() {
            let mut lazy = LazyFlags::from(before);
            assert_eq!(Flags::from(lazy), before);
            set(&mut lazy);
            assert_eq!(Flags::from(lazy), want(before), "{context} after {before:?}");
            assert_eq!(lazy.less(), lazy.sf() != lazy.of());
        }
    }

    fn arithmetic<W: Word>(a: W, b: W) {
        let one = W::from_bool(true);
        for cf in [false, true] {
            let (sum, flags) = alu::adc(a, b, cf);
            check("sum", |l| l.set_sum(a, b, sum, flags.cf), |_| flags);
            let (difference, flags) = alu::sbb(a, b, cf);
            check("difference", |l| l.set_sum(a, b, difference, flags.cf), |_| flags);
        }
        let (result, flags) = alu::xor(a, b);
        check("logic", |l| l.set_logic(result), |_| flags);
        let up = a.wrapping_add(one);
        check("inc", |l| l.set_step(a, up, up == W::ZERO), |before| alu::inc(a, before).1);
        let down = a.wrapping_sub(one);
        check("dec", |l| l.set_step(a, down, a == W::ZERO), |before| alu::dec(a, before).1);
    }

    #[test]
    fn flags_are_those_of_the_arithmetic_at_every_width() {
        let edges = [0u32, 1, 7, 8, 0xf, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, !0];
        for a in edges {
            for b in edges {
                arithmetic(a as u8, b as u8);
                arithmetic(a as u16, b as u16);
                arithmetic(a, b);
            }
        }
    }

    #[test]
    fn one_flag_can_be_set_without_the_others() {
        for flag in [false, true] {
            check("cf", |l| l.set_cf(flag), |before| Flags { cf: flag, ..before });
            check("zf", |l| l.set_zf(flag), |before| Flags { zf: flag, ..before });
            check("cf and of", |l| l.set_cf_of(flag, !flag), |before| Flags { cf: flag, of: !flag, ..before });
        }
        check("division", LazyFlags::set_division, alu::flags_after_division);
    }

    #[test]
    fn flags_of_shifts_are_those_of_the_arithmetic() {
        for a in [0u32, 1, 0x8000_0001, 0x4000_0000, !0] {
            for count in 1..32 {
                for shift in [alu::shl, alu::shr, alu::sar] {
                    let (result, flags) = shift(a, count, Flags::default());
                    check("shift", |l| l.set_shift(result, flags.cf, flags.of), |_| flags);
                }
            }
        }
    }
}
