//! FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1: special cases here, numbers in `elementary`.

use iced_x86::{Instruction, Mnemonic};

use super::{
    F80,
    access::{check, note},
    arith::{Env, Outcome, denormal, finish, nan_of_one, nan_of_two},
    arithmetic::unary,
    elementary::{self, PI},
    flags::{self, C2},
    number::Number,
    round::Exact,
};
use crate::{
    Cpu, Exception, Fpu,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::F2xm1 => |c, i| unary(c, i, exp2_minus_1),
        Mnemonic::Fyl2x => |c, i| of_two(c, i, y_log2_x),
        Mnemonic::Fyl2xp1 => |c, i| of_two(c, i, y_log2_x_plus_1),
        Mnemonic::Fpatan => |c, i| of_two(c, i, arctan2),
        Mnemonic::Fsin => |c, i| of_angle(c, i, |(sin, _), _| (sin, None)),
        Mnemonic::Fcos => |c, i| of_angle(c, i, |(_, cos), _| (cos, None)),
        Mnemonic::Fsincos => |c, i| of_angle(c, i, |(sin, cos), _| (sin, Some(cos))),
        Mnemonic::Fptan => |c, i| of_angle(c, i, |_, tan| (tan, Some(Outcome::exact(F80::ONE)))),
        _ => return None,
    };
    Some(slow)
}

/// `ST(1) = op(ST(1), ST(0))`, then pops.
fn of_two(cpu: &mut Cpu, insn: &Instruction, op: impl Fn(F80, F80, Env) -> Outcome) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    let result = if fpu.is_empty(0) || fpu.is_empty(1) {
        fpu.underflow().then_some(F80::INDEFINITE)
    } else {
        fpu.settle(op(fpu.st(1), fpu.st(0), fpu.env().full()))
    };
    if let Some(value) = result {
        fpu.fill(1, value);
        fpu.pop();
    }
    Ok(Flow::Next)
}

/// Sine and cosine, or the same special result for both.
type SinCos = (Outcome, Outcome);

/// Functions of an angle in ST(0), of which `choose` takes what replaces it and what is pushed. C2 says
/// that the angle is out of range; then nothing happens.
fn of_angle(
    cpu: &mut Cpu,
    insn: &Instruction,
    choose: impl Fn(SinCos, Outcome) -> (Outcome, Option<Outcome>),
) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    fpu.set_codes(C2, 0);
    let angle = fpu.st(0);
    let pushes = choose((Outcome::INVALID, Outcome::INVALID), Outcome::INVALID).1.is_some();
    if fpu.is_empty(0) {
        if fpu.underflow() {
            replace(fpu, F80::INDEFINITE, pushes.then_some(F80::INDEFINITE));
        }
        return Ok(Flow::Next);
    }
    if pushes && !fpu.is_empty(7) {
        if fpu.overflow() {
            replace(fpu, F80::INDEFINITE, Some(F80::INDEFINITE));
        }
        return Ok(Flow::Next);
    }
    let env = fpu.env().full();
    let (first, second) = match angle.number() {
        Number::Finite { value, .. } if value.exp >= 63 => {
            fpu.set_codes(C2 | flags::C1, C2);
            return Ok(Flow::Next);
        }
        Number::Finite { value, .. } => {
            let (sin, cos) = elementary::sin_cos(value);
            let round = |value: Exact| with_flags(finish(value.inexact(), env), denormal(angle.number()));
            choose((round(sin), round(cos)), round(sin.over(cos)))
        }
        Number::Zero { .. } => choose((Outcome::exact(angle), Outcome::exact(F80::ONE)), Outcome::exact(angle)),
        Number::Infinity { .. } => choose((Outcome::INVALID, Outcome::INVALID), Outcome::INVALID),
        Number::Nan { .. } | Number::Unsupported => {
            let nan = nan_of_one(angle).expect("it is one");
            choose((nan, nan), nan)
        }
    };
    // A NaN is pushed as it is, instead of a tangent's 1.
    let special = matches!(first.value.number(), Number::Nan { .. });
    let second = second.map(|second| if special { first } else { second });
    let flags = first.flags | second.map_or(0, |second| second.flags);
    if fpu.settle(Outcome { flags, ..first }).is_some() {
        replace(fpu, first.value, second.map(|second| second.value));
    }
    Ok(Flow::Next)
}

fn replace(fpu: &mut Fpu, value: F80, pushed: Option<F80>) {
    fpu.fill(0, value);
    if let Some(pushed) = pushed {
        fpu.push(pushed);
    }
}

fn with_flags(outcome: Outcome, flags: flags::Flags) -> Outcome {
    Outcome { flags: outcome.flags | flags, ..outcome }
}

/// F2XM1. UNDEFINED: outside ±1 the number stays, inexact.
fn exp2_minus_1(x: F80, env: Env) -> Outcome {
    if let Some(nan) = nan_of_one(x) {
        return nan;
    }
    let number = x.number();
    match number {
        Number::Infinity { sign: true } => Outcome::exact(F80::ONE.negated()),
        Number::Finite { value, .. } if value.exp < 0 => {
            with_flags(finish(elementary::exp2_minus_1(value).inexact(), env.full()), denormal(number))
        }
        Number::Finite { value, .. } if value == Exact::ONE.negated() => finish(Exact { exp: -1, ..value }, env.full()),
        Number::Finite { value, .. } if value != Exact::ONE => Outcome { value: x, flags: flags::PE, up: false },
        _ => Outcome::exact(x),
    }
}

/// FYL2X: `y × log2(x)`.
fn y_log2_x(y: F80, x: F80, env: Env) -> Outcome {
    if let Some(nan) = nan_of_two(y, x) {
        return nan;
    }
    let raised = denormal(x.number()) | denormal(y.number());
    let log = match x.number() {
        Number::Zero { .. } => match y.number() {
            Number::Zero { .. } => return Outcome::INVALID,
            Number::Infinity { .. } => return Outcome::exact(F80::infinity(!y.sign())),
            _ => return Outcome { value: F80::infinity(!y.sign()), flags: flags::ZE, up: false },
        },
        _ if x.sign() => return Outcome::INVALID,
        Number::Infinity { .. } => Logarithm::Infinite,
        Number::Finite { value, .. } => match elementary::log2(value) {
            Some(log) => Logarithm::Finite { log, exact: value.sig == 1 << 127 },
            None => Logarithm::Zero { sign: false },
        },
        Number::Nan { .. } | Number::Unsupported => unreachable!("NaNs are done"),
    };
    with_flags_unless_invalid(y_times(y, log, env), raised)
}

/// FYL2XP1: `y × log2(x + 1)`. UNDEFINED: below −1 + √½ and above √2 − 1 it goes on; from −1 down `x` is the result, inexact.
fn y_log2_x_plus_1(y: F80, x: F80, env: Env) -> Outcome {
    if let Some(nan) = nan_of_two(y, x) {
        return nan;
    }
    let raised = denormal(x.number()) | denormal(y.number());
    let log = match x.number() {
        Number::Zero { sign } => Logarithm::Zero { sign },
        Number::Infinity { sign: false } => Logarithm::Infinite,
        Number::Finite { value, .. } if !value.sign || value.exp < 0 => match elementary::log2_1_plus(value) {
            Some(log) => Logarithm::Finite { log, exact: false },
            None => Logarithm::Zero { sign: value.sign },
        },
        Number::Finite { .. } => return Outcome { value: x, flags: flags::PE, up: false },
        _ => return Outcome::INVALID,
    };
    with_flags_unless_invalid(y_times(y, log, env), raised)
}

fn with_flags_unless_invalid(outcome: Outcome, flags: flags::Flags) -> Outcome {
    if outcome.flags & flags::IE != 0 { outcome } else { with_flags(outcome, flags) }
}

/// A logarithm of a number above 0.
enum Logarithm {
    Zero { sign: bool },
    Finite { log: Exact, exact: bool },
    Infinite,
}

fn y_times(y: F80, log: Logarithm, env: Env) -> Outcome {
    match (y.number(), log) {
        (Number::Zero { .. }, Logarithm::Infinite) | (Number::Infinity { .. }, Logarithm::Zero { .. }) => {
            Outcome::INVALID
        }
        (Number::Zero { sign }, Logarithm::Finite { log, .. }) => Outcome::exact(F80::zero(sign != log.sign)),
        (_, Logarithm::Zero { sign }) => Outcome::exact(F80::zero(y.sign() != sign)),
        (_, Logarithm::Infinite) => Outcome::exact(F80::infinity(y.sign())),
        (Number::Infinity { sign }, Logarithm::Finite { log, .. }) => Outcome::exact(F80::infinity(sign != log.sign)),
        (Number::Finite { value, .. }, Logarithm::Finite { log, exact: true }) => {
            // The logarithm is an integer of few bits: the product is exact but for its rounding.
            finish(value.times(log), env)
        }
        (Number::Finite { value, .. }, Logarithm::Finite { log, .. }) => finish(value.times(log).inexact(), env),
        _ => unreachable!("NaNs are done"),
    }
}

/// FPATAN: the angle of the point (x, y), from −π to π.
fn arctan2(y: F80, x: F80, env: Env) -> Outcome {
    if let Some(nan) = nan_of_two(y, x) {
        return nan;
    }
    let raised = denormal(x.number()) | denormal(y.number());
    let quarter_turns = |quarters: u32| {
        // Of π: 1 is π/4.
        let value = PI.times(Exact::of_int(quarters));
        finish(Exact { sign: y.sign(), exp: value.exp - 2, ..value }.inexact(), env)
    };
    let outcome = match (y.number(), x.number()) {
        (Number::Infinity { .. }, Number::Infinity { sign }) => quarter_turns(if sign { 3 } else { 1 }),
        (Number::Infinity { .. }, _) => quarter_turns(2),
        (Number::Zero { .. }, _) | (_, Number::Infinity { .. }) if x.sign() => quarter_turns(4),
        (Number::Zero { .. }, _) | (_, Number::Infinity { .. }) => Outcome::exact(F80::zero(y.sign())),
        (_, Number::Zero { .. }) => quarter_turns(2),
        (Number::Finite { value: p, .. }, Number::Finite { value: q, .. }) => {
            let (p, q, mirrored) = (Exact { sign: false, ..p }, Exact { sign: false, ..q }, q.sign);
            let angle = elementary::arctan_of_ratio(p, q);
            let angle = if mirrored { PI.plus(angle.negated()).expect("the angle is at most π/2") } else { angle };
            finish(Exact { sign: y.sign(), ..angle }.inexact(), env)
        }
        _ => unreachable!("NaNs are done"),
    };
    with_flags(outcome, raised)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fpu::round::Rounding;

    const ENV: Env = Env { rounding: Rounding::Nearest, precision: 64, unmasked: 0 };

    fn f80(value: f64) -> F80 {
        use crate::fpu::number::Narrow;
        F80::of_narrow(value.to_bits(), Narrow::DOUBLE).0
    }

    fn f64_of(value: F80) -> f64 {
        use crate::fpu::number::Narrow;
        f64::from_bits(value.to_narrow(Narrow::DOUBLE, Rounding::Nearest, 0).0)
    }

    fn close(found: F80, expected: f64) {
        let found = f64_of(found);
        assert!((found - expected).abs() <= expected.abs() * 4e-16, "{found:e}, not {expected:e}");
    }

    #[test]
    fn functions_agree_with_the_library_to_double_precision() {
        for step in 1..2000 {
            let x = f64::from(step) / 997.0;
            let Number::Finite { value, .. } = f80(x).number() else { unreachable!() };
            let (sin, cos) = elementary::sin_cos(value);
            close(finish(sin, ENV).value, x.sin());
            close(finish(cos, ENV).value, x.cos());
            close(y_log2_x(F80::ONE, f80(x), ENV).value, x.log2());
            close(y_log2_x_plus_1(F80::ONE, f80(x / 8.0), ENV).value, (x / 8.0).ln_1p() / std::f64::consts::LN_2);
            if x < 1.0 {
                close(exp2_minus_1(f80(x), ENV).value, (x * std::f64::consts::LN_2).exp_m1());
                close(exp2_minus_1(f80(-x), ENV).value, (-x * std::f64::consts::LN_2).exp_m1());
            }
            for (y, z) in [(x, 1.0), (1.0, x), (x, -1.0), (-x, -3.0), (-1e-9, x)] {
                close(arctan2(f80(y), f80(z), ENV).value, y.atan2(z));
            }
        }
    }

    fn parse(text: &str) -> F80 {
        let (sign_exponent, significand) = text.split_at(4);
        F80 {
            sign_exponent: u16::from_str_radix(sign_exponent, 16).unwrap(),
            significand: u64::from_str_radix(significand, 16).unwrap(),
        }
    }

    /// Distance in units of the last place; numbers of one sign count on through all exponents.
    fn ulps(a: F80, b: F80) -> u128 {
        let place = |v: F80| u128::from(v.exponent()) << 63 | u128::from(v.significand & !(1 << 63));
        if a.sign() == b.sign() { place(a).abs_diff(place(b)) } else { u128::MAX }
    }

    #[test]
    fn functions_are_within_one_unit_of_the_last_place_on_their_whole_range() {
        let (mut cases, mut rounded) = (0, 0);
        for line in include_str!("transcendental.txt").lines().filter(|line| !line.starts_with('#')) {
            let (call, expected) = line.split_once(" => ").unwrap();
            let mut words = call.split(' ');
            let name = words.next().unwrap();
            let args: Vec<F80> = words.map(parse).collect();
            let angle = |choose: fn((Exact, Exact)) -> Exact| {
                let Number::Finite { value, .. } = args[0].number() else { unreachable!("{line}") };
                finish(choose(elementary::sin_cos(value)).inexact(), ENV).value
            };
            let found = match name {
                "fsin" => angle(|(sin, _)| sin),
                "fcos" => angle(|(_, cos)| cos),
                "fptan" => angle(|(sin, cos)| sin.over(cos)),
                "f2xm1" => exp2_minus_1(args[0], ENV).value,
                "fyl2x" => y_log2_x(args[0], args[1], ENV).value,
                "fyl2xp1" => y_log2_x_plus_1(args[0], args[1], ENV).value,
                "fpatan" => arctan2(args[0], args[1], ENV).value,
                _ => panic!("no function: {line}"),
            };
            let distance = ulps(found, parse(expected));
            assert!(distance <= 1, "{line}: {found:x?} is {distance} off");
            cases += 1;
            rounded += u32::from(distance == 0);
        }
        assert!(cases > 600 && rounded > cases * 99 / 100, "{rounded} of {cases} are rounded correctly");
    }

    #[test]
    fn the_argument_reduction_has_66_bits_of_pi() {
        let pi = finish(PI, ENV).value;
        let Number::Finite { value, .. } = pi.number() else { unreachable!() };
        let sin = finish(elementary::sin_cos(value).0, ENV).value;
        assert_eq!(f64_of(sin), -5.421_010_862_427_522e-20);
    }

    #[test]
    fn logarithms_of_powers_of_two_are_exact() {
        let outcome = y_log2_x(F80::ONE, f80(1024.0), ENV);
        assert_eq!((f64_of(outcome.value), outcome.flags), (10.0, 0));
    }
}
