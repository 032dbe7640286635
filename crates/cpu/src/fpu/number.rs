//! What an 80-bit pattern means, and its conversions from and to the other formats.

use super::{
    F80,
    flags::{self, Flags},
    round::{Exact, Format, Rounded, Rounding, round},
};

/// A value by class (SDM Vol. 1, "Unsupported Double Extended-Precision Floating-Point Encodings").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Number {
    /// ±0.
    Zero { sign: bool },
    /// Any other finite number.
    Finite { value: Exact, denormal: bool },
    /// ±∞.
    Infinity { sign: bool },
    /// Quiet or signaling.
    Nan { quiet: bool },
    /// A pattern since the 387 invalid: pseudo-NaN, pseudo-infinity, unnormal.
    Unsupported,
}

const INTEGER_BIT: u64 = 1 << 63;
const QUIET_BIT: u64 = 1 << 62;
const BIAS: i32 = 16383;

impl F80 {
    /// +0.
    pub(crate) const ZERO: F80 = F80 { significand: 0, sign_exponent: 0 };
    /// 1.
    pub(crate) const ONE: F80 = F80 { significand: INTEGER_BIT, sign_exponent: 0x3fff };
    /// The default NaN, "QNaN floating-point indefinite".
    pub(crate) const INDEFINITE: F80 = F80 { significand: INTEGER_BIT | QUIET_BIT, sign_exponent: 0xffff };

    /// ±0.
    pub(crate) const fn zero(sign: bool) -> F80 {
        F80 { significand: 0, sign_exponent: (sign as u16) << 15 }
    }

    /// ±∞.
    pub(crate) const fn infinity(sign: bool) -> F80 {
        F80 { significand: INTEGER_BIT, sign_exponent: (sign as u16) << 15 | 0x7fff }
    }

    /// The sign bit.
    pub(crate) const fn sign(self) -> bool {
        self.sign_exponent & 0x8000 != 0
    }

    /// The biased exponent.
    pub(crate) const fn exponent(self) -> u16 {
        self.sign_exponent & 0x7fff
    }

    /// With its sign inverted.
    pub(crate) const fn negated(self) -> F80 {
        F80 { sign_exponent: self.sign_exponent ^ 0x8000, ..self }
    }

    /// A NaN made quiet.
    pub(crate) const fn quieted(self) -> F80 {
        F80 { significand: self.significand | QUIET_BIT, ..self }
    }

    /// What the pattern means.
    pub(crate) fn number(self) -> Number {
        let sign = self.sign();
        let sig = self.significand;
        match self.exponent() {
            0 if sig == 0 => Number::Zero { sign },
            0 => Number::Finite {
                value: Exact::normalized(sign, 1 - BIAS, u128::from(sig) << 64).expect("not 0"),
                denormal: true,
            },
            _ if sig & INTEGER_BIT == 0 => Number::Unsupported,
            0x7fff if sig == INTEGER_BIT => Number::Infinity { sign },
            0x7fff => Number::Nan { quiet: sig & QUIET_BIT != 0 },
            exponent => Number::Finite {
                value: Exact { sign, exp: i32::from(exponent) - BIAS, sig: u128::from(sig) << 64 },
                denormal: false,
            },
        }
    }

    /// From a rounded number of the extended format.
    pub(crate) fn of_rounded(sign: bool, rounded: Rounded) -> F80 {
        if rounded.infinite {
            return F80::infinity(sign);
        }
        let exponent = if rounded.sig & INTEGER_BIT == 0 { 0 } else { rounded.exp + BIAS };
        F80 { significand: rounded.sig, sign_exponent: u16::from(sign) << 15 | exponent as u16 & 0x7fff }
    }

    /// An integer, exact.
    pub(crate) fn of_i64(value: i64) -> F80 {
        let sign = value < 0;
        match Exact::normalized(sign, 63, u128::from(value.unsigned_abs()) << 64) {
            None => F80::ZERO,
            Some(exact) => F80 {
                significand: (exact.sig >> 64) as u64,
                sign_exponent: u16::from(sign) << 15 | (exact.exp + BIAS) as u16,
            },
        }
    }

    /// A single or double; a signaling NaN stays one. DE for a denormal.
    pub(crate) fn of_narrow(bits: u64, format: Narrow) -> (F80, Flags) {
        let sign = bits >> (format.bits - 1) != 0;
        let fraction_bits = format.format.precision - 1;
        let exponent = (bits >> fraction_bits) as i32 & format.exponent_mask();
        let fraction = (bits & ((1 << fraction_bits) - 1)) << (63 - fraction_bits);
        let sign_bit = u16::from(sign) << 15;
        if exponent == format.exponent_mask() {
            return (F80 { significand: INTEGER_BIT | fraction, sign_exponent: sign_bit | 0x7fff }, 0);
        }
        if exponent == 0 {
            let Some(exact) = Exact::normalized(sign, format.format.min_exp, u128::from(fraction) << 64) else {
                return (F80::zero(sign), 0);
            };
            let significand = (exact.sig >> 64) as u64;
            return (F80 { significand, sign_exponent: sign_bit | (exact.exp + BIAS) as u16 }, flags::DE);
        }
        let exp = exponent - format.format.max_exp + BIAS;
        (F80 { significand: INTEGER_BIT | fraction, sign_exponent: sign_bit | exp as u16 }, 0)
    }

    /// To a single or double, with the flags raised and whether the magnitude grew.
    /// An over- or underflow in `unmasked` gives its flags and a value of no use.
    pub(crate) fn to_narrow(self, format: Narrow, rounding: Rounding, unmasked: Flags) -> (u64, Flags, bool) {
        let fraction_bits = format.format.precision - 1;
        let sign_bit = u64::from(self.sign()) << (format.bits - 1);
        let infinity = (format.exponent_mask() as u64) << fraction_bits;
        let fraction = |sig: u64| (sig & !INTEGER_BIT) >> (63 - fraction_bits);
        match self.number() {
            Number::Zero { .. } => (sign_bit, 0, false),
            Number::Infinity { .. } => (sign_bit | infinity, 0, false),
            Number::Nan { quiet } => {
                let flags = if quiet { 0 } else { flags::IE };
                (sign_bit | infinity | fraction(self.quieted().significand), flags, false)
            }
            Number::Unsupported => (1 << (format.bits - 1) | infinity | fraction(QUIET_BIT), flags::IE, false),
            Number::Finite { value, .. } => {
                let rounded = round(value, format.format, rounding, unmasked);
                if rounded.infinite {
                    return (sign_bit | infinity, rounded.flags, rounded.up);
                }
                let exponent =
                    if rounded.sig & INTEGER_BIT == 0 { 0 } else { (rounded.exp + format.format.max_exp) as u64 };
                (sign_bit | exponent << fraction_bits | fraction(rounded.sig), rounded.flags, rounded.up)
            }
        }
    }

    /// Rounded to an integer of `bits` bits; `None` if it does not fit or is no number. With PE and C1.
    pub(crate) fn to_integer(self, bits: u32, rounding: Rounding) -> Option<(i64, Flags, bool)> {
        match self.number() {
            Number::Zero { .. } => Some((0, 0, false)),
            Number::Finite { value, .. } if value.exp < 64 => {
                let (magnitude, inexact, up) = integer_part(value, rounding);
                let limit = 1 << (bits - 1);
                let fits = magnitude < limit || magnitude == limit && value.sign;
                let signed = if value.sign { magnitude.wrapping_neg() } else { magnitude } as i64;
                fits.then_some((signed, if inexact { flags::PE } else { 0 }, up))
            }
            _ => None,
        }
    }
}

/// The magnitude of a value below 2^64, rounded to an integer (2^64 saturates); whether that was
/// inexact and whether it grew.
pub(crate) fn integer_part(value: Exact, rounding: Rounding) -> (u64, bool, bool) {
    // As a fixed-point number with 64 bits before the point and 64, the last sticky, behind.
    let fixed = super::round::shift_right_sticky(value.sig, (63 - value.exp) as u32);
    let (whole, cut) = ((fixed >> 64) as u64, fixed << 64);
    let up = rounding.grows(value.sign, whole & 1 != 0, cut);
    (whole.saturating_add(u64::from(up)), cut != 0, up)
}

/// A narrower format in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Narrow {
    pub bits: u32,
    pub format: Format,
}

impl Narrow {
    /// binary32.
    pub(crate) const SINGLE: Narrow = Narrow { bits: 32, format: Format::SINGLE };
    /// binary64.
    pub(crate) const DOUBLE: Narrow = Narrow { bits: 64, format: Format::DOUBLE };

    /// A denormal of this format.
    pub(crate) const fn is_denormal(self, bits: u64) -> bool {
        let fraction = (1 << (self.format.precision - 1)) - 1;
        let exponent = (self.exponent_mask() as u64) << (self.format.precision - 1);
        bits & exponent == 0 && bits & fraction != 0
    }

    /// The greatest biased exponent, that of infinities and NaNs.
    pub(crate) const fn exponent_mask(self) -> i32 {
        2 * self.format.max_exp + 1
    }
}
