//! An operand that is read and then written, with its faults taken first.

use iced_x86::{Instruction, OpKind, Register};
use x86::LinearAddr;

use crate::{
    Cpu, Exception,
    alu::Word,
    mmu::access::{self, View},
    operand,
};

/// Where a destination lies.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Register(Register),
    Memory(LinearAddr),
}

impl Place {
    /// Operand `index`, to be read and written: nothing can fault afterwards.
    pub(super) fn read_write<W: Word>(cpu: &mut Cpu, insn: &Instruction, index: u32) -> Result<Self, Exception> {
        if insn.op_kind(index) == OpKind::Register {
            return Ok(Place::Register(insn.op_register(index)));
        }
        let len = W::BITS / 8;
        let addr = operand::linear(cpu, insn, len, true)?;
        Self::memory::<W>(cpu, addr)
    }

    /// `W` at `addr`, to be read and written: nothing can fault afterwards.
    pub(super) fn memory<W: Word>(cpu: &mut Cpu, addr: LinearAddr) -> Result<Self, Exception> {
        access::probe_write(cpu, addr, W::BITS / 8, View::Current)?;
        Ok(Place::Memory(addr))
    }

    /// The value there.
    pub(super) fn get<W: Word>(self, cpu: &mut Cpu) -> Result<W, Exception> {
        let value = match self {
            Place::Register(register) => operand::read_reg(cpu, register),
            Place::Memory(addr) => operand::read_sized(cpu, addr, W::BITS / 8)?,
        };
        Ok(W::truncate(value.into()))
    }

    /// Replaces the value.
    pub(super) fn set<W: Word>(self, cpu: &mut Cpu, value: W) -> Result<(), Exception> {
        let value = value.zext() as u32;
        match self {
            Place::Register(register) => operand::write_reg(cpu, register, value),
            Place::Memory(addr) => operand::write_sized(cpu, addr, W::BITS / 8, value)?,
        }
        Ok(())
    }
}

/// Integer operand `index`.
pub(super) fn read<W: Word>(cpu: &mut Cpu, insn: &Instruction, index: u32) -> Result<W, Exception> {
    operand::read_op(cpu, insn, index).map(|value| W::truncate(value.into()))
}
