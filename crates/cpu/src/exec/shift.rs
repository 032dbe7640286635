//! SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD.

use iced_x86::{Instruction, Mnemonic};

use super::{
    by_width,
    place::{Place, read},
};
use crate::{
    Cpu, Exception,
    alu::{self, Word},
    operand,
    slow::{Flow, Slow},
};

pub(super) fn lookup(mnemonic: Mnemonic) -> Option<Slow> {
    Some(match mnemonic {
        Mnemonic::Shl
        | Mnemonic::Sal
        | Mnemonic::Shr
        | Mnemonic::Sar
        | Mnemonic::Rol
        | Mnemonic::Ror
        | Mnemonic::Rcl
        | Mnemonic::Rcr => |cpu, insn| by_width!(operand::op_size(insn, 0), shift(cpu, insn)),
        Mnemonic::Shld | Mnemonic::Shrd => |cpu, insn| by_width!(operand::op_size(insn, 0), double_shift(cpu, insn)),
        _ => return None,
    })
}

fn shift<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let count = read::<u8>(cpu, insn, 1)?;
    let place = Place::read_write::<W>(cpu, insn, 0)?;
    let dst = place.get::<W>(cpu)?;
    let operation = match insn.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => alu::shl,
        Mnemonic::Shr => alu::shr,
        Mnemonic::Sar => alu::sar,
        Mnemonic::Rol => alu::rol,
        Mnemonic::Ror => alu::ror,
        Mnemonic::Rcl => alu::rcl,
        _ => alu::rcr,
    };
    let (result, flags) = operation(dst, count, cpu.flags());
    place.set(cpu, result)?;
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

fn double_shift<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let count = read::<u8>(cpu, insn, 2)?;
    let src = read::<W>(cpu, insn, 1)?;
    let place = Place::read_write::<W>(cpu, insn, 0)?;
    let dst = place.get::<W>(cpu)?;
    let operation = if insn.mnemonic() == Mnemonic::Shld { alu::shld } else { alu::shrd };
    let (result, flags) = operation(dst, src, count, cpu.flags());
    place.set(cpu, result)?;
    cpu.set_flags(flags);
    Ok(Flow::Next)
}
