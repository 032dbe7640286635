//! Packed shifts, by a register, memory or an immediate.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::{
    access::{Align, check_mmx, check_sse, is_mm, mm, read64, read128, xmm_operand},
    lanes::{dwords, from_dwords, from_qwords, from_words, qwords, words},
};
use crate::{
    Cpu, Exception,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Psllw => |c, i| shift(c, i, |v, n| from_words(words(v).map(|w| w.checked_shl(n).unwrap_or(0)))),
        Mnemonic::Pslld => |c, i| shift(c, i, |v, n| from_dwords(dwords(v).map(|d| d.checked_shl(n).unwrap_or(0)))),
        Mnemonic::Psllq => |c, i| shift(c, i, |v, n| from_qwords(qwords(v).map(|q| q.checked_shl(n).unwrap_or(0)))),
        Mnemonic::Psrlw => |c, i| shift(c, i, |v, n| from_words(words(v).map(|w| w.checked_shr(n).unwrap_or(0)))),
        Mnemonic::Psrld => |c, i| shift(c, i, |v, n| from_dwords(dwords(v).map(|d| d.checked_shr(n).unwrap_or(0)))),
        Mnemonic::Psrlq => |c, i| shift(c, i, |v, n| from_qwords(qwords(v).map(|q| q.checked_shr(n).unwrap_or(0)))),
        Mnemonic::Psraw => |c, i| shift(c, i, |v, n| from_words(words(v).map(|w| (w as i16 >> n.min(15)) as u16))),
        Mnemonic::Psrad => |c, i| shift(c, i, |v, n| from_dwords(dwords(v).map(|d| (d as i32 >> n.min(31)) as u32))),
        Mnemonic::Pslldq => |c, i| shift(c, i, |v, n| v.checked_shl(n.saturating_mul(8)).unwrap_or(0)),
        Mnemonic::Psrldq => |c, i| shift(c, i, |v, n| v.checked_shr(n.saturating_mul(8)).unwrap_or(0)),
        _ => return None,
    };
    Some(slow)
}

/// `dst = f(dst, count)`, the count being the low 64 bits of the source, here capped at 255.
fn shift(cpu: &mut Cpu, insn: &Instruction, f: impl Fn(u128, u32) -> u128) -> Result<Flow, Exception> {
    let mmx = is_mm(insn, 0);
    if mmx {
        check_mmx(cpu)?
    } else {
        check_sse(cpu)?
    }
    let count = match insn.op1_kind() {
        OpKind::Immediate8 => u64::from(insn.immediate8()),
        _ if mmx => read64(cpu, insn, 1)?,
        _ => read128(cpu, insn, 1, Align::Must)? as u64,
    };
    let count = count.min(255) as u32;
    if mmx {
        let reg = mm(insn.op0_register());
        let value = f(cpu.state.fpu.mmx(reg).into(), count);
        cpu.state.fpu.set_mmx(reg, value as u64);
    } else {
        let dst = xmm_operand(cpu, insn, 0);
        *dst = f(*dst, count);
    }
    Ok(Flow::Next)
}
