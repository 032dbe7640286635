//! What kernels do all the time, and threads at their own data: memory of FS and GS, CLI, PUSHFD.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::{address, binary_op, flat_stack, hot, register, size};
use crate::{
    block::Op,
    engine::mode::{self, Mode},
    exec::hot::{data, interrupt, segment},
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
        Code::Pushfd if flat_stack(mode) && !mode.has(mode::V86) => Some(Op { handler: interrupt::PUSH_FLAGS, ..op }),
        _ => in_segment(insn, op),
    }
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
