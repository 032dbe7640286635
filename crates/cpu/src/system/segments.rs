//! Loads and stores of segment registers.

use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::{SegReg, Selector};

use crate::{
    Cpu, Exception,
    mmu::access::{self, View},
    operand::{self, seg_reg},
    seg::{self, SegmentRegister},
    slow::Flow,
};

/// MOV to a segment register.
pub(super) fn mov_to(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let reg = seg_reg(insn.op0_register());
    if reg == SegReg::Cs {
        return Err(Exception::ud());
    }
    let selector = if insn.op1_kind() == OpKind::Register {
        operand::read_reg(cpu, insn.op1_register())
    } else {
        let addr = operand::linear(cpu, insn, 2, false)?;
        operand::read_sized(cpu, addr, 2)?
    };
    let loaded = seg::prepare(cpu, reg, Selector(selector as u16))?;
    shadow(cpu, reg);
    Ok(commit(cpu, reg, loaded))
}

/// MOV and POP to SS hold interrupts and debug traps off for one instruction, so that ESP can be set
/// too; of several in a row only the first does (SDM Vol. 3A, "Masking Exceptions and Interrupts
/// When Switching Stacks"). LSS needs no such help.
fn shadow(cpu: &mut Cpu, reg: SegReg) {
    cpu.state.mov_ss_shadow = reg == SegReg::Ss && !cpu.run.after_mov_ss;
}

/// MOV from a segment register: 16 bits in memory, zero-extended in a register.
pub(super) fn mov_from(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let selector = u32::from(cpu.state.selector(seg_reg(insn.op1_register())).0);
    if insn.op0_kind() == OpKind::Register {
        operand::write_reg(cpu, insn.op0_register(), selector);
    } else {
        let addr = operand::linear(cpu, insn, 2, true)?;
        operand::write_sized(cpu, addr, 2, selector)?;
    }
    Ok(Flow::Next)
}

/// PUSH of a segment register. A 32-bit slot keeps its upper half: the move is one of 16 bits, and so are the
/// checks of limit and alignment (SDM Vol. 2, "PUSH": "all recent Intel Core and Intel Atom processors").
pub(super) fn push(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let selector = cpu.state.selector(seg_reg(insn.op0_register())).0;
    let size = slot_size(insn);
    let sp = operand::wrap_stack(cpu, operand::stack_pointer(cpu).wrapping_sub(size));
    let addr = operand::segment_linear(cpu, SegReg::Ss, sp, 2, 2, true)?;
    access::write_u16(cpu, addr, selector, View::Current)?;
    operand::set_stack_pointer(cpu, sp);
    Ok(Flow::Next)
}

/// POP of a segment register.
pub(super) fn pop(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let reg = seg_reg(insn.op0_register());
    let size = slot_size(insn);
    let selector = Selector(operand::peek(cpu, 0, size)? as u16);
    let loaded = seg::prepare(cpu, reg, selector)?;
    let sp = operand::wrap_stack(cpu, operand::stack_pointer(cpu).wrapping_add(size));
    operand::set_stack_pointer(cpu, sp);
    shadow(cpu, reg);
    Ok(commit(cpu, reg, loaded))
}

/// Bytes that PUSH and POP of a segment register move the stack pointer by.
fn slot_size(insn: &Instruction) -> u32 {
    insn.stack_pointer_increment().unsigned_abs()
}

/// LDS, LES, LFS, LGS, LSS.
pub(super) fn load_far_pointer(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let reg = match insn.mnemonic() {
        Mnemonic::Lds => SegReg::Ds,
        Mnemonic::Les => SegReg::Es,
        Mnemonic::Lfs => SegReg::Fs,
        Mnemonic::Lgs => SegReg::Gs,
        _ => SegReg::Ss,
    };
    let size = operand::op_size(insn, 0);
    let addr = operand::linear_aligned(cpu, insn, size + 2, size, false)?;
    let offset = operand::read_sized(cpu, addr, size)?;
    let selector = operand::read_sized(cpu, addr.wrapping_add(size), 2)?;
    let loaded = seg::prepare(cpu, reg, Selector(selector as u16))?;
    operand::write_reg(cpu, insn.op0_register(), offset);
    let flow = commit(cpu, reg, loaded);
    // LSS loads the pointer too, so that nothing needs to wait for it (SDM Vol. 3A, "Masking Exceptions and
    // Interrupts When Switching Stacks").
    cpu.state.mov_ss_shadow = false;
    Ok(flow)
}

/// Loads the register; the block is left if it was translated for a segment of another kind: blocks know of
/// DS and ES whether they are flat ([`crate::engine::mode`]), and nothing of FS and GS.
fn commit(cpu: &mut Cpu, reg: SegReg, loaded: SegmentRegister) -> Flow {
    let old = std::mem::replace(&mut cpu.state.seg[reg as usize], loaded);
    let is_flat = |seg: SegmentRegister| seg.base == 0 && seg.unlimited();
    match reg {
        SegReg::Fs | SegReg::Gs => Flow::Next,
        SegReg::Ds | SegReg::Es if is_flat(old) == is_flat(loaded) => Flow::Next,
        _ => Flow::Leave,
    }
}

#[cfg(test)]
mod tests {
    use x86::SegReg;

    use crate::{Exception, Gpr, SegmentRegister, fixture::Fixture};

    #[test]
    fn a_push_of_a_selector_needs_room_for_16_bits_alone() {
        const PUSH_ES: &[u8] = &[0x06];
        const PUSH_EAX: &[u8] = &[0x50];
        let fault = Err(Exception::ss(0));
        for (limit, selector, register) in [(0x1003, Ok(()), Ok(())), (0x1001, Ok(()), fault), (0x1000, fault, fault)] {
            for (code, expected) in [(PUSH_ES, selector), (PUSH_EAX, register)] {
                let mut f = Fixture::ringed();
                f.cpu.state.seg[SegReg::Ss as usize] =
                    SegmentRegister { limit, rights: 0x4093, ..*f.cpu.state.seg(SegReg::Ss) };
                f.cpu.state.set_gpr(Gpr::Esp, 0x1004);
                assert_eq!(f.exec(code).map(drop), expected, "{code:x?} with the limit {limit:x}");
                let esp = if expected.is_ok() { 0x1000 } else { 0x1004 };
                assert_eq!(f.cpu.state.gpr(Gpr::Esp), esp);
            }
        }
    }
}
