//! Loads, stores, exchanges, conditional moves, constants.

use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use x86::Eflags;

use super::{
    F80,
    access::{Source, check, load, load_number, note, st},
    arith::{self, Outcome},
    flags::{self, Flags},
    number::{Narrow, Number, integer_part},
    round::{Exact, Rounding},
};
use crate::{
    Cpu, Exception, Fpu,
    mmu::access::{self, View},
    operand,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Fld => match insn.code() {
            Code::Fld_m32fp => |c, i| fld(c, i, Source::Single),
            Code::Fld_m64fp => |c, i| fld(c, i, Source::Double),
            Code::Fld_m80fp => fld80,
            _ => fld_st,
        },
        Mnemonic::Fild => match insn.code() {
            Code::Fild_m16int => |c, i| fld(c, i, Source::Int16),
            Code::Fild_m32int => |c, i| fld(c, i, Source::Int32),
            _ => |c, i| fld(c, i, Source::Int64),
        },
        Mnemonic::Fstpnce => fstpnce,
        Mnemonic::Fst | Mnemonic::Fstp => match insn.code() {
            Code::Fst_m32fp | Code::Fstp_m32fp => fst32,
            Code::Fst_m64fp | Code::Fstp_m64fp => fst64,
            Code::Fstp_m80fp => fstp80,
            _ => fst_st,
        },
        Mnemonic::Fist | Mnemonic::Fistp => |c, i| fist(c, i, c.state.fpu.env().rounding),
        Mnemonic::Fisttp => |c, i| fist(c, i, Rounding::Truncate),
        Mnemonic::Fbld => fbld,
        Mnemonic::Fbstp => fbstp,
        Mnemonic::Fxch => fxch,
        _ => return lookup_moves(insn.mnemonic()),
    };
    Some(slow)
}

fn lookup_moves(mnemonic: Mnemonic) -> Option<Slow> {
    let slow: Slow = match mnemonic {
        Mnemonic::Fcmovb => |c, i| fcmov(c, i, |f| f.contains(Eflags::CF)),
        Mnemonic::Fcmove => |c, i| fcmov(c, i, |f| f.contains(Eflags::ZF)),
        Mnemonic::Fcmovbe => |c, i| fcmov(c, i, |f| f.intersects(Eflags::CF | Eflags::ZF)),
        Mnemonic::Fcmovu => |c, i| fcmov(c, i, |f| f.contains(Eflags::PF)),
        Mnemonic::Fcmovnb => |c, i| fcmov(c, i, |f| !f.contains(Eflags::CF)),
        Mnemonic::Fcmovne => |c, i| fcmov(c, i, |f| !f.contains(Eflags::ZF)),
        Mnemonic::Fcmovnbe => |c, i| fcmov(c, i, |f| !f.intersects(Eflags::CF | Eflags::ZF)),
        Mnemonic::Fcmovnu => |c, i| fcmov(c, i, |f| !f.contains(Eflags::PF)),
        Mnemonic::Fldz => |c, i| push(c, i, |_| Outcome::exact(F80::ZERO)),
        Mnemonic::Fld1 => |c, i| push(c, i, |_| Outcome::exact(F80::ONE)),
        // The constants have 66 bits: 64, and two more by which RC rounds, silently.
        Mnemonic::Fldl2t => |c, i| push(c, i, |r| constant(r, 1, 0xd49a_784b_cd1b_8afe, 0x492b_f6ff_4daf_db4d)),
        Mnemonic::Fldl2e => |c, i| push(c, i, |r| constant(r, 0, 0xb8aa_3b29_5c17_f0bb, 0xbe87_fed0_691d_3e88)),
        Mnemonic::Fldpi => |c, i| push(c, i, |r| constant(r, 1, 0xc90f_daa2_2168_c234, 0xc4c6_628b_80dc_1cd1)),
        Mnemonic::Fldlg2 => |c, i| push(c, i, |r| constant(r, -2, 0x9a20_9a84_fbcf_f798, 0x8f89_59ac_0b7c_9178)),
        Mnemonic::Fldln2 => |c, i| push(c, i, |r| constant(r, -1, 0xb172_17f7_d1cf_79ab, 0xc9e3_b398_03f2_f6af)),
        _ => return None,
    };
    Some(slow)
}

/// A constant rounded to 64 bits, without flags.
fn constant(rounding: Rounding, exp: i32, high: u64, low: u64) -> Outcome {
    let env = arith::Env { rounding, precision: 64, unmasked: 0 };
    let sig = u128::from(high) << 64 | u128::from(low);
    Outcome::exact(arith::finish(Exact { sign: false, exp, sig }, env).value)
}

/// Pushes unless the stack is full.
fn push(cpu: &mut Cpu, insn: &Instruction, value: impl Fn(Rounding) -> Outcome) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    let outcome = value(fpu.env().rounding);
    push_outcome(fpu, outcome);
    Ok(Flow::Next)
}

fn push_outcome(fpu: &mut Fpu, outcome: Outcome) {
    let result = if fpu.is_empty(7) { fpu.settle(outcome) } else { fpu.overflow().then_some(F80::INDEFINITE) };
    if let Some(value) = result {
        fpu.push(value);
    }
}

/// A single, double or integer is widened; a signaling NaN is invalid. A denormal is pushed though DE
/// be unmasked: the next instruction tells.
fn fld(cpu: &mut Cpu, insn: &Instruction, source: Source) -> Result<Flow, Exception> {
    check(cpu)?;
    let (value, denormal) = load_number(cpu, insn, source)?;
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    let room = fpu.is_empty(7);
    push_outcome(fpu, arith::nan_of_one(value).unwrap_or(Outcome::exact(value)));
    if room {
        fpu.raise_after(denormal);
    }
    Ok(Flow::Next)
}

fn fld80(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    let value = of_bytes(load(cpu, insn)?);
    note(cpu, insn);
    push_outcome(&mut cpu.state.fpu, Outcome::exact(value));
    Ok(Flow::Next)
}

fn fld_st(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let source = st(insn, insn.op_count() - 1);
    let fpu = &mut cpu.state.fpu;
    if fpu.is_empty(source) {
        if fpu.underflow() {
            fpu.push(F80::INDEFINITE);
        }
    } else {
        push_outcome(fpu, Outcome::exact(fpu.st(source)));
    }
    Ok(Flow::Next)
}

/// An 80-bit number as memory has it.
pub(super) fn of_bytes(bytes: [u8; 10]) -> F80 {
    let (significand, sign_exponent) = bytes.split_at(8);
    F80 {
        significand: u64::from_le_bytes(significand.try_into().expect("8 bytes")),
        sign_exponent: u16::from_le_bytes(sign_exponent.try_into().expect("2 bytes")),
    }
}

/// See [`of_bytes`].
pub(super) fn to_bytes(value: F80) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&value.significand.to_le_bytes());
    bytes[8..].copy_from_slice(&value.sign_exponent.to_le_bytes());
    bytes
}

/// The popping forms of the stores.
fn pops(insn: &Instruction) -> bool {
    !matches!(insn.mnemonic(), Mnemonic::Fst | Mnemonic::Fist)
}

/// Stores what `convert` makes of ST(0), or `indefinite` for an empty register, unless an unmasked
/// exception forbids it; then pops. Memory faults before anything changes.
fn store_converted<const N: usize>(
    cpu: &mut Cpu,
    insn: &Instruction,
    indefinite: [u8; N],
    convert: impl Fn(F80, Flags) -> ([u8; N], Flags, bool),
) -> Result<Flow, Exception> {
    check(cpu)?;
    let fpu = &cpu.state.fpu;
    let unmasked = fpu.env().unmasked;
    let (bytes, raised, up) =
        if fpu.is_empty(0) { (indefinite, flags::IE | flags::SF, false) } else { convert(fpu.st(0), unmasked) };
    let stores = raised & unmasked & !flags::PE == 0;
    // What is not stored is not inexact.
    let (raised, up) = if stores { (raised, up) } else { (raised & !flags::PE, false) };
    let addr = operand::linear(cpu, insn, N as u32, true)?;
    if stores {
        access::write(cpu, addr, &bytes, View::Current)?;
    } else {
        access::probe_write(cpu, addr, N as u32, View::Current)?;
    }
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    fpu.raise(raised, up);
    if stores && pops(insn) {
        fpu.pop();
    }
    Ok(Flow::Next)
}

fn fst32(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let rounding = cpu.state.fpu.env().rounding;
    store_converted(cpu, insn, 0xffc0_0000_u32.to_le_bytes(), |value, unmasked| {
        let (bits, flags, up) = value.to_narrow(Narrow::SINGLE, rounding, unmasked);
        ((bits as u32).to_le_bytes(), flags, up)
    })
}

fn fst64(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let rounding = cpu.state.fpu.env().rounding;
    store_converted(cpu, insn, 0xfff8_0000_0000_0000_u64.to_le_bytes(), |value, unmasked| {
        let (bits, flags, up) = value.to_narrow(Narrow::DOUBLE, rounding, unmasked);
        (bits.to_le_bytes(), flags, up)
    })
}

fn fstp80(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    store_converted(cpu, insn, to_bytes(F80::INDEFINITE), |value, _| (to_bytes(value), 0, false))
}

/// FST and FSTP to a register.
fn fst_st(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let target = st(insn, 0);
    let fpu = &mut cpu.state.fpu;
    let value = if fpu.is_empty(0) {
        fpu.underflow().then_some(F80::INDEFINITE)
    } else {
        fpu.set_c1(false);
        Some(fpu.st(0))
    };
    if let Some(value) = value {
        fpu.fill(target, value);
        if pops(insn) {
            fpu.pop();
        }
    }
    Ok(Flow::Next)
}

/// The undocumented D9 D8+i: an empty ST(0) is popped without a fault.
fn fstpnce(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    if !cpu.state.fpu.is_empty(0) {
        return fst_st(cpu, insn);
    }
    check(cpu)?;
    note(cpu, insn);
    cpu.state.fpu.set_c1(false);
    cpu.state.fpu.pop();
    Ok(Flow::Next)
}

fn fist(cpu: &mut Cpu, insn: &Instruction, rounding: Rounding) -> Result<Flow, Exception> {
    let convert =
        |value: F80, bits: u32| value.to_integer(bits, rounding).unwrap_or((i64::MIN >> (64 - bits), flags::IE, false));
    match insn.memory_size().size() {
        2 => store_converted(cpu, insn, i16::MIN.to_le_bytes(), |value, _| {
            let (integer, flags, up) = convert(value, 16);
            ((integer as i16).to_le_bytes(), flags, up)
        }),
        4 => store_converted(cpu, insn, i32::MIN.to_le_bytes(), |value, _| {
            let (integer, flags, up) = convert(value, 32);
            ((integer as i32).to_le_bytes(), flags, up)
        }),
        _ => store_converted(cpu, insn, i64::MIN.to_le_bytes(), |value, _| {
            let (integer, flags, up) = convert(value, 64);
            (integer.to_le_bytes(), flags, up)
        }),
    }
}

/// The packed decimal indefinite.
const BCD_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

fn fbstp(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let rounding = cpu.state.fpu.env().rounding;
    store_converted(cpu, insn, BCD_INDEFINITE, |value, _| {
        let (magnitude, inexact, up) = match value.number() {
            Number::Zero { .. } => (0, false, false),
            Number::Finite { value, .. } if value.exp < 60 => integer_part(value, rounding),
            _ => (u64::MAX, false, false),
        };
        if magnitude > 999_999_999_999_999_999 {
            return (BCD_INDEFINITE, flags::IE, false);
        }
        let mut rest = magnitude;
        let mut bytes = [0; 10];
        for byte in &mut bytes[..9] {
            let pair = (rest % 100) as u8;
            *byte = ((pair / 10) << 4) | (pair % 10);
            rest /= 100;
        }
        bytes[9] = u8::from(value.sign()) << 7;
        (bytes, if inexact { flags::PE } else { 0 }, up)
    })
}

/// UNDEFINED: a digit above 9 counts as its value.
fn fbld(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    let bytes: [u8; 10] = load(cpu, insn)?;
    note(cpu, insn);
    let magnitude =
        bytes[..9].iter().rev().fold(0_i64, |sum, byte| sum * 100 + i64::from(byte >> 4) * 10 + i64::from(byte & 15));
    let value = F80::of_i64(magnitude);
    let value = if bytes[9] & 0x80 != 0 { value.negated() } else { value };
    push_outcome(&mut cpu.state.fpu, Outcome::exact(value));
    Ok(Flow::Next)
}

/// Empty registers count as the default NaN, if the stack fault is masked.
fn fxch(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let other = st(insn, 1);
    let fpu = &mut cpu.state.fpu;
    let value = |fpu: &Fpu, i| if fpu.is_empty(i) { F80::INDEFINITE } else { fpu.st(i) };
    let (a, b) = (value(fpu, 0), value(fpu, other));
    let proceeds = if fpu.is_empty(0) || fpu.is_empty(other) {
        fpu.underflow()
    } else {
        fpu.set_c1(false);
        true
    };
    if proceeds {
        fpu.fill(0, b);
        fpu.fill(other, a);
    }
    Ok(Flow::Next)
}

fn fcmov(cpu: &mut Cpu, insn: &Instruction, condition: fn(Eflags) -> bool) -> Result<Flow, Exception> {
    check(cpu)?;
    debug_assert_eq!(insn.op1_kind(), OpKind::Register);
    note(cpu, insn);
    let holds = condition(cpu.eflags());
    let source = st(insn, 1);
    let fpu = &mut cpu.state.fpu;
    if fpu.is_empty(0) || fpu.is_empty(source) {
        if fpu.underflow() {
            fpu.fill(0, F80::INDEFINITE);
        }
        return Ok(Flow::Next);
    }
    if holds {
        fpu.fill(0, fpu.st(source));
    }
    Ok(Flow::Next)
}
