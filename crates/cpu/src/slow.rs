//! The slow way to execute an instruction: a plain function over the decoded instruction.
//!
//! Everything that has no hot micro-operation handler runs this way: a generic micro-operation
//! holds the decoded instruction (never decoded afresh) and one of these functions, found
//! once, at decode time, by the `lookup` of its family.

use iced_x86::{Instruction, Mnemonic};

use crate::{Cpu, Exception, Exit, decode};

/// What the engine does after a slow function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// EIP moves behind the instruction; the block goes on.
    Next,
    /// EIP moves behind the instruction; the block is left, because the mode, the
    /// translations, the interrupt state or the code itself may have changed.
    Leave,
    /// The function has set EIP (and CS); the block is left.
    Jump,
    /// One iteration of a repeated string instruction is done and more remain: it retires as one
    /// instruction, EIP stays.
    Again,
    /// As `Leave`, and the run ends.
    Exit(Exit),
}

/// Executes `insn` at `state.eip` (its first byte). On `Err` nothing is committed but what the
/// manual says (A bits, finished REP iterations).
pub(crate) type Slow = fn(&mut Cpu, &Instruction) -> Result<Flow, Exception>;

/// The function that executes `insn`, or `None` if nothing here does: then #UD.
fn lookup(insn: &Instruction) -> Option<Slow> {
    crate::exec::lookup(insn)
        .or_else(|| crate::system::lookup(insn))
        .or_else(|| crate::sse::lookup(insn))
        .or_else(|| crate::fpu::lookup(insn))
}

/// Stands for the function that executes `insn` until that is first needed: instructions that run by a handler of
/// their own seldom come here.
pub(crate) fn found_late(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    of(insn)(cpu, insn)
}

/// The function that executes `insn`; #UD if there is none.
pub(crate) fn of(insn: &Instruction) -> Slow {
    let never = insn.is_invalid() || matches!(insn.mnemonic(), Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2);
    lookup(insn).unwrap_or(if never { invalid } else { missing })
}

/// Whether something here executes `insn`.
#[cfg(test)]
pub(crate) fn is_executed(insn: &Instruction) -> bool {
    lookup(insn).is_some()
}

/// No instruction at all: #UD, or #GP for one that prefixes make longer than 15 bytes, of which the decoder has
/// read as many.
fn invalid(_: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    Err(if insn.len() >= decode::MAX_BYTES { Exception::gp(0) } else { Exception::ud() })
}

/// An instruction that nothing here executes yet.
fn missing(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    cpu.run.missing = Some(insn.code());
    Err(Exception::ud())
}
