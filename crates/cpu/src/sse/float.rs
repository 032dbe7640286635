//! Packed and scalar floating-point arithmetic and comparison.

use iced_x86::{Code, Instruction, Mnemonic};
use x86::Eflags;

use super::{
    access::{Align, check_sse, read32, read64, read128, xmm_operand},
    approximate, arith,
    mxcsr::{self, Control, Flags},
};
use crate::{
    Cpu, Exception,
    slow::{Flow, Slow},
};

/// The format and number of an instruction's lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lanes {
    Ps,
    Ss,
    Pd,
    Sd,
}

/// Operand `index`, as wide as the lanes are.
pub(super) fn read(cpu: &mut Cpu, insn: &Instruction, index: u32, lanes: Lanes) -> Result<u128, Exception> {
    Ok(match lanes {
        Lanes::Ps | Lanes::Pd => read128(cpu, insn, index, Align::Must)?,
        Lanes::Ss => read32(cpu, insn, index)?.into(),
        Lanes::Sd => read64(cpu, insn, index)?.into(),
    })
}

type Binary = fn(u128, u128, Control) -> (u128, Flags);

/// `dst = dst op src`; exceptions before the result is committed.
pub(super) fn binary(cpu: &mut Cpu, insn: &Instruction, lanes: Lanes, op: Binary) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = read(cpu, insn, 1, lanes)?;
    let dst = *xmm_operand(cpu, insn, 0);
    let (result, flags) = op(dst, src, Control::of_mxcsr(cpu.state.mxcsr));
    mxcsr::raise(cpu, flags)?;
    *xmm_operand(cpu, insn, 0) = result;
    Ok(Flow::Next)
}

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    if insn.code() == Code::Cmpsd_xmm_xmmm64_imm8 {
        return Some(|c, i| compare(c, i, Lanes::Sd, arith::cmpsd));
    }
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Addps => |c, i| binary(c, i, Lanes::Ps, arith::addps),
        Mnemonic::Addss => |c, i| binary(c, i, Lanes::Ss, arith::addss),
        Mnemonic::Addpd => |c, i| binary(c, i, Lanes::Pd, arith::addpd),
        Mnemonic::Addsd => |c, i| binary(c, i, Lanes::Sd, arith::addsd),
        Mnemonic::Subps => |c, i| binary(c, i, Lanes::Ps, arith::subps),
        Mnemonic::Subss => |c, i| binary(c, i, Lanes::Ss, arith::subss),
        Mnemonic::Subpd => |c, i| binary(c, i, Lanes::Pd, arith::subpd),
        Mnemonic::Subsd => |c, i| binary(c, i, Lanes::Sd, arith::subsd),
        Mnemonic::Mulps => |c, i| binary(c, i, Lanes::Ps, arith::mulps),
        Mnemonic::Mulss => |c, i| binary(c, i, Lanes::Ss, arith::mulss),
        Mnemonic::Mulpd => |c, i| binary(c, i, Lanes::Pd, arith::mulpd),
        Mnemonic::Mulsd => |c, i| binary(c, i, Lanes::Sd, arith::mulsd),
        Mnemonic::Divps => |c, i| binary(c, i, Lanes::Ps, arith::divps),
        Mnemonic::Divss => |c, i| binary(c, i, Lanes::Ss, arith::divss),
        Mnemonic::Divpd => |c, i| binary(c, i, Lanes::Pd, arith::divpd),
        Mnemonic::Divsd => |c, i| binary(c, i, Lanes::Sd, arith::divsd),
        Mnemonic::Minps => |c, i| binary(c, i, Lanes::Ps, arith::minps),
        Mnemonic::Minss => |c, i| binary(c, i, Lanes::Ss, arith::minss),
        Mnemonic::Minpd => |c, i| binary(c, i, Lanes::Pd, arith::minpd),
        Mnemonic::Minsd => |c, i| binary(c, i, Lanes::Sd, arith::minsd),
        Mnemonic::Maxps => |c, i| binary(c, i, Lanes::Ps, arith::maxps),
        Mnemonic::Maxss => |c, i| binary(c, i, Lanes::Ss, arith::maxss),
        Mnemonic::Maxpd => |c, i| binary(c, i, Lanes::Pd, arith::maxpd),
        Mnemonic::Maxsd => |c, i| binary(c, i, Lanes::Sd, arith::maxsd),
        Mnemonic::Sqrtps => |c, i| binary(c, i, Lanes::Ps, arith::sqrtps),
        Mnemonic::Sqrtss => |c, i| binary(c, i, Lanes::Ss, arith::sqrtss),
        Mnemonic::Sqrtpd => |c, i| binary(c, i, Lanes::Pd, arith::sqrtpd),
        Mnemonic::Sqrtsd => |c, i| binary(c, i, Lanes::Sd, arith::sqrtsd),
        Mnemonic::Rcpps => |c, i| binary(c, i, Lanes::Ps, approximate::rcpps),
        Mnemonic::Rcpss => |c, i| binary(c, i, Lanes::Ss, approximate::rcpss),
        Mnemonic::Rsqrtps => |c, i| binary(c, i, Lanes::Ps, approximate::rsqrtps),
        Mnemonic::Rsqrtss => |c, i| binary(c, i, Lanes::Ss, approximate::rsqrtss),
        Mnemonic::Cmpps => |c, i| compare(c, i, Lanes::Ps, arith::cmpps),
        Mnemonic::Cmpss => |c, i| compare(c, i, Lanes::Ss, arith::cmpss),
        Mnemonic::Cmppd => |c, i| compare(c, i, Lanes::Pd, arith::cmppd),
        Mnemonic::Comiss => |c, i| ordered(c, i, Lanes::Ss, arith::comiss),
        Mnemonic::Ucomiss => |c, i| ordered(c, i, Lanes::Ss, arith::ucomiss),
        Mnemonic::Comisd => |c, i| ordered(c, i, Lanes::Sd, arith::comisd),
        Mnemonic::Ucomisd => |c, i| ordered(c, i, Lanes::Sd, arith::ucomisd),
        _ => return None,
    };
    Some(slow)
}

fn compare(
    cpu: &mut Cpu,
    insn: &Instruction,
    lanes: Lanes,
    op: fn(u128, u128, u8, Control) -> (u128, Flags),
) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = read(cpu, insn, 1, lanes)?;
    let dst = *xmm_operand(cpu, insn, 0);
    let (result, flags) = op(dst, src, insn.immediate8(), Control::of_mxcsr(cpu.state.mxcsr));
    mxcsr::raise(cpu, flags)?;
    *xmm_operand(cpu, insn, 0) = result;
    Ok(Flow::Next)
}

/// COMISS and its kin: ZF, PF and CF tell the order; OF, SF and AF are cleared.
fn ordered(
    cpu: &mut Cpu,
    insn: &Instruction,
    lanes: Lanes,
    op: fn(u128, u128, Control) -> (u32, Flags),
) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let b = read(cpu, insn, 1, lanes)?;
    let a = *xmm_operand(cpu, insn, 0);
    let (order, flags) = op(a, b, Control::of_mxcsr(cpu.state.mxcsr));
    mxcsr::raise(cpu, flags)?;
    let kept = cpu.eflags() & !Eflags::STATUS;
    cpu.set_eflags(kept | Eflags::from_bits_retain(order));
    Ok(Flow::Next)
}
