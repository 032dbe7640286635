//! MMX and SSE instructions: slow functions over pure lane arithmetic.
//!
//! `access` checks that an instruction may run and fetches its operands; `lanes` sees a register
//! as lanes; `integer`, `shift`, `shuffle`, `moves` hold the integer instructions; `float`, `convert`,
//! `horizontal` the floating-point ones, over `arith` (the host's, with the guest's rounding and
//! flags, or `soft` where the host has no SSE) and `mxcsr` (what an exception does); `control` what
//! loads and saves.

/// `$by!` of the literal that a comparison's predicate is: it is part of the host's instruction.
#[cfg(target_arch = "x86_64")]
macro_rules! by_predicate {
    ($predicate:expr, $by:ident) => {
        match $predicate & 7 {
            0 => $by!("0"),
            1 => $by!("1"),
            2 => $by!("2"),
            3 => $by!("3"),
            4 => $by!("4"),
            5 => $by!("5"),
            6 => $by!("6"),
            _ => $by!("7"),
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use by_predicate;

mod access;
mod approximate;
mod control;
mod convert;
#[cfg(target_arch = "x86_64")]
mod exact;
mod float;
mod horizontal;
mod integer;
mod lanes;
mod moves;
mod mxcsr;
mod round;
mod shift;
mod shuffle;

#[cfg(target_arch = "x86_64")]
mod host;
#[cfg(any(test, not(target_arch = "x86_64")))]
mod soft;

#[cfg(target_arch = "x86_64")]
use host as arith;
#[cfg(not(target_arch = "x86_64"))]
use soft as arith;

use iced_x86::Instruction;

use crate::slow::Slow;

/// The function that executes `insn`, if this family has it.
pub(crate) fn lookup(insn: &Instruction) -> Option<Slow> {
    moves::lookup(insn)
        .or_else(|| integer::lookup(insn))
        .or_else(|| shift::lookup(insn))
        .or_else(|| shuffle::lookup(insn))
        .or_else(|| float::lookup(insn))
        .or_else(|| convert::lookup(insn))
        .or_else(|| horizontal::lookup(insn))
        .or_else(|| control::lookup(insn))
}
