//! x87 instructions on ordinary numbers. Whatever else there may be, an empty register, an unmasked
//! exception, a special operand or result, is found before anything changes, and handed over to the
//! instruction's slow form.

mod choose;
mod notes;
mod stack;

use std::cmp::Ordering;

use x86::Eflags;

use super::{
    access::{EAX, condition, effective, set},
    go, handlers,
    slow::slow,
    wide::host_bytes,
};
use crate::{
    Cpu, F80, Fpu,
    alu::Flags,
    block::Op,
    fpu::{
        Rounding, arith,
        quick::{self, Double, Extended, Packed, Precision, Quick},
    },
};

pub(crate) use choose::{
    ABSOLUTE, CHANGE_SIGN, COMPARE, COMPARE_TO_EFLAGS, COMPARE_TO_EFLAGS_POP, EXCHANGE, LOAD_CONTROL, LOAD_ONE,
    LOAD_REGISTER, LOAD_ZERO, ROUND, SQUARE_ROOT, STATUS_TO_AX, STORE_CONTROL, STORE_REGISTER, STORE_REGISTER_POP,
    STORE_STATUS, TEST, WAIT, arithmetic_between, arithmetic_of, compare_of, conditional_move_on, load_of,
    store_integer_of, store_of, store_truncated_of,
};
pub(crate) use notes::put_opcode_and_segment;
pub(super) use notes::take_notes;
use notes::{clear_c1, note, note_operand, note_result};
use stack::{Stack, Words, get, put};

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
/// Precision control: 64 bits.
const PC: u16 = 3 << 8;
/// 53 bits.
const DOUBLE_PC: u16 = 2 << 8;

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

/// `ST(dst) = ST(dst) op src` whatever they are. Says whether the result may be popped.
#[inline(never)]
fn compute_rest<const OPERATION: u8>(fpu: &mut Fpu, dst: u8, src: F80) -> bool {
    let target = fpu.r[usize::from(dst & 7)];
    let env = fpu.env();
    let outcome = match OPERATION {
        ADD => arith::add(target, src, env),
        MUL => arith::mul(target, src, env),
        SUB => arith::sub(target, src, env),
        SUBR => arith::sub(src, target, env),
        DIV => arith::div(target, src, env),
        _ => arith::div(src, target, env),
    };
    let value = fpu.settle(outcome);
    if let Some(value) = value {
        put(fpu, dst, value);
    }
    value.is_some()
}

/// C3, C2 and C0 by the order of two numbers; and what the stack is then.
#[inline(always)]
fn set_codes(fpu: &mut Fpu, stack: Stack, order: Ordering) -> Stack {
    let codes = match order {
        Ordering::Greater => 0,
        Ordering::Less => C0,
        Ordering::Equal => C3,
    };
    let words = Words(stack.words.0 & !(u32::from(C0 | C2 | C3) << 16) | u32::from(codes) << 16);
    words.put(fpu);
    Stack { words, ..stack }
}

handlers! {
    /// FLD and FILD.
    fn load<const FORMAT: u8>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let value = operand!(cpu, op, FORMAT, addr);
        let stack = or_slow!(cpu, op, Stack::of(&(*cpu).state.fpu));
        require!(cpu, op, !stack.is_full(7));
        note_operand(cpu, op, addr);
        stack.push(&mut (*cpu).state.fpu, value);
        clear_c1(&mut (*cpu).run);
        go(cpu, op.add(1))
    }

    /// FLD of ST(src).
    fn load_r<>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, !stack.is_full(7) && stack.is_full((*op).src));
        let value = get(fpu, stack.physical((*op).src));
        stack.push(fpu, value);
        clear_c1(&mut (*cpu).run);
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// FLD1 and FLDZ.
    fn load_constant<const ONE: bool>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, !stack.is_full(7));
        stack.push(fpu, if ONE { F80::ONE } else { F80::ZERO });
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
        let plain = stack.words.plain();
        let noted = match FORMAT {
            SINGLE => {
                let result = or_slow!(cpu, op, if plain { quick::to_single(value) } else { None });
                place.cast::<u32>().write_unaligned(result.value);
                Quick { value: (), cut: result.cut, up: result.up }
            }
            DOUBLE => {
                let result = or_slow!(cpu, op, if plain { quick::to_double(value) } else { None });
                place.cast::<u64>().write_unaligned(result.value);
                Quick { value: (), cut: result.cut, up: result.up }
            }
            _ => {
                place.cast::<u64>().write_unaligned(value.significand);
                place.add(8).cast::<u16>().write_unaligned(value.sign_exponent);
                Quick { value: (), cut: 0, up: 0 }
            }
        };
        note_operand(cpu, op, addr);
        let fpu = &mut (*cpu).state.fpu;
        note_result(&mut (*cpu).run, &noted);
        if POP {
            stack.pop(fpu);
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
            stack.pop(fpu);
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
        let filled = Stack { tag: stack.tag | 1 << target, ..stack };
        clear_c1(&mut (*cpu).run);
        if POP {
            filled.pop(fpu);
        } else {
            fpu.tag = filled.tag;
        }
        note(cpu, op);
        go(cpu, op.add(1))
    }

    /// ST(0) and memory.
    fn arithmetic<const OPERATION: u8, const FORMAT: u8>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let src = operand!(cpu, op, FORMAT, addr);
        let fpu = &mut (*cpu).state.fpu;
        let Some(stack) = Stack::extended(fpu) else { return arithmetic_short::<OPERATION, FORMAT>(cpu, op) };
        require!(cpu, op, stack.is_full(0));
        note_operand(cpu, op, addr);
        let Some(result) = computed::<OPERATION, Extended>(get(fpu, stack.top), src) else {
            return arithmetic_rest::<OPERATION, FORMAT>(cpu, op);
        };
        put(fpu, stack.top, result.value);
        note_result(&mut (*cpu).run, &result);
        go(cpu, op.add(1))
    }

    #[inline(never)]
    /// The same with 53 bits.
    fn arithmetic_short<const OPERATION: u8, const FORMAT: u8>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let src = operand!(cpu, op, FORMAT, addr);
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0));
        if stack.words.0 & Words::GOVERNING != Words::DOUBLE {
            return arithmetic_rest::<OPERATION, FORMAT>(cpu, op);
        }
        note_operand(cpu, op, addr);
        let Some(result) = computed::<OPERATION, Double>(get(fpu, stack.top), src) else {
            return arithmetic_rest::<OPERATION, FORMAT>(cpu, op);
        };
        put(fpu, stack.top, result.value);
        note_result(&mut (*cpu).run, &result);
        go(cpu, op.add(1))
    }

    #[inline(never)]
    /// The same on any operands, any precision and rounding.
    fn arithmetic_rest<const OPERATION: u8, const FORMAT: u8>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let src = operand!(cpu, op, FORMAT, addr);
        note_operand(cpu, op, addr);
        take_notes(cpu);
        let fpu = &mut (*cpu).state.fpu;
        compute_rest::<OPERATION>(fpu, fpu.top(), src);
        go(cpu, op.add(1))
    }

    /// ST(dst) and ST(src).
    fn arithmetic_r<const OPERATION: u8, const POP: bool>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let Some(stack) = Stack::extended(fpu) else { return arithmetic_r_short::<OPERATION, POP>(cpu, op) };
        require!(cpu, op, stack.is_full((*op).dst) && stack.is_full((*op).src));
        let dst = stack.physical((*op).dst);
        let src = get(fpu, stack.physical((*op).src));
        let Some(result) = computed::<OPERATION, Extended>(get(fpu, dst), src) else {
            return arithmetic_r_rest::<OPERATION, POP>(cpu, op);
        };
        put(fpu, dst, result.value);
        if POP {
            stack.pop(fpu);
        }
        note_result(&mut (*cpu).run, &result);
        note(cpu, op);
        go(cpu, op.add(1))
    }

    #[inline(never)]
    /// The same with 53 bits.
    fn arithmetic_r_short<const OPERATION: u8, const POP: bool>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full((*op).dst) && stack.is_full((*op).src));
        if stack.words.0 & Words::GOVERNING != Words::DOUBLE {
            return arithmetic_r_rest::<OPERATION, POP>(cpu, op);
        }
        let dst = stack.physical((*op).dst);
        let src = get(fpu, stack.physical((*op).src));
        let Some(result) = computed::<OPERATION, Double>(get(fpu, dst), src) else {
            return arithmetic_r_rest::<OPERATION, POP>(cpu, op);
        };
        put(fpu, dst, result.value);
        if POP {
            stack.pop(fpu);
        }
        note_result(&mut (*cpu).run, &result);
        note(cpu, op);
        go(cpu, op.add(1))
    }

    #[inline(never)]
    /// The same on any operands, any precision and rounding.
    fn arithmetic_r_rest<const OPERATION: u8, const POP: bool>(cpu, op) {
        note(cpu, op);
        take_notes(cpu);
        let fpu = &mut (*cpu).state.fpu;
        let (top, dst, src) = (fpu.top(), (*op).dst, (*op).src);
        let src = get(fpu, top.wrapping_add(src));
        if compute_rest::<OPERATION>(fpu, top.wrapping_add(dst), src) && POP {
            fpu.pop();
        }
        go(cpu, op.add(1))
    }

    /// FSQRT.
    fn square_root<>(cpu, op) {
        // The estimate that it begins with uses the host's floating point.
        #[cfg(target_arch = "x86_64")]
        if (*cpu).run.sse_flags_on_host {
            super::sse::take_flags(cpu);
        }
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::extended(fpu));
        require!(cpu, op, stack.is_full(0));
        let result = or_slow!(cpu, op, root(get(fpu, stack.top)).result());
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

    /// FCMOVcc: ST(0) becomes ST(src) on a condition. C1 stays.
    fn conditional_move<const CODE: u8>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0) && stack.is_full((*op).src));
        let other = stack.physical((*op).src);
        let chosen = if condition::<CODE>(cpu) { other } else { stack.top };
        let value = get(fpu, chosen);
        put(fpu, stack.top, value);
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
        let stack = set_codes(fpu, stack, order);
        clear_c1(&mut (*cpu).run);
        if POPS > 0 {
            stack.pop(fpu);
        }
        if POPS > 1 {
            Stack::of_words(fpu, Words::of(fpu)).pop(fpu);
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
        let stack = set_codes(fpu, stack, order);
        clear_c1(&mut (*cpu).run);
        if POP {
            stack.pop(fpu);
        }
        go(cpu, op.add(1))
    }

    /// FTST.
    fn test<>(cpu, op) {
        let fpu = &mut (*cpu).state.fpu;
        let stack = or_slow!(cpu, op, Stack::of(fpu));
        require!(cpu, op, stack.is_full(0));
        let order = or_slow!(cpu, op, quick::compare(get(fpu, stack.top), F80::ZERO));
        set_codes(fpu, stack, order);
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
            stack.pop(fpu);
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
        take_notes(cpu);
        set::<u16>(cpu, EAX, (*cpu).state.fpu.status);
        go(cpu, op.add(1))
    }

    /// FNSTSW and FNSTCW to memory.
    fn store_word<const CONTROL: bool>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let place = or_slow!(cpu, op, host_bytes((*cpu).run.write, addr, 2, false));
        // Nothing that is noted is in the control word.
        if !CONTROL {
            take_notes(cpu);
        }
        let fpu = &(*cpu).state.fpu;
        place.cast::<u16>().write_unaligned(if CONTROL { fpu.control } else { fpu.status });
        go(cpu, op.add(1))
    }

    /// FLDCW that unmasks no exception that has happened.
    fn load_control<>(cpu, op) {
        let addr = effective::<true>(cpu, op);
        let place = or_slow!(cpu, op, host_bytes((*cpu).run.read, addr, 2, false));
        let control = place.cast::<u16>().read_unaligned();
        take_notes(cpu);
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
