//! SYSENTER and SYSEXIT (SDM Vol. 2).

use iced_x86::Instruction;
use x86::{Eflags, SegReg};

use super::privileged;
use crate::{Cpu, Exception, Gpr, Occurrence, coherence, seg::SegmentRegister, slow::Flow};

/// A flat segment as these instructions make it, without a look at any table.
const fn flat(selector: u16, rights: u32) -> SegmentRegister {
    SegmentRegister { base: 0, limit: u32::MAX, rights, selector }
}

/// The selector in IA32_SYSENTER_CS, if it is usable.
fn code_selector(cpu: &Cpu) -> Result<u16, Exception> {
    let selector = cpu.state.msr.sysenter_cs as u16 & 0xfffc;
    if !cpu.state.protected() || selector == 0 {
        return Err(Exception::gp(0));
    }
    Ok(selector)
}

/// SYSENTER.
pub(super) fn enter(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    let selector = code_selector(cpu)?;
    if cpu.stops().is_some_and(|stops| stops.catches.sysenter) && cpu.retired() != cpu.run.pass_at {
        // The exception is none.
        cpu.run.caught = Some(Occurrence::SystemEnter);
        return Err(Exception::gp(0));
    }
    if cpu.state.cpl == 3 {
        coherence::leaves_ring_3(cpu);
    }
    let flags = cpu.eflags() - (Eflags::VM | Eflags::IF | Eflags::RF);
    cpu.set_eflags(flags);
    let state = &mut cpu.state;
    state.seg[SegReg::Cs as usize] = flat(selector, 0xc09b);
    state.seg[SegReg::Ss as usize] = flat(selector.wrapping_add(8), 0xc093);
    state.cpl = 0;
    state.eip = state.msr.sysenter_eip;
    state.set_gpr(Gpr::Esp, state.msr.sysenter_esp);
    Ok(Flow::Jump)
}

/// SYSEXIT.
pub(super) fn exit(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    let selector = code_selector(cpu)?;
    privileged(cpu)?;
    let state = &mut cpu.state;
    state.seg[SegReg::Cs as usize] = flat(selector.wrapping_add(16) | 3, 0xc0fb);
    state.seg[SegReg::Ss as usize] = flat(selector.wrapping_add(24) | 3, 0xc0f3);
    state.cpl = 3;
    state.eip = state.gpr(Gpr::Edx);
    state.set_gpr(Gpr::Esp, state.gpr(Gpr::Ecx));
    Ok(Flow::Jump)
}
