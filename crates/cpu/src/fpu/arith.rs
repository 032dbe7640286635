//! Arithmetic on 80-bit numbers in software: exact, then rounded; the same on every host.

use super::{
    F80,
    flags::{self, Flags},
    number::{Number, integer_part},
    round::{Exact, Format, Rounding, WRAP, round, shift_right_sticky},
};

/// What of the control word governs an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Env {
    pub rounding: Rounding,
    /// Bits of the significand.
    pub precision: u32,
    /// Exceptions that are not masked.
    pub unmasked: Flags,
}

impl Env {
    /// Of a control word (SDM Vol. 1, "x87 FPU Control Word").
    pub(crate) fn of_control(control: u16) -> Self {
        let precision = match control >> 8 & 3 {
            0 => 24,
            2 => 53,
            _ => 64,
        };
        Env { rounding: Rounding::of_bits(u32::from(control) >> 10), precision, unmasked: !control & flags::ALL }
    }

    /// With all 64 bits, for instructions that precision control does not affect.
    pub(crate) fn full(self) -> Self {
        Env { precision: 64, ..self }
    }
}

/// A result, the flags raised, and C1: the magnitude grew in rounding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    pub value: F80,
    pub flags: Flags,
    pub up: bool,
}

impl Outcome {
    /// An exact result.
    pub(crate) const fn exact(value: F80) -> Self {
        Outcome { value, flags: 0, up: false }
    }

    /// The default NaN with IE.
    pub(crate) const INVALID: Outcome = Outcome { value: F80::INDEFINITE, flags: flags::IE, up: false };

    fn with(self, flags: Flags) -> Self {
        Outcome { flags: self.flags | flags, ..self }
    }
}

/// Rounds to the registers' format.
pub(crate) fn finish(value: Exact, env: Env) -> Outcome {
    let rounded = round(value, Format::extended(env.precision), env.rounding, env.unmasked);
    Outcome { value: F80::of_rounded(value.sign, rounded), flags: rounded.flags, up: rounded.up }
}

/// The result when an operand is a NaN or unsupported, else `None` (SDM Vol. 1, "Results of
/// Operations with NaN Operands or a NaN Result for x87 FPU Instructions").
pub(crate) fn nan_of_two(a: F80, b: F80) -> Option<Outcome> {
    let (x, y) = (a.number(), b.number());
    if x == Number::Unsupported || y == Number::Unsupported {
        return Some(Outcome::INVALID);
    }
    let flags = |quiet| if quiet { 0 } else { flags::IE };
    let (value, flags) = match (x, y) {
        (Number::Nan { quiet: p }, Number::Nan { quiet: q }) => {
            let choice = match (p, q) {
                (true, false) => a,
                (false, true) => b,
                _ => greater_nan(a, b),
            };
            (choice, flags(p && q))
        }
        (Number::Nan { quiet }, _) => (a, flags(quiet)),
        (_, Number::Nan { quiet }) => (b, flags(quiet)),
        _ => return None,
    };
    Some(Outcome { value: value.quieted(), flags, up: false })
}

/// Of two NaNs the one with the greater significand; if they are equal, the positive one.
fn greater_nan(a: F80, b: F80) -> F80 {
    match a.significand.cmp(&b.significand) {
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Equal if a.sign() => b,
        std::cmp::Ordering::Equal => a,
    }
}

/// As [`nan_of_two`] for one operand.
pub(crate) fn nan_of_one(a: F80) -> Option<Outcome> {
    match a.number() {
        Number::Unsupported => Some(Outcome::INVALID),
        Number::Nan { quiet } => {
            Some(Outcome { value: a.quieted(), flags: if quiet { 0 } else { flags::IE }, up: false })
        }
        _ => None,
    }
}

/// DE if the operand is denormal.
pub(crate) fn denormal(number: Number) -> Flags {
    if matches!(number, Number::Finite { denormal: true, .. }) { flags::DE } else { 0 }
}

/// `a + b`.
pub(crate) fn add(a: F80, b: F80, env: Env) -> Outcome {
    if let Some(nan) = nan_of_two(a, b) {
        return nan;
    }
    let (x, y) = (a.number(), b.number());
    let denormal = denormal(x) | denormal(y);
    match (x, y) {
        (Number::Infinity { sign: p }, Number::Infinity { sign: q }) if p != q => Outcome::INVALID,
        (Number::Infinity { .. }, _) => Outcome::exact(a).with(denormal),
        (_, Number::Infinity { .. }) => Outcome::exact(b).with(denormal),
        (Number::Zero { sign: p }, Number::Zero { sign: q }) => {
            Outcome::exact(F80::zero(if p == q { p } else { env.rounding == Rounding::Down }))
        }
        (Number::Zero { .. }, Number::Finite { value, .. }) | (Number::Finite { value, .. }, Number::Zero { .. }) => {
            finish(value, env).with(denormal)
        }
        (Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => match sum(p, q) {
            Some(value) => finish(value, env).with(denormal),
            None => Outcome::exact(F80::zero(env.rounding == Rounding::Down)).with(denormal),
        },
        _ => unreachable!("NaNs are done"),
    }
}

/// `a − b`. A NaN keeps its sign.
pub(crate) fn sub(a: F80, b: F80, env: Env) -> Outcome {
    nan_of_two(a, b).unwrap_or_else(|| add(a, b.negated(), env))
}

/// The sum of two numbers, exact but for the sticky bit; `None` is 0.
pub(crate) fn sum(a: Exact, b: Exact) -> Option<Exact> {
    let (great, small) = if (a.exp, a.sig) >= (b.exp, b.sig) { (a, b) } else { (b, a) };
    // One bit of headroom for the carry; what that costs at the bottom stays in the sticky bit.
    let p = shift_right_sticky(great.sig, 1);
    let q = shift_right_sticky(small.sig, (great.exp - small.exp) as u32 + 1);
    let sig = if great.sign == small.sign { p + q } else { p - q };
    Exact::normalized(great.sign, great.exp + 1, sig)
}

/// `a × b`.
pub(crate) fn mul(a: F80, b: F80, env: Env) -> Outcome {
    if let Some(nan) = nan_of_two(a, b) {
        return nan;
    }
    let sign = a.sign() != b.sign();
    let (x, y) = (a.number(), b.number());
    let denormal = denormal(x) | denormal(y);
    match (x, y) {
        (Number::Infinity { .. }, Number::Zero { .. }) | (Number::Zero { .. }, Number::Infinity { .. }) => {
            Outcome::INVALID
        }
        (Number::Infinity { .. }, _) | (_, Number::Infinity { .. }) => {
            Outcome::exact(F80::infinity(sign)).with(denormal)
        }
        (Number::Zero { .. }, _) | (_, Number::Zero { .. }) => Outcome::exact(F80::zero(sign)).with(denormal),
        (Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => finish(product(p, q), env).with(denormal),
        _ => unreachable!("NaNs are done"),
    }
}

/// The product of two 64-bit significands.
pub(crate) fn product(a: Exact, b: Exact) -> Exact {
    let sig = (a.sig >> 64) * (b.sig >> 64);
    Exact::normalized(a.sign != b.sign, a.exp + b.exp + 1, sig).expect("neither factor is 0")
}

/// `a ÷ b`.
pub(crate) fn div(a: F80, b: F80, env: Env) -> Outcome {
    if let Some(nan) = nan_of_two(a, b) {
        return nan;
    }
    let sign = a.sign() != b.sign();
    let (x, y) = (a.number(), b.number());
    let denormal = denormal(x) | denormal(y);
    match (x, y) {
        (Number::Infinity { .. }, Number::Infinity { .. }) | (Number::Zero { .. }, Number::Zero { .. }) => {
            Outcome::INVALID
        }
        (Number::Infinity { .. }, _) => Outcome::exact(F80::infinity(sign)).with(denormal),
        (_, Number::Infinity { .. }) | (Number::Zero { .. }, _) => Outcome::exact(F80::zero(sign)).with(denormal),
        // A denormal dividend is not told then.
        (_, Number::Zero { .. }) => Outcome { value: F80::infinity(sign), flags: flags::ZE, up: false },
        (Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => {
            finish(quotient(p, q), env).with(denormal)
        }
        _ => unreachable!("NaNs are done"),
    }
}

/// The quotient of two 64-bit significands, by two steps of long division and a sticky bit.
pub(crate) fn quotient(a: Exact, b: Exact) -> Exact {
    let divisor = b.sig >> 64;
    let dividend = a.sig >> 1; // so that the first digit fits 64 bits
    let (high, rest) = (dividend / divisor, dividend % divisor);
    let (low, rest) = ((rest << 64) / divisor, (rest << 64) % divisor);
    let sig = high << 64 | low | u128::from(rest != 0);
    Exact::normalized(a.sign != b.sign, a.exp - b.exp, sig).expect("the dividend is not 0")
}

/// √a.
pub(crate) fn sqrt(a: F80, env: Env) -> Outcome {
    if let Some(nan) = nan_of_one(a) {
        return nan;
    }
    let number = a.number();
    match number {
        Number::Zero { .. } => Outcome::exact(a),
        Number::Finite { value, .. } if !value.sign => finish(root(value), env).with(denormal(number)),
        Number::Infinity { sign: false } => Outcome::exact(a),
        _ => Outcome::INVALID,
    }
}

/// The root of a positive number with a 64-bit significand.
pub(crate) fn root(value: Exact) -> Exact {
    // An even exponent: the radicand is in [1/4, 1) of 2^128, its root in [1/2, 1) of 2^64.
    let odd = value.exp & 1 != 0;
    let radicand = if odd { value.sig } else { value.sig >> 1 };
    let root = radicand.isqrt();
    let rest = radicand - root * root;
    // (root + 1/2)² = root² + root + 1/4: the rest never meets the half.
    let sig = root << 64 | u128::from(rest > root) << 63 | u128::from(rest != 0);
    Exact { sign: false, exp: value.exp >> 1, sig }
}

/// Rounded to an integer (FRNDINT).
pub(crate) fn round_to_integer(a: F80, env: Env) -> Outcome {
    if let Some(nan) = nan_of_one(a) {
        return nan;
    }
    let number = a.number();
    match number {
        Number::Finite { value, .. } if value.exp < 63 => {
            let (whole, inexact, up) = integer_part(value, env.rounding);
            let flags = if inexact { flags::PE } else { 0 } | denormal(number);
            let value = match Exact::normalized(value.sign, 63, u128::from(whole) << 64) {
                Some(exact) => finish(exact, env.full()).value,
                None => F80::zero(value.sign),
            };
            Outcome { value, flags, up }
        }
        _ => Outcome::exact(a),
    }
}

/// `a × 2^trunc(b)` (FSCALE).
pub(crate) fn scale(a: F80, b: F80, env: Env) -> Outcome {
    if let Some(nan) = nan_of_two(a, b) {
        return nan;
    }
    let (x, y) = (a.number(), b.number());
    let denormal = denormal(x) | denormal(y);
    match (x, y) {
        (Number::Infinity { .. }, Number::Infinity { sign: true })
        | (Number::Zero { .. }, Number::Infinity { sign: false }) => Outcome::INVALID,
        (Number::Infinity { .. } | Number::Zero { .. }, _) => Outcome::exact(a).with(denormal),
        (_, Number::Infinity { sign: true }) => Outcome::exact(F80::zero(a.sign())).with(denormal),
        (_, Number::Infinity { sign: false }) => Outcome::exact(F80::infinity(a.sign())).with(denormal),
        (Number::Finite { value, .. }, Number::Zero { .. }) => finish(value, env.full()).with(denormal),
        (Number::Finite { value, .. }, Number::Finite { value: by, .. }) => {
            // Beyond ±2^16 every result over- or underflows alike.
            let magnitude = if by.exp > 16 { 0x2_0000 } else { integer_part(by, Rounding::Truncate).0 as i32 };
            let exp = value.exp + if by.sign { -magnitude } else { magnitude };
            let outcome = massive(value.sign, exp, env);
            outcome.unwrap_or_else(|| finish(Exact { exp, ..value }, env.full())).with(denormal)
        }
        _ => unreachable!("NaNs are done"),
    }
}

/// An unmasked overflow or underflow so far out that no wrapped exponent can tell it: infinity or zero, however
/// it is rounded (SDM Vol. 1, "Numeric Overflow Exception (#O)", "Numeric Underflow Exception (#U)").
fn massive(sign: bool, exp: i32, env: Env) -> Option<Outcome> {
    let format = Format::extended(64);
    let over = exp > format.max_exp + WRAP;
    let (flag, value) = if over { (flags::OE, F80::infinity(sign)) } else { (flags::UE, F80::zero(sign)) };
    let far = over || exp < format.min_exp - WRAP;
    (far && env.unmasked & flag != 0).then_some(Outcome { value, flags: flag | flags::PE, up: over })
}

/// What FPREM and FPREM1 leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Remainder {
    pub outcome: Outcome,
    pub quotient: Quotient,
}

/// What is known of a quotient.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Quotient {
    /// There is none: a NaN, an invalid operation.
    None,
    /// The reduction is not complete.
    Partial,
    /// Its low three bits.
    Low(u8),
}

/// The remainder of `a ÷ b`, with the quotient truncated (FPREM) or rounded to nearest (FPREM1).
pub(crate) fn remainder(a: F80, b: F80, nearest: bool, env: Env) -> Remainder {
    let none = |outcome| Remainder { outcome, quotient: Quotient::None };
    let whole = |outcome| Remainder { outcome, quotient: Quotient::Low(0) };
    if let Some(nan) = nan_of_two(a, b) {
        return none(nan);
    }
    let (x, y) = (a.number(), b.number());
    let denormal = denormal(x) | denormal(y);
    match (x, y) {
        (Number::Infinity { .. }, _) | (_, Number::Zero { .. }) => none(Outcome::INVALID),
        (Number::Zero { .. }, _) => whole(Outcome::exact(a).with(denormal)),
        (Number::Finite { value, .. }, Number::Infinity { .. }) => whole(finish(value, env.full()).with(denormal)),
        (Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => {
            let partial = reduce(p, q, nearest);
            let outcome = match partial.0 {
                Some(rest) => finish(rest, env.full()),
                None => Outcome::exact(F80::zero(p.sign)),
            };
            Remainder { outcome: outcome.with(denormal), quotient: partial.1 }
        }
        _ => unreachable!("NaNs are done"),
    }
}

/// The rest (`None` is 0) and the quotient's low bits, unless the exponents are 64 or more apart: then
/// one step of the reduction.
fn reduce(a: Exact, b: Exact, nearest: bool) -> (Option<Exact>, Quotient) {
    let distance = a.exp - b.exp;
    let (dividend, divisor) = (a.sig >> 64, b.sig >> 64);
    if distance >= 64 {
        // UNDEFINED: how far a step goes, between 32 and 63 bits.
        let step = distance & 31 | 32;
        let rest = (dividend << step) % divisor;
        return (Exact::normalized(a.sign, b.exp + distance - step, rest << 64), Quotient::Partial);
    }
    if distance < -1 || distance == -1 && !nearest {
        return (Some(a), Quotient::Low(0));
    }
    if distance == -1 {
        // |a| < |b|; the nearest quotient is 1 if 2|a| > |b|; a tie goes to the even 0.
        if dividend <= divisor {
            return (Some(a), Quotient::Low(0));
        }
        return (Exact::normalized(!a.sign, a.exp, (2 * divisor - dividend) << 64), Quotient::Low(1));
    }
    let shifted = dividend << distance;
    let (mut quotient, rest) = (shifted / divisor, shifted % divisor);
    let mut result = Exact::normalized(a.sign, b.exp, rest << 64);
    if nearest && (2 * rest > divisor || 2 * rest == divisor && quotient & 1 != 0) {
        quotient += 1;
        result = Exact::normalized(!a.sign, b.exp, (divisor - rest) << 64);
    }
    (result, Quotient::Low(quotient as u8 & 7))
}

/// How two numbers compare; unordered is `None`. The second part says that a NaN was signaling, or a
/// pattern unsupported, the third is DE.
pub(crate) fn compare(a: F80, b: F80) -> (Option<std::cmp::Ordering>, bool, Flags) {
    let (x, y) = (a.number(), b.number());
    let is_nan = |n| matches!(n, Number::Nan { .. } | Number::Unsupported);
    if is_nan(x) || is_nan(y) {
        let bad = |n| matches!(n, Number::Nan { quiet: false } | Number::Unsupported);
        return (None, bad(x) || bad(y), 0);
    }
    (Some(order(x).cmp(&order(y))), false, denormal(x) | denormal(y))
}

/// A key that sorts as the numbers do: sign and magnitude as one signed number, zero in the middle.
fn order(number: Number) -> (i32, i128) {
    let signed = |sign: bool, exp: i32, sig: i128| if sign { (-exp, -sig) } else { (exp, sig) };
    match number {
        Number::Zero { .. } => (0, 0),
        Number::Infinity { sign } => signed(sign, 1 << 20, 0),
        Number::Finite { value, .. } => signed(value.sign, value.exp + (1 << 18), (value.sig >> 64) as i128),
        Number::Nan { .. } | Number::Unsupported => unreachable!("NaNs are done"),
    }
}
