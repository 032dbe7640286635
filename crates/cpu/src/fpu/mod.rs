//! The x87 FPU, in software, so that it is the same on every host.
//!
//! `number` says what an 80-bit pattern means, `round` rounds an exact value to a format, `arith`
//! computes, `elementary` over `wide` approximates; `arithmetic`, `transcendental`, `transfer`, `compare`, `control` are the instructions, over
//! `access` (checks and memory operands) and the stack in `state`.

mod access;
pub(crate) mod arith;
mod arithmetic;
mod compare;
mod control;
mod elementary;
mod flags;
mod number;
mod opcode;
pub(crate) mod quick;
mod round;
mod state;
mod transcendental;
mod transfer;
mod wide;

use iced_x86::Instruction;

use crate::slow::Slow;

/// Exact arithmetic, for those who judge results that the host has rounded, or have no host that rounds.
pub(crate) mod exact {
    #[cfg(any(test, not(target_arch = "x86_64")))]
    pub(crate) use super::arith::root;
    pub(crate) use super::{
        arith::{product, quotient, sum},
        number::{Narrow, Number},
        round::{Exact, Format, Rounded, round},
    };
}

pub(crate) use access::{check_pending, drive_error_pin};
pub(crate) use opcode::{keep_opcode, opcode};
pub(crate) use round::Rounding;
pub use state::{F80, Fpu};

/// The function that executes `insn`, if this family has it.
pub(crate) fn lookup(insn: &Instruction) -> Option<Slow> {
    arithmetic::lookup(insn)
        .or_else(|| transfer::lookup(insn))
        .or_else(|| compare::lookup(insn))
        .or_else(|| transcendental::lookup(insn))
        .or_else(|| control::lookup(insn))
}
