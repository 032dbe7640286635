//! CLI, STI, PUSHF, POPF.

use iced_x86::{Instruction, Mnemonic};
use x86::Eflags;

use super::cpuid;
use crate::{
    Cpu, Exception,
    event::loaded_flags,
    operand::{peek, push, set_stack_pointer, stack_pointer, wrap_stack},
    slow::Flow,
};

/// CLI and STI need an IOPL of at least the CPL (SDM Vol. 2, "CLI").
fn may_mask(cpu: &Cpu) -> Result<(), Exception> {
    let state = &cpu.state;
    let allowed = !state.protected() || state.cpl <= state.eflags.iopl();
    if allowed { Ok(()) } else { Err(Exception::gp(0)) }
}

/// PUSHF and POPF need IOPL 3 in virtual-8086 mode.
fn may_move(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.state.v86() && cpu.state.eflags.iopl() < 3 { Err(Exception::gp(0)) } else { Ok(()) }
}

/// CLI.
pub(super) fn cli(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    may_mask(cpu)?;
    cpu.state.eflags -= Eflags::IF;
    Ok(Flow::Next)
}

/// STI: interrupts are taken one instruction later, if they were masked.
///
/// The block goes on to its next instruction where nothing is held off: no run ends here, INTR is low, and whatever
/// raises it leaves the block behind the instruction that did, when the shadow is over in any case.
pub(super) fn sti(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    may_mask(cpu)?;
    if cpu.state.eflags.contains(Eflags::IF) {
        return Ok(Flow::Next);
    }
    cpu.state.eflags |= Eflags::IF;
    if cpu.run.ahead > 1 && !cpu.bus().intr() && !cpu.disturbed() && !cpu.is_over_at_switch() {
        return Ok(Flow::Next);
    }
    cpu.state.sti_shadow = true;
    Ok(Flow::Leave)
}

/// CLAC: closes SMAP.
pub(super) fn clac(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    set_ac(cpu, false)
}

/// STAC: opens SMAP for the supervisor's explicit accesses.
pub(super) fn stac(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    set_ac(cpu, true)
}

fn set_ac(cpu: &mut Cpu, on: bool) -> Result<Flow, Exception> {
    if cpu.state.cpl != 0 || !cpuid::has_smap(cpu.state.model) {
        return Err(Exception::ud());
    }
    cpu.state.eflags.set(Eflags::AC, on);
    Ok(Flow::Leave)
}

/// PUSHF.
pub(super) fn pushf(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    may_move(cpu)?;
    let size = if insn.mnemonic() == Mnemonic::Pushfd { 4 } else { 2 };
    let value = cpu.eflags() - (Eflags::VM | Eflags::RF);
    push(cpu, value.bits(), size)?;
    Ok(Flow::Next)
}

/// POPF.
pub(super) fn popf(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    may_move(cpu)?;
    let size = if insn.mnemonic() == Mnemonic::Popfd { 4 } else { 2 };
    let new = Eflags::from_bits_retain(peek(cpu, 0, size)?);
    let old = cpu.eflags();
    let mut flags = loaded_flags(old, new, cpu.state.cpl, size, Eflags::empty());
    if size == 4 && !cpu.state.v86() {
        flags -= Eflags::VIP | Eflags::VIF;
    }
    let sp = wrap_stack(cpu, stack_pointer(cpu).wrapping_add(size));
    set_stack_pointer(cpu, sp);
    cpu.set_eflags(flags);
    let watched = Eflags::IF | Eflags::TF | Eflags::AC;
    Ok(if (old ^ flags).intersects(watched) { Flow::Leave } else { Flow::Next })
}
