//! Elementary functions on 128-bit significands: our own series, the same on every host, good to some
//! 115 bits, so that the result rounded to 64 is the correctly rounded one but for the rarest ties.

use super::round::Exact;

/// π.
pub(crate) const PI: Exact = Exact { sign: false, exp: 1, sig: 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1 };
const LN_2: Exact = Exact { sign: false, exp: -1, sig: 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af };
const LOG2_E: Exact = Exact { sign: false, exp: 0, sig: 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89 };
/// √2, to tell which half of an octave a number is in.
const SQRT_2: u128 = 0xb504_f333_f9de_6484 << 64;

/// π × 2^64 as the processors' argument reduction has it: 66 bits (SDM Vol. 1, "Approximation of Pi").
const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;

/// arctan(i/16) for i from 1 to 16.
const ARCTAN_SIXTEENTHS: [(i32, u128); 16] = [
    (-5, 0xffaa_ddb9_67ef_4e36_cb27_92dc_0e2e_0d51),
    (-4, 0xfead_d4d5_617b_6e32_c897_989f_3e88_8ef8),
    (-3, 0xbdcb_da5e_72d8_1134_7b0b_4f88_1c9c_7488),
    (-3, 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e6),
    (-2, 0x9b13_b9b8_3f5e_5e69_c5ab_b498_d27a_f328),
    (-2, 0xb7b0_ca0f_26f7_8473_8aa3_2122_dcfe_4483),
    (-2, 0xd327_761e_611f_e5b6_427c_95e9_001e_7136),
    (-2, 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03),
    (-1, 0x832b_f4a6_d986_7e2a_4b6a_09cb_61a5_15c1),
    (-1, 0x8f00_5d5e_f7f5_9f9b_5c83_5e16_65c4_3748),
    (-1, 0x9a2f_80e6_71bd_da20_4226_f8e2_204f_f3bd),
    (-1, 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9f),
    (-1, 0xaeac_4c38_b4d8_c080_1472_5e2f_3e52_070a),
    (-1, 0xb805_3e2b_c231_9e73_cb2d_a552_10a4_443d),
    (-1, 0xc0ce_85b8_ac52_6640_89dd_62c4_6e92_fa25),
    (-1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1),
];

/// 2^x − 1 for |x| below 1, x not 0.
pub(crate) fn exp2_minus_1(x: Exact) -> Exact {
    // y + y²/2! + y³/3! + …, from the inside, y being at most ln 2.
    const TERMS: u32 = 32;
    let y = x.times(LN_2);
    let inner = (2..=TERMS).rev().fold(Exact::ONE, |inner, n| one_plus(y.over_int(n).times(inner)));
    y.times(inner)
}

/// log2(x) for x above 0; `None` is 0.
pub(crate) fn log2(x: Exact) -> Option<Exact> {
    // x = 2^k × m, m from √½ to √2.
    let upper = x.sig > SQRT_2;
    let k = x.exp + i32::from(upper);
    let m = Exact { sign: false, exp: -i32::from(upper), sig: x.sig };
    let whole = Exact::normalized(k < 0, 127, k.unsigned_abs().into());
    let fraction = m.plus(Exact::ONE.negated()).map(|above| log2_by_ratio(above.over(one_plus(m))));
    match (whole, fraction) {
        (Some(whole), Some(fraction)) => whole.plus(fraction),
        (whole, fraction) => whole.or(fraction),
    }
}

/// log2(1 + x) for x above −1, x not 0; for small x without loss.
pub(crate) fn log2_1_plus(x: Exact) -> Option<Exact> {
    if x.exp < -2 {
        return Some(log2_by_ratio(x.over(x.plus(Exact::of_int(2)).expect("x is above -1"))));
    }
    x.plus(Exact::ONE).and_then(log2)
}

/// log2((1 + z) / (1 − z)), that is 2 artanh(z) / ln 2, for |z| up to 0.172.
fn log2_by_ratio(z: Exact) -> Exact {
    const TERMS: u32 = 26;
    let square = z.times(z);
    let series = (0..TERMS).rev().fold(Exact::ONE.over_int(2 * TERMS + 1), |inner, n| {
        square.times(inner).plus(Exact::ONE.over_int(2 * n + 1)).expect("all terms are positive")
    });
    let product = z.times(series).times(LOG2_E);
    Exact { exp: product.exp + 1, ..product }
}

/// arctan(y/x) for positive x and y: from 0 to π/2.
pub(crate) fn arctan_of_ratio(y: Exact, x: Exact) -> Exact {
    if (y.exp, y.sig) > (x.exp, x.sig) {
        let rest = arctan_to_1(x.over(y));
        return half_pi().plus(rest.negated()).expect("the rest is below π/4");
    }
    arctan_to_1(y.over(x))
}

fn half_pi() -> Exact {
    Exact { exp: PI.exp - 1, ..PI }
}

/// arctan(t) for t from 0 to 1.
fn arctan_to_1(t: Exact) -> Exact {
    // The nearest sixteenth.
    let sixteenths = if t.exp < -5 { 0 } else { ((t.sig >> (122 - t.exp)) as u32).div_ceil(2) };
    if sixteenths == 0 {
        return arctan_series(t);
    }
    let (exp, sig) = ARCTAN_SIXTEENTHS[sixteenths as usize - 1];
    let base = Exact { sign: false, exp, sig };
    let c = Exact::of_int(sixteenths);
    let c = Exact { exp: c.exp - 4, ..c };
    // arctan t = arctan c + arctan((t − c) / (1 + t c)).
    match t.plus(c.negated()) {
        None => base,
        Some(rest) => base.plus(arctan_series(rest.over(one_plus(t.times(c))))).expect("the base is greater"),
    }
}

/// z − z³/3 + z⁵/5 − … for |z| up to 1/31.
fn arctan_series(z: Exact) -> Exact {
    const TERMS: u32 = 13;
    let square = z.times(z).negated();
    let series = (0..TERMS).rev().fold(Exact::ONE.over_int(2 * TERMS + 1), |inner, n| {
        square.times(inner).plus(Exact::ONE.over_int(2 * n + 1)).expect("the terms fall fast")
    });
    z.times(series)
}

/// sin(x) and cos(x) for |x| below 2^63, x not 0.
pub(crate) fn sin_cos(x: Exact) -> (Exact, Exact) {
    let (quadrant, rest) = reduce(x);
    let (sin, cos) = (sin_series(rest), cos_series(rest));
    let (sin, cos) = match quadrant {
        0 => (sin, cos),
        1 => (cos, sin.negated()),
        2 => (sin.negated(), cos.negated()),
        _ => (cos.negated(), sin),
    };
    (if x.sign { sin.negated() } else { sin }, cos)
}

/// |x| as a number of quarter turns, modulo 4, and a rest within ±π/4.
fn reduce(x: Exact) -> (u32, Exact) {
    let magnitude = Exact { sign: false, ..x };
    if x.exp < -1 {
        return (0, magnitude);
    }
    // In units of 2^-65 a quarter turn is `PI_66`, and x is an integer.
    const TURN: u128 = 4 * PI_66;
    let mut units = x.sig >> 64;
    let mut shift = x.exp + 2;
    while shift > 0 {
        let step = shift.min(60);
        units = (units << step) % TURN;
        shift -= step;
    }
    units %= TURN;
    let (quadrant, rest) = ((units / PI_66) as u32, units % PI_66);
    let in_units = |sign, units| Exact::normalized(sign, 127 - 65, units).expect("no multiple of π has 64 bits");
    if rest > PI_66 / 2 {
        ((quadrant + 1) & 3, in_units(true, PI_66 - rest))
    } else {
        (quadrant, in_units(false, rest))
    }
}

/// x − x³/3! + … for |x| up to π/4.
fn sin_series(x: Exact) -> Exact {
    const TERMS: u32 = 15;
    let square = x.times(x).negated();
    let series =
        (1..=TERMS).rev().fold(Exact::ONE, |inner, n| one_plus(square.over_int(2 * n * (2 * n + 1)).times(inner)));
    x.times(series)
}

/// 1 − x²/2! + … for |x| up to π/4.
fn cos_series(x: Exact) -> Exact {
    const TERMS: u32 = 16;
    let square = x.times(x).negated();
    (1..=TERMS).rev().fold(Exact::ONE, |inner, n| one_plus(square.over_int((2 * n - 1) * 2 * n).times(inner)))
}

/// 1 + x for x above −1.
fn one_plus(x: Exact) -> Exact {
    Exact::ONE.plus(x).expect("x is above -1")
}
