//! Which handler runs which form of an instruction.

use super::{
    ADD, DIV, DIVR, DOUBLE, EXTENDED, INT16, INT32, INT64, MUL, SINGLE, SUB, SUBR, arithmetic, arithmetic_r, compare_m,
    compare_r, compare_to_eflags, conditional_move, exchange, load, load_constant, load_control, load_r, round, sign,
    square_root, status_to_ax, store, store_integer, store_r, store_word, test, wait,
};
use crate::block::Handler;

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
/// FCMOVcc, by the condition as opcodes encode it: B, E, BE, U, or their opposites.
pub(crate) fn conditional_move_on(code: u8) -> Handler {
    match code {
        2 => conditional_move::<2>,
        3 => conditional_move::<3>,
        4 => conditional_move::<4>,
        5 => conditional_move::<5>,
        6 => conditional_move::<6>,
        7 => conditional_move::<7>,
        10 => conditional_move::<10>,
        _ => conditional_move::<11>,
    }
}
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
