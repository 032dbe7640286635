//! MOV, MOVZX, MOVSX, LEA, XCHG, BSWAP, CMOVcc, SETcc, sign extensions, XLAT, flag bits, NOP.

use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, Register};
use x86::Eflags;

use super::{by_width, place::Place};
use crate::{
    Cpu, Exception, Gpr,
    alu::{Flags, Word},
    operand,
    slow::{Flow, Slow},
};

pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    Some(match insn.mnemonic() {
        Mnemonic::Mov if (0..2).all(|n| is_integer(insn, n)) => mov,
        Mnemonic::Movzx => mov,
        Mnemonic::Movsx => movsx,
        Mnemonic::Lea => lea,
        Mnemonic::Xchg => |cpu, insn| by_width!(operand::op_size(insn, 0), xchg(cpu, insn)),
        Mnemonic::Bswap => bswap,
        Mnemonic::Movbe => movbe,
        Mnemonic::Cbw | Mnemonic::Cwde | Mnemonic::Cwd | Mnemonic::Cdq => extend,
        Mnemonic::Xlatb => xlat,
        Mnemonic::Salc => salc,
        Mnemonic::Lahf | Mnemonic::Sahf => low_flags,
        Mnemonic::Clc | Mnemonic::Stc | Mnemonic::Cmc | Mnemonic::Cld | Mnemonic::Std => flag,
        Mnemonic::Nop | Mnemonic::Endbr32 | Mnemonic::Endbr64 => |_, _| Ok(Flow::Next),
        Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Prefetch
        | Mnemonic::Prefetchw
        | Mnemonic::Reservednop => |_, _| Ok(Flow::Next),
        _ if insn.is_jcc_short_or_near() => return None,
        mnemonic if is_set(mnemonic) => set,
        mnemonic if is_cmov(mnemonic) => cmov,
        _ => return None,
    })
}

/// An immediate, a general-purpose register or memory.
fn is_integer(insn: &Instruction, index: u32) -> bool {
    let register = insn.op_register(index);
    insn.op_kind(index) != OpKind::Register || register.is_gpr8() || register.is_gpr16() || register.is_gpr32()
}

fn is_set(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Seto
            | M::Setno
            | M::Setb
            | M::Setae
            | M::Sete
            | M::Setne
            | M::Setbe
            | M::Seta
            | M::Sets
            | M::Setns
            | M::Setp
            | M::Setnp
            | M::Setl
            | M::Setge
            | M::Setle
            | M::Setg
    )
}

fn is_cmov(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Cmovo
            | M::Cmovno
            | M::Cmovb
            | M::Cmovae
            | M::Cmove
            | M::Cmovne
            | M::Cmovbe
            | M::Cmova
            | M::Cmovs
            | M::Cmovns
            | M::Cmovp
            | M::Cmovnp
            | M::Cmovl
            | M::Cmovge
            | M::Cmovle
            | M::Cmovg
    )
}

/// Whether `flags` meet a condition (SDM Vol. 1, "EFLAGS Condition Codes").
pub(super) fn met(code: ConditionCode, flags: Flags) -> bool {
    use ConditionCode as C;
    match code {
        C::None => true,
        C::o => flags.of,
        C::no => !flags.of,
        C::b => flags.cf,
        C::ae => !flags.cf,
        C::e => flags.zf,
        C::ne => !flags.zf,
        C::be => flags.cf || flags.zf,
        C::a => !(flags.cf || flags.zf),
        C::s => flags.sf,
        C::ns => !flags.sf,
        C::p => flags.pf,
        C::np => !flags.pf,
        C::l => flags.sf != flags.of,
        C::ge => flags.sf == flags.of,
        C::le => flags.zf || flags.sf != flags.of,
        C::g => !flags.zf && flags.sf == flags.of,
    }
}

/// MOV of integers; MOVZX too, because operands come zero-extended.
fn mov(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let value = operand::read_op(cpu, insn, 1)?;
    operand::write_op(cpu, insn, 0, value)?;
    Ok(Flow::Next)
}

fn movsx(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let value = operand::read_op(cpu, insn, 1)?;
    let unused = 32 - 8 * operand::op_size(insn, 1);
    operand::write_op(cpu, insn, 0, ((value << unused) as i32 >> unused) as u32)?;
    Ok(Flow::Next)
}

fn lea(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let (_, offset) = operand::effective_address(cpu, insn);
    operand::write_op(cpu, insn, 0, offset)?;
    Ok(Flow::Next)
}

fn xchg<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let (first, second) = (Place::read_write::<W>(cpu, insn, 0)?, Place::read_write::<W>(cpu, insn, 1)?);
    let (a, b) = (first.get::<W>(cpu)?, second.get::<W>(cpu)?);
    first.set(cpu, b)?;
    second.set(cpu, a)?;
    // Who finds in memory what it brings, and not 0, most likely tries to take a lock that another CPU holds.
    let in_vain = a == b && a != W::ZERO && (0..2).any(|n| insn.op_kind(n) == OpKind::Memory);
    Ok(if in_vain { cpu.wait_for_others() } else { Flow::Next })
}

fn movbe(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let value = operand::read_op(cpu, insn, 1)?;
    let swapped = value.swap_bytes() >> (32 - 8 * operand::op_size(insn, 0));
    operand::write_op(cpu, insn, 0, swapped)?;
    Ok(Flow::Next)
}

/// UNDEFINED: with a 16-bit operand the register becomes 0.
fn bswap(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let register = insn.op0_register();
    let value = operand::read_reg(cpu, register);
    operand::write_reg(cpu, register, if register.is_gpr32() { value.swap_bytes() } else { 0 });
    Ok(Flow::Next)
}

fn extend(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let eax = cpu.state.gpr(Gpr::Eax);
    let (register, value) = match insn.mnemonic() {
        Mnemonic::Cbw => (Register::AX, eax as i8 as u32),
        Mnemonic::Cwde => (Register::EAX, eax as i16 as u32),
        Mnemonic::Cwd => (Register::DX, ((eax as i16) >> 15) as u32),
        _ => (Register::EDX, ((eax as i32) >> 31) as u32),
    };
    operand::write_reg(cpu, register, value);
    Ok(Flow::Next)
}

fn xlat(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let seg = operand::seg_reg(insn.memory_segment());
    let base = operand::read_reg(cpu, insn.memory_base());
    let offset = base.wrapping_add(cpu.state.gpr(Gpr::Eax) & 0xff);
    let offset = if insn.memory_base() == Register::BX { offset & 0xffff } else { offset };
    let addr = operand::segment_linear(cpu, seg, offset, 1, 1, false)?;
    let value = operand::read_sized(cpu, addr, 1)?;
    operand::write_reg(cpu, Register::AL, value);
    Ok(Flow::Next)
}

fn salc(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    let value = if cpu.flags().cf { 0xff } else { 0 };
    operand::write_reg(cpu, Register::AL, value);
    Ok(Flow::Next)
}

fn low_flags(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let eflags = cpu.eflags();
    if insn.mnemonic() == Mnemonic::Lahf {
        operand::write_reg(cpu, Register::AH, eflags.bits() & 0xff);
    } else {
        let low = Eflags::CF | Eflags::PF | Eflags::AF | Eflags::ZF | Eflags::SF;
        let ah = Eflags::from_bits_retain(operand::read_reg(cpu, Register::AH));
        cpu.set_eflags((eflags - low) | (ah & low));
    }
    Ok(Flow::Next)
}

fn flag(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let eflags = cpu.eflags();
    cpu.set_eflags(match insn.mnemonic() {
        Mnemonic::Clc => eflags - Eflags::CF,
        Mnemonic::Stc => eflags | Eflags::CF,
        Mnemonic::Cmc => eflags ^ Eflags::CF,
        Mnemonic::Cld => eflags - Eflags::DF,
        _ => eflags | Eflags::DF,
    });
    Ok(Flow::Next)
}

fn set(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let value = met(insn.condition_code(), cpu.flags());
    operand::write_op(cpu, insn, 0, value.into())?;
    Ok(Flow::Next)
}

/// The source is read, and may fault, whatever the condition.
fn cmov(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let value = operand::read_op(cpu, insn, 1)?;
    if met(insn.condition_code(), cpu.flags()) {
        operand::write_op(cpu, insn, 0, value)?;
    }
    Ok(Flow::Next)
}
