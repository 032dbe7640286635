//! MMX and SSE instructions: slow functions over pure lane arithmetic.
//!
//! `access` checks that an instruction may run and fetches its operands; `lanes` sees a register
//! as lanes; `integer`, `shift`, `shuffle`, `moves` hold the integer instructions; `float`, `convert`,
//! `horizontal` the floating-point ones, over `arith` (the host's, with the guest's rounding and
//! flags) and `mxcsr` (what an exception does); `control` what loads and saves.

mod access;
mod approximate;
mod control;
mod convert;
mod exact;
mod float;
mod horizontal;
mod integer;
mod lanes;
mod moves;
mod mxcsr;
mod shift;
mod shuffle;

#[cfg(target_arch = "x86_64")]
#[path = "host.rs"]
mod arith;

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
