//! Far JMP, CALL and RET (SDM Vol. 3A, "Privilege Level Checking When Transferring Program
//! Control Between Code Segments").

use iced_x86::{Code, Instruction, OpKind};
use x86::{Descriptor, SegReg, Selector, SystemType};

use super::next_eip;
use crate::{
    Cpu, Exception, Gpr, coherence,
    event::{self, Reason, Stack},
    operand::{self, peek, set_stack_pointer, stack_pointer, wrap_stack},
    seg::{self, Found},
    slow::Flow,
};

/// Where a far transfer goes, and the size of its operand.
struct Target {
    selector: Selector,
    offset: u32,
    size: u32,
}

fn target(cpu: &mut Cpu, insn: &Instruction) -> Result<Target, Exception> {
    Ok(match insn.op0_kind() {
        OpKind::FarBranch16 => {
            Target { selector: Selector(insn.far_branch_selector()), offset: insn.far_branch16().into(), size: 2 }
        }
        OpKind::FarBranch32 => {
            Target { selector: Selector(insn.far_branch_selector()), offset: insn.far_branch32(), size: 4 }
        }
        _ => {
            let size = if matches!(insn.code(), Code::Jmp_m1616 | Code::Call_m1616) { 2 } else { 4 };
            let addr = operand::linear_aligned(cpu, insn, size + 2, size, false)?;
            let offset = operand::read_sized(cpu, addr, size)?;
            let selector = operand::read_sized(cpu, addr.wrapping_add(size), 2)?;
            Target { selector: Selector(selector as u16), offset, size }
        }
    })
}

/// Far JMP.
pub(super) fn jump(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let to = target(cpu, insn)?;
    if !cpu.state.protected() || cpu.state.v86() {
        return jump_real(cpu, &to);
    }
    let found = named(cpu, to.selector)?;
    let d = found.descriptor;
    if d.is_segment() {
        let code = reachable_code(cpu, found)?;
        return enter(cpu, code, to.offset);
    }
    match d.system_type() {
        Some(SystemType::CallGate16 | SystemType::CallGate32) => {
            let (code, offset) = through_gate(cpu, found)?;
            let level = code.descriptor.dpl();
            let same = if code.descriptor.is_conforming() { level <= cpu.state.cpl } else { level == cpu.state.cpl };
            if !same {
                return Err(Exception::gp_sel(code.selector));
            }
            let code = code.present()?;
            enter(cpu, code, offset)
        }
        Some(kind) => to_task(cpu, insn, found, kind, Reason::Jump),
        None => Err(Exception::gp_sel(to.selector)),
    }
}

/// Far CALL.
pub(super) fn call(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let to = target(cpu, insn)?;
    let return_to = [u32::from(cpu.state.selector(SegReg::Cs).0), next_eip(cpu, insn)];
    if !cpu.state.protected() || cpu.state.v86() {
        let limit = cpu.state.seg(SegReg::Cs).limit;
        if to.offset > limit {
            return Err(Exception::gp(0));
        }
        push_here(cpu, &return_to, to.size)?;
        return jump_real(cpu, &to);
    }
    let found = named(cpu, to.selector)?;
    let d = found.descriptor;
    if d.is_segment() {
        let code = reachable_code(cpu, found)?;
        return call_here(cpu, code, to.offset, &return_to, to.size);
    }
    match d.system_type() {
        Some(kind @ (SystemType::CallGate16 | SystemType::CallGate32)) => {
            let (code, offset) = through_gate(cpu, found)?;
            if code.descriptor.dpl() > cpu.state.cpl {
                return Err(Exception::gp_sel(code.selector));
            }
            let code = code.present()?;
            let size = if kind == SystemType::CallGate32 { 4 } else { 2 };
            if code.descriptor.is_conforming() || code.descriptor.dpl() == cpu.state.cpl {
                return call_here(cpu, code, offset, &return_to, size);
            }
            call_inner(cpu, d, code, offset, &return_to, size)
        }
        Some(kind) => to_task(cpu, insn, found, kind, Reason::Nest),
        None => Err(Exception::gp_sel(to.selector)),
    }
}

/// The descriptor of a transfer's target.
fn named(cpu: &mut Cpu, selector: Selector) -> Result<Found, Exception> {
    if selector.is_null() {
        return Err(Exception::gp(0));
    }
    seg::find(cpu, selector, Exception::gp_sel)
}

/// A code segment that may be entered at this CPL without a gate.
fn reachable_code(cpu: &Cpu, found: Found) -> Result<Found, Exception> {
    let (d, cpl) = (found.descriptor, cpu.state.cpl);
    let fits = if d.is_conforming() { d.dpl() <= cpl } else { d.dpl() == cpl && found.selector.rpl() <= cpl };
    if !d.is_code() || !fits {
        return Err(Exception::gp_sel(found.selector));
    }
    found.present()
}

/// The code segment and entry point that a call gate leads to, if the gate may be used.
fn through_gate(cpu: &mut Cpu, gate: Found) -> Result<(Found, u32), Exception> {
    let d = gate.descriptor;
    if d.dpl() < cpu.state.cpl.max(gate.selector.rpl()) {
        return Err(Exception::gp_sel(gate.selector));
    }
    gate.present()?;
    let selector = Selector(d.gate_selector());
    let code = named(cpu, selector)?;
    if !code.descriptor.is_code() || code.descriptor.dpl() > cpu.state.cpl {
        return Err(Exception::gp_sel(selector));
    }
    let wide = d.system_type() == Some(SystemType::CallGate32);
    Ok((code, if wide { d.gate_offset() } else { d.gate_offset() & 0xffff }))
}

/// Goes to `offset` in `code` at the current CPL.
fn enter(cpu: &mut Cpu, code: Found, offset: u32) -> Result<Flow, Exception> {
    if offset > code.descriptor.limit() {
        return Err(Exception::gp(0));
    }
    let cpl = cpu.state.cpl;
    cpu.state.seg[SegReg::Cs as usize] = code.load_code(cpu, cpl)?;
    cpu.state.eip = offset;
    Ok(Flow::Jump)
}

fn call_here(cpu: &mut Cpu, code: Found, offset: u32, return_to: &[u32], size: u32) -> Result<Flow, Exception> {
    Stack::current(cpu).probe(cpu, return_to.len() as u32, size)?;
    if offset > code.descriptor.limit() {
        return Err(Exception::gp(0));
    }
    let cpl = cpu.state.cpl;
    let cs = code.load_code(cpu, cpl)?;
    push_here(cpu, return_to, size)?;
    cpu.state.seg[SegReg::Cs as usize] = cs;
    cpu.state.eip = offset;
    Ok(Flow::Jump)
}

fn push_here(cpu: &mut Cpu, values: &[u32], size: u32) -> Result<(), Exception> {
    let mut stack = Stack::current(cpu);
    if stack.seg.base.wrapping_add(stack.esp) & (size - 1) != 0 && operand::alignment_checked(cpu) {
        return Err(Exception::ac());
    }
    stack.push(cpu, values, size)?;
    let esp = cpu.state.gpr(Gpr::Esp);
    stack.enter(cpu, esp);
    Ok(())
}

/// Through a call gate to a more privileged segment, with its stack and the copied parameters.
fn call_inner(
    cpu: &mut Cpu,
    gate: Descriptor,
    code: Found,
    offset: u32,
    return_to: &[u32],
    size: u32,
) -> Result<Flow, Exception> {
    let cpl = code.descriptor.dpl();
    let mut stack = event::inner_stack(cpu, cpl)?;
    let old_esp = cpu.state.gpr(Gpr::Esp);
    let mut frame = vec![u32::from(cpu.state.selector(SegReg::Ss).0), stack_pointer(cpu)];
    for i in (0..u32::from(gate.gate_param_count())).rev() {
        frame.push(peek(cpu, i * size, size)?);
    }
    frame.extend_from_slice(return_to);
    stack.probe(cpu, frame.len() as u32, size)?;
    if offset > code.descriptor.limit() {
        return Err(Exception::gp(0));
    }
    stack.mark(cpu)?;
    let cs = code.load_code(cpu, cpl)?;
    stack.push(cpu, &frame, size)?;
    if cpu.state.cpl == 3 {
        coherence::leaves_ring_3(cpu);
    }
    stack.enter(cpu, old_esp);
    cpu.state.seg[SegReg::Cs as usize] = cs;
    cpu.state.cpl = cpl;
    cpu.state.eip = offset;
    Ok(Flow::Jump)
}

/// To another task, by its TSS or a task gate.
fn to_task(
    cpu: &mut Cpu,
    insn: &Instruction,
    found: Found,
    kind: SystemType,
    reason: Reason,
) -> Result<Flow, Exception> {
    let allowed = found.descriptor.dpl() >= cpu.state.cpl.max(found.selector.rpl());
    if !allowed {
        return Err(Exception::gp_sel(found.selector));
    }
    let selector = match kind {
        SystemType::TaskGate => Selector(found.present()?.descriptor.gate_selector()),
        _ => found.selector,
    };
    let task = event::available_task(cpu, selector, Exception::gp_sel)?;
    let flags = cpu.eflags();
    let next = next_eip(cpu, insn);
    event::switch_task(cpu, task, reason, next, flags, None)?;
    Ok(Flow::Jump)
}

fn jump_real(cpu: &mut Cpu, to: &Target) -> Result<Flow, Exception> {
    let cs = if cpu.state.v86() { seg::v86(to.selector.0) } else { seg::real(cpu, SegReg::Cs, to.selector) };
    if to.offset > cs.limit {
        return Err(Exception::gp(0));
    }
    cpu.state.seg[SegReg::Cs as usize] = cs;
    cpu.state.eip = to.offset;
    Ok(Flow::Jump)
}

/// Far RET.
pub(super) fn ret(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = match insn.code() {
        Code::Retfw | Code::Retfw_imm16 => 2,
        _ => 4,
    };
    let release = if insn.op_count() == 0 { 0 } else { u32::from(insn.immediate16()) };
    let offset = peek(cpu, 0, size)?;
    let selector = Selector(peek(cpu, size, size)? as u16);
    if !cpu.state.protected() || cpu.state.v86() {
        let flow = jump_real(cpu, &Target { selector, offset, size })?;
        pop(cpu, 2 * size + release);
        return Ok(flow);
    }
    let code = named(cpu, selector)?;
    let (d, rpl) = (code.descriptor, selector.rpl());
    let fits = if d.is_conforming() { d.dpl() <= rpl } else { d.dpl() == rpl };
    if !d.is_code() || rpl < cpu.state.cpl || !fits {
        return Err(Exception::gp_sel(selector));
    }
    let code = code.present()?;
    let beyond = offset > d.limit();
    if rpl == cpu.state.cpl {
        if beyond {
            return Err(Exception::gp(0));
        }
        cpu.state.seg[SegReg::Cs as usize] = code.load_code(cpu, rpl)?;
        pop(cpu, 2 * size + release);
    } else {
        let esp = peek(cpu, 2 * size + release, size)?;
        let ss = Selector(peek(cpu, 3 * size + release, size)? as u16);
        let ss = seg::find_stack(cpu, ss, rpl, Exception::gp_sel)?;
        if beyond {
            return Err(Exception::gp(0));
        }
        let ss = ss.load(cpu)?;
        cpu.state.seg[SegReg::Cs as usize] = code.load_code(cpu, rpl)?;
        cpu.state.seg[SegReg::Ss as usize] = ss;
        cpu.state.cpl = rpl;
        set_stack_pointer(cpu, esp);
        pop(cpu, release);
        seg::drop_inaccessible(cpu, rpl);
    }
    cpu.state.eip = offset;
    Ok(Flow::Jump)
}

fn pop(cpu: &mut Cpu, bytes: u32) {
    let sp = wrap_stack(cpu, stack_pointer(cpu).wrapping_add(bytes));
    set_stack_pointer(cpu, sp);
}
