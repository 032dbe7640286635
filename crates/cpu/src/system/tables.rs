//! GDTR, IDTR, LDTR and TR.

use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::{Selector, SystemType};

use super::{needs_descriptors, not_prevented, privileged};
use crate::{
    Cpu, Exception, TableRegister,
    mmu::access::{self, View},
    operand,
    seg::{self, SegmentRegister},
    slow::Flow,
};

/// LGDT, LIDT. With a 16-bit operand the base has 24 bits.
pub(super) fn load_table(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    privileged(cpu)?;
    let addr = operand::linear_aligned(cpu, insn, 6, 1, false)?;
    let bytes = access::read::<6>(cpu, addr, View::Current)?;
    let limit = u16::from_le_bytes([bytes[0], bytes[1]]);
    let base = u32::from_le_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
    let base = if is_16_bit(insn) { base & 0x00ff_ffff } else { base };
    let table = TableRegister { base, limit };
    if insn.mnemonic() == Mnemonic::Lgdt {
        cpu.state.gdtr = table
    } else {
        cpu.state.idtr = table
    }
    Ok(Flow::Next)
}

/// SGDT, SIDT: all 32 bits of the base whatever the operand size, as silicon does.
pub(super) fn store_table(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    not_prevented(cpu)?;
    let table = if insn.mnemonic() == Mnemonic::Sgdt { cpu.state.gdtr } else { cpu.state.idtr };
    let addr = operand::linear(cpu, insn, 6, true)?;
    let mut bytes = [0; 6];
    bytes[..2].copy_from_slice(&table.limit.to_le_bytes());
    bytes[2..].copy_from_slice(&table.base.to_le_bytes());
    access::write(cpu, addr, &bytes, View::Current)?;
    Ok(Flow::Next)
}

fn is_16_bit(insn: &Instruction) -> bool {
    use iced_x86::Code;
    matches!(insn.code(), Code::Lgdt_m1632_16 | Code::Lidt_m1632_16)
}

/// LLDT.
pub(super) fn lldt(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    needs_descriptors(cpu)?;
    privileged(cpu)?;
    let selector = Selector(operand::read_op(cpu, insn, 0)? as u16);
    if selector.is_null() {
        cpu.state.ldtr = seg::null(selector);
        return Ok(Flow::Next);
    }
    if selector.local() {
        return Err(Exception::gp_sel(selector));
    }
    let table = seg::find(cpu, selector, Exception::gp_sel)?;
    if table.descriptor.system_type() != Some(SystemType::Ldt) {
        return Err(Exception::gp_sel(selector));
    }
    let table = table.present()?;
    cpu.state.ldtr = SegmentRegister::from_descriptor(table.selector, table.descriptor);
    Ok(Flow::Next)
}

/// LTR: marks the TSS busy.
pub(super) fn ltr(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    /// The bit of a TSS descriptor's type that says it is busy.
    const BUSY: u32 = 2;
    needs_descriptors(cpu)?;
    privileged(cpu)?;
    let selector = Selector(operand::read_op(cpu, insn, 0)? as u16);
    if selector.is_null() || selector.local() {
        return Err(Exception::gp_sel(selector));
    }
    let task = seg::find(cpu, selector, Exception::gp_sel)?;
    if !matches!(task.descriptor.system_type(), Some(SystemType::Tss16Available | SystemType::Tss32Available)) {
        return Err(Exception::gp_sel(selector));
    }
    let task = task.present()?;
    let loaded = SegmentRegister::from_descriptor(task.selector, task.descriptor);
    let busy = SegmentRegister { rights: loaded.rights | BUSY, ..loaded };
    access::write_u8(cpu, task.rights_addr(), busy.rights as u8, View::Supervisor)?;
    cpu.state.tr = busy;
    Ok(Flow::Next)
}

/// SLDT, STR: 16 bits in memory, zero-extended in a register.
pub(super) fn store_selector(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    needs_descriptors(cpu)?;
    not_prevented(cpu)?;
    let from = if insn.mnemonic() == Mnemonic::Str { &cpu.state.tr } else { &cpu.state.ldtr };
    let value = u32::from(from.selector);
    if insn.op0_kind() == OpKind::Register {
        operand::write_reg(cpu, insn.op0_register(), value);
    } else {
        let addr = operand::linear(cpu, insn, 2, true)?;
        access::write_u16(cpu, addr, value as u16, View::Current)?;
    }
    Ok(Flow::Next)
}
