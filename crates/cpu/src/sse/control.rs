//! MXCSR, FXSAVE and FXRSTOR, EMMS, fences and prefetches.

use iced_x86::{Instruction, Mnemonic};
use x86::{Cr0, LinearAddr};

use super::{
    access::{Align, address, check_mmx, check_sse},
    mxcsr,
};
use crate::{
    Cpu, Exception, F80,
    engine::mode::Mode,
    fpu,
    mmu::access::{self, View},
    operand,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Ldmxcsr => ldmxcsr,
        Mnemonic::Stmxcsr => stmxcsr,
        Mnemonic::Fxsave => fxsave,
        Mnemonic::Fxrstor => fxrstor,
        Mnemonic::Emms => emms,
        Mnemonic::Lfence
        | Mnemonic::Mfence
        | Mnemonic::Sfence
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2 => |_, _| Ok(Flow::Next),
        _ => return None,
    };
    Some(slow)
}

fn ldmxcsr(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    let value = operand::read_op(cpu, insn, 0)?;
    if value & !mxcsr::MASK != 0 {
        return Err(Exception::gp(0));
    }
    Ok(set_mxcsr(cpu, value))
}

/// The code that follows may have been translated for what governs arithmetic now.
fn set_mxcsr(cpu: &mut Cpu, value: u32) -> Flow {
    let old = std::mem::replace(&mut cpu.state.mxcsr, value);
    if Mode::governed_alike(old, value) { Flow::Next } else { Flow::Leave }
}

fn stmxcsr(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_sse(cpu)?;
    operand::write_op(cpu, insn, 0, cpu.state.mxcsr)?;
    Ok(Flow::Next)
}

fn emms(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    check_mmx(cpu)?;
    cpu.state.fpu.enter_mmx();
    cpu.state.fpu.tag = 0;
    Ok(Flow::Next)
}

/// Bytes of the area that are read and written; the rest is reserved or the software's.
const AREA: usize = 288;
/// All its bytes, which must be accessible.
const WHOLE: u32 = 512;

/// #NM for EM or TS, then alignment (SDM Vol. 2, "FXSAVE").
fn area(cpu: &mut Cpu, insn: &Instruction, write: bool) -> Result<LinearAddr, Exception> {
    if cpu.state.cr0().intersects(Cr0::EM | Cr0::TS) {
        return Err(Exception::nm());
    }
    address(cpu, insn, WHOLE, write, Align::Must)
}

fn fxsave(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let addr = area(cpu, insn, true)?;
    let state = &cpu.state;
    let fpu = &state.fpu;
    let mut image = [0; AREA];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &fpu.control.to_le_bytes());
    put(2, &fpu.status.to_le_bytes());
    put(4, &[fpu.tag]);
    put(6, &fpu.opcode.to_le_bytes());
    put(8, &fpu.ip.to_le_bytes());
    put(12, &fpu.cs.to_le_bytes());
    put(16, &fpu.dp.to_le_bytes());
    put(20, &fpu.ds.to_le_bytes());
    put(24, &state.mxcsr.to_le_bytes());
    put(28, &mxcsr::MASK.to_le_bytes());
    for i in 0..8 {
        let st = fpu.st(i);
        put(32 + 16 * i, &st.significand.to_le_bytes());
        put(40 + 16 * i, &st.sign_exponent.to_le_bytes());
        put(160 + 16 * i, &state.xmm[i].to_le_bytes());
    }
    access::probe_write(cpu, addr, WHOLE, View::Current)?;
    access::write(cpu, addr, &image, View::Current)?;
    Ok(Flow::Next)
}

fn fxrstor(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let addr = area(cpu, insn, false)?;
    let image = access::read::<AREA>(cpu, addr, View::Current)?;
    access::read::<1>(cpu, LinearAddr(addr.0.wrapping_add(WHOLE - 1)), View::Current)?;
    let u16_at = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let new_mxcsr = u32_at(24);
    if new_mxcsr & !mxcsr::MASK != 0 {
        return Err(Exception::gp(0));
    }
    let flow = set_mxcsr(cpu, new_mxcsr);
    let state = &mut cpu.state;
    let fpu = &mut state.fpu;
    fpu.set_control(u16_at(0));
    fpu.set_status(u16_at(2));
    fpu.tag = image[4];
    fpu.opcode = u16_at(6) & 0x7ff;
    fpu.ip = u32_at(8);
    fpu.cs = u16_at(12);
    fpu.dp = u32_at(16);
    fpu.ds = u16_at(20);
    for i in 0..8 {
        fpu.set_st(i, F80 { significand: u64_at(32 + 16 * i), sign_exponent: u16_at(40 + 16 * i) });
        state.xmm[i] = u128::from(u64_at(160 + 16 * i)) | u128::from(u64_at(168 + 16 * i)) << 64;
    }
    fpu::drive_error_pin(cpu);
    Ok(flow)
}
