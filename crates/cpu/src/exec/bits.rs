//! BT, BTS, BTR, BTC, BSF, BSR, POPCNT, TZCNT and LZCNT where the model lacks them (then BSF and BSR).

use iced_x86::{Instruction, Mnemonic, OpKind};

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
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc => {
            |cpu, insn| by_width!(operand::op_size(insn, 0), test(cpu, insn))
        }
        // Processors without TZCNT and LZCNT ignore the prefix that makes the difference.
        Mnemonic::Bsf | Mnemonic::Bsr | Mnemonic::Tzcnt | Mnemonic::Lzcnt => {
            |cpu, insn| by_width!(operand::op_size(insn, 0), scan(cpu, insn))
        }
        Mnemonic::Popcnt => |cpu, insn| by_width!(operand::op_size(insn, 0), popcnt(cpu, insn)),
        _ => return None,
    })
}

fn test<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let index = read::<W>(cpu, insn, 1)?;
    let write = insn.mnemonic() != Mnemonic::Bt;
    let place = match insn.op0_kind() {
        OpKind::Register => Place::Register(insn.op0_register()),
        _ => memory_word::<W>(cpu, insn, index, write)?,
    };
    let dst = place.get::<W>(cpu)?;
    let (bit, before) = (index.zext() as u32 % W::BITS, cpu.flags());
    let (result, flags) = match insn.mnemonic() {
        Mnemonic::Bt => (dst, alu::bt(dst, bit, before)),
        Mnemonic::Bts => alu::bts(dst, bit, before),
        Mnemonic::Btr => alu::btr(dst, bit, before),
        _ => alu::btc(dst, bit, before),
    };
    if write {
        place.set(cpu, result)?;
    }
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

/// The word that holds the bit: a register index reaches beyond the operand, both ways
/// (SDM Vol. 2, "BT—Bit Test").
fn memory_word<W: Word>(cpu: &mut Cpu, insn: &Instruction, index: W, write: bool) -> Result<Place, Exception> {
    let len = W::BITS / 8;
    let (seg, offset) = operand::effective_address(cpu, insn);
    let words = if insn.op1_kind() == OpKind::Register { index.sext() >> W::BITS.trailing_zeros() } else { 0 };
    let offset = offset.wrapping_add((words * i64::from(len)) as u32);
    let offset = if operand::address_is_16_bit(insn) { offset & 0xffff } else { offset };
    let addr = operand::segment_linear(cpu, seg, offset, len, len, write)?;
    if write { Place::memory::<W>(cpu, addr) } else { Ok(Place::Memory(addr)) }
}

fn scan<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let src = read::<W>(cpu, insn, 1)?;
    let operation = match insn.mnemonic() {
        Mnemonic::Bsf | Mnemonic::Tzcnt => alu::bsf,
        _ => alu::bsr,
    };
    let (index, flags) = operation(src, cpu.flags());
    if let Some(index) = index {
        operand::write_op(cpu, insn, 0, index.zext() as u32)?;
    }
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

fn popcnt<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let (count, flags) = alu::popcnt(read::<W>(cpu, insn, 1)?);
    operand::write_op(cpu, insn, 0, count.zext() as u32)?;
    cpu.set_flags(flags);
    Ok(Flow::Next)
}
