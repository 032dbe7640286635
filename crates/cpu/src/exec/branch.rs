//! Near jumps, calls and returns; Jcc, LOOP, JCXZ.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use x86::SegReg;

use super::data::met;
use crate::{
    Cpu, Exception, operand,
    slow::{Flow, Slow},
};

pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    if insn.is_jcc_short_or_near() {
        return Some(jcc);
    }
    let near = insn.is_jmp_short_or_near()
        || insn.is_call_near()
        || insn.is_jmp_near_indirect()
        || insn.is_call_near_indirect();
    Some(match insn.mnemonic() {
        Mnemonic::Jmp if near => jmp,
        Mnemonic::Call if near => call,
        Mnemonic::Ret => ret,
        Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne => loop_,
        Mnemonic::Jcxz | Mnemonic::Jecxz => jcxz,
        _ => return None,
    })
}

/// Goes to offset `eip` in CS, unless it lies beyond the limit.
fn jump(cpu: &mut Cpu, eip: u32) -> Result<Flow, Exception> {
    check_target(cpu, eip)?;
    cpu.state.eip = eip;
    Ok(Flow::Jump)
}

fn check_target(cpu: &Cpu, eip: u32) -> Result<(), Exception> {
    if eip > cpu.state.seg(SegReg::Cs).limit { Err(Exception::gp(0)) } else { Ok(()) }
}

/// Where a direct or an indirect branch leads.
fn target(cpu: &mut Cpu, insn: &Instruction) -> Result<u32, Exception> {
    match insn.op0_kind() {
        OpKind::NearBranch16 => Ok(insn.near_branch16().into()),
        OpKind::NearBranch32 => Ok(insn.near_branch32()),
        _ => operand::read_op(cpu, insn, 0),
    }
}

fn jcc(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    if !met(insn.condition_code(), cpu.flags()) {
        return Ok(Flow::Next);
    }
    jmp(cpu, insn)
}

fn jmp(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let eip = target(cpu, insn)?;
    jump(cpu, eip)
}

fn call(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let eip = target(cpu, insn)?;
    check_target(cpu, eip)?;
    let size = operand_size(insn);
    operand::push(cpu, insn.next_ip32(), size)?;
    cpu.state.eip = eip;
    Ok(Flow::Jump)
}

/// Bytes of the return address.
fn operand_size(insn: &Instruction) -> u32 {
    use iced_x86::Code;
    match insn.code() {
        Code::Call_rel16 | Code::Call_rm16 | Code::Retnw | Code::Retnw_imm16 => 2,
        _ => 4,
    }
}

fn ret(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = operand_size(insn);
    let eip = operand::peek(cpu, 0, size)?;
    check_target(cpu, eip)?;
    let release = if insn.op_count() == 1 { insn.immediate16().into() } else { 0 };
    let sp = operand::stack_pointer(cpu).wrapping_add(size).wrapping_add(release);
    operand::set_stack_pointer(cpu, sp);
    cpu.state.eip = eip;
    Ok(Flow::Jump)
}

/// The count register of LOOP and JCXZ, by the address size.
fn counter(insn: &Instruction) -> Register {
    use iced_x86::Code as C;
    match insn.code() {
        C::Loop_rel8_16_CX
        | C::Loop_rel8_32_CX
        | C::Loope_rel8_16_CX
        | C::Loope_rel8_32_CX
        | C::Loopne_rel8_16_CX
        | C::Loopne_rel8_32_CX
        | C::Jcxz_rel8_16
        | C::Jcxz_rel8_32 => Register::CX,
        _ => Register::ECX,
    }
}

fn loop_(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let register = counter(insn);
    let mask = if register == Register::CX { 0xffff } else { !0 };
    let count = operand::read_reg(cpu, register).wrapping_sub(1) & mask;
    let zf = cpu.flags().zf;
    let taken = count != 0
        && match insn.mnemonic() {
            Mnemonic::Loope => zf,
            Mnemonic::Loopne => !zf,
            _ => true,
        };
    let flow = if taken { jmp(cpu, insn)? } else { Flow::Next };
    operand::write_reg(cpu, register, count);
    Ok(flow)
}

fn jcxz(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    if operand::read_reg(cpu, counter(insn)) == 0 { jmp(cpu, insn) } else { Ok(Flow::Next) }
}
