//! What instructions leave behind for whoever may look later: the instruction's and the operand's
//! pointers, the opcode, C1 and PE. Handlers only note them.

use x86::SegReg;

use super::{C1, PE};
use crate::{
    Cpu,
    block::Op,
    cpu::{RunContext, X87Notes},
    fpu::quick::Quick,
};

/// Puts what handlers have noted where it belongs: the pointers, the opcode, C1 and PE.
///
/// # Safety
/// As for handlers: no block has died since the notes were made.
#[inline(never)]
pub(in crate::exec::hot) unsafe fn take_notes(cpu: *mut Cpu) {
    // SAFETY: by the caller; nobody else uses the CPU.
    let (state, run) = unsafe { (&mut (*cpu).state, &mut (*cpu).run) };
    // Whoever notes anything notes the instruction.
    if run.x87.op.is_null() {
        return;
    }
    let notes = std::mem::replace(&mut run.x87, X87Notes::NONE);
    let fpu = &mut state.fpu;
    if notes.c1 != X87Notes::C1_KEPT {
        fpu.status = fpu.status & !C1 | u16::from(notes.c1) << 9;
    }
    if notes.cut != 0 {
        fpu.status |= PE;
    }
    // SAFETY: they are operations of live blocks, by the caller.
    unsafe {
        let op = &*notes.op;
        fpu.ip = op.imm;
        fpu.cs = state.seg[SegReg::Cs as usize].selector;
        fpu.opcode = if notes.op == notes.operand { opcode_and_segment(op).0 } else { op.disp as u16 };
        if !notes.operand.is_null() {
            fpu.dp = notes.data;
            fpu.ds = state.seg[opcode_and_segment(&*notes.operand).1].selector;
        }
    }
}

/// Puts the opcode and the number of the segment of a memory operand into an operation. An
/// instruction without such an operand has its opcode in `disp`.
pub(crate) fn put_opcode_and_segment(op: &mut Op, opcode: u16, segment: u8) {
    (op.src, op.dst) = (opcode as u8, (opcode >> 8) as u8 & 7 | segment << 4);
}

/// What [`put_opcode_and_segment`] has put there.
fn opcode_and_segment(op: &Op) -> (u16, usize) {
    (u16::from(op.dst & 7) << 8 | u16::from(op.src), usize::from(op.dst >> 4).min(5))
}

/// Sets C1, and PE if a result was inexact.
#[inline(always)]
pub(super) fn note_result<T>(run: &mut RunContext, result: &Quick<T>) {
    run.x87.c1 = result.up;
    run.x87.cut |= result.cut;
}

/// Clears C1.
#[inline(always)]
pub(super) fn clear_c1(run: &mut RunContext) {
    run.x87.c1 = 0;
}

/// Notes the instruction: where it is, `imm` of its operation, and its opcode.
///
/// Selectors are found when the notes are taken: only slow functions change them, and those take the
/// notes first.
///
/// # Safety
/// As for handlers.
#[inline(always)]
pub(super) unsafe fn note(cpu: *mut Cpu, op: *const Op) {
    // SAFETY: by the caller.
    unsafe { (*cpu).run.x87.op = op };
}

/// Notes the instruction and its memory operand.
///
/// # Safety
/// As for handlers.
#[inline(always)]
pub(super) unsafe fn note_operand(cpu: *mut Cpu, op: *const Op, addr: u32) {
    // SAFETY: by the caller.
    unsafe {
        note(cpu, op);
        let notes = &mut (*cpu).run.x87;
        notes.operand = op;
        notes.data = addr;
    }
}
