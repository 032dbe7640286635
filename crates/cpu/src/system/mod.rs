//! System instructions, far transfers, segment loads, I/O: slow functions by family.

use iced_x86::Instruction;

use crate::slow::Slow;

/// The function that executes `insn`, if this family has it.
pub(crate) fn lookup(insn: &Instruction) -> Option<Slow> {
    let _ = insn;
    None
}
