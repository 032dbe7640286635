//! Operands of a decoded instruction, for the slow functions.

use iced_x86::{Instruction, Register};
use x86::{LinearAddr, SegReg};

use crate::{Cpu, Exception};

/// The segment and offset of the memory operand, address-size wrapped (SDM Vol. 1, "Specifying an Offset").
pub(crate) fn effective_address(cpu: &Cpu, insn: &Instruction) -> (SegReg, u32) {
    let _ = (cpu, insn);
    unimplemented!("lands with the slow operands")
}

/// The linear address of `len` bytes at the memory operand, after the segment's checks
/// (#GP, #SS, and #AC at CPL 3).
pub(crate) fn linear(cpu: &mut Cpu, insn: &Instruction, len: u32, write: bool) -> Result<LinearAddr, Exception> {
    let _ = (cpu, insn, len, write);
    unimplemented!("lands with the slow operands")
}

/// A general-purpose register of any width, zero-extended.
pub(crate) fn read_reg(cpu: &Cpu, reg: Register) -> u32 {
    let _ = (cpu, reg);
    unimplemented!("lands with the slow operands")
}

/// Writes a general-purpose register of any width; the rest of the full register stays.
pub(crate) fn write_reg(cpu: &mut Cpu, reg: Register, value: u32) {
    let _ = (cpu, reg, value);
    unimplemented!("lands with the slow operands")
}

/// Reads integer operand `index` (register, immediate or memory), zero-extended to 32 bits.
pub(crate) fn read_op(cpu: &mut Cpu, insn: &Instruction, index: u32) -> Result<u32, Exception> {
    let _ = (cpu, insn, index);
    unimplemented!("lands with the slow operands")
}

/// Writes integer operand `index` (register or memory).
pub(crate) fn write_op(cpu: &mut Cpu, insn: &Instruction, index: u32, value: u32) -> Result<(), Exception> {
    let _ = (cpu, insn, index, value);
    unimplemented!("lands with the slow operands")
}
