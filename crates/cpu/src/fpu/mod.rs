//! The x87 FPU.

mod state;

use iced_x86::Instruction;

use crate::slow::Slow;

pub use state::{F80, Fpu};

/// The function that executes `insn`, if this family has it.
pub(crate) fn lookup(insn: &Instruction) -> Option<Slow> {
    let _ = insn;
    None
}
