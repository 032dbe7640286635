//! Comparisons and FXAM.

use std::cmp::Ordering;

use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use x86::Eflags;

use super::{
    F80,
    access::{Source, check, load_number, note, st},
    arith,
    flags::{self, C0, C1, C2, C3, Flags},
    number::Number,
};
use crate::{
    Cpu, Exception,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Fcom | Mnemonic::Ficom => |c, i| compare(c, i, Nans::Invalid, 0),
        Mnemonic::Fcomp | Mnemonic::Ficomp => |c, i| compare(c, i, Nans::Invalid, 1),
        Mnemonic::Fcompp => |c, i| compare(c, i, Nans::Invalid, 2),
        Mnemonic::Fucom => |c, i| compare(c, i, Nans::Unordered, 0),
        Mnemonic::Fucomp => |c, i| compare(c, i, Nans::Unordered, 1),
        Mnemonic::Fucompp => |c, i| compare(c, i, Nans::Unordered, 2),
        Mnemonic::Fcomi => |c, i| compare_to_eflags(c, i, Nans::Invalid, 0),
        Mnemonic::Fcomip => |c, i| compare_to_eflags(c, i, Nans::Invalid, 1),
        Mnemonic::Fucomi => |c, i| compare_to_eflags(c, i, Nans::Unordered, 0),
        Mnemonic::Fucomip => |c, i| compare_to_eflags(c, i, Nans::Unordered, 1),
        Mnemonic::Ftst => ftst,
        Mnemonic::Fxam => fxam,
        _ => return None,
    };
    Some(slow)
}

/// Whether quiet NaNs are invalid operands too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nans {
    Invalid,
    Unordered,
}

/// The order and the flags raised.
fn judge(a: F80, b: F80, denormal: Flags, nans: Nans) -> (Option<Ordering>, Flags) {
    let (order, signaling, raised) = arith::compare(a, b);
    match order {
        None if signaling || nans == Nans::Invalid => (None, flags::IE),
        None => (None, 0),
        Some(_) => (order, raised | denormal),
    }
}

fn condition_codes(order: Option<Ordering>) -> u16 {
    match order {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => C0,
        Some(Ordering::Equal) => C3,
        None => C0 | C2 | C3,
    }
}

/// The condition codes are set whatever is raised; an unmasked exception keeps the stack from popping.
fn compare(cpu: &mut Cpu, insn: &Instruction, nans: Nans, pops: u32) -> Result<Flow, Exception> {
    check(cpu)?;
    let memory = insn.op_count() > 0 && insn.op0_kind() == OpKind::Memory;
    let loaded = if memory { Some(load_number(cpu, insn, source(insn.code()))?) } else { None };
    note(cpu, insn);
    let other = match insn.op_count() {
        _ if memory => 0,
        0 => 1,
        count => st(insn, count - 1),
    };
    let fpu = &mut cpu.state.fpu;
    let (order, raised) = if fpu.is_empty(0) || fpu.is_empty(other) {
        (None, flags::IE | flags::SF)
    } else {
        let (value, denormal) = loaded.unwrap_or((fpu.st(other), 0));
        judge(fpu.st(0), value, denormal, nans)
    };
    fpu.set_codes(C0 | C2 | C3, condition_codes(order));
    if fpu.raise(raised, false) {
        (0..pops).for_each(|_| fpu.pop());
    }
    Ok(Flow::Next)
}

fn source(code: Code) -> Source {
    match code {
        Code::Fcom_m32fp | Code::Fcomp_m32fp => Source::Single,
        Code::Ficom_m16int | Code::Ficomp_m16int => Source::Int16,
        Code::Ficom_m32int | Code::Ficomp_m32int => Source::Int32,
        _ => Source::Double,
    }
}

/// FCOMI and its kin: ZF, PF, CF; the other status flags are cleared. C1 stays unless the stack faults.
fn compare_to_eflags(cpu: &mut Cpu, insn: &Instruction, nans: Nans, pops: u32) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let other = st(insn, 1);
    let fpu = &mut cpu.state.fpu;
    let (order, raised) = if fpu.is_empty(0) || fpu.is_empty(other) {
        (None, flags::IE | flags::SF)
    } else {
        judge(fpu.st(0), fpu.st(other), 0, nans)
    };
    let c1 = raised & flags::SF == 0 && fpu.status & C1 != 0;
    if fpu.raise(raised, c1) {
        (0..pops).for_each(|_| fpu.pop());
    }
    let result = match order {
        Some(Ordering::Greater) => Eflags::empty(),
        Some(Ordering::Less) => Eflags::CF,
        Some(Ordering::Equal) => Eflags::ZF,
        None => Eflags::ZF | Eflags::PF | Eflags::CF,
    };
    let kept = cpu.eflags() & !Eflags::STATUS;
    cpu.set_eflags(kept | result);
    Ok(Flow::Next)
}

/// ST(0) against 0.
fn ftst(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    let (order, raised) =
        if fpu.is_empty(0) { (None, flags::IE | flags::SF) } else { judge(fpu.st(0), F80::ZERO, 0, Nans::Invalid) };
    fpu.set_codes(C0 | C2 | C3, condition_codes(order));
    fpu.raise(raised, false);
    Ok(Flow::Next)
}

/// The class of ST(0) in C3, C2, C0, its sign in C1; empty registers have one too.
fn fxam(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let fpu = &mut cpu.state.fpu;
    let value = fpu.st(0);
    let class = if fpu.is_empty(0) {
        C3 | C0
    } else {
        match value.number() {
            Number::Unsupported => 0,
            Number::Nan { .. } => C0,
            Number::Finite { denormal: false, .. } => C2,
            Number::Infinity { .. } => C2 | C0,
            Number::Zero { .. } => C3,
            Number::Finite { denormal: true, .. } => C3 | C2,
        }
    };
    fpu.set_codes(C0 | C1 | C2 | C3, class | if value.sign() { C1 } else { 0 });
    Ok(Flow::Next)
}
