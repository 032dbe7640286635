//! The operations of MMX, SSE and x87 instructions.
//!
//! What is missing here is rare, and runs by its slow function.

use iced_x86::Instruction;

use super::{Op, hot};
use crate::engine::mode::Mode;

/// The operation of one instruction, if it is one of these and has a handler of its own.
pub(in crate::block) fn operation(insn: &Instruction, mode: Mode) -> Option<Op> {
    if !hot(mode) {
        return None;
    }
    sse(insn, mode).or_else(|| super::x87::operation(insn, mode))
}

#[cfg(not(target_arch = "x86_64"))]
fn sse(_: &Instruction, _: Mode) -> Option<Op> {
    None
}

#[cfg(target_arch = "x86_64")]
fn sse(insn: &Instruction, mode: Mode) -> Option<Op> {
    use iced_x86::OpKind;

    use super::{memory, register, writable};
    use crate::{
        engine::mode::{FPU, MASKED_MXCSR, SSE},
        exec::hot::{
            data,
            sse::{self, Hot, Source},
        },
    };

    if insn.op_count() < 2 {
        return None;
    }
    let mnemonic = insn.mnemonic();
    let (dst, src) = (insn.op0_register(), insn.op1_register());
    let mut op = Op::new(data::NOP); // replaced below
    if insn.op_count() == 3 && insn.op2_kind() == OpKind::Immediate8 {
        op.imm = insn.immediate8().into();
    }
    let source = match insn.op1_kind() {
        OpKind::Register if src.is_gpr32() => Source::General,
        OpKind::Register => Source::Register,
        OpKind::Memory => Source::Memory { indexed: memory(&mut op, insn, mode)? },
        OpKind::Immediate8 => {
            op.imm = insn.immediate8().into();
            Source::Immediate
        }
        _ => return None,
    };
    // Byte offset of an XMM register, number of an MMX register.
    let file = |reg: iced_x86::Register| match reg.number() as u8 & 7 {
        number if reg.is_xmm() => number * 16,
        number => number,
    };
    let any = |hot: Hot| if hot.float && !mode.has(MASKED_MXCSR) { None } else { Some(hot.handler) };

    if insn.op0_kind() == OpKind::Memory {
        if !writable(insn) {
            return None;
        }
        op.src = file(src);
        let indexed = memory(&mut op, insn, mode)?;
        op.handler = match mnemonic {
            _ if src.is_xmm() && mode.has(SSE) => sse::store_of(mnemonic, indexed)?,
            _ if src.is_mm() && mode.has(FPU) => sse::mmx_store_of(mnemonic)?,
            _ => return None,
        };
        return Some(op);
    }
    match source {
        Source::General => op.src = register(src)?,
        Source::Register if src.is_xmm() || src.is_mm() => op.src = file(src),
        Source::Register => return None,
        Source::Memory { .. } | Source::Immediate => {}
    }
    let same_file = source != Source::Register || src.is_xmm() == dst.is_xmm();
    if dst.is_xmm() && mode.has(SSE) && same_file {
        op.dst = file(dst);
        let hot = sse::packed(mnemonic, source).or_else(|| sse::ordered(mnemonic, source))?;
        op.handler = any(hot)?;
    } else if dst.is_mm() && mode.has(FPU) && (source != Source::Register || src.is_mm()) {
        op.dst = file(dst);
        op.handler = sse::mmx(mnemonic, source)?;
    } else if dst.is_gpr32() && mode.has(SSE) && (matches!(source, Source::Memory { .. }) || src.is_xmm()) {
        op.dst = register(dst)?;
        op.handler = any(sse::to_general(mnemonic, source)?)?;
    } else {
        return None;
    }
    Some(op)
}
