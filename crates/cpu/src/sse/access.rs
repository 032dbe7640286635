//! What every MMX and SSE instruction does first: is it allowed, and what are its operands.

use iced_x86::{Instruction, OpKind, Register};
use x86::{Cr0, Cr4, LinearAddr};

use crate::{
    Cpu, Exception, fpu,
    mmu::access::{self, View},
    operand,
};

/// Whether a 16-byte memory operand must be aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Align {
    /// #GP(0) if it is not.
    Must,
    /// It need not.
    Any,
}

/// SSE instructions that touch XMM registers or MXCSR (SDM Vol. 3A, "Enabling SSE Instructions").
pub(super) fn check_sse(cpu: &Cpu) -> Result<(), Exception> {
    let cr0 = cpu.state.cr0();
    if cr0.contains(Cr0::EM) || !cpu.state.cr4().contains(Cr4::OSFXSR) {
        return Err(Exception::ud());
    }
    if cr0.contains(Cr0::TS) {
        return Err(Exception::nm());
    }
    Ok(())
}

/// Instructions that touch MMX registers (SDM Vol. 3A, "Emulation of the MMX Instruction Set").
pub(super) fn check_mmx(cpu: &mut Cpu) -> Result<(), Exception> {
    let cr0 = cpu.state.cr0();
    if cr0.contains(Cr0::EM) {
        return Err(Exception::ud());
    }
    if cr0.contains(Cr0::TS) {
        return Err(Exception::nm());
    }
    fpu::check_pending(cpu)
}

/// Instructions that touch both.
pub(super) fn check_both(cpu: &mut Cpu) -> Result<(), Exception> {
    check_sse(cpu)?;
    check_mmx(cpu)
}

/// Number of an XMM register.
pub(super) fn xmm(reg: Register) -> usize {
    debug_assert!(reg.is_xmm());
    (reg as usize - Register::XMM0 as usize) & 7
}

/// Number of an MMX register.
pub(super) fn mm(reg: Register) -> usize {
    debug_assert!(reg.is_mm());
    (reg as usize - Register::MM0 as usize) & 7
}

/// Whether operand `index` is a register of the MMX file.
pub(super) fn is_mm(insn: &Instruction, index: u32) -> bool {
    insn.op_kind(index) == OpKind::Register && insn.op_register(index).is_mm()
}

fn is_register(insn: &Instruction, index: u32) -> bool {
    insn.op_kind(index) == OpKind::Register
}

/// The linear address of a memory operand of `len` bytes.
pub(super) fn address(
    cpu: &mut Cpu,
    insn: &Instruction,
    len: u32,
    write: bool,
    align: Align,
) -> Result<LinearAddr, Exception> {
    if align == Align::Must {
        // Before #SS of the limit and before #AC.
        let (reg, offset) = operand::effective_address(cpu, insn);
        if cpu.state.seg(reg).base.wrapping_add(offset) & 15 != 0 {
            return Err(Exception::gp(0));
        }
    }
    operand::linear(cpu, insn, len, write)
}

/// `N` bytes of memory, zero-extended.
fn load<const N: usize>(cpu: &mut Cpu, insn: &Instruction, align: Align) -> Result<u128, Exception> {
    let addr = address(cpu, insn, N as u32, false, align)?;
    let mut bytes = [0; 16];
    bytes[..N].copy_from_slice(&access::read::<N>(cpu, addr, View::Current)?);
    Ok(u128::from_le_bytes(bytes))
}

/// The low `N` bytes of `value` to memory.
pub(super) fn store<const N: usize>(
    cpu: &mut Cpu,
    insn: &Instruction,
    value: u128,
    align: Align,
) -> Result<(), Exception> {
    let addr = address(cpu, insn, N as u32, true, align)?;
    let mut bytes = [0; N];
    bytes.copy_from_slice(&value.to_le_bytes()[..N]);
    access::write(cpu, addr, &bytes, View::Current)
}

/// Operand `index`: a whole XMM register, or 16 bytes of memory.
pub(super) fn read128(cpu: &mut Cpu, insn: &Instruction, index: u32, align: Align) -> Result<u128, Exception> {
    if is_register(insn, index) {
        return Ok(cpu.state.xmm[xmm(insn.op_register(index))]);
    }
    load::<16>(cpu, insn, align)
}

/// Operand `index`: the low half of an XMM register, an MMX register, or 8 bytes of memory.
pub(super) fn read64(cpu: &mut Cpu, insn: &Instruction, index: u32) -> Result<u64, Exception> {
    if is_register(insn, index) {
        let reg = insn.op_register(index);
        return Ok(if reg.is_mm() { cpu.state.fpu.mmx(mm(reg)) } else { cpu.state.xmm[xmm(reg)] as u64 });
    }
    Ok(load::<8>(cpu, insn, Align::Any)? as u64)
}

/// Operand `index`: the low doubleword of an XMM or MMX register, a general-purpose register, or
/// 4 bytes of memory.
pub(super) fn read32(cpu: &mut Cpu, insn: &Instruction, index: u32) -> Result<u32, Exception> {
    if is_register(insn, index) {
        let reg = insn.op_register(index);
        return Ok(if reg.is_mm() {
            cpu.state.fpu.mmx(mm(reg)) as u32
        } else if reg.is_xmm() {
            cpu.state.xmm[xmm(reg)] as u32
        } else {
            operand::read_reg(cpu, reg)
        });
    }
    Ok(load::<4>(cpu, insn, Align::Any)? as u32)
}

/// Operand `index`, at most 2 bytes wide in memory: `N` bytes there, or the register.
pub(super) fn read_narrow<const N: usize>(cpu: &mut Cpu, insn: &Instruction, index: u32) -> Result<u32, Exception> {
    if is_register(insn, index) {
        return read32(cpu, insn, index);
    }
    Ok(load::<N>(cpu, insn, Align::Any)? as u32)
}

/// The XMM register that is operand `index`.
pub(super) fn xmm_operand<'a>(cpu: &'a mut Cpu, insn: &Instruction, index: u32) -> &'a mut u128 {
    &mut cpu.state.xmm[xmm(insn.op_register(index))]
}

/// Replaces the low 8 bytes.
pub(super) fn with_low64(whole: u128, low: u64) -> u128 {
    whole & !u128::from(u64::MAX) | u128::from(low)
}

/// Replaces the low 4 bytes.
pub(super) fn with_low32(whole: u128, low: u32) -> u128 {
    whole & !u128::from(u32::MAX) | u128::from(low)
}
