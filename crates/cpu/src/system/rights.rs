//! LAR, LSL, VERR, VERW, ARPL: questions about selectors that never fault for what they name.

use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::{Descriptor, Eflags, Selector, SystemType};

use super::needs_descriptors;
use crate::{Cpu, Exception, operand, seg, slow::Flow};

/// LAR: access rights of a descriptor that the program may see.
pub(super) fn lar(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    use SystemType::{CallGate16, CallGate32, Ldt, TaskGate, Tss16Available, Tss16Busy, Tss32Available, Tss32Busy};
    let rights = visible(cpu, insn, 1, |kind| {
        matches!(
            kind,
            Tss16Available | Ldt | Tss16Busy | CallGate16 | TaskGate | Tss32Available | Tss32Busy | CallGate32
        )
    })?
    // UNDEFINED: bits 19:16 are those of the limit, as on silicon.
    .map(|d| (d.0 >> 32) as u32 & 0x00ff_ff00);
    answer(cpu, insn, rights)
}

/// LSL: limit of a segment that the program may see.
pub(super) fn lsl(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    use SystemType::{Ldt, Tss16Available, Tss16Busy, Tss32Available, Tss32Busy};
    let limit =
        visible(cpu, insn, 1, |kind| matches!(kind, Tss16Available | Ldt | Tss16Busy | Tss32Available | Tss32Busy))?
            .map(Descriptor::limit);
    answer(cpu, insn, limit)
}

/// VERR, VERW: whether the program may read or write a segment.
pub(super) fn verify(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let write = insn.mnemonic() == Mnemonic::Verw;
    let segment = visible(cpu, insn, 0, |_| false)?;
    let good = segment.is_some_and(|d| if write { d.is_writable() } else { d.is_readable() });
    set_zf(cpu, good);
    Ok(Flow::Next)
}

/// ARPL: raises the RPL of a selector to that of another. Memory is written, and must be
/// writable, only if it changes, as on silicon.
pub(super) fn arpl(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    needs_descriptors(cpu)?;
    let rpl = operand::read_reg(cpu, insn.op1_register()) & 3;
    let selector = operand::read_op(cpu, insn, 0)?;
    let raised = selector & 3 < rpl;
    if raised {
        operand::write_op(cpu, insn, 0, selector & !3 | rpl)?;
    }
    set_zf(cpu, raised);
    Ok(Flow::Next)
}

/// The descriptor that operand `index` names, if the program may see it and it is a segment or
/// of a system type that `counts`.
fn visible(
    cpu: &mut Cpu,
    insn: &Instruction,
    index: u32,
    counts: fn(SystemType) -> bool,
) -> Result<Option<Descriptor>, Exception> {
    needs_descriptors(cpu)?;
    let selector = Selector(selector_operand(cpu, insn, index)?);
    if selector.is_null() {
        return Ok(None);
    }
    // A selector outside its table is an answer here; a page fault on the way stays one.
    let descriptor = match seg::find(cpu, selector, Exception::gp_sel) {
        Ok(found) => found.descriptor,
        Err(e) if e == Exception::gp_sel(selector) => return Ok(None),
        Err(e) => return Err(e),
    };
    let known = descriptor.is_segment() || descriptor.system_type().is_some_and(counts);
    let level = cpu.state.cpl.max(selector.rpl());
    let seen = descriptor.is_conforming() || descriptor.dpl() >= level;
    Ok((known && seen).then_some(descriptor))
}

/// Selectors are 16 bits of memory, whatever the operand size.
fn selector_operand(cpu: &mut Cpu, insn: &Instruction, index: u32) -> Result<u16, Exception> {
    if insn.op_kind(index) == OpKind::Register {
        return Ok(operand::read_reg(cpu, insn.op_register(index)) as u16);
    }
    let addr = operand::linear(cpu, insn, 2, false)?;
    Ok(operand::read_sized(cpu, addr, 2)? as u16)
}

fn answer(cpu: &mut Cpu, insn: &Instruction, value: Option<u32>) -> Result<Flow, Exception> {
    set_zf(cpu, value.is_some());
    if let Some(value) = value {
        operand::write_reg(cpu, insn.op0_register(), value);
    }
    Ok(Flow::Next)
}

fn set_zf(cpu: &mut Cpu, zf: bool) {
    let mut flags = cpu.eflags();
    flags.set(Eflags::ZF, zf);
    cpu.set_eflags(flags);
}
