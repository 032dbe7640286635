//! Floating-point operations in software, for hosts without SSE: the same results and flags, from the
//! x87's exact arithmetic (SDM Vol. 1, "Handling SIMD Floating-Point Exceptions").
//!
//! One lane is worked out at a time; [`lanes`] makes whole registers of it. Names are those of the
//! instructions, as in `host`, which the tests compare with this.

use std::cmp::Ordering;

use super::{
    mxcsr::{Control, Flags},
    round::rounded,
};
use crate::fpu::{
    F80, Rounding,
    exact::{Exact, Narrow, Number, product, quotient, root, sum},
};

/// A lane and the flags that it raised.
type Lane = (u64, Flags);

/// What conversions to an integer give that have no answer.
const INTEGER_INDEFINITE: u32 = 1 << 31;

impl Narrow {
    const fn sign(self) -> u64 {
        1 << (self.bits - 1)
    }

    const fn infinity(self) -> u64 {
        (self.exponent_mask() as u64) << (self.format.precision - 1)
    }

    const fn quiet(self) -> u64 {
        1 << (self.format.precision - 2)
    }

    /// The default NaN, "QNaN floating-point indefinite".
    const fn indefinite(self) -> u64 {
        self.sign() | self.infinity() | self.quiet()
    }

    const fn is_nan(self, bits: u64) -> bool {
        bits & !self.sign() > self.infinity()
    }

    const fn is_signaling(self, bits: u64) -> bool {
        self.is_nan(bits) && bits & self.quiet() == 0
    }

    /// With DAZ denormals are zeros of their sign.
    fn read(self, bits: u64, control: Control) -> u64 {
        if control.denormals_are_zero() && self.is_denormal(bits) { bits & self.sign() } else { bits }
    }

    /// DE, if one is a denormal.
    fn denormal(self, operands: &[u64]) -> Flags {
        if operands.iter().any(|&bits| self.is_denormal(bits)) { Flags::DENORMAL } else { Flags::default() }
    }

    fn number(self, bits: u64) -> Number {
        F80::of_narrow(bits, self).0.number()
    }

    fn signed(self, sign: bool, magnitude: u64) -> u64 {
        if sign { magnitude | self.sign() } else { magnitude }
    }

    /// The NaN that an operation with NaNs gives: the first, quiet. IE if one is signaling.
    fn nan(self, operands: &[u64]) -> Option<Lane> {
        let first = operands.iter().find(|&&bits| self.is_nan(bits))?;
        let invalid = operands.iter().any(|&bits| self.is_signaling(bits));
        Some((first | self.quiet(), if invalid { Flags::INVALID } else { Flags::default() }))
    }

    fn invalid(self) -> Lane {
        (self.indefinite(), Flags::INVALID)
    }

    /// An exact number rounded.
    fn finish(self, value: Exact, control: Control) -> Lane {
        let (rounded, flags) = rounded(value, self.format, control);
        let Some(rounded) = rounded else { return (self.signed(value.sign, 0), flags) };
        if rounded.infinite {
            return (self.signed(value.sign, self.infinity()), flags);
        }
        let denormal = rounded.sig >> 63 == 0;
        let exponent = if denormal { 0 } else { (rounded.exp + self.format.max_exp) as u64 };
        let fraction = rounded.sig << 1 >> (65 - self.format.precision);
        let bits = exponent << (self.format.precision - 1) | fraction;
        (self.signed(value.sign, bits & (self.sign() - 1)), flags)
    }

    /// The zero that two opposite numbers add up to.
    fn cancelled(self, control: Control) -> u64 {
        self.signed(control.rounding() == Rounding::Down, 0)
    }
}

fn add(format: Narrow, a: u64, b: u64, control: Control) -> Lane {
    if let Some(nan) = format.nan(&[a, b]) {
        return nan;
    }
    let (a, b) = (format.read(a, control), format.read(b, control));
    let (value, flags) = match (format.number(a), format.number(b)) {
        (Number::Infinity { sign: p }, Number::Infinity { sign: q }) if p != q => return format.invalid(),
        (Number::Infinity { .. }, _) => (a, Flags::default()),
        (_, Number::Infinity { .. }) => (b, Flags::default()),
        (Number::Zero { sign: p }, Number::Zero { sign: q }) if p != q => (format.cancelled(control), Flags::default()),
        (Number::Zero { .. }, Number::Zero { .. }) => (a, Flags::default()),
        (Number::Zero { .. }, Number::Finite { value, .. }) | (Number::Finite { value, .. }, Number::Zero { .. }) => {
            format.finish(value, control)
        }
        (Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => match sum(p, q) {
            Some(value) => format.finish(value, control),
            None => (format.cancelled(control), Flags::default()),
        },
        _ => unreachable!("NaNs are done, and nothing else is unsupported"),
    };
    (value, flags | format.denormal(&[a, b]))
}

fn sub(format: Narrow, a: u64, b: u64, control: Control) -> Lane {
    format.nan(&[a, b]).unwrap_or_else(|| add(format, a, b ^ format.sign(), control))
}

fn mul(format: Narrow, a: u64, b: u64, control: Control) -> Lane {
    if let Some(nan) = format.nan(&[a, b]) {
        return nan;
    }
    let (a, b) = (format.read(a, control), format.read(b, control));
    let sign = (a ^ b) & format.sign() != 0;
    let (value, flags) = match (format.number(a), format.number(b)) {
        (Number::Infinity { .. }, Number::Zero { .. }) | (Number::Zero { .. }, Number::Infinity { .. }) => {
            return format.invalid();
        }
        (Number::Infinity { .. }, _) | (_, Number::Infinity { .. }) => {
            (format.signed(sign, format.infinity()), Flags::default())
        }
        (Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => format.finish(product(p, q), control),
        _ => (format.signed(sign, 0), Flags::default()),
    };
    (value, flags | format.denormal(&[a, b]))
}

fn div(format: Narrow, a: u64, b: u64, control: Control) -> Lane {
    if let Some(nan) = format.nan(&[a, b]) {
        return nan;
    }
    let (a, b) = (format.read(a, control), format.read(b, control));
    let sign = (a ^ b) & format.sign() != 0;
    let infinity = format.signed(sign, format.infinity());
    let (value, flags) = match (format.number(a), format.number(b)) {
        (Number::Infinity { .. }, Number::Infinity { .. }) | (Number::Zero { .. }, Number::Zero { .. }) => {
            return format.invalid();
        }
        (Number::Infinity { .. }, _) => (infinity, Flags::default()),
        // A denormal dividend is not told then.
        (_, Number::Zero { .. }) => return (infinity, Flags::DIVISION),
        (Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => format.finish(quotient(p, q), control),
        _ => (format.signed(sign, 0), Flags::default()),
    };
    (value, flags | format.denormal(&[a, b]))
}

fn sqrt(format: Narrow, a: u64, control: Control) -> Lane {
    if let Some(nan) = format.nan(&[a]) {
        return nan;
    }
    let a = format.read(a, control);
    match format.number(a) {
        Number::Zero { .. } | Number::Infinity { sign: false } => (a, Flags::default()),
        Number::Finite { value, .. } if !value.sign => {
            let (bits, flags) = format.finish(root(value), control);
            (bits, flags | format.denormal(&[a]))
        }
        _ => format.invalid(),
    }
}

/// How two numbers compare; unordered is `None`.
fn order(format: Narrow, a: u64, b: u64) -> Option<Ordering> {
    let key = |bits: u64| {
        let magnitude = (bits & !format.sign()) as i64;
        if bits & format.sign() != 0 { -magnitude } else { magnitude }
    };
    (!format.is_nan(a) && !format.is_nan(b)).then(|| key(a).cmp(&key(b)))
}

/// `a` if it is on the `wanted` side of `b`; else, or if one is a NaN or both are zeros, `b`.
fn extreme(format: Narrow, a: u64, b: u64, control: Control, wanted: Ordering) -> Lane {
    let (x, y) = (format.read(a, control), format.read(b, control));
    match order(format, x, y) {
        None => (y, Flags::INVALID),
        found => (if found == Some(wanted) { x } else { y }, format.denormal(&[x, y])),
    }
}

/// Whether the numbers are in the order that a predicate of CMPPS names, and the flags. `loud` predicates
/// take quiet NaNs for invalid too.
fn holds(format: Narrow, a: u64, b: u64, predicate: u8, control: Control) -> (bool, Flags) {
    let (order, loud) = (compared(format, a, b, control, matches!(predicate & 3, 1 | 2)), predicate & 4 != 0);
    let (order, flags) = order;
    let holds = match predicate & 3 {
        0 => order == Some(Ordering::Equal),
        1 => order == Some(Ordering::Less),
        2 => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        _ => order.is_none(),
    };
    // The upper four predicates are the opposites of the lower.
    (holds != loud, flags)
}

/// The order, and the flags of a comparison to which quiet NaNs are invalid or not.
fn compared(format: Narrow, a: u64, b: u64, control: Control, loud: bool) -> (Option<Ordering>, Flags) {
    let (a, b) = (format.read(a, control), format.read(b, control));
    let order = order(format, a, b);
    let flags = match order {
        None if loud || format.is_signaling(a) || format.is_signaling(b) => Flags::INVALID,
        None => Flags::default(),
        Some(_) => format.denormal(&[a, b]),
    };
    (order, flags)
}

/// To an integer of 32 bits. A denormal is told by PE alone.
fn to_int(format: Narrow, bits: u64, control: Control, rounding: Rounding) -> (u32, Flags) {
    let value = F80::of_narrow(format.read(bits, control), format).0;
    match value.to_integer(32, rounding) {
        Some((integer, flags, _)) => (integer as u32, Flags::of_mxcsr(flags.into())),
        None => (INTEGER_INDEFINITE, Flags::INVALID),
    }
}

fn of_int(format: Narrow, bits: u32, control: Control) -> Lane {
    let value = bits as i32;
    match Exact::normalized(value < 0, 63, u128::from(value.unsigned_abs()) << 64) {
        Some(exact) => format.finish(exact, control),
        None => (0, Flags::default()),
    }
}

/// Between the formats.
fn convert(from: Narrow, to: Narrow, bits: u64, control: Control) -> Lane {
    let bits = from.read(bits, control);
    let sign = bits & from.sign() != 0;
    let (value, flags) = match from.number(bits) {
        Number::Zero { .. } => (to.signed(sign, 0), Flags::default()),
        Number::Infinity { .. } => (to.signed(sign, to.infinity()), Flags::default()),
        Number::Finite { value, .. } => to.finish(value, control),
        Number::Nan { .. } | Number::Unsupported => {
            let fraction = F80::of_narrow(bits, from).0.significand << 1 >> (65 - to.format.precision);
            let flags = if from.is_signaling(bits) { Flags::INVALID } else { Flags::default() };
            (to.signed(sign, to.infinity() | fraction | to.quiet()), flags)
        }
    };
    (value, flags | from.denormal(&[bits]))
}

/// Lane `i` of a register.
fn lane(v: u128, format: Narrow, i: u32) -> u64 {
    (v >> (i * format.bits)) as u64 & (u64::MAX >> (64 - format.bits))
}

/// The lowest `count` lanes replaced by what `f` makes of their number; the flags of all.
fn lanes(whole: u128, bits: u32, count: u32, mut f: impl FnMut(u32) -> Lane) -> (u128, Flags) {
    (0..count).fold((whole, Flags::default()), |(whole, flags), i| {
        let (value, raised) = f(i);
        let mask = u128::from(u64::MAX >> (64 - bits)) << (i * bits);
        (whole & !mask | u128::from(value) << (i * bits), flags | raised)
    })
}

/// Operations on pairs of lanes.
macro_rules! binary {
    ($($name:ident = $op:ident $format:ident $count:literal;)*) => { $(
        #[doc = concat!(stringify!($name), " dst, src")]
        pub(crate) fn $name(dst: u128, src: u128, control: Control) -> (u128, Flags) {
            const FORMAT: Narrow = Narrow::$format;
            lanes(dst, FORMAT.bits, $count, |i| $op(FORMAT, lane(dst, FORMAT, i), lane(src, FORMAT, i), control))
        }
    )* };
}

fn min(format: Narrow, a: u64, b: u64, control: Control) -> Lane {
    extreme(format, a, b, control, Ordering::Less)
}

fn max(format: Narrow, a: u64, b: u64, control: Control) -> Lane {
    extreme(format, a, b, control, Ordering::Greater)
}

fn root_of_second(format: Narrow, _: u64, b: u64, control: Control) -> Lane {
    sqrt(format, b, control)
}

binary! {
    addps = add SINGLE 4;
    addss = add SINGLE 1;
    addpd = add DOUBLE 2;
    addsd = add DOUBLE 1;
    subps = sub SINGLE 4;
    subss = sub SINGLE 1;
    subpd = sub DOUBLE 2;
    subsd = sub DOUBLE 1;
    mulps = mul SINGLE 4;
    mulss = mul SINGLE 1;
    mulpd = mul DOUBLE 2;
    mulsd = mul DOUBLE 1;
    divps = div SINGLE 4;
    divss = div SINGLE 1;
    divpd = div DOUBLE 2;
    divsd = div DOUBLE 1;
    minps = min SINGLE 4;
    minss = min SINGLE 1;
    minpd = min DOUBLE 2;
    minsd = min DOUBLE 1;
    maxps = max SINGLE 4;
    maxss = max SINGLE 1;
    maxpd = max DOUBLE 2;
    maxsd = max DOUBLE 1;
    sqrtps = root_of_second SINGLE 4;
    sqrtss = root_of_second SINGLE 1;
    sqrtpd = root_of_second DOUBLE 2;
    sqrtsd = root_of_second DOUBLE 1;
}

/// Conversions lane by lane; `$rest` is what the lanes are put into.
macro_rules! conversions {
    ($($name:ident = |$dst:ident| $rest:expr, $count:literal $from:ident to $bits:literal,
       |$lane:ident, $control:ident| $op:expr;)*) => { $(
        #[doc = concat!(stringify!($name), " dst, src")]
        pub(crate) fn $name($dst: u128, src: u128, $control: Control) -> (u128, Flags) {
            lanes($rest, $bits, $count, |i| {
                let $lane = lane(src, Narrow::$from, i);
                $op
            })
        }
    )* };
}

const SINGLE: Narrow = Narrow::SINGLE;
const DOUBLE: Narrow = Narrow::DOUBLE;

/// A conversion to an integer as a lane.
fn int_lane(format: Narrow, bits: u64, control: Control, rounding: Rounding) -> Lane {
    let (integer, flags) = to_int(format, bits, control, rounding);
    (integer.into(), flags)
}

conversions! {
    cvtsd2ss = |dst| dst, 1 DOUBLE to 32, |v, control| convert(DOUBLE, SINGLE, v, control);
    cvtss2sd = |dst| dst, 1 SINGLE to 64, |v, control| convert(SINGLE, DOUBLE, v, control);
    cvtpd2ps = |_dst| 0, 2 DOUBLE to 32, |v, control| convert(DOUBLE, SINGLE, v, control);
    cvtps2pd = |_dst| 0, 2 SINGLE to 64, |v, control| convert(SINGLE, DOUBLE, v, control);
    cvtdq2ps = |_dst| 0, 4 SINGLE to 32, |v, control| of_int(SINGLE, v as u32, control);
    cvtdq2pd = |_dst| 0, 2 SINGLE to 64, |v, control| of_int(DOUBLE, v as u32, control);
    cvtps2dq = |_dst| 0, 4 SINGLE to 32, |v, control| int_lane(SINGLE, v, control, control.rounding());
    cvttps2dq = |_dst| 0, 4 SINGLE to 32, |v, control| int_lane(SINGLE, v, control, Rounding::Truncate);
    cvtpd2dq = |_dst| 0, 2 DOUBLE to 32, |v, control| int_lane(DOUBLE, v, control, control.rounding());
    cvttpd2dq = |_dst| 0, 2 DOUBLE to 32, |v, control| int_lane(DOUBLE, v, control, Rounding::Truncate);
}

/// CMPPS and its kin; the predicate is an immediate.
macro_rules! compare {
    ($($name:ident $format:ident $count:literal;)*) => { $(
        #[doc = concat!(stringify!($name), " dst, src, predicate")]
        pub(crate) fn $name(dst: u128, src: u128, predicate: u8, control: Control) -> (u128, Flags) {
            lanes(dst, $format.bits, $count, |i| {
                let (holds, flags) = holds($format, lane(dst, $format, i), lane(src, $format, i), predicate, control);
                (if holds { u64::MAX >> (64 - $format.bits) } else { 0 }, flags)
            })
        }
    )* };
}

compare! {
    cmpps SINGLE 4;
    cmpss SINGLE 1;
    cmppd DOUBLE 2;
    cmpsd DOUBLE 1;
}

/// COMISS and its kin: EFLAGS bits ZF, PF, CF.
macro_rules! ordered {
    ($($name:ident $format:ident $loud:literal;)*) => { $(
        #[doc = concat!(stringify!($name), " a, b: ZF, PF and CF as EFLAGS has them")]
        pub(crate) fn $name(a: u128, b: u128, control: Control) -> (u32, Flags) {
            let (order, flags) = compared($format, lane(a, $format, 0), lane(b, $format, 0), control, $loud);
            let bits = match order {
                Some(Ordering::Greater) => 0,
                Some(Ordering::Less) => 1,
                Some(Ordering::Equal) => 1 << 6,
                None => 1 << 6 | 1 << 2 | 1,
            };
            (bits, flags)
        }
    )* };
}

ordered! {
    comiss SINGLE true;
    ucomiss SINGLE false;
    comisd DOUBLE true;
    ucomisd DOUBLE false;
}

/// CVTSS2SI and its kin.
macro_rules! to_integer {
    ($($name:ident $format:ident |$control:ident| $rounding:expr;)*) => { $(
        #[doc = concat!(stringify!($name), " r32, src")]
        pub(crate) fn $name(src: u128, $control: Control) -> (u32, Flags) {
            to_int($format, lane(src, $format, 0), $control, $rounding)
        }
    )* };
}

to_integer! {
    cvtss2si SINGLE |control| control.rounding();
    cvttss2si SINGLE |control| Rounding::Truncate;
    cvtsd2si DOUBLE |control| control.rounding();
    cvttsd2si DOUBLE |control| Rounding::Truncate;
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::{super::host, *};
    use crate::testing::Random;

    impl Random {
        /// A lane: special values, neighbours of the ends of the range, ties, integers, anything.
        fn lane(&mut self, format: Narrow) -> u64 {
            let fraction = format.infinity().trailing_zeros();
            let any = self.next() & (u64::MAX >> (64 - format.bits));
            let exponent = |biased: i32| (biased.clamp(0, format.exponent_mask()) as u64) << fraction;
            let low = any & ((1 << fraction) - 1);
            let sparse = low & (low >> 7) & (low >> 3) & !1 | self.pick(2);
            let middle = format.format.max_exp;
            let magnitude = match self.pick(12) {
                0 => [0, 1, format.infinity(), format.infinity() | 1, format.quiet() | format.infinity(), low]
                    [self.pick(6) as usize],
                1 => exponent(self.pick(3) as i32) | low,
                2 => exponent(format.exponent_mask() - self.pick(3) as i32) | low,
                3 => exponent(middle / 2 + self.pick(4) as i32) | sparse,
                4 => exponent(middle * 3 / 2 - self.pick(4) as i32) | low,
                5 => exponent(middle + self.pick(40) as i32 - 4) | sparse,
                6 => exponent(middle + 28 + self.pick(6) as i32) | sparse,
                7 => exponent(middle - format.format.precision as i32 + self.pick(60) as i32) | low,
                8 => low >> self.pick(u64::from(fraction)),
                9 => exponent(middle + self.pick(3) as i32) | ((1 << fraction) - 1 - self.pick(2)),
                10 => exponent(middle + self.pick(2) as i32) | self.pick(3),
                _ => any,
            };
            magnitude & (format.sign() - 1) | any & format.sign()
        }

        fn register(&mut self) -> u128 {
            let format = if self.pick(2) == 0 { Narrow::SINGLE } else { Narrow::DOUBLE };
            (0..128 / format.bits).fold(0, |v, _| v << format.bits | u128::from(self.lane(format)))
        }

        /// Any rounding, FTZ, DAZ; mostly masked exceptions.
        fn control(&mut self) -> Control {
            let masks = if self.pick(3) == 0 { self.next() as u32 & 0x1f80 } else { 0x1f80 };
            Control::of_mxcsr(self.next() as u32 & 0xe040 | masks)
        }
    }

    /// Same flags, and the same result unless an exception keeps it back.
    fn check<T: PartialEq + std::fmt::LowerHex>(
        name: &str,
        operands: (u128, u128),
        control: Control,
        soft: (T, Flags),
        host: (T, Flags),
    ) {
        let flags = |flags: Flags| if stopped(flags, control) { flags & Flags::BEFORE } else { flags };
        let kept_back = host.1.intersects(control.unmasked());
        assert!(
            flags(soft.1) == flags(host.1) && (kept_back || soft.0 == host.0),
            "{name} of {:032x} and {:032x}, MXCSR {:x}: {:x} {:?} in software, {:x} {:?} on the host",
            operands.0,
            operands.1,
            control.bits(),
            soft.0,
            soft.1,
            host.0,
            host.1,
        );
    }

    /// The other flags are not looked at then.
    fn stopped(flags: Flags, control: Control) -> bool {
        flags.intersects(control.unmasked() & Flags::BEFORE)
    }

    macro_rules! compare_all {
        ($r:ident $times:literal: $($name:ident)*; $($predicated:ident)*; $($ordered:ident)*; $($integer:ident)*) => { $(
            for _ in 0..$times {
                let (a, b, control) = ($r.register(), $r.register(), $r.control());
                check(stringify!($name), (a, b), control, $name(a, b, control), host::$name(a, b, control));
            }
        )* $(
            for _ in 0..$times {
                let (a, b, control, p) = ($r.register(), $r.register(), $r.control(), $r.pick(8) as u8);
                let (soft, host) = ($predicated(a, b, p, control), host::$predicated(a, b, p, control));
                check(stringify!($predicated), (a, b), control, soft, host);
            }
        )* $(
            for _ in 0..$times {
                let (a, b, control) = ($r.register(), $r.register(), $r.control());
                check(stringify!($ordered), (a, b), control, $ordered(a, b, control), host::$ordered(a, b, control));
            }
        )* $(
            for _ in 0..$times {
                let (a, control) = ($r.register(), $r.control());
                check(stringify!($integer), (a, 0), control, $integer(a, control), host::$integer(a, control));
            }
        )* };
    }

    #[test]
    fn results_and_flags_are_those_of_a_host_with_sse() {
        let mut r = Random(0x2545_f491_4f6c_dd1d);
        compare_all! { r 40_000:
            addps addss addpd addsd subps subss subpd subsd mulps mulss mulpd mulsd divps divss divpd divsd
            minps minss minpd minsd maxps maxss maxpd maxsd sqrtps sqrtss sqrtpd sqrtsd
            cvtsd2ss cvtss2sd cvtpd2ps cvtps2pd cvtdq2ps cvtdq2pd cvtps2dq cvttps2dq cvtpd2dq cvttpd2dq;
            cmpps cmpss cmppd cmpsd;
            comiss ucomiss comisd ucomisd;
            cvtss2si cvttss2si cvtsd2si cvttsd2si
        }
    }
}
