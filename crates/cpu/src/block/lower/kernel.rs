//! What kernels do all the time, and threads at their own data: memory of FS and GS, selectors, IF and DF.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::{address, binary_op, flat_stack, hot, register, size};
use crate::{
    block::Op,
    engine::mode::{self, Mode},
    exec::hot::{data, interrupt, segment, selector},
    operand::seg_reg,
};

/// The operation of such an instruction. It may fault or be looked at when it has begun: all flags before it
/// are seen.
pub(crate) fn operation(insn: &Instruction, mode: Mode) -> Option<Op> {
    if !hot(mode) {
        return None;
    }
    let op = Op::new(data::NOP);
    match insn.code() {
        Code::Cli => Some(Op { handler: interrupt::CLI, ..op }),
        Code::Sti => Some(Op { handler: interrupt::STI, ..op }),
        Code::Cld => Some(Op { handler: interrupt::CLD, ..op }),
        Code::Std => Some(Op { handler: interrupt::STD, ..op }),
        Code::Pushfd if flat_stack(mode) && !mode.has(mode::V86) => Some(Op { handler: interrupt::PUSH_FLAGS, ..op }),
        _ => of_selector(insn, op, mode).or_else(|| in_segment(insn, op)),
    }
}

/// A move of a selector. SS is left to the slow function: it holds interrupts off.
fn of_selector(insn: &Instruction, op: Op, mode: Mode) -> Option<Op> {
    let number = |index| seg_reg(insn.op_register(index)) as u8;
    let is_register = |index| insn.op_kind(index) == OpKind::Register;
    Some(match insn.code() {
        Code::Mov_Sreg_r32m16 if is_register(1) && is_for_data(insn.op0_register()) => {
            Op { handler: selector::MOV_TO, dst: number(0), src: register(insn.op1_register())?, ..op }
        }
        Code::Mov_r32m16_Sreg if is_register(0) => {
            Op { handler: selector::MOV_FROM, dst: register(insn.op0_register())?, src: number(1), ..op }
        }
        Code::Pushd_ES | Code::Pushd_CS | Code::Pushd_SS | Code::Pushd_DS | Code::Pushd_FS | Code::Pushd_GS
            if flat_stack(mode) =>
        {
            Op { handler: selector::PUSH, src: number(0), ..op }
        }
        Code::Popd_ES | Code::Popd_DS | Code::Popd_FS | Code::Popd_GS if flat_stack(mode) => {
            Op { handler: selector::POP, dst: number(0), ..op }
        }
        _ => return None,
    })
}

/// Whether a segment register is one that only data is reached through.
fn is_for_data(segment: Register) -> bool {
    matches!(segment, Register::ES | Register::DS | Register::FS | Register::GS)
}

/// An operation of 32 bits on memory of FS or GS.
fn in_segment(insn: &Instruction, mut op: Op) -> Option<Op> {
    let in_memory = |index| insn.op_kind(index) == OpKind::Memory;
    let load = insn.op_count() == 2 && in_memory(1);
    if !(load || insn.op_count() > 0 && in_memory(0)) || size(insn) != 4 {
        return None;
    }
    let segment = match insn.memory_segment() {
        Register::FS => 4,
        Register::GS => 5,
        _ => return None,
    };
    address(&mut op, insn)?;
    if load {
        op.src = segment;
    } else {
        op.dst = segment;
    }
    op.handler = match insn.mnemonic() {
        Mnemonic::Inc => segment::step_memory(false),
        Mnemonic::Dec => segment::step_memory(true),
        mnemonic => {
            let operation = binary_op(mnemonic)?;
            if load {
                op.dst = register(insn.op0_register())?;
            } else if insn.op1_kind() == OpKind::Register {
                op.src = register(insn.op1_register())?;
            } else {
                op.imm = insn.try_immediate(1).ok()? as u32;
            }
            segment::binary(operation, load)?
        }
    };
    Some(op)
}
