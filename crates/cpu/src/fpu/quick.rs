//! x87 arithmetic on ordinary numbers, rounded to nearest: what almost every instruction of real
//! programs needs. `None` stands for whatever [`super::arith`] must decide: NaNs, infinities,
//! denormals, overflow and underflow, unsupported patterns, invalid operations.
//!
//! Which way a result is rounded, or how far it must be shifted, no processor can foresee, and a
//! wrong guess costs it more than all of the arithmetic: what depends on such is masked, not branched.

use std::hint::select_unpredictable;

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

/// A result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Quick<T> {
    pub value: T,
    /// What was cut off: 0 if the result is exact.
    pub cut: u64,
    /// 1 if its magnitude grew in rounding, else 0.
    pub up: u8,
}

impl<T> Quick<T> {
    const fn exact(value: T) -> Self {
        Quick { value, cut: 0, up: 0 }
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
            Some(Quick { value, cut, up }) => {
                let rest = u64::from(value.sign_exponent) | u64::from(cut != 0) << 16 | u64::from(up) << 17;
                Packed(value.significand, rest | Self::SOME)
            }
        }
    }

    /// Unpacks it.
    #[inline(always)]
    pub(crate) fn result(self) -> Option<Quick<F80>> {
        let Packed(significand, rest) = self;
        let value = F80 { significand, sign_exponent: rest as u16 };
        (rest & Self::SOME != 0).then_some(Quick { value, cut: rest >> 16 & 1, up: (rest >> 17) as u8 & 1 })
    }
}

const BIAS: i32 = 16383;
/// How many exponents normal numbers have.
const NORMAL: u32 = 0x7ffe;
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

/// A mask of 64 bits, twice.
#[inline(always)]
const fn both_halves(mask: u64) -> u128 {
    (mask as u128) << 64 | mask as u128
}

/// Rounds a significand of 128 bits, whose top bit is set; `sign` is bit 15.
#[inline(always)]
fn rounded<P: Precision>(sign: u16, exponent: i32, significand: u128) -> Option<Quick<F80>> {
    let unit = 1_u64 << P::EXCESS;
    let high = (significand >> 64) as u64;
    // Half a unit less the least bit, and that too if the kept part is odd: a tie goes to the even.
    let odd = high >> P::EXCESS & 1;
    let (sum, carry) = significand.overflowing_add((u128::from(unit) << 63) - 1 + u128::from(odd));
    let kept = (sum >> 64) as u64 & !(unit - 1);
    let cut = significand as u64 | high & (unit - 1);
    let up = (high ^ kept) >> P::EXCESS & 1;
    let exponent = exponent + i32::from(carry);
    let value = F80 { significand: kept | u64::from(carry) << 63, sign_exponent: sign | exponent as u16 };
    let normal = (exponent as u32).wrapping_sub(1) < NORMAL;
    normal.then_some(Quick { value, cut, up: up as u8 })
}

/// `a + b`, neither of them 0, and less than 64 bits apart.
#[inline(always)]
pub(crate) fn add<P: Precision>(a: F80, b: F80) -> Option<Quick<F80>> {
    if !are_normal(a, b) {
        return None;
    }
    let key = |v: F80| (exponent(v) as u128) << 64 | u128::from(v.significand);
    let less = key(a) < key(b);
    let great = select_unpredictable(less, b.significand, a.significand);
    let small = select_unpredictable(less, a.significand, b.significand);
    let sign_exponent = select_unpredictable(less, b.sign_exponent, a.sign_exponent);
    let smaller = select_unpredictable(less, a.sign_exponent, b.sign_exponent);
    let (exponent, sign) = (i32::from(sign_exponent & 0x7fff), sign_exponent & 0x8000);
    let distance = (exponent - i32::from(smaller & 0x7fff)) as u32;
    if distance >= 64 {
        return None;
    }
    // Both one bit lower than the top, for the carry: nothing is cut off at the bottom.
    let minus = u64::from((sign_exponent ^ smaller) >> 15);
    let great = u128::from(great) << 63 | u128::from(minus);
    let small = u128::from(small >> 1 >> distance) << 64 | u128::from(small << (63 - distance));
    let sum = great.wrapping_add(small ^ both_halves(minus.wrapping_neg()));
    let (high, low) = ((sum >> 64) as u64, sum as u64);
    if high == 0 {
        return (low == 0).then_some(Quick::exact(F80::ZERO));
    }
    let shift = high.leading_zeros();
    let (high, low) = (high << shift | low >> 1 >> (63 - shift), low << shift);
    rounded::<P>(sign, exponent + 1 - shift as i32, u128::from(high) << 64 | u128::from(low))
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
    // Twice it, unless its top bit is set.
    let grown = (product >> 127) as u64;
    let product = product + (product & both_halves(grown.wrapping_sub(1)));
    rounded::<P>(sign, exponent(a) + exponent(b) - BIAS + grown as i32, product)
}

/// `a ÷ b`, neither of them 0.
#[inline(always)]
pub(crate) fn div<P: Precision>(a: F80, b: F80) -> Option<Quick<F80>> {
    let sign = (a.sign_exponent ^ b.sign_exponent) & 0x8000;
    if !are_normal(a, b) {
        return None;
    }
    // A quotient of 64 bits, its top bit set.
    let fits = u32::from(a.significand >= b.significand);
    let dividend = u128::from(a.significand >> fits) << 64 | u128::from(a.significand & u64::from(fits)) << 63;
    let (quotient, rest) = divide(dividend, b.significand);
    // The rest against half the divisor: never equal, for the quotient would have 65 bits, and its product
    // with the divisor no fewer.
    let low = u64::from(rest > b.significand - rest) << 63 | u64::from(rest != 0);
    let significand = u128::from(quotient) << 64 | u128::from(low);
    rounded::<P>(sign, exponent(a) - exponent(b) + BIAS - 1 + fits as i32, significand)
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
    let even = u32::from(unbiased & 1 == 0);
    let radicand = u128::from(a.significand) << 64 >> even;
    // The root of the upper half is good to some 52 bits; a little less, it is below the root.
    let upper = (a.significand >> 1 >> even) as i64 as f64;
    let estimate = (((2.0 * upper).sqrt() * 2_147_483_648.0) as i64 as u64 - 0x1000) << 1;
    // One step of Newton's makes it good to all but the last bit; the difference has less than 80 bits.
    let difference = (radicand - square(estimate)) >> 17;
    let step = difference as i64 as f64 / (estimate >> 1) as i64 as f64 * 32768.0;
    let mut root = estimate + step as i64 as u64;
    let mut rest = radicand.wrapping_sub(square(root)) as i128;
    while rest < 0 {
        root -= 1;
        rest += 2 * i128::from(root) + 1;
    }
    while rest > 2 * i128::from(root) {
        rest -= 2 * i128::from(root) + 1;
        root += 1;
    }
    // (root + 1/2)² = root² + root + 1/4: the rest never meets the half.
    let low = u64::from(rest > i128::from(root)) << 63 | u64::from(rest != 0);
    rounded::<P>(0, (unbiased >> 1) + BIAS, u128::from(root) << 64 | u128::from(low))
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

/// The integer bit and the fraction of a shorter format, without the exponent: `bits` bits fewer.
#[inline(always)]
fn shortened(significand: u64, bits: u32) -> (u64, u64, u64) {
    let (kept, cut) = (significand >> bits, significand & ((1 << bits) - 1));
    let up = (cut + (1 << (bits - 1)) - 1 + (kept & 1)) >> bits;
    (kept, cut, up)
}

/// To a double; a result that is a normal number or zero.
#[inline(always)]
pub(crate) fn to_double(a: F80) -> Option<Quick<u64>> {
    let sign = u64::from(a.sign_exponent & 0x8000) << 48;
    let exponent = exponent(a) - BIAS + DOUBLE_BIAS;
    // The greatest exponent is left out, from which rounding may lead to infinity.
    if !(1..0x7fe).contains(&exponent) || a.significand < HALF {
        return is_zero(a).then_some(Quick::exact(sign));
    }
    let (kept, cut, up) = shortened(a.significand, 11);
    // The integer bit adds 1 to the exponent, a carry out of the fraction likewise.
    Some(Quick { value: (sign | (exponent as u64 - 1) << 52) + kept + up, cut, up: up as u8 })
}

/// To a single; a result that is a normal number or zero.
#[inline(always)]
pub(crate) fn to_single(a: F80) -> Option<Quick<u32>> {
    let sign = u64::from(a.sign_exponent & 0x8000) << 16;
    let exponent = exponent(a) - BIAS + SINGLE_BIAS;
    // As for a double.
    if !(1..0xfe).contains(&exponent) || a.significand < HALF {
        return is_zero(a).then_some(Quick::exact(sign as u32));
    }
    let (kept, cut, up) = shortened(a.significand, 40);
    Some(Quick { value: ((sign | (exponent as u64 - 1) << 23) + kept + up) as u32, cut, up: up as u8 })
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
    fits.then_some(Quick { value, cut, up: up.into() })
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
    use crate::{
        fpu::{
            arith::{self, Env, Outcome},
            flags,
            number::Narrow,
        },
        testing::Random,
    };

    impl Random {
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

    fn inexact(cut: u64) -> flags::Flags {
        if cut != 0 { flags::PE } else { 0 }
    }

    /// What the instruction leaves must be the same; more than PE is not for here.
    fn check(name: &str, quick: Option<Quick<F80>>, exact: Outcome, a: F80, b: F80) -> bool {
        let Some(quick) = quick else { return false };
        let found = Outcome { value: quick.value, flags: inexact(quick.cut), up: quick.up != 0 };
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
                    assert_eq!(
                        Some((q.value, inexact(q.cut), q.up != 0)),
                        a.to_integer(bits, rounding),
                        "{a:x?} {rounding:?}"
                    );
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
                    to_single(a).map(|q| Quick { value: q.value.into(), cut: q.cut, up: q.up })
                } else {
                    to_double(a)
                };
                if let Some(q) = found {
                    assert_eq!((q.value, inexact(q.cut), q.up != 0), expected, "{a:x?} {format:?}");
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
