//! Rounding of an exact value to a format (SDM Vol. 1, "Rounding", "Overflow and Underflow").

use super::flags::{self, Flags};

/// A rounding mode (SDM Vol. 1, "Rounding Control (RC) Field").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Toward −∞.
    Down,
    /// Toward +∞.
    Up,
    /// Toward 0.
    Truncate,
}

impl Rounding {
    /// As the two bits of MXCSR and of the x87 control word encode it.
    pub(crate) fn of_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Rounding::Nearest,
            1 => Rounding::Down,
            2 => Rounding::Up,
            _ => Rounding::Truncate,
        }
    }

    /// Whether the magnitude grows, given the kept part's low bit and what is cut off, left-aligned,
    /// its low bit sticky.
    pub(crate) fn grows(self, sign: bool, odd: bool, cut: u128) -> bool {
        const HALF: u128 = 1 << 127;
        match self {
            Rounding::Nearest => cut > HALF || cut == HALF && odd,
            Rounding::Down => sign && cut != 0,
            Rounding::Up => !sign && cut != 0,
            Rounding::Truncate => false,
        }
    }
}

/// A floating-point format: precision in bits, exponents of its normal numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Format {
    pub precision: u32,
    pub min_exp: i32,
    pub max_exp: i32,
}

impl Format {
    /// binary32.
    pub(crate) const SINGLE: Format = Format { precision: 24, min_exp: -126, max_exp: 127 };
    /// binary64.
    pub(crate) const DOUBLE: Format = Format { precision: 53, min_exp: -1022, max_exp: 1023 };

    /// The x87 registers, with the precision control's number of bits.
    pub(crate) const fn extended(precision: u32) -> Format {
        Format { precision, min_exp: -16382, max_exp: 16383 }
    }
}

/// A finite number other than 0: `sig / 2^127 × 2^exp`, bit 127 of `sig` set, its low bit sticky.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exact {
    pub sign: bool,
    pub exp: i32,
    pub sig: u128,
}

impl Exact {
    /// Of a significand that need not be normalized; `None` for 0. The value is `sig / 2^127 × 2^exp`.
    pub(crate) fn normalized(sign: bool, exp: i32, sig: u128) -> Option<Exact> {
        let shift = sig.leading_zeros();
        (sig != 0).then(|| Exact { sign, exp: exp - shift as i32, sig: sig << shift })
    }
}

/// A rounded number without its sign. `sig` has its integer bit at 63; a denormal has it clear
/// and the format's least exponent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rounded {
    pub exp: i32,
    pub sig: u64,
    pub infinite: bool,
    pub flags: Flags,
    /// The magnitude grew: C1.
    pub up: bool,
}

/// What unmasked overflow and underflow add to the exponent of a result in a register.
pub(crate) const WRAP: i32 = 24576;

/// Rounds to `format`. Overflow and underflow in `unmasked` give the result with its exponent wrapped.
/// Tininess is detected after rounding.
pub(crate) fn round(value: Exact, format: Format, rounding: Rounding, unmasked: Flags) -> Rounded {
    let (sig, carry, cut, up) = round_significand(value.sig, format.precision, value.sign, rounding);
    let exp = value.exp + i32::from(carry);
    let inexact = if cut { flags::PE } else { 0 };
    let wrapped = |by: i32, flag| Rounded { exp: exp + by, sig, infinite: false, flags: flag | inexact, up };
    if exp > format.max_exp {
        return if unmasked & flags::OE != 0 {
            wrapped(-WRAP, flags::OE)
        } else {
            overflow(value.sign, format, rounding)
        };
    }
    if exp < format.min_exp {
        return if unmasked & flags::UE != 0 { wrapped(WRAP, flags::UE) } else { denormalize(value, format, rounding) };
    }
    Rounded { exp, sig, infinite: false, flags: inexact, up }
}

/// The top `precision` bits, left-aligned; whether they carried into the next exponent; whether
/// anything was cut; whether the magnitude grew.
fn round_significand(sig: u128, precision: u32, sign: bool, rounding: Rounding) -> (u64, bool, bool, bool) {
    let kept = (sig >> (128 - precision)) as u64;
    let cut = sig << precision;
    let up = rounding.grows(sign, kept & 1 != 0, cut);
    let grown = u128::from(kept) + u128::from(up);
    let aligned = grown << (64 - precision);
    let carry = aligned >> 64 != 0;
    (if carry { 1 << 63 } else { aligned as u64 }, carry, cut != 0, up)
}

/// The masked response to overflow: infinity or the greatest number, by rounding.
fn overflow(sign: bool, format: Format, rounding: Rounding) -> Rounded {
    let infinite = match rounding {
        Rounding::Nearest => true,
        Rounding::Down => sign,
        Rounding::Up => !sign,
        Rounding::Truncate => false,
    };
    let greatest = !0 << (64 - format.precision);
    let sig = if infinite { 1 << 63 } else { greatest };
    Rounded { exp: format.max_exp, sig, infinite, flags: flags::OE | flags::PE, up: infinite }
}

/// The masked response to underflow: a denormal, 0, or the least normal number.
fn denormalize(value: Exact, format: Format, rounding: Rounding) -> Rounded {
    let shifted = shift_right_sticky(value.sig, format.min_exp.saturating_sub(value.exp) as u32);
    let (sig, _, cut, up) = round_significand(shifted, format.precision, value.sign, rounding);
    let flags = if cut { flags::UE | flags::PE } else { 0 };
    Rounded { exp: format.min_exp, sig, infinite: false, flags, up }
}

/// `sig >> count`, with what falls out kept in the low bit.
pub(crate) fn shift_right_sticky(sig: u128, count: u32) -> u128 {
    match count {
        0 => sig,
        1..128 => sig >> count | u128::from(sig << (128 - count) != 0),
        _ => u128::from(sig != 0),
    }
}
