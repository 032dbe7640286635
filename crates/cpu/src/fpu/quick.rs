//! x87 arithmetic on ordinary numbers, rounded to nearest: what almost every instruction of real
//! programs needs. `None` stands for whatever [`super::arith`] must decide: NaNs, infinities,
//! denormals, overflow and underflow, unsupported patterns, invalid operations.

use super::{F80, round::Rounding};

/// Bits by which a significand of 64 bits is longer than the precision that the control word asks for.
pub(crate) trait Precision {
    /// See the trait.
    const EXCESS: u32;
}

/// 64 bits, as after FNINIT.
pub(crate) struct Extended;
/// 53 bits.
pub(crate) struct Double;

impl Precision for Extended {
    const EXCESS: u32 = 0;
}

impl Precision for Double {
    const EXCESS: u32 = 11;
}

/// A result, whether it is inexact, and whether its magnitude grew in rounding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Quick<T> {
    pub value: T,
    pub inexact: bool,
    pub up: bool,
}

impl<T> Quick<T> {
    const fn exact(value: T) -> Self {
        Quick { value, inexact: false, up: false }
    }
}

/// A result in two registers: what a function that is not inlined answers with, so that the handler
/// that calls it needs no place on the stack, and ends in a jump.
#[derive(Clone, Copy)]
pub(crate) struct Packed(u64, u64);

impl Packed {
    const SOME: u64 = 1 << 63;

    /// Packs a result.
    #[inline(always)]
    pub(crate) fn of(result: Option<Quick<F80>>) -> Self {
        match result {
            None => Packed(0, 0),
            Some(Quick { value, inexact, up }) => {
                let rest = u64::from(value.sign_exponent) | u64::from(inexact) << 16 | u64::from(up) << 17;
                Packed(value.significand, rest | Self::SOME)
            }
        }
    }

    /// Unpacks it.
    #[inline(always)]
    pub(crate) fn result(self) -> Option<Quick<F80>> {
        let Packed(significand, rest) = self;
        let value = F80 { significand, sign_exponent: rest as u16 };
        (rest & Self::SOME != 0).then_some(Quick { value, inexact: rest >> 16 & 1 != 0, up: rest >> 17 & 1 != 0 })
    }
}

const BIAS: i32 = 16383;
const GREATEST: i32 = 0x7ffe;
const HALF: u64 = 1 << 63;
const DOUBLE_BIAS: i32 = 1023;
const SINGLE_BIAS: i32 = 127;

/// Both are normal numbers: exponents neither 0 nor all ones, integer bits set.
#[inline(always)]
const fn are_normal(a: F80, b: F80) -> bool {
    // Adding 1 leaves nothing of either exponent but the sign and the lowest bit.
    a.sign_exponent.wrapping_add(1) & 0x7ffe != 0
        && b.sign_exponent.wrapping_add(1) & 0x7ffe != 0
        && (a.significand & b.significand) >> 63 != 0
}

#[inline(always)]
const fn is_normal(a: F80) -> bool {
    are_normal(a, a)
}

#[inline(always)]
const fn is_zero(a: F80) -> bool {
    a.sign_exponent & 0x7fff == 0 && a.significand == 0
}

#[inline(always)]
const fn exponent(a: F80) -> i32 {
    (a.sign_exponent & 0x7fff) as i32
}

/// Rounds `high:low`, whose top bit is set; `sign` is bit 15.
#[inline(always)]
fn rounded<P: Precision>(sign: u16, exponent: i32, high: u64, low: u64) -> Option<Quick<F80>> {
    let (kept, inexact, up) = if P::EXCESS == 0 {
        (high, low != 0, low > HALF || low == HALF && high & 1 != 0)
    } else {
        let unit = 1_u64 << P::EXCESS;
        let (kept, cut) = (high & !(unit - 1), high & (unit - 1));
        let up = cut > unit / 2 || cut == unit / 2 && (low != 0 || kept & unit != 0);
        (kept, cut != 0 || low != 0, up)
    };
    let (sum, carry) = kept.overflowing_add(u64::from(up) << P::EXCESS);
    let exponent = exponent + i32::from(carry);
    let significand = if carry { HALF } else { sum };
    let value = F80 { significand, sign_exponent: sign | exponent as u16 };
    (1..=GREATEST).contains(&exponent).then_some(Quick { value, inexact, up })
}

/// `a + b`, neither of them 0, and less than 64 bits apart.
#[inline(always)]
pub(crate) fn add<P: Precision>(a: F80, b: F80) -> Option<Quick<F80>> {
    if !are_normal(a, b) {
        return None;
    }
    let key = |v: F80| (exponent(v) as u128) << 64 | u128::from(v.significand);
    let (great, small) = if key(a) < key(b) { (b, a) } else { (a, b) };
    let exponent_of_great = exponent(great);
    let distance = (exponent_of_great - exponent(small)) as u32;
    if distance >= 64 {
        return None;
    }
    let sign = great.sign_exponent & 0x8000;
    let (high, low) = (small.significand >> distance, small.significand << 1 << (63 - distance));
    if great.sign_exponent ^ small.sign_exponent < 0x8000 {
        let (sum, carry) = great.significand.overflowing_add(high);
        if carry {
            return rounded::<P>(sign, exponent_of_great + 1, sum >> 1 | HALF, sum << 63 | low >> 1 | low & 1);
        }
        return rounded::<P>(sign, exponent_of_great, sum, low);
    }
    let (low, borrow) = 0_u64.overflowing_sub(low);
    let high = great.significand - high - u64::from(borrow);
    if high >> 63 != 0 {
        return rounded::<P>(sign, exponent_of_great, high, low);
    }
    if high == 0 {
        // One bit of the other may be left, or nothing.
        let exact = F80 { significand: low, sign_exponent: sign | (exponent_of_great - 64).max(0) as u16 };
        return match low {
            0 => Some(Quick::exact(F80::ZERO)),
            _ if low >> 63 != 0 && exponent_of_great > 64 => Some(Quick::exact(exact)),
            _ => None,
        };
    }
    let shift = high.leading_zeros();
    rounded::<P>(sign, exponent_of_great - shift as i32, high << shift | low >> 1 >> (63 - shift), low << shift)
}

/// `a − b`, neither of them 0.
#[inline(always)]
pub(crate) fn sub<P: Precision>(a: F80, b: F80) -> Option<Quick<F80>> {
    add::<P>(a, b.negated())
}

/// `a × b`, neither of them 0.
#[inline(always)]
pub(crate) fn mul<P: Precision>(a: F80, b: F80) -> Option<Quick<F80>> {
    let sign = (a.sign_exponent ^ b.sign_exponent) & 0x8000;
    if !are_normal(a, b) {
        return None;
    }
    let product = u128::from(a.significand) * u128::from(b.significand);
    let (high, low) = ((product >> 64) as u64, product as u64);
    let grown = high >> 63; // 0 or 1
    let (high, low) = if grown != 0 { (high, low) } else { (high << 1 | low >> 63, low << 1) };
    rounded::<P>(sign, exponent(a) + exponent(b) - BIAS + grown as i32, high, low)
}

/// `a ÷ b`, neither of them 0.
#[inline(always)]
pub(crate) fn div<P: Precision>(a: F80, b: F80) -> Option<Quick<F80>> {
    let sign = (a.sign_exponent ^ b.sign_exponent) & 0x8000;
    if !are_normal(a, b) {
        return None;
    }
    // A quotient of 64 bits, its top bit set.
    let fits = a.significand >= b.significand;
    let dividend = u128::from(a.significand) << if fits { 63 } else { 64 };
    let (quotient, rest) = divide(dividend, b.significand);
    // The rest against half the divisor: a tie cannot be, but for its order with the half.
    let low = match rest {
        0 => 0,
        _ => match rest.cmp(&(b.significand - rest)) {
            std::cmp::Ordering::Less => 1,
            std::cmp::Ordering::Equal => HALF,
            std::cmp::Ordering::Greater => HALF | 1,
        },
    };
    rounded::<P>(sign, exponent(a) - exponent(b) + BIAS - i32::from(!fits), quotient, low)
}

/// √a. Raises flags in the host's MXCSR.
#[inline(always)]
pub(crate) fn sqrt<P: Precision>(a: F80) -> Option<Quick<F80>> {
    if is_zero(a) {
        return Some(Quick::exact(a));
    }
    if !is_normal(a) || a.sign() {
        return None;
    }
    // An even exponent: the radicand is in [1/4, 1) of 2^128, its root in [1/2, 1) of 2^64.
    let unbiased = exponent(a) - BIAS;
    let radicand = u128::from(a.significand) << if unbiased & 1 != 0 { 64 } else { 63 };
    // The root of the upper half is good to some 52 bits; one step of Newton's makes it good to all but the last ones.
    let estimate = ((a.significand >> u32::from(unbiased & 1 == 0)) as f64).sqrt() * 4_294_967_296.0;
    let first = (estimate as u64).max(HALF);
    let second = (u128::from(first) + radicand / u128::from(first)) / 2;
    let mut root = second.min(u128::from(u64::MAX)) as u64;
    while square(root) > radicand {
        root -= 1;
    }
    while root < u64::MAX && square(root + 1) <= radicand {
        root += 1;
    }
    let rest = radicand - square(root);
    // (root + 1/2)² = root² + root + 1/4: the rest never meets the half.
    let low = u64::from(rest > u128::from(root)) << 63 | u64::from(rest != 0);
    rounded::<P>(0, (unbiased >> 1) + BIAS, root, low)
}

/// Quotient and rest; the quotient fits 64 bits.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline(always)]
fn divide(dividend: u128, divisor: u64) -> (u64, u64) {
    debug_assert!(u128::from(divisor) > dividend >> 64, "the quotient of {dividend:x} and {divisor:x} is too long");
    let (mut low, mut high) = (dividend as u64, (dividend >> 64) as u64);
    // SAFETY: the upper half is below the divisor, by the caller: the quotient fits.
    unsafe {
        std::arch::asm!(
            "div {}",
            in(reg) divisor,
            inout("rax") low,
            inout("rdx") high,
            options(pure, nomem, nostack),
        );
    }
    (low, high)
}

/// Quotient and rest; the quotient fits 64 bits.
#[cfg(not(target_arch = "x86_64"))]
fn divide(dividend: u128, divisor: u64) -> (u64, u64) {
    let divisor = u128::from(divisor);
    ((dividend / divisor) as u64, (dividend % divisor) as u64)
}

fn square(root: u64) -> u128 {
    u128::from(root) * u128::from(root)
}

/// A double.
#[inline(always)]
pub(crate) fn of_double(bits: u64) -> Option<F80> {
    let sign = (bits >> 48) as u16 & 0x8000;
    let exponent = (bits >> 52) as i32 & 0x7ff;
    if !(1..0x7ff).contains(&exponent) {
        return (bits << 1 == 0).then_some(F80 { significand: 0, sign_exponent: sign });
    }
    let sign_exponent = sign | (exponent + BIAS - DOUBLE_BIAS) as u16;
    Some(F80 { significand: HALF | bits << 11, sign_exponent })
}

/// A single.
#[inline(always)]
pub(crate) fn of_single(bits: u32) -> Option<F80> {
    let sign = (bits >> 16) as u16 & 0x8000;
    let exponent = (bits >> 23) as i32 & 0xff;
    if !(1..0xff).contains(&exponent) {
        return (bits << 1 == 0).then_some(F80 { significand: 0, sign_exponent: sign });
    }
    let sign_exponent = sign | (exponent + BIAS - SINGLE_BIAS) as u16;
    Some(F80 { significand: HALF | u64::from(bits) << 40, sign_exponent })
}

/// To a double; a result that is a normal number or zero.
#[inline(always)]
pub(crate) fn to_double(a: F80) -> Option<Quick<u64>> {
    let sign = u64::from(a.sign_exponent & 0x8000) << 48;
    if !is_normal(a) {
        return is_zero(a).then_some(Quick::exact(sign));
    }
    let Quick { value, inexact, up } = rounded::<Double>(0, exponent(a), a.significand, 0)?;
    let exponent = exponent(value) - BIAS + DOUBLE_BIAS;
    let bits = sign | (exponent as u64) << 52 | value.significand << 1 >> 12;
    (1..0x7ff).contains(&exponent).then_some(Quick { value: bits, inexact, up })
}

/// To a single; a result that is a normal number or zero.
#[inline(always)]
pub(crate) fn to_single(a: F80) -> Option<Quick<u32>> {
    struct Single;
    impl Precision for Single {
        const EXCESS: u32 = 40;
    }
    let sign = u32::from(a.sign_exponent & 0x8000) << 16;
    if !is_normal(a) {
        return is_zero(a).then_some(Quick::exact(sign));
    }
    let Quick { value, inexact, up } = rounded::<Single>(0, exponent(a), a.significand, 0)?;
    let exponent = exponent(value) - BIAS + SINGLE_BIAS;
    let bits = sign | (exponent as u32) << 23 | (value.significand << 1 >> 41) as u32;
    (1..0xff).contains(&exponent).then_some(Quick { value: bits, inexact, up })
}

/// An integer.
#[inline(always)]
pub(crate) fn of_integer(value: i64) -> F80 {
    if value == 0 {
        return F80::ZERO;
    }
    let sign = ((value >> 63) as u16) & 0x8000;
    let magnitude = value.unsigned_abs();
    let shift = magnitude.leading_zeros();
    F80 { significand: magnitude << shift, sign_exponent: sign | (BIAS + 63 - shift as i32) as u16 }
}

/// To an integer of at most `bits` bits, by any rounding.
#[inline(always)]
pub(crate) fn to_integer(a: F80, bits: u32, rounding: Rounding) -> Option<Quick<i64>> {
    if !is_normal(a) {
        return is_zero(a).then_some(Quick::exact(0));
    }
    let unbiased = exponent(a) - BIAS;
    if unbiased > 62 {
        return None;
    }
    let (whole, cut) = match 63 - unbiased {
        shift @ 1..64 => (a.significand >> shift, a.significand << (64 - shift)),
        64 => (0, a.significand),
        _ => (0, 1), // below a half
    };
    let sign = a.sign_exponent >= 0x8000;
    let up = match rounding {
        Rounding::Nearest => cut > HALF || cut == HALF && whole & 1 != 0,
        Rounding::Down => sign && cut != 0,
        Rounding::Up => !sign && cut != 0,
        Rounding::Truncate => false,
    };
    let magnitude = (whole + u64::from(up)) as i64;
    let value = if sign { magnitude.wrapping_neg() } else { magnitude };
    let fits = value << (64 - bits) >> (64 - bits) == value && (magnitude >= 0);
    fits.then_some(Quick { value, inexact: cut != 0, up })
}

/// The order of two numbers.
#[inline(always)]
pub(crate) fn compare(a: F80, b: F80) -> Option<std::cmp::Ordering> {
    if !((is_normal(a) || is_zero(a)) && (is_normal(b) || is_zero(b))) {
        return None;
    }
    // As integers of 80 bits, negative ones mirrored, the zeros alike.
    let key = |v: F80| {
        let magnitude = i128::from(v.sign_exponent & 0x7fff) << 64 | i128::from(v.significand);
        if v.sign_exponent >= 0x8000 { -magnitude } else { magnitude }
    };
    Some(key(a).cmp(&key(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fpu::{
        arith::{self, Env, Outcome},
        flags,
        number::Narrow,
    };

    /// Xorshift: the same numbers on every host.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn pick(&mut self, n: u64) -> u64 {
            (self.next() >> 20) % n
        }

        /// Patterns that meet ties, carries, cancellation and the ends of the range.
        fn number(&mut self, near: u16) -> F80 {
            let significand = match self.pick(8) {
                0 => HALF,
                1 => !0,
                2 => HALF | self.next() >> 1 << 40,
                3 => HALF | self.next() >> 53,
                4 => HALF | (self.next() << 10),
                5 => self.next(),
                _ => HALF | self.next() >> 1,
            };
            let exponent = match self.pick(10) {
                0 => 0,
                1 => [1, 2, 0x7ffe, 0x7fff, 0x7ffd, 0x3c01, 0x43fe, 0x3f81, 0x407e][self.pick(9) as usize],
                2..=4 => near.wrapping_add(self.pick(140) as u16).wrapping_sub(70) & 0x7fff,
                5 => near,
                _ => (0x3fff + self.pick(80) as u16).wrapping_sub(40),
            };
            let significand = if exponent == 0 && self.pick(2) == 0 { 0 } else { significand };
            F80 { significand, sign_exponent: exponent | (self.next() as u16 & 0x8000) }
        }
    }

    /// What the instruction leaves must be the same; more than PE is not for here.
    fn check(name: &str, quick: Option<Quick<F80>>, exact: Outcome, a: F80, b: F80) -> bool {
        let Some(quick) = quick else { return false };
        let found = Outcome { value: quick.value, flags: if quick.inexact { flags::PE } else { 0 }, up: quick.up };
        assert_eq!(found, exact, "{name} of {a:x?} and {b:x?}");
        true
    }

    #[test]
    fn quick_results_are_the_exact_ones() {
        let mut r = Random(0x1234_5678_9abc_def1);
        let mut quick = 0;
        for round in 0..400_000 {
            let a = r.number(0x3fff);
            let b = r.number(a.exponent());
            let env = |precision| Env { rounding: Rounding::Nearest, precision, unmasked: 0 };
            let (long, short) = (env(64), env(53));
            quick += u32::from(check("sum", add::<Extended>(a, b), arith::add(a, b, long), a, b));
            check("sum", add::<Double>(a, b), arith::add(a, b, short), a, b);
            quick += u32::from(check("difference", sub::<Extended>(a, b), arith::add(a, b.negated(), long), a, b));
            quick += u32::from(check("product", mul::<Extended>(a, b), arith::mul(a, b, long), a, b));
            check("product", mul::<Double>(a, b), arith::mul(a, b, short), a, b);
            quick += u32::from(check("quotient", div::<Extended>(a, b), arith::div(a, b, long), a, b));
            check("quotient", div::<Double>(a, b), arith::div(a, b, short), a, b);
            check("root", sqrt::<Extended>(a), arith::sqrt(a, long), a, a);
            check("root", sqrt::<Double>(a), arith::sqrt(a, short), a, a);
            if let Some(order) = compare(a, b) {
                assert_eq!((Some(order), false, 0), arith::compare(a, b), "order of {a:x?} and {b:x?}");
            }
            for bits in [16, 32, 64] {
                let rounding = Rounding::of_bits(round);
                if let Some(q) = to_integer(a, bits, rounding) {
                    let flags = if q.inexact { flags::PE } else { 0 };
                    assert_eq!(Some((q.value, flags, q.up)), a.to_integer(bits, rounding), "{a:x?} {rounding:?}");
                }
            }
        }
        assert!(quick > 600_000, "most numbers are ordinary: {quick}");
    }

    #[test]
    fn quick_conversions_are_the_exact_ones() {
        let mut r = Random(0x0fed_cba9_8765_4321);
        let mut quick = 0;
        for _ in 0..400_000 {
            let a = r.number(0x3fff);
            for format in [Narrow::SINGLE, Narrow::DOUBLE] {
                let expected = a.to_narrow(format, Rounding::Nearest, 0);
                let found = if format == Narrow::SINGLE {
                    to_single(a).map(|q| Quick { value: q.value.into(), inexact: q.inexact, up: q.up })
                } else {
                    to_double(a)
                };
                if let Some(q) = found {
                    assert_eq!((q.value, if q.inexact { flags::PE } else { 0 }, q.up), expected, "{a:x?} {format:?}");
                    quick += 1;
                }
            }
            let bits = r.next() >> r.pick(3) << r.pick(40);
            if let Some(wide) = of_double(bits) {
                assert_eq!((wide, 0), F80::of_narrow(bits, Narrow::DOUBLE), "{bits:x}");
            }
            if let Some(wide) = of_single(bits as u32) {
                assert_eq!((wide, 0), F80::of_narrow(u64::from(bits as u32), Narrow::SINGLE), "{bits:x}");
            }
            assert_eq!(of_integer(bits as i64), F80::of_i64(bits as i64));
        }
        assert!(quick > 400_000, "most numbers are ordinary: {quick}");
    }
}
