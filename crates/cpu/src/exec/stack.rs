//! PUSH, POP, PUSHA, POPA, ENTER, LEAVE.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};
use x86::SegReg;

use crate::{
    Cpu, Exception, Gpr,
    mmu::access::{self, View},
    operand,
    slow::{Flow, Slow},
};

pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let segment = insn.op0_kind() == OpKind::Register && insn.op0_register().is_segment_register();
    Some(match insn.mnemonic() {
        Mnemonic::Push if !segment => push,
        Mnemonic::Pop if !segment => pop,
        Mnemonic::Pusha | Mnemonic::Pushad => pusha,
        Mnemonic::Popa | Mnemonic::Popad => popa,
        Mnemonic::Enter => enter,
        Mnemonic::Leave => leave,
        _ => return None,
    })
}

fn push(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let (value, size) = match insn.op0_kind() {
        OpKind::Immediate8to16 => (insn.immediate8to16() as u32, 2),
        OpKind::Immediate16 => (insn.immediate16().into(), 2),
        OpKind::Immediate8to32 => (insn.immediate8to32() as u32, 4),
        OpKind::Immediate32 => (insn.immediate32(), 4),
        _ => (operand::read_op(cpu, insn, 0)?, operand::op_size(insn, 0)),
    };
    operand::push(cpu, value, size)?;
    Ok(Flow::Next)
}

/// The operand's address is worked out with the stack pointer already moved.
fn pop(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = operand::op_size(insn, 0);
    let value = operand::peek(cpu, 0, size)?;
    let esp = cpu.state.gpr(Gpr::Esp);
    let sp = operand::stack_pointer(cpu).wrapping_add(size);
    operand::set_stack_pointer(cpu, sp);
    if let Err(exception) = operand::write_op(cpu, insn, 0, value) {
        cpu.state.set_gpr(Gpr::Esp, esp);
        return Err(exception);
    }
    Ok(Flow::Next)
}

const ORDER: [Gpr; 8] = [Gpr::Eax, Gpr::Ecx, Gpr::Edx, Gpr::Ebx, Gpr::Esp, Gpr::Ebp, Gpr::Esi, Gpr::Edi];

fn pusha(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = if insn.mnemonic() == Mnemonic::Pusha { 2 } else { 4 };
    let top = operand::stack_pointer(cpu);
    let mut places = [x86::LinearAddr(0); 8];
    for (place, depth) in places.iter_mut().zip(1..) {
        let offset = operand::wrap_stack(cpu, top.wrapping_sub(depth * size));
        *place = operand::segment_linear(cpu, SegReg::Ss, offset, size, size, true)?;
        access::probe_write(cpu, *place, size, View::Current)?;
    }
    for (place, register) in places.into_iter().zip(ORDER) {
        operand::write_sized(cpu, place, size, cpu.state.gpr(register))?;
    }
    operand::set_stack_pointer(cpu, top.wrapping_sub(8 * size));
    Ok(Flow::Next)
}

fn popa(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = if insn.mnemonic() == Mnemonic::Popa { 2 } else { 4 };
    let mut values = [0; 8];
    for (value, depth) in values.iter_mut().zip(0..) {
        *value = operand::peek(cpu, depth * size, size)?;
    }
    for (value, register) in values.into_iter().rev().zip(ORDER) {
        let old = cpu.state.gpr(register);
        let value = if size == 2 { old & 0xffff_0000 | value } else { value };
        if register != Gpr::Esp {
            cpu.state.set_gpr(register, value);
        }
    }
    let sp = operand::stack_pointer(cpu).wrapping_add(8 * size);
    operand::set_stack_pointer(cpu, sp);
    Ok(Flow::Next)
}

/// SDM Vol. 2, "ENTER—Make Stack Frame for Procedure Parameters".
fn enter(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = if insn.code() == Code::Enterw_imm16_imm8 { 2 } else { 4 };
    let (locals, level) = (u32::from(insn.immediate16()), u32::from(insn.immediate8_2nd()) % 32);
    let esp = cpu.state.gpr(Gpr::Esp);
    let result = make_frame(cpu, size, locals, level);
    if result.is_err() {
        cpu.state.set_gpr(Gpr::Esp, esp);
    }
    result
}

fn make_frame(cpu: &mut Cpu, size: u32, locals: u32, level: u32) -> Result<Flow, Exception> {
    let ebp = cpu.state.gpr(Gpr::Ebp);
    operand::push(cpu, ebp, size)?;
    let frame = cpu.state.gpr(Gpr::Esp);
    for n in 1..level {
        let offset = operand::wrap_stack(cpu, ebp.wrapping_sub(n * size));
        let addr = operand::segment_linear(cpu, SegReg::Ss, offset, size, size, false)?;
        let value = operand::read_sized(cpu, addr, size)?;
        operand::push(cpu, value, size)?;
    }
    if level > 0 {
        operand::push(cpu, frame, size)?;
    }
    let sp = operand::wrap_stack(cpu, operand::stack_pointer(cpu).wrapping_sub(locals));
    // A later push at the new top must not fault for a missing page.
    let top = operand::segment_linear(cpu, SegReg::Ss, sp, size, 1, true)?;
    access::probe_write(cpu, top, size, View::Current)?;
    operand::set_stack_pointer(cpu, sp);
    operand::write_reg(cpu, if size == 2 { Register::BP } else { Register::EBP }, frame);
    Ok(Flow::Next)
}

fn leave(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = if insn.code() == Code::Leavew { 2 } else { 4 };
    let base = operand::wrap_stack(cpu, cpu.state.gpr(Gpr::Ebp));
    let addr = operand::segment_linear(cpu, SegReg::Ss, base, size, size, false)?;
    let value = operand::read_sized(cpu, addr, size)?;
    operand::set_stack_pointer(cpu, base.wrapping_add(size));
    operand::write_reg(cpu, if size == 2 { Register::BP } else { Register::EBP }, value);
    Ok(Flow::Next)
}
