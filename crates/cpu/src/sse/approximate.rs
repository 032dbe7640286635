//! RCPPS and RSQRTPS: our own approximation, the same on every host. Silicon makers differ within
//! the architectural bound of 1.5 × 2^-12 relative error; this one is within 2^-13.

use super::{
    lanes::{dwords, from_dwords},
    mxcsr::{Control, Flags},
};

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;
const QUIET: u32 = 1 << 22;
/// Explicit bits of the results.
const KEPT: u32 = !0x3ff;

/// RCPPS; raises nothing and obeys no control.
pub(super) fn rcpps(_: u128, src: u128, _: Control) -> (u128, Flags) {
    (from_dwords(dwords(src).map(reciprocal)), Flags::default())
}

/// RCPSS.
pub(super) fn rcpss(dst: u128, src: u128, _: Control) -> (u128, Flags) {
    (super::access::with_low32(dst, reciprocal(src as u32)), Flags::default())
}

/// RSQRTPS; raises nothing and obeys no control.
pub(super) fn rsqrtps(_: u128, src: u128, _: Control) -> (u128, Flags) {
    (from_dwords(dwords(src).map(reciprocal_root)), Flags::default())
}

/// RSQRTSS.
pub(super) fn rsqrtss(dst: u128, src: u128, _: Control) -> (u128, Flags) {
    (super::access::with_low32(dst, reciprocal_root(src as u32)), Flags::default())
}

/// Denormals count as zero; tiny results are flushed to zero (SDM Vol. 2, "RCPPS").
fn reciprocal(bits: u32) -> u32 {
    let sign = bits & SIGN;
    match bits & !SIGN {
        nan if nan > INFINITY => bits | QUIET,
        INFINITY => sign,
        denormal if denormal < 0x0080_0000 => sign | INFINITY,
        _ => {
            // Division is correctly rounded everywhere, so that cutting its result is the same everywhere.
            let result = 1.0 / f32::from_bits(bits);
            if result.is_subnormal() { sign } else { round_to_kept(result.to_bits()) }
        }
    }
}

/// Denormals count as zero; negative numbers give the default NaN.
fn reciprocal_root(bits: u32) -> u32 {
    let sign = bits & SIGN;
    match bits & !SIGN {
        nan if nan > INFINITY => bits | QUIET,
        denormal if denormal < 0x0080_0000 => sign | INFINITY,
        _ if sign != 0 => 0xffc0_0000,
        INFINITY => 0,
        _ => round_to_kept(((1.0 / f64::from(f32::from_bits(bits)).sqrt()) as f32).to_bits()),
    }
}

fn round_to_kept(bits: u32) -> u32 {
    bits.wrapping_add(!KEPT / 2 + 1) & KEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_within_the_architectural_bound() {
        for step in 0..1 << 16 {
            let x = f32::from_bits(0x3f00_0000 + step * 0x200);
            let exact = f64::from(x);
            let bound = 1.5 / 4096.0;
            assert!((f64::from(f32::from_bits(reciprocal(x.to_bits()))) * exact - 1.0).abs() <= bound, "1/{x}");
            let root = f64::from(f32::from_bits(reciprocal_root(x.to_bits())));
            assert!((root * exact.sqrt() - 1.0).abs() <= bound, "1/sqrt({x})");
        }
    }

    #[test]
    fn specials_are_the_manuals() {
        assert_eq!(reciprocal(0x8000_0000), 0xff80_0000);
        assert_eq!(reciprocal(0x0000_0001), INFINITY);
        assert_eq!(reciprocal(0xff80_0000), SIGN);
        assert_eq!(reciprocal(0x7f7f_ffff), 0, "a tiny result is flushed");
        assert_eq!(reciprocal_root(0x8000_0000), 0xff80_0000);
        assert_eq!(reciprocal_root(0xbf80_0000), 0xffc0_0000);
        assert_eq!(reciprocal_root(0x7f80_0001), 0x7fc0_0001);
    }
}
