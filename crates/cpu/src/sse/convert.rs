//! Conversions between floating-point formats and integers.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::{
    access::{Align, check_both, check_sse, mm, read32, read64, read128, with_low64, xmm_operand},
    arith,
    float::{Lanes, binary, read},
    mxcsr::{self, Control, Flags},
};
use crate::{
    Cpu, Exception, operand,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Cvtss2sd => |c, i| scalar(c, i, Lanes::Ss, arith::cvtss2sd),
        Mnemonic::Cvtsd2ss => |c, i| scalar(c, i, Lanes::Sd, arith::cvtsd2ss),
        Mnemonic::Cvtpd2ps => |c, i| binary(c, i, Lanes::Pd, arith::cvtpd2ps),
        Mnemonic::Cvtps2pd => |c, i| whole(c, i, Width::Half, arith::cvtps2pd),
        Mnemonic::Cvtdq2pd => |c, i| whole(c, i, Width::Half, arith::cvtdq2pd),
        Mnemonic::Cvtdq2ps => |c, i| whole(c, i, Width::Full, arith::cvtdq2ps),
        Mnemonic::Cvtps2dq => |c, i| whole(c, i, Width::Full, arith::cvtps2dq),
        Mnemonic::Cvttps2dq => |c, i| whole(c, i, Width::Full, arith::cvttps2dq),
        Mnemonic::Cvtpd2dq => |c, i| whole(c, i, Width::Full, arith::cvtpd2dq),
        Mnemonic::Cvttpd2dq => |c, i| whole(c, i, Width::Full, arith::cvttpd2dq),
        Mnemonic::Cvtsi2ss => cvtsi2ss,
        Mnemonic::Cvtsi2sd => cvtsi2sd,
        Mnemonic::Cvtss2si => |c, i| to_gpr(c, i, Lanes::Ss, arith::cvtss2si),
        Mnemonic::Cvttss2si => |c, i| to_gpr(c, i, Lanes::Ss, arith::cvttss2si),
        Mnemonic::Cvtsd2si => |c, i| to_gpr(c, i, Lanes::Sd, arith::cvtsd2si),
        Mnemonic::Cvttsd2si => |c, i| to_gpr(c, i, Lanes::Sd, arith::cvttsd2si),
        Mnemonic::Cvtpi2ps => cvtpi2ps,
        Mnemonic::Cvtpi2pd => cvtpi2pd,
        Mnemonic::Cvtps2pi => |c, i| to_mmx(c, i, Width::Half, arith::cvtps2dq),
        Mnemonic::Cvttps2pi => |c, i| to_mmx(c, i, Width::Half, arith::cvttps2dq),
        Mnemonic::Cvtpd2pi => |c, i| to_mmx(c, i, Width::Full, arith::cvtpd2dq),
        Mnemonic::Cvttpd2pi => |c, i| to_mmx(c, i, Width::Full, arith::cvttpd2dq),
        _ => return None,
    };
    Some(slow)
}

/// How much of a source operand is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Width {
    /// 8 bytes, of any alignment.
    Half,
    /// 16 bytes, aligned.
    Full,
}

fn source(cpu: &mut Cpu, insn: &Instruction, width: Width) -> Result<u128, Exception> {
    Ok(match width {
        Width::Half => read64(cpu, insn, 1)?.into(),
        Width::Full => read128(cpu, insn, 1, Align::Must)?,
    })
}

/// The control that the guest's MXCSR sets.
fn control(cpu: &Cpu) -> Control {
    Control::of_mxcsr(cpu.state.mxcsr)
}

/// Between the scalar formats; the rest of the destination stays.
fn scalar(
    cpu: &mut Cpu,
    insn: &Instruction,
    lanes: Lanes,
    op: fn(u128, u128, Control) -> (u128, Flags),
) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = read(cpu, insn, 1, lanes)?;
    let dst = *xmm_operand(cpu, insn, 0);
    let (result, flags) = op(dst, src, control(cpu));
    mxcsr::raise(cpu, flags)?;
    *xmm_operand(cpu, insn, 0) = result;
    Ok(Flow::Next)
}

/// A whole register from the source alone.
fn whole(
    cpu: &mut Cpu,
    insn: &Instruction,
    width: Width,
    op: fn(u128, u128, Control) -> (u128, Flags),
) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = source(cpu, insn, width)?;
    let (result, flags) = op(0, src, control(cpu));
    mxcsr::raise(cpu, flags)?;
    *xmm_operand(cpu, insn, 0) = result;
    Ok(Flow::Next)
}

fn cvtsi2ss(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = read32(cpu, insn, 1)?;
    let (single, flags) = arith::cvtdq2ps(0, src.into(), control(cpu));
    mxcsr::raise(cpu, flags)?;
    let dst = xmm_operand(cpu, insn, 0);
    *dst = *dst & !0xffff_ffff | single & 0xffff_ffff;
    Ok(Flow::Next)
}

fn cvtsi2sd(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = read32(cpu, insn, 1)?;
    let (double, _) = arith::cvtdq2pd(0, src.into(), control(cpu)); // always exact
    let dst = xmm_operand(cpu, insn, 0);
    *dst = with_low64(*dst, double as u64);
    Ok(Flow::Next)
}

fn to_gpr(
    cpu: &mut Cpu,
    insn: &Instruction,
    lanes: Lanes,
    op: fn(u128, Control) -> (u32, Flags),
) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = read(cpu, insn, 1, lanes)?;
    let (result, flags) = op(src, control(cpu));
    mxcsr::raise(cpu, flags)?;
    operand::write_reg(cpu, insn.op0_register(), result);
    Ok(Flow::Next)
}

/// The source of CVTPI2PS and CVTPI2PD. From memory it does not touch the MMX state.
fn mmx_source(cpu: &mut Cpu, insn: &Instruction) -> Result<u128, Exception> {
    if insn.op1_kind() != OpKind::Register {
        check_sse(cpu)?;
        return Ok(read64(cpu, insn, 1)?.into());
    }
    check_both(cpu)?;
    let src = read64(cpu, insn, 1)?;
    cpu.state.fpu.enter_mmx();
    Ok(src.into())
}

fn cvtpi2ps(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let src = mmx_source(cpu, insn)?;
    let (singles, flags) = arith::cvtdq2ps(0, src, control(cpu));
    mxcsr::raise(cpu, flags)?;
    let dst = xmm_operand(cpu, insn, 0);
    *dst = with_low64(*dst, singles as u64);
    Ok(Flow::Next)
}

fn cvtpi2pd(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let src = mmx_source(cpu, insn)?;
    let (doubles, _) = arith::cvtdq2pd(0, src, control(cpu)); // always exact
    *xmm_operand(cpu, insn, 0) = doubles;
    Ok(Flow::Next)
}

/// The registers become MMX's even if an exception keeps the result back.
fn to_mmx(
    cpu: &mut Cpu,
    insn: &Instruction,
    width: Width,
    op: fn(u128, u128, Control) -> (u128, Flags),
) -> Result<Flow, Exception> {
    check_both(cpu)?;
    let src = source(cpu, insn, width)?;
    let (result, flags) = op(0, src, control(cpu));
    cpu.state.fpu.enter_mmx();
    mxcsr::raise(cpu, flags)?;
    cpu.state.fpu.set_mmx(mm(insn.op0_register()), result as u64);
    Ok(Flow::Next)
}
