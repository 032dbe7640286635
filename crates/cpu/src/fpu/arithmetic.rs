//! Arithmetic instructions and what else replaces ST(0) by a function of it.

use iced_x86::{Code, Instruction, Mnemonic, OpKind};

use super::{
    F80,
    access::{Source, check, load_number, note, st},
    arith::{self, Env, Outcome, Quotient},
    flags::{self, C0, C1, C2, C3},
    number::Number,
};
use crate::{
    Cpu, Exception,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Fadd | Mnemonic::Fiadd => |c, i| binary(c, i, arith::add, Pop::No),
        Mnemonic::Faddp => |c, i| binary(c, i, arith::add, Pop::Yes),
        Mnemonic::Fmul | Mnemonic::Fimul => |c, i| binary(c, i, arith::mul, Pop::No),
        Mnemonic::Fmulp => |c, i| binary(c, i, arith::mul, Pop::Yes),
        Mnemonic::Fsub | Mnemonic::Fisub => |c, i| binary(c, i, arith::sub, Pop::No),
        Mnemonic::Fsubp => |c, i| binary(c, i, arith::sub, Pop::Yes),
        Mnemonic::Fsubr | Mnemonic::Fisubr => |c, i| binary(c, i, |d, s, env| arith::sub(s, d, env), Pop::No),
        Mnemonic::Fsubrp => |c, i| binary(c, i, |d, s, env| arith::sub(s, d, env), Pop::Yes),
        Mnemonic::Fdiv | Mnemonic::Fidiv => |c, i| binary(c, i, arith::div, Pop::No),
        Mnemonic::Fdivp => |c, i| binary(c, i, arith::div, Pop::Yes),
        Mnemonic::Fdivr | Mnemonic::Fidivr => |c, i| binary(c, i, |d, s, env| arith::div(s, d, env), Pop::No),
        Mnemonic::Fdivrp => |c, i| binary(c, i, |d, s, env| arith::div(s, d, env), Pop::Yes),
        Mnemonic::Fsqrt => |c, i| unary(c, i, arith::sqrt),
        Mnemonic::Frndint => |c, i| unary(c, i, arith::round_to_integer),
        Mnemonic::Fabs => |c, i| unary(c, i, |a, _| Outcome::exact(if a.sign() { a.negated() } else { a })),
        Mnemonic::Fchs => |c, i| unary(c, i, |a, _| Outcome::exact(a.negated())),
        Mnemonic::Fscale => fscale,
        Mnemonic::Fprem => |c, i| fprem(c, i, false),
        Mnemonic::Fprem1 => |c, i| fprem(c, i, true),
        Mnemonic::Fxtract => fxtract,
        _ => return None,
    };
    Some(slow)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pop {
    No,
    Yes,
}

fn source(code: Code) -> Source {
    match code {
        Code::Fadd_m32fp
        | Code::Fmul_m32fp
        | Code::Fsub_m32fp
        | Code::Fsubr_m32fp
        | Code::Fdiv_m32fp
        | Code::Fdivr_m32fp => Source::Single,
        Code::Fiadd_m16int
        | Code::Fimul_m16int
        | Code::Fisub_m16int
        | Code::Fisubr_m16int
        | Code::Fidiv_m16int
        | Code::Fidivr_m16int => Source::Int16,
        Code::Fiadd_m32int
        | Code::Fimul_m32int
        | Code::Fisub_m32int
        | Code::Fisubr_m32int
        | Code::Fidiv_m32int
        | Code::Fidivr_m32int => Source::Int32,
        _ => Source::Double,
    }
}

/// `dst = op(dst, src)`.
fn binary(
    cpu: &mut Cpu,
    insn: &Instruction,
    op: impl Fn(F80, F80, Env) -> Outcome,
    pop: Pop,
) -> Result<Flow, Exception> {
    check(cpu)?;
    let memory = insn.op0_kind() == OpKind::Memory;
    let loaded = if memory { Some(load_number(cpu, insn, source(insn.code()))?) } else { None };
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    let (dst, src) = if memory { (0, 0) } else { (st(insn, 0), st(insn, 1)) };
    let result = if fpu.is_empty(dst) || fpu.is_empty(src) {
        fpu.underflow().then_some(F80::INDEFINITE)
    } else {
        let (value, denormal) = loaded.unwrap_or((fpu.st(src), 0));
        let outcome = with_denormal(op(fpu.st(dst), value, fpu.env()), fpu.st(dst), denormal);
        fpu.settle(outcome)
    };
    if let Some(value) = result {
        fpu.fill(dst, value);
        if pop == Pop::Yes {
            fpu.pop();
        }
    }
    Ok(Flow::Next)
}

/// Adds the DE of a denormal in memory, unless a NaN, an invalid operation or a division by 0 comes before it.
fn with_denormal(outcome: Outcome, other: F80, denormal: flags::Flags) -> Outcome {
    let before = outcome.flags & (flags::IE | flags::ZE) != 0 || matches!(other.number(), Number::Nan { .. });
    if before { outcome } else { Outcome { flags: outcome.flags | denormal, ..outcome } }
}

/// `ST(0) = op(ST(0))`.
pub(super) fn unary(cpu: &mut Cpu, insn: &Instruction, op: impl Fn(F80, Env) -> Outcome) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    let result =
        if fpu.is_empty(0) { fpu.underflow().then_some(F80::INDEFINITE) } else { fpu.settle(op(fpu.st(0), fpu.env())) };
    if let Some(value) = result {
        fpu.fill(0, value);
    }
    Ok(Flow::Next)
}

fn fscale(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    let result = if fpu.is_empty(0) || fpu.is_empty(1) {
        fpu.underflow().then_some(F80::INDEFINITE)
    } else {
        fpu.settle(arith::scale(fpu.st(0), fpu.st(1), fpu.env()))
    };
    if let Some(value) = result {
        fpu.fill(0, value);
    }
    Ok(Flow::Next)
}

/// C0, C3 and C1 are the quotient's bits 2, 1 and 0; C2 says that the reduction is not complete.
/// Without a quotient only C2 is cleared.
fn fprem(cpu: &mut Cpu, insn: &Instruction, nearest: bool) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    if fpu.is_empty(0) || fpu.is_empty(1) {
        fpu.set_codes(C2, 0);
        if fpu.underflow() {
            fpu.fill(0, F80::INDEFINITE);
        }
        return Ok(Flow::Next);
    }
    let remainder = arith::remainder(fpu.st(0), fpu.st(1), nearest, fpu.env());
    let stored = fpu.settle(remainder.outcome);
    let bit = |q: u8, n: u32, code| if q >> n & 1 != 0 { code } else { 0 };
    match remainder.quotient {
        _ if stored.is_none() || remainder.outcome.flags & flags::IE != 0 => fpu.set_codes(C2, 0),
        Quotient::None => fpu.set_codes(C2, 0),
        Quotient::Partial => fpu.set_codes(C0 | C1 | C2 | C3, C2),
        Quotient::Low(q) => fpu.set_codes(C0 | C1 | C2 | C3, bit(q, 2, C0) | bit(q, 1, C3) | bit(q, 0, C1)),
    }
    if let Some(value) = stored {
        fpu.fill(0, value);
    }
    Ok(Flow::Next)
}

/// Splits ST(0): the exponent replaces it, the significand is pushed.
fn fxtract(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    let parts = if fpu.is_empty(0) {
        fpu.underflow().then_some((F80::INDEFINITE, F80::INDEFINITE))
    } else if !fpu.is_empty(7) {
        fpu.overflow().then_some((F80::INDEFINITE, F80::INDEFINITE))
    } else {
        let (exponent, significand) = extract(fpu.st(0));
        fpu.settle(exponent).map(|exponent| (exponent, significand))
    };
    if let Some((exponent, significand)) = parts {
        fpu.fill(0, exponent);
        fpu.push(significand);
    }
    Ok(Flow::Next)
}

fn extract(a: F80) -> (Outcome, F80) {
    if let Some(nan) = arith::nan_of_one(a) {
        return (nan, nan.value);
    }
    let number = a.number();
    match number {
        Number::Zero { .. } => (Outcome { value: F80::infinity(true), flags: flags::ZE, up: false }, a),
        Number::Finite { value, .. } => {
            let significand = F80 {
                significand: (value.sig >> 64) as u64,
                sign_exponent: F80::ONE.sign_exponent | u16::from(value.sign) << 15,
            };
            let exponent = Outcome { value: F80::of_i64(value.exp.into()), flags: arith::denormal(number), up: false };
            (exponent, significand)
        }
        _ => (Outcome::exact(F80::infinity(false)), a),
    }
}
