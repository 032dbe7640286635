//! x87 instructions on ordinary numbers. Whatever else there may be, an empty register, an unmasked
//! exception, a special operand or result, is found before anything changes, and handed over to the
//! instruction's slow form.

use std::cmp::Ordering;

use x86::{Eflags, SegReg};

use super::{
    access::{EAX, effective, set},
    go, handlers,
    slow::slow,
    take_float_flags,
    wide::host_bytes,
};
use crate::{
    Cpu, F80, Fpu,
    alu::Flags,
    block::{Handler, Op},
    cpu::{NO_X87_STATUS, RunContext},
    fpu::{
        Rounding,
        arith::{self, Outcome},
        quick::{self, Double, Extended, Packed, Precision, Quick},
    },
};

/// Formats in memory.
pub(crate) const SINGLE: u8 = 0;
/// See [`SINGLE`].
pub(crate) const DOUBLE: u8 = 1;
/// See [`SINGLE`].
pub(crate) const INT16: u8 = 2;
/// See [`SINGLE`].
pub(crate) const INT32: u8 = 3;
/// See [`SINGLE`].
pub(crate) const INT64: u8 = 4;
/// See [`SINGLE`].
pub(crate) const EXTENDED: u8 = 5;

/// Operations `dst = dst op src`; those with R swap the operands.
pub(crate) const ADD: u8 = 0;
/// See [`ADD`].
pub(crate) const MUL: u8 = 1;
/// See [`ADD`].
pub(crate) const SUB: u8 = 2;
/// See [`ADD`].
pub(crate) const SUBR: u8 = 3;
/// See [`ADD`].
pub(crate) const DIV: u8 = 4;
/// See [`ADD`].
pub(crate) const DIVR: u8 = 5;

const PE: u16 = 1 << 5;
const C0: u16 = 1 << 8;
const C1: u16 = 1 << 9;
const C2: u16 = 1 << 10;
const C3: u16 = 1 << 14;
/// Exception flags in the status word, masks in the control word.
const EXCEPTIONS: u16 = 0x3f;
/// Rounding control.
const RC: u16 = 3 << 10;
/// Precision control.
const PC: u16 = 3 << 8;

/// Bytes of a format.
const fn bytes(format: u8) -> u32 {
    match format {
        INT16 => 2,
        SINGLE | INT32 => 4,
        EXTENDED => 10,
        _ => 8,
    }
}

/// A number in memory, if it is an ordinary one.
///
/// # Safety
/// The format's bytes can be read there.
#[inline(always)]
unsafe fn read<const FORMAT: u8>(place: *const u8) -> Option<F80> {
    // SAFETY: by the caller.
    unsafe {
        match FORMAT {
            SINGLE => quick::of_single(place.cast::<u32>().read_unaligned()),
            DOUBLE => quick::of_double(place.cast::<u64>().read_unaligned()),
            INT16 => Some(quick::of_integer(place.cast::<i16>().read_unaligned().into())),
            INT32 => Some(quick::of_integer(place.cast::<i32>().read_unaligned().into())),
            INT64 => Some(quick::of_integer(place.cast::<i64>().read_unaligned())),
            _ => Some(F80 {
                significand: place.cast::<u64>().read_unaligned(),
                sign_exponent: place.add(8).cast::<u16>().read_unaligned(),
            }),
        }
    }
}

/// The memory operand; hands over to the slow form if it must be looked at or is no ordinary number.
macro_rules! operand {
    ($cpu:ident, $op:ident, $format:ident, $addr:ident) => {
        match host_bytes((*$cpu).run.read, $addr, bytes($format), false) {
            Some(place) => or_slow!($cpu, $op, read::<$format>(place)),
            None => return slow($cpu, $op),
        }
    };
}

/// The value of an `Option`; hands over to the slow form if there is none.
macro_rules! or_slow {
    ($cpu:ident, $op:ident, $option:expr) => {
        match $option {
            Some(value) => value,
            None => return slow($cpu, $op),
        }
    };
}

/// Hands over to the slow form unless the condition holds.
macro_rules! require {
    ($cpu:ident, $op:ident, $condition:expr) => {
        if !$condition {
            return slow($cpu, $op);
        }
    };
}

/// Where the registers are.
#[derive(Clone, Copy)]
struct Stack {
    top: u8,
    tag: u8,
}

impl Stack {
    /// `None` while an exception is pending.
    #[inline(always)]
    fn of(fpu: &Fpu) -> Option<Self> {
        (fpu.status & Fpu::ES == 0).then_some(Stack { top: (fpu.status >> 11) as u8 & 7, tag: fpu.tag })
    }

    /// The physical number of ST(i).
    #[inline(always)]
    fn physical(self, i: u8) -> u8 {
        self.top.wrapping_add(i) & 7
    }

    #[inline(always)]
    fn is_full(self, i: u8) -> bool {
        self.tag >> self.physical(i) & 1 != 0
    }
}

#[inline(always)]
fn get(fpu: &Fpu, physical: u8) -> F80 {
    fpu.r[usize::from(physical & 7)]
}

#[inline(always)]
fn put(fpu: &mut Fpu, physical: u8, value: F80) {
    fpu.r[usize::from(physical & 7)] = value;
}

/// Puts C1 and PE where they belong.
#[inline(never)]
pub(super) fn take_status(cpu: &mut Cpu) {
    let (c1, inexact) = (cpu.run.x87_status, cpu.run.x87_inexact);
    if c1 != NO_X87_STATUS {
        let status = &mut cpu.state.fpu.status;
        *status = *status & !C1 | c1 | inexact;
    }
    (cpu.run.x87_status, cpu.run.x87_inexact) = (NO_X87_STATUS, 0);
}

/// Sets C1, and PE if a result was inexact.
#[inline(always)]
fn note_result<T>(run: &mut RunContext, result: &Quick<T>) {
    run.x87_status = if result.up { C1 } else { 0 };
    run.x87_inexact |= if result.inexact { PE } else { 0 };
}

/// Clears C1.
#[inline(always)]
fn clear_c1(run: &mut RunContext) {
    run.x87_status = 0;
}

/// Pops a register that is not empty.
#[inline(always)]
fn pop(fpu: &mut Fpu, stack: Stack) {
    fpu.tag &= !(1 << stack.top);
    fpu.status = fpu.status & !Fpu::TOP | u16::from(stack.top.wrapping_add(1) & 7) << 11;
}

/// Pushes onto a register that is empty.
#[inline(always)]
fn push(fpu: &mut Fpu, stack: Stack, value: F80) {
    let physical = stack.physical(7);
    put(fpu, physical, value);
    fpu.tag |= 1 << physical;
    fpu.status = fpu.status & !Fpu::TOP | u16::from(physical) << 11;
}

/// Notes where the instruction is: `imm` of its operation.
///
/// # Safety
/// As for handlers.
#[inline(always)]
unsafe fn note(cpu: *mut Cpu, op: *const Op) {
    // SAFETY: by the caller.
    unsafe {
        let state = &mut (*cpu).state;
        state.fpu.ip = (*op).imm;
        state.fpu.cs = state.seg[SegReg::Cs as usize].selector;
    }
}

/// Notes where the instruction is, and its memory operand, in the segment `dst`.
///
/// # Safety
/// As for handlers.
#[inline(always)]
unsafe fn note_operand(cpu: *mut Cpu, op: *const Op, addr: u32) {
    // SAFETY: by the caller.
    unsafe {
        note(cpu, op);
        let state = &mut (*cpu).state;
        state.fpu.dp = addr;
        state.fpu.ds = state.seg[usize::from((*op).dst).min(5)].selector;
    }
}

#[inline(always)]
fn computed<const OPERATION: u8, P: Precision>(dst: F80, src: F80) -> Option<Quick<F80>> {
    match OPERATION {
        ADD => quick::add::<P>(dst, src),
        MUL => quick::mul::<P>(dst, src),
        SUB => quick::sub::<P>(dst, src),
        SUBR => quick::sub::<P>(src, dst),
        DIV => quick::div::<P>(dst, src),
        _ => quick::div::<P>(src, dst),
    }
}

/// √a.
#[inline(never)]
fn root(a: F80) -> Packed {
    Packed::of(quick::sqrt::<Extended>(a))
}

/// The result with the rounding that is in force after FNINIT; `None` with any other, or if an
/// inexact result is an exception.
#[inline(always)]
fn compute<const OPERATION: u8>(dst: F80, src: F80, control: u16) -> Option<Quick<F80>> {
    if control & (PC | RC | PE) == PC | PE { computed::<OPERATION, Extended>(dst, src) } else { None }
}

/// `ST(dst) = ST(dst) op src` for what [`compute`] leaves. Says whether the result may be popped.
#[inline(never)]
fn compute_rest<const OPERATION: u8>(fpu: &mut Fpu, dst: u8, src: F80) -> bool {
    let target = fpu.r[usize::from(dst & 7)];
    let shorter =
        if fpu.control & (PC | RC | PE) == 0x200 | PE { computed::<OPERATION, Double>(target, src) } else { None };
    let env = fpu.env();
    let outcome = match (shorter, OPERATION) {
        (Some(result), _) => Outcome { value: result.value, flags: if result.inexact { PE } else { 0 }, up: result.up },
        (None, ADD) => arith::add(target, src, env),
        (None, MUL) => arith::mul(target, src, env),
        (None, SUB) => arith::sub(target, src, env),
        (None, SUBR) => arith::sub(src, target, env),
        (None, DIV) => arith::div(target, src, env),
        (None, _) => arith::div(src, target, env),
    };
    let value = fpu.settle(outcome);
    if let Some(value) = value {
        put(fpu, dst, value);
    }
    value.is_some()
}

fn condition_codes(order: Ordering) -> u16 {
    match order {
        Ordering::Greater => 0,
        Ordering::Less => C0,
        Ordering::Equal => C3,
    }
}

#[inline(always)]
fn set_codes(fpu: &mut Fpu, order: Ordering) {
    fpu.status = fpu.status & !(C0 | C2 | C3) | condition_codes(order);
}

handlers! {
    /// FLD and FILD.
    fn load<const FORMAT: u8>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let value = operand!(cpu, op, FORMAT, addr);
        let stack = or_slow!(cpu, op, Stack::of(&(*cpu).state.fpu));
        require!(cpu, op, !stack.is_full(7));
        note_operand(cpu, op, addr);
        push(&mut (*cpu).state.fpu, stack, value);
        clear_c1(&mut (*cpu).run);
        go(cpu, op.add(1))
    }

    /// FLD of ST(src).
    fn load_r<>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, !stack.is_full(7) && stack.is_full((*op).src));
        let value = get(fpu, stack.physical((*op).src));
        push(fpu, stack, value);
        clear_c1(&mut (*cpu).run);
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// FLD1 and FLDZ.
    fn load_constant<const ONE: bool>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, !stack.is_full(7));
        push(fpu, stack, if ONE { F80::ONE } else { F80::ZERO });
        clear_c1(&mut (*cpu).run);
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// FST and FSTP.
    fn store<const FORMAT: u8, const POP: bool>(cpu, op) {
        let fpu = &(*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0));
        let addr = effective::<true>(cpu, op);
        let place = or_slow!(cpu, op, host_bytes((*cpu).run.write, addr, bytes(FORMAT), false));
        let value = get(fpu, stack.top);
        let plain = fpu.control & (RC | PE) == PE;
        let noted = match FORMAT {
            SINGLE => {
                let result = or_slow!(cpu, op, if plain { quick::to_single(value) } else { None });
                place.cast::<u32>().write_unaligned(result.value);
                Quick { value: (), inexact: result.inexact, up: result.up }
            }
            DOUBLE => {
                let result = or_slow!(cpu, op, if plain { quick::to_double(value) } else { None });
                place.cast::<u64>().write_unaligned(result.value);
                Quick { value: (), inexact: result.inexact, up: result.up }
            }
            _ => {
                place.cast::<u64>().write_unaligned(value.significand);
                place.add(8).cast::<u16>().write_unaligned(value.sign_exponent);
                Quick { value: (), inexact: false, up: false }
            }
        };
        note_operand(cpu, op, addr);
        let fpu = &mut (*cpu).state.fpu;
        note_result(&mut (*cpu).run, &noted);
        if POP {
            pop(fpu, stack);
        }
        go(cpu, op.add(1))
    }

    /// FIST, FISTP and FISTTP.
    fn store_integer<const FORMAT: u8, const POP: bool, const TRUNCATE: bool>(cpu, op) {
        let fpu = &(*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0) && fpu.control & PE != 0);
        let addr = effective::<true>(cpu, op);
        let place = or_slow!(cpu, op, host_bytes((*cpu).run.write, addr, bytes(FORMAT), false));
        let rounding = if TRUNCATE { Rounding::Truncate } else { Rounding::of_bits(u32::from(fpu.control) >> 10) };
        let result = or_slow!(cpu, op, quick::to_integer(get(fpu, stack.top), bytes(FORMAT) * 8, rounding));
        match FORMAT {
            INT16 => place.cast::<i16>().write_unaligned(result.value as i16),
            INT32 => place.cast::<i32>().write_unaligned(result.value as i32),
            _ => place.cast::<i64>().write_unaligned(result.value),
        }
        note_operand(cpu, op, addr);
        let fpu = &mut (*cpu).state.fpu;
        note_result(&mut (*cpu).run, &result);
        if POP {
            pop(fpu, stack);
        }
        go(cpu, op.add(1))
    }

    /// FST and FSTP to ST(dst).
    fn store_r<const POP: bool>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0));
        let target = stack.physical((*op).dst);
        put(fpu, target, get(fpu, stack.top));
        fpu.tag |= 1 << target;
        clear_c1(&mut (*cpu).run);
        if POP {
            pop(fpu, stack);
        }
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// ST(0) and memory.
    fn arithmetic<const OPERATION: u8, const FORMAT: u8>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let src = operand!(cpu, op, FORMAT, addr);
        let fpu = &(*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0));
        let Some(result) = compute::<OPERATION>(get(fpu, stack.top), src, fpu.control) else {
            return arithmetic_rest::<OPERATION, FORMAT>(cpu, op);
        };
        note_operand(cpu, op, addr);
        let fpu = &mut (*cpu).state.fpu;
        put(fpu, stack.top, result.value);
        note_result(&mut (*cpu).run, &result);
        go(cpu, op.add(1))
    }

    #[inline(never)]
    /// The same on any operands.
    fn arithmetic_rest<const OPERATION: u8, const FORMAT: u8>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let src = operand!(cpu, op, FORMAT, addr);
        take_status(&mut *cpu);
        note_operand(cpu, op, addr);
        let fpu = &mut (*cpu).state.fpu;
        compute_rest::<OPERATION>(fpu, fpu.top(), src);
        go(cpu, op.add(1))
    }

    /// ST(dst) and ST(src).
    fn arithmetic_r<const OPERATION: u8, const POP: bool>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full((*op).dst) && stack.is_full((*op).src));
        let dst = stack.physical((*op).dst);
        let src = get(fpu, stack.physical((*op).src));
        let Some(result) = compute::<OPERATION>(get(fpu, dst), src, fpu.control) else {
            return arithmetic_r_rest::<OPERATION, POP>(cpu, op);
        };
        put(fpu, dst, result.value);
        note_result(&mut (*cpu).run, &result);
        if POP {
            pop(fpu, stack);
        }
        note(cpu, op);
        go(cpu, op.add(1))
    }

    #[inline(never)]
    /// The same on any operands.
    fn arithmetic_r_rest<const OPERATION: u8, const POP: bool>(cpu, op) {
        take_status(&mut *cpu);
        note(cpu, op);
        let fpu = &mut (*cpu).state.fpu;
        let (top, dst, src) = (fpu.top(), (*op).dst, (*op).src);
        let src = get(fpu, top.wrapping_add(src));
        if compute_rest::<OPERATION>(fpu, top.wrapping_add(dst), src) && POP {
            fpu.pop();
        }
        go(cpu, op.add(1))
    }

    fn square_root<>(cpu, op) {
        // The estimate that it begins with uses the host's floating point.
        take_float_flags(cpu);
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0));
        let plain = fpu.control & (PC | RC | PE) == PC | PE;
        let result = or_slow!(cpu, op, if plain { root(get(fpu, stack.top)).result() } else { None });
        put(fpu, stack.top, result.value);
        note_result(&mut (*cpu).run, &result);
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// FRNDINT.
    fn round<>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0) && fpu.control & PE != 0);
        let value = get(fpu, stack.top);
        let rounding = Rounding::of_bits(u32::from(fpu.control) >> 10);
        let result = or_slow!(cpu, op, quick::to_integer(value, 64, rounding));
        let sign = value.sign_exponent & 0x8000;
        let whole = quick::of_integer(result.value);
        put(fpu, stack.top, F80 { sign_exponent: whole.sign_exponent | sign, ..whole });
        note_result(&mut (*cpu).run, &result);
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// FCHS and FABS.
    fn sign<const CHANGE: bool>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0));
        let sign_exponent = &mut fpu.r[usize::from(stack.top)].sign_exponent;
        *sign_exponent = if CHANGE { *sign_exponent ^ 0x8000 } else { *sign_exponent & 0x7fff };
        clear_c1(&mut (*cpu).run);
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// FXCH with ST(src).
    fn exchange<>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0) && stack.is_full((*op).src));
        let other = stack.physical((*op).src);
        let (a, b) = (get(fpu, stack.top), get(fpu, other));
        put(fpu, stack.top, b);
        put(fpu, other, a);
        clear_c1(&mut (*cpu).run);
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// FCOM, FUCOM and their popping forms with ST(src): ordinary numbers are always ordered.
    fn compare_r<const POPS: u8>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0) && stack.is_full((*op).src));
        let other = get(fpu, stack.physical((*op).src));
        let order = or_slow!(cpu, op, quick::compare(get(fpu, stack.top), other));
        set_codes(fpu, order);
        clear_c1(&mut (*cpu).run);
        if POPS > 0 {
            pop(fpu, stack);
        }
        if POPS > 1 {
            pop(fpu, Stack { top: stack.physical(1), ..stack });
        }
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// The same with memory.
    fn compare_m<const FORMAT: u8, const POP: bool>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let other = operand!(cpu, op, FORMAT, addr);
        let fpu = &(*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0));
        let order = or_slow!(cpu, op, quick::compare(get(fpu, stack.top), other));
        note_operand(cpu, op, addr);
        let fpu = &mut (*cpu).state.fpu;
        set_codes(fpu, order);
        clear_c1(&mut (*cpu).run);
        if POP {
            pop(fpu, stack);
        }
        go(cpu, op.add(1))
    }

    /// FTST.
    fn test<>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0));
        let order = or_slow!(cpu, op, quick::compare(get(fpu, stack.top), F80::ZERO));
        set_codes(fpu, order);
        clear_c1(&mut (*cpu).run);
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// FCOMI, FUCOMI and their popping forms. C1 stays.
    fn compare_to_eflags<const POP: bool>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0) && stack.is_full((*op).src));
        let other = get(fpu, stack.physical((*op).src));
        let order = or_slow!(cpu, op, quick::compare(get(fpu, stack.top), other));
        if POP {
            pop(fpu, stack);
        }
        note(cpu, op);
        let flags = match order {
            Ordering::Greater => Eflags::empty(),
            Ordering::Less => Eflags::CF,
            Ordering::Equal => Eflags::ZF,
        };
        (*cpu).run.lazy = Flags::from(flags).into();
        go(cpu, op.add(1))
    }

    /// FNSTSW AX.
    fn status_to_ax<>(cpu, op) {
        take_status(&mut *cpu);
        set::<u16>(cpu, EAX, (*cpu).state.fpu.status);
        go(cpu, op.add(1))
    }

    /// FNSTSW and FNSTCW to memory.
    fn store_word<const CONTROL: bool>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let place = or_slow!(cpu, op, host_bytes((*cpu).run.write, addr, 2, false));
        take_status(&mut *cpu);
        let fpu = &(*cpu).state.fpu;
        place.cast::<u16>().write_unaligned(if CONTROL { fpu.control } else { fpu.status });
        go(cpu, op.add(1))
    }

    /// FLDCW that unmasks no exception that has happened.
    fn load_control<>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let place = or_slow!(cpu, op, host_bytes((*cpu).run.read, addr, 2, false));
        let control = place.cast::<u16>().read_unaligned();
        take_status(&mut *cpu);
        let fpu = &mut (*cpu).state.fpu;
        require!(cpu, op, fpu.status & (Fpu::ES | EXCEPTIONS & !control) == 0);
        fpu.set_control(control);
        go(cpu, op.add(1))
    }

    /// WAIT without a pending exception.
    fn wait<>(cpu, op) {
        require!(cpu, op, (*cpu).state.fpu.status & Fpu::ES == 0);
        go(cpu, op.add(1))
    }
}

/// FLD and FILD from memory.
pub(crate) fn load_of(format: u8) -> Handler {
    match format {
        SINGLE => load::<SINGLE>,
        DOUBLE => load::<DOUBLE>,
        INT16 => load::<INT16>,
        INT32 => load::<INT32>,
        INT64 => load::<INT64>,
        _ => load::<EXTENDED>,
    }
}

/// FST and FSTP to memory.
pub(crate) fn store_of(format: u8, pops: bool) -> Handler {
    match (format, pops) {
        (SINGLE, false) => store::<SINGLE, false>,
        (SINGLE, true) => store::<SINGLE, true>,
        (DOUBLE, false) => store::<DOUBLE, false>,
        (DOUBLE, true) => store::<DOUBLE, true>,
        _ => store::<EXTENDED, true>,
    }
}

/// FIST and FISTP.
pub(crate) fn store_integer_of(format: u8, pops: bool) -> Handler {
    match (format, pops) {
        (INT16, false) => store_integer::<INT16, false, false>,
        (INT16, true) => store_integer::<INT16, true, false>,
        (INT32, false) => store_integer::<INT32, false, false>,
        (INT32, true) => store_integer::<INT32, true, false>,
        _ => store_integer::<INT64, true, false>,
    }
}

/// FISTTP.
pub(crate) fn store_truncated_of(format: u8) -> Handler {
    match format {
        INT16 => store_integer::<INT16, true, true>,
        INT32 => store_integer::<INT32, true, true>,
        _ => store_integer::<INT64, true, true>,
    }
}

/// The handler of `$f` for an operation.
macro_rules! by_operation {
    ($f:ident, $operation:expr, $last:tt) => {
        match $operation {
            ADD => $f::<ADD, $last> as Handler,
            MUL => $f::<MUL, $last>,
            SUB => $f::<SUB, $last>,
            SUBR => $f::<SUBR, $last>,
            DIV => $f::<DIV, $last>,
            _ => $f::<DIVR, $last>,
        }
    };
}

/// Arithmetic with memory.
pub(crate) fn arithmetic_of(operation: u8, format: u8) -> Handler {
    match format {
        SINGLE => by_operation!(arithmetic, operation, SINGLE),
        DOUBLE => by_operation!(arithmetic, operation, DOUBLE),
        INT16 => by_operation!(arithmetic, operation, INT16),
        _ => by_operation!(arithmetic, operation, INT32),
    }
}

/// Arithmetic between registers.
pub(crate) fn arithmetic_between(operation: u8, pops: bool) -> Handler {
    if pops { by_operation!(arithmetic_r, operation, true) } else { by_operation!(arithmetic_r, operation, false) }
}

/// Comparison with memory.
pub(crate) fn compare_of(format: u8, pops: bool) -> Handler {
    match (format, pops) {
        (SINGLE, false) => compare_m::<SINGLE, false>,
        (SINGLE, true) => compare_m::<SINGLE, true>,
        (INT16, false) => compare_m::<INT16, false>,
        (INT16, true) => compare_m::<INT16, true>,
        (INT32, false) => compare_m::<INT32, false>,
        (INT32, true) => compare_m::<INT32, true>,
        (_, false) => compare_m::<DOUBLE, false>,
        (_, true) => compare_m::<DOUBLE, true>,
    }
}

/// Comparison of registers.
pub(crate) const COMPARE: [Handler; 3] = [compare_r::<0>, compare_r::<1>, compare_r::<2>];
/// FCOMI and FUCOMI.
pub(crate) const COMPARE_TO_EFLAGS: Handler = compare_to_eflags::<false>;
/// FCOMIP and FUCOMIP.
pub(crate) const COMPARE_TO_EFLAGS_POP: Handler = compare_to_eflags::<true>;
/// FLD of a register.
pub(crate) const LOAD_REGISTER: Handler = load_r;
/// FLD1.
pub(crate) const LOAD_ONE: Handler = load_constant::<true>;
/// FLDZ.
pub(crate) const LOAD_ZERO: Handler = load_constant::<false>;
/// FST to a register.
pub(crate) const STORE_REGISTER: Handler = store_r::<false>;
/// FSTP to a register.
pub(crate) const STORE_REGISTER_POP: Handler = store_r::<true>;
/// FCHS.
pub(crate) const CHANGE_SIGN: Handler = sign::<true>;
/// FABS.
pub(crate) const ABSOLUTE: Handler = sign::<false>;
/// FXCH.
pub(crate) const EXCHANGE: Handler = exchange;
/// FTST.
pub(crate) const TEST: Handler = test;
/// FSQRT.
pub(crate) const SQUARE_ROOT: Handler = square_root;
/// FRNDINT.
pub(crate) const ROUND: Handler = round;
/// FNSTSW AX.
pub(crate) const STATUS_TO_AX: Handler = status_to_ax;
/// FNSTSW to memory.
pub(crate) const STORE_STATUS: Handler = store_word::<false>;
/// FNSTCW.
pub(crate) const STORE_CONTROL: Handler = store_word::<true>;
/// FLDCW.
pub(crate) const LOAD_CONTROL: Handler = load_control;
/// WAIT.
pub(crate) const WAIT: Handler = wait;
