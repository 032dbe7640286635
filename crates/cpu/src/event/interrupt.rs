//! Delivery through the IDT (SDM Vol. 3A, "Exception and Interrupt Handling").

use x86::{Descriptor, Eflags, LinearAddr, SegReg, Selector, SystemType, Vector};

use super::{
    Event,
    frame::{Stack, inner_stack},
    quick, task,
};
use crate::{
    Activity, Cpu, Exception,
    mmu::access::{self, View},
    seg::{self, Found, SegmentRegister},
};

/// Delivers one event; on `Err` nothing has changed.
pub(super) fn through_idt(cpu: &mut Cpu, event: Event) -> Result<(), Exception> {
    if cpu.state.protected() {
        if quick::deliver(cpu, event).is_none() {
            through_gate(cpu, event)?
        }
    } else {
        through_vector_table(cpu, event)?
    }
    let state = &mut cpu.state;
    state.activity = Activity::Running;
    state.sti_shadow = false;
    state.mov_ss_shadow = false;
    // General detect stays off in the handler, which must be able to use the debug registers.
    if event.vector() == Vector::DEBUG.0 && !event.is_software() {
        state.dr[7] &= !(1 << 13);
    }
    Ok(())
}

/// EIP as the frame saves it.
pub(super) fn saved_eip(cpu: &Cpu, event: Event) -> u32 {
    match event {
        Event::Software { return_eip, .. } | Event::Icebp { return_eip } => return_eip,
        _ => cpu.state.eip,
    }
}

/// EFLAGS as the frame saves them: with RF for faults, so that the return does not meet an
/// instruction breakpoint twice (SDM Vol. 3B, "Instruction-Breakpoint Exception Condition").
pub(super) fn saved_eflags(cpu: &Cpu, event: Event) -> Eflags {
    let mut flags = cpu.eflags();
    if let Event::Exception(e) = event
        && !matches!(e.vector, Vector::DEBUG | Vector::BREAKPOINT | Vector::OVERFLOW)
    {
        flags |= Eflags::RF;
    }
    flags
}

/// Real mode: a table of far pointers (SDM Vol. 3B, "Interrupt and Exception Handling" of real-address mode).
fn through_vector_table(cpu: &mut Cpu, event: Event) -> Result<(), Exception> {
    let offset = u32::from(event.vector()) * 4;
    if offset + 3 > u32::from(cpu.state.idtr.limit) {
        return Err(Exception::gp(0));
    }
    let entry = access::read_u32(cpu, LinearAddr(cpu.state.idtr.base).wrapping_add(offset), View::Supervisor)?;
    let flags = cpu.eflags();
    let cs = u32::from(cpu.state.selector(SegReg::Cs).0);
    let mut stack = Stack::current(cpu);
    stack.push(cpu, &[flags.bits(), cs, saved_eip(cpu, event)], 2)?;
    let esp = cpu.state.gpr(crate::Gpr::Esp);
    stack.enter(cpu, esp);
    cpu.state.seg[SegReg::Cs as usize] = seg::real(cpu, SegReg::Cs, Selector((entry >> 16) as u16));
    cpu.state.eip = entry & 0xffff;
    cpu.set_eflags(flags - (Eflags::IF | Eflags::TF | Eflags::AC | Eflags::RF));
    Ok(())
}

fn through_gate(cpu: &mut Cpu, event: Event) -> Result<(), Exception> {
    let vector = u32::from(event.vector());
    let idt_code = vector * 8 + 2; // the IDT bit: the code names a gate of the IDT
    if vector * 8 + 7 > u32::from(cpu.state.idtr.limit) {
        return Err(Exception::gp(idt_code));
    }
    let addr = LinearAddr(cpu.state.idtr.base).wrapping_add(vector * 8);
    let gate = Descriptor(access::read_u64(cpu, addr, View::Supervisor)?);
    let kind = gate.system_type().ok_or(Exception::gp(idt_code))?;
    if event.is_software() && gate.dpl() < cpu.state.cpl {
        return Err(Exception::gp(idt_code));
    }
    let check_present = || {
        let absent = Exception { vector: Vector::SEGMENT_NOT_PRESENT, code: idt_code, addr: 0 };
        if gate.present() { Ok(()) } else { Err(absent) }
    };
    use SystemType::{InterruptGate16, InterruptGate32, TaskGate, TrapGate16, TrapGate32};
    match kind {
        TaskGate => {
            check_present()?;
            let eip = saved_eip(cpu, event);
            let flags = saved_eflags(cpu, event);
            task::through_gate(cpu, Selector(gate.gate_selector()), eip, flags, event.error_code())
        }
        InterruptGate16 | InterruptGate32 | TrapGate16 | TrapGate32 => {
            check_present()?;
            to_handler(cpu, event, gate, kind)
        }
        _ => Err(Exception::gp(idt_code)),
    }
}

/// Through an interrupt or trap gate, on the current stack or an inner one.
fn to_handler(cpu: &mut Cpu, event: Event, gate: Descriptor, kind: SystemType) -> Result<(), Exception> {
    let wide = matches!(kind, SystemType::InterruptGate32 | SystemType::TrapGate32);
    let size = if wide { 4 } else { 2 };
    let entry = if wide { gate.gate_offset() } else { gate.gate_offset() & 0xffff };
    let code = handler_segment(cpu, Selector(gate.gate_selector()))?;
    let from_v86 = cpu.state.v86();
    let cpl = if code.descriptor.is_conforming() { cpu.state.cpl } else { code.descriptor.dpl() };
    let inner = cpl < cpu.state.cpl;
    if from_v86 && cpl != 0 {
        return Err(Exception::gp_sel(code.selector));
    }

    let old_esp = cpu.state.gpr(crate::Gpr::Esp);
    let selector = |reg| u32::from(cpu.state.selector(reg).0);
    let mut values = [0; 10];
    let mut count = 0;
    let mut add = |value| {
        values[count] = value;
        count += 1;
    };
    if from_v86 {
        [SegReg::Gs, SegReg::Fs, SegReg::Ds, SegReg::Es].into_iter().for_each(|reg| add(selector(reg)));
    }
    if inner {
        add(selector(SegReg::Ss));
        add(old_esp);
    }
    add(saved_eflags(cpu, event).bits());
    add(selector(SegReg::Cs));
    add(saved_eip(cpu, event));
    event.error_code().into_iter().for_each(add);

    let mut stack = if inner { inner_stack(cpu, cpl)? } else { Stack::current(cpu) };
    if entry > code.descriptor.limit() {
        return Err(Exception::gp(0));
    }
    stack.probe(cpu, count as u32, size)?;
    stack.mark(cpu)?;
    let cs = code.load_code(cpu, cpl)?;
    stack.push(cpu, &values[..count], size)?;

    stack.enter(cpu, old_esp);
    cpu.state.seg[SegReg::Cs as usize] = cs;
    cpu.state.cpl = cpl;
    cpu.state.eip = entry;
    if from_v86 {
        for reg in [SegReg::Es, SegReg::Ds, SegReg::Fs, SegReg::Gs] {
            cpu.state.seg[reg as usize] = SegmentRegister { selector: 0, ..seg::null(Selector(0)) };
        }
    }
    let mut cleared = Eflags::TF | Eflags::NT | Eflags::RF | Eflags::VM;
    if matches!(kind, SystemType::InterruptGate16 | SystemType::InterruptGate32) {
        cleared |= Eflags::IF;
    }
    let flags = cpu.eflags() - cleared;
    cpu.set_eflags(flags);
    Ok(())
}

/// The handler's code segment, after the checks that a gate's target gets.
fn handler_segment(cpu: &mut Cpu, selector: Selector) -> Result<Found, Exception> {
    if selector.is_null() {
        return Err(Exception::gp(0));
    }
    let code = seg::find(cpu, selector, Exception::gp_sel)?;
    if !code.descriptor.is_code() || code.descriptor.dpl() > cpu.state.cpl {
        return Err(Exception::gp_sel(selector));
    }
    code.present()
}
