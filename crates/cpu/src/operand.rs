//! Operands of a decoded instruction, for the slow functions.

use iced_x86::{Instruction, OpKind, Register};
use x86::{Cr0, Eflags, LinearAddr, SegReg};

use crate::{
    Cpu, Exception, Gpr,
    mmu::access::{self, View},
    seg,
};

/// The segment and offset of the memory operand, address-size wrapped (SDM Vol. 1, "Specifying an Offset").
/// Only for operands written as `[base + index * scale + displacement]`.
pub(crate) fn effective_address(cpu: &Cpu, insn: &Instruction) -> (SegReg, u32) {
    let (base, index) = (insn.memory_base(), insn.memory_index());
    let part = |reg| if reg == Register::None { 0 } else { read_reg(cpu, reg) };
    let offset = part(base)
        .wrapping_add(part(index).wrapping_mul(insn.memory_index_scale()))
        .wrapping_add(insn.memory_displacement32());
    (seg_reg(insn.memory_segment()), if address_is_16_bit(insn) { offset & 0xffff } else { offset })
}

/// Whether the memory operand has a 16-bit offset.
pub(crate) fn address_is_16_bit(insn: &Instruction) -> bool {
    match (insn.memory_base(), insn.memory_index()) {
        (Register::None, Register::None) => insn.memory_displ_size() == 2,
        (Register::None, index) => index.is_gpr16(),
        (base, _) => base.is_gpr16(),
    }
}

/// The linear address of `len` bytes at the memory operand, after the segment's checks
/// (#GP, #SS, and #AC at CPL 3).
#[inline]
pub(crate) fn linear(cpu: &mut Cpu, insn: &Instruction, len: u32, write: bool) -> Result<LinearAddr, Exception> {
    linear_aligned(cpu, insn, len, natural_alignment(len), write)
}

/// As [`linear`], where #AC asks for `alignment`, a power of two.
#[inline]
pub(crate) fn linear_aligned(
    cpu: &mut Cpu,
    insn: &Instruction,
    len: u32,
    alignment: u32,
    write: bool,
) -> Result<LinearAddr, Exception> {
    let (reg, offset) = effective_address(cpu, insn);
    segment_linear(cpu, reg, offset, len, alignment, write)
}

/// The linear address of `len` bytes at `reg:offset`, after the segment's checks and #AC.
pub(crate) fn segment_linear(
    cpu: &Cpu,
    reg: SegReg,
    offset: u32,
    len: u32,
    alignment: u32,
    write: bool,
) -> Result<LinearAddr, Exception> {
    let addr = seg::linear(cpu, reg, offset, len, write)?;
    if addr.0 & (alignment - 1) != 0 && alignment_checked(cpu) {
        return Err(Exception::ac());
    }
    Ok(addr)
}

/// Whether ordinary accesses must be aligned now (SDM Vol. 3A, "Interrupt 17: Alignment Check Exception").
#[inline]
pub(crate) fn alignment_checked(cpu: &Cpu) -> bool {
    cpu.state.cpl == 3 && cpu.state.cr0().contains(Cr0::AM) && cpu.state.eflags.contains(Eflags::AC)
}

/// What #AC asks of an operand of `len` bytes (SDM Vol. 3A, "Alignment Requirements by Data Type").
#[inline]
pub(crate) const fn natural_alignment(len: u32) -> u32 {
    match len {
        2 | 14 | 94 => 2,
        4 | 6 | 28 | 108 => 4,
        8 | 10 => 8,
        16 => 16,
        _ => 1,
    }
}

/// A segment register by the decoder's name.
pub(crate) fn seg_reg(reg: Register) -> SegReg {
    match reg {
        Register::ES => SegReg::Es,
        Register::CS => SegReg::Cs,
        Register::SS => SegReg::Ss,
        Register::DS => SegReg::Ds,
        Register::FS => SegReg::Fs,
        Register::GS => SegReg::Gs,
        other => unreachable!("{other:?} is no segment register"),
    }
}

/// A general-purpose register of any width, zero-extended.
pub(crate) fn read_reg(cpu: &Cpu, reg: Register) -> u32 {
    let gpr = &cpu.state.gpr;
    let number = reg.number();
    if reg.is_gpr32() {
        gpr[number]
    } else if reg.is_gpr16() {
        gpr[number] & 0xffff
    } else if reg.is_gpr8() {
        gpr[number & 3] >> (8 * (number as u32 >> 2)) & 0xff
    } else {
        unreachable!("{reg:?} is no general-purpose register")
    }
}

/// Writes a general-purpose register of any width; the rest of the full register stays.
pub(crate) fn write_reg(cpu: &mut Cpu, reg: Register, value: u32) {
    let number = reg.number();
    let (number, mask, shift) = if reg.is_gpr32() {
        (number, u32::MAX, 0)
    } else if reg.is_gpr16() {
        (number, 0xffff, 0)
    } else if reg.is_gpr8() {
        (number & 3, 0xff, 8 * (number as u32 >> 2))
    } else {
        unreachable!("{reg:?} is no general-purpose register")
    };
    let full = &mut cpu.state.gpr[number];
    *full = *full & !(mask << shift) | (value & mask) << shift;
}

/// Bytes of integer operand `index` (register, immediate or memory).
pub(crate) fn op_size(insn: &Instruction, index: u32) -> u32 {
    match insn.op_kind(index) {
        OpKind::Register => insn.op_register(index).size() as u32,
        OpKind::Immediate8 => 1,
        OpKind::Immediate16 | OpKind::Immediate8to16 => 2,
        OpKind::Immediate32 | OpKind::Immediate8to32 => 4,
        _ => insn.memory_size().size() as u32,
    }
}

/// Reads integer operand `index` (register, immediate or memory), zero-extended to 32 bits.
pub(crate) fn read_op(cpu: &mut Cpu, insn: &Instruction, index: u32) -> Result<u32, Exception> {
    match insn.op_kind(index) {
        OpKind::Register => Ok(read_reg(cpu, insn.op_register(index))),
        OpKind::Memory => {
            let size = op_size(insn, index);
            let addr = linear(cpu, insn, size, false)?;
            read_sized(cpu, addr, size)
        }
        OpKind::Immediate8to16 => Ok(u32::from(insn.immediate8to16() as u16)),
        _ => Ok(insn.immediate(index) as u32),
    }
}

/// Writes integer operand `index` (register or memory).
pub(crate) fn write_op(cpu: &mut Cpu, insn: &Instruction, index: u32, value: u32) -> Result<(), Exception> {
    if insn.op_kind(index) == OpKind::Register {
        write_reg(cpu, insn.op_register(index), value);
        return Ok(());
    }
    let size = op_size(insn, index);
    let addr = linear(cpu, insn, size, true)?;
    write_sized(cpu, addr, size, value)
}

/// Reads 1, 2 or 4 bytes with the rights of the CPL, zero-extended.
#[inline]
pub(crate) fn read_sized(cpu: &mut Cpu, addr: LinearAddr, size: u32) -> Result<u32, Exception> {
    match size {
        1 => access::read_u8(cpu, addr, View::Current).map(u32::from),
        2 => access::read_u16(cpu, addr, View::Current).map(u32::from),
        4 => access::read_u32(cpu, addr, View::Current),
        _ => unreachable!("an integer of {size} bytes"),
    }
}

/// Writes 1, 2 or 4 bytes with the rights of the CPL.
#[inline]
pub(crate) fn write_sized(cpu: &mut Cpu, addr: LinearAddr, size: u32, value: u32) -> Result<(), Exception> {
    match size {
        1 => access::write_u8(cpu, addr, value as u8, View::Current),
        2 => access::write_u16(cpu, addr, value as u16, View::Current),
        4 => access::write_u32(cpu, addr, value, View::Current),
        _ => unreachable!("an integer of {size} bytes"),
    }
}

/// The stack pointer, as wide as SS says.
#[inline]
pub(crate) fn stack_pointer(cpu: &Cpu) -> u32 {
    let esp = cpu.state.gpr(Gpr::Esp);
    if cpu.state.seg(SegReg::Ss).big() { esp } else { esp & 0xffff }
}

/// Sets the stack pointer, as wide as SS says.
#[inline]
pub(crate) fn set_stack_pointer(cpu: &mut Cpu, value: u32) {
    let esp = cpu.state.gpr(Gpr::Esp);
    let big = cpu.state.seg(SegReg::Ss).big();
    cpu.state.set_gpr(Gpr::Esp, if big { value } else { esp & 0xffff_0000 | value & 0xffff });
}

/// Pushes `size` bytes (2 or 4) of `value`.
#[inline]
pub(crate) fn push(cpu: &mut Cpu, value: u32, size: u32) -> Result<(), Exception> {
    let sp = wrap_stack(cpu, stack_pointer(cpu).wrapping_sub(size));
    let addr = segment_linear(cpu, SegReg::Ss, sp, size, size, true)?;
    write_sized(cpu, addr, size, value)?;
    set_stack_pointer(cpu, sp);
    Ok(())
}

/// The `size` bytes (2 or 4) that lie `depth` bytes above the top of the stack; pops nothing.
pub(crate) fn peek(cpu: &mut Cpu, depth: u32, size: u32) -> Result<u32, Exception> {
    let sp = wrap_stack(cpu, stack_pointer(cpu).wrapping_add(depth));
    let addr = segment_linear(cpu, SegReg::Ss, sp, size, size, false)?;
    read_sized(cpu, addr, size)
}

/// An offset in the stack, as wide as SS says.
#[inline]
pub(crate) fn wrap_stack(cpu: &Cpu, offset: u32) -> u32 {
    if cpu.state.seg(SegReg::Ss).big() { offset } else { offset & 0xffff }
}
