//! Moves: between registers and memory, halves, masks.

use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use x86::LinearAddr;

use super::{
    access::{
        Align, check_both, check_mmx, check_sse, is_mm, mm, read32, read64, read128, store, with_low32, with_low64,
        xmm_operand,
    },
    lanes,
};
use crate::{
    Cpu, Exception, Gpr,
    mmu::access::{self, View},
    operand,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    if let Some(slow) = lookup_code(insn.code()) {
        return Some(slow);
    }
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Movaps | Mnemonic::Movapd | Mnemonic::Movdqa => |cpu, insn| move128(cpu, insn, Align::Must),
        Mnemonic::Movntps | Mnemonic::Movntpd | Mnemonic::Movntdq | Mnemonic::Movntdqa => {
            |cpu, insn| move128(cpu, insn, Align::Must)
        }
        Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Movdqu | Mnemonic::Lddqu => {
            |cpu, insn| move128(cpu, insn, Align::Any)
        }
        Mnemonic::Movss => movss,
        Mnemonic::Movlps | Mnemonic::Movlpd => |cpu, insn| move_half(cpu, insn, Half::Low),
        Mnemonic::Movhps | Mnemonic::Movhpd => |cpu, insn| move_half(cpu, insn, Half::High),
        Mnemonic::Movhlps => |cpu, insn| between(cpu, insn, |d, s| with_low64(d, (s >> 64) as u64)),
        Mnemonic::Movlhps => |cpu, insn| between(cpu, insn, |d, s| with_low64(s << 64, d as u64)),
        Mnemonic::Movd => movd,
        Mnemonic::Movntq => movq_mm,
        Mnemonic::Movq2dq => movq2dq,
        Mnemonic::Movdq2q => movdq2q,
        Mnemonic::Movnti => movnti,
        Mnemonic::Movmskps => |cpu, insn| mask_of_signs(cpu, insn, signs32),
        Mnemonic::Movmskpd => |cpu, insn| mask_of_signs(cpu, insn, signs64),
        Mnemonic::Pmovmskb => pmovmskb,
        Mnemonic::Maskmovq => |cpu, insn| masked_store(cpu, insn, 8),
        Mnemonic::Maskmovdqu => |cpu, insn| masked_store(cpu, insn, 16),
        _ => return None,
    };
    Some(slow)
}

/// Those whose mnemonic names other instructions too.
fn lookup_code(code: Code) -> Option<Slow> {
    Some(match code {
        Code::Movsd_xmm_xmmm64 | Code::Movsd_xmmm64_xmm => movsd,
        Code::Movq_mm_mmm64 | Code::Movq_mmm64_mm => movq_mm,
        Code::Movq_xmm_xmmm64 | Code::Movq_xmmm64_xmm => movq_xmm,
        _ => return None,
    })
}

fn to_memory(insn: &Instruction) -> bool {
    insn.op_kind(0) == OpKind::Memory
}

fn move128(cpu: &mut Cpu, insn: &Instruction, align: Align) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let value = read128(cpu, insn, 1, align)?;
    if to_memory(insn) {
        store::<16>(cpu, insn, value, align)?;
    } else {
        *xmm_operand(cpu, insn, 0) = value;
    }
    Ok(Flow::Next)
}

/// A register to register merges into the low doubleword; a load clears the rest.
fn movss(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let value = read32(cpu, insn, 1)?;
    if to_memory(insn) {
        store::<4>(cpu, insn, value.into(), Align::Any)?;
    } else {
        let merge = insn.op_kind(1) == OpKind::Register;
        let dst = xmm_operand(cpu, insn, 0);
        *dst = if merge { with_low32(*dst, value) } else { value.into() };
    }
    Ok(Flow::Next)
}

/// As MOVSS, by quadwords.
fn movsd(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let value = read64(cpu, insn, 1)?;
    if to_memory(insn) {
        store::<8>(cpu, insn, value.into(), Align::Any)?;
    } else {
        let merge = insn.op_kind(1) == OpKind::Register;
        let dst = xmm_operand(cpu, insn, 0);
        *dst = if merge { with_low64(*dst, value) } else { value.into() };
    }
    Ok(Flow::Next)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Low,
    High,
}

/// Half a register from or to memory.
fn move_half(cpu: &mut Cpu, insn: &Instruction, half: Half) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    if to_memory(insn) {
        let whole = *xmm_operand(cpu, insn, 1);
        let value = if half == Half::Low { whole } else { whole >> 64 };
        store::<8>(cpu, insn, value, Align::Any)?;
    } else {
        let value = read64(cpu, insn, 1)?;
        let dst = xmm_operand(cpu, insn, 0);
        *dst = match half {
            Half::Low => with_low64(*dst, value),
            Half::High => u128::from(value) << 64 | u128::from(*dst as u64),
        };
    }
    Ok(Flow::Next)
}

fn between(cpu: &mut Cpu, insn: &Instruction, f: impl Fn(u128, u128) -> u128) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let src = *xmm_operand(cpu, insn, 1);
    let dst = xmm_operand(cpu, insn, 0);
    *dst = f(*dst, src);
    Ok(Flow::Next)
}

fn movd(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let mmx = is_mm(insn, 0) || is_mm(insn, 1);
    if mmx {
        check_mmx(cpu)?
    } else {
        check_sse(cpu)?
    }
    let value = read32(cpu, insn, 1)?;
    if is_mm(insn, 0) {
        cpu.state.fpu.set_mmx(mm(insn.op0_register()), value.into());
    } else if insn.op0_register().is_xmm() {
        *xmm_operand(cpu, insn, 0) = value.into();
    } else {
        operand::write_op(cpu, insn, 0, value)?;
        if mmx {
            cpu.state.fpu.enter_mmx();
        }
    }
    Ok(Flow::Next)
}

fn movq_mm(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_mmx(cpu)?;
    let value = read64(cpu, insn, 1)?;
    if to_memory(insn) {
        store::<8>(cpu, insn, value.into(), Align::Any)?;
        cpu.state.fpu.enter_mmx();
    } else {
        cpu.state.fpu.set_mmx(mm(insn.op0_register()), value);
    }
    Ok(Flow::Next)
}

fn movq_xmm(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let value = read64(cpu, insn, 1)?;
    if to_memory(insn) {
        store::<8>(cpu, insn, value.into(), Align::Any)?;
    } else {
        *xmm_operand(cpu, insn, 0) = value.into();
    }
    Ok(Flow::Next)
}

fn movq2dq(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_both(cpu)?;
    let value = read64(cpu, insn, 1)?;
    cpu.state.fpu.enter_mmx();
    *xmm_operand(cpu, insn, 0) = value.into();
    Ok(Flow::Next)
}

fn movdq2q(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_both(cpu)?;
    let value = read64(cpu, insn, 1)?;
    cpu.state.fpu.set_mmx(mm(insn.op0_register()), value);
    Ok(Flow::Next)
}

/// A store from a general-purpose register: no SSE state, so no #NM.
fn movnti(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let value = operand::read_reg(cpu, insn.op1_register());
    operand::write_op(cpu, insn, 0, value)?;
    Ok(Flow::Next)
}

fn mask_of_signs(cpu: &mut Cpu, insn: &Instruction, signs: fn(u128) -> u32) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let value = signs(*xmm_operand(cpu, insn, 1));
    operand::write_reg(cpu, insn.op0_register(), value);
    Ok(Flow::Next)
}

fn signs8(v: u128) -> u32 {
    lanes::bytes(v).iter().rev().fold(0, |mask, lane| mask << 1 | u32::from(lane >> 7))
}

fn signs32(v: u128) -> u32 {
    lanes::dwords(v).iter().rev().fold(0, |mask, lane| mask << 1 | lane >> 31)
}

fn signs64(v: u128) -> u32 {
    lanes::qwords(v).iter().rev().fold(0, |mask, lane| mask << 1 | (lane >> 63) as u32)
}

fn pmovmskb(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    if !is_mm(insn, 1) {
        return mask_of_signs(cpu, insn, signs8);
    }
    check_mmx(cpu)?;
    let value = signs8(read64(cpu, insn, 1)?.into());
    cpu.state.fpu.enter_mmx();
    operand::write_reg(cpu, insn.op0_register(), value);
    Ok(Flow::Next)
}

/// MASKMOVQ and MASKMOVDQU: bytes of the first register whose mask byte has its sign set go to
/// seg:[EDI].
///
/// UNDEFINED: bytes that are masked out raise the faults of an access, as on silicon, to which both
/// are of units of 8 bytes when it checks alignment.
fn masked_store(cpu: &mut Cpu, insn: &Instruction, len: u32) -> Result<Flow, Exception> {
    let mmx = is_mm(insn, 1);
    if mmx {
        check_mmx(cpu)?
    } else {
        check_sse(cpu)?
    }
    let (data, mask) = if mmx {
        (u128::from(read64(cpu, insn, 1)?), u128::from(read64(cpu, insn, 2)?))
    } else {
        (*xmm_operand(cpu, insn, 1), *xmm_operand(cpu, insn, 2))
    };
    let chosen = signs8(mask);
    let edi = cpu.state.gpr(Gpr::Edi);
    let wide = insn.op0_kind() == OpKind::MemorySegEDI;
    let seg = operand::seg_reg(insn.memory_segment());
    let offset = if wide { edi } else { edi & 0xffff };
    let addr = operand::segment_linear(cpu, seg, offset, len, 8, true)?;
    access::probe_write(cpu, addr, len, View::Current)?;
    for i in (0..len).filter(|i| chosen >> i & 1 != 0) {
        let byte = lanes::bytes(data)[i as usize];
        access::write(cpu, LinearAddr(addr.0.wrapping_add(i)), &[byte], View::Current)?;
    }
    if mmx {
        cpu.state.fpu.enter_mmx();
    }
    Ok(Flow::Next)
}
