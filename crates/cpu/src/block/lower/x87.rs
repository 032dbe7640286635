//! The operations of x87 instructions.

use iced_x86::{Code, Instruction, Mnemonic as M, OpKind};

use super::{Op, memory, writable};
use crate::{
    block::Handler,
    engine::mode::{FPU, Mode},
    exec::hot::{
        data,
        x87::{self, ADD, DIV, DIVR, DOUBLE, EXTENDED, INT16, INT32, INT64, MUL, SINGLE, SUB, SUBR},
    },
    fpu, operand,
};

/// The operation of one instruction, if it has a handler of its own. `imm` is where it is, for the
/// FPU's instruction pointer; with a memory operand see [`x87::put_opcode_and_segment`], else `disp` is the
/// opcode, `dst` and `src` are numbers of ST registers.
pub(super) fn operation(insn: &Instruction, mode: Mode) -> Option<Op> {
    if !mode.has(FPU) {
        return None;
    }
    let opcode = fpu::opcode(insn);
    let mut op = Op { imm: insn.ip32(), disp: opcode.into(), ..Op::new(data::NOP) };
    op.handler = if insn.op_count() > 0 && insn.op0_kind() == OpKind::Memory {
        let handler = with_memory(insn)?;
        if !writable(insn) {
            return None;
        }
        memory(&mut op, insn, mode)?;
        x87::put_opcode_and_segment(&mut op, opcode, operand::seg_reg(insn.memory_segment()) as u8);
        handler
    } else {
        between_registers(&mut op, insn)?
    };
    Some(op)
}

fn arithmetic(mnemonic: M) -> Option<u8> {
    Some(match mnemonic {
        M::Fadd | M::Faddp | M::Fiadd => ADD,
        M::Fmul | M::Fmulp | M::Fimul => MUL,
        M::Fsub | M::Fsubp | M::Fisub => SUB,
        M::Fsubr | M::Fsubrp | M::Fisubr => SUBR,
        M::Fdiv | M::Fdivp | M::Fidiv => DIV,
        M::Fdivr | M::Fdivrp | M::Fidivr => DIVR,
        _ => return None,
    })
}

fn with_memory(insn: &Instruction) -> Option<Handler> {
    let integer = matches!(
        insn.mnemonic(),
        M::Fild
            | M::Fist
            | M::Fistp
            | M::Fisttp
            | M::Ficom
            | M::Ficomp
            | M::Fiadd
            | M::Fimul
            | M::Fisub
            | M::Fisubr
            | M::Fidiv
            | M::Fidivr
    );
    let format = match (integer, insn.memory_size().size()) {
        (true, 2) => INT16,
        (true, 4) => INT32,
        (true, _) => INT64,
        (false, 4) => SINGLE,
        (false, 10) => EXTENDED,
        (false, _) => DOUBLE,
    };
    Some(match insn.mnemonic() {
        M::Fld | M::Fild => x87::load_of(format),
        M::Fst => x87::store_of(format, false),
        M::Fstp => x87::store_of(format, true),
        M::Fist => x87::store_integer_of(format, false),
        M::Fistp => x87::store_integer_of(format, true),
        M::Fisttp => x87::store_truncated_of(format),
        M::Fcom | M::Ficom => x87::compare_of(format, false),
        M::Fcomp | M::Ficomp => x87::compare_of(format, true),
        M::Fldcw => x87::LOAD_CONTROL,
        M::Fnstcw => x87::STORE_CONTROL,
        M::Fnstsw => x87::STORE_STATUS,
        mnemonic => x87::arithmetic_of(arithmetic(mnemonic)?, format),
    })
}

fn between_registers(op: &mut Op, insn: &Instruction) -> Option<Handler> {
    let st = |index: u32| insn.op_register(index).number() as u8 & 7;
    let count = insn.op_count();
    Some(match insn.mnemonic() {
        M::Fld => {
            op.src = st(count - 1);
            x87::LOAD_REGISTER
        }
        M::Fst | M::Fstp => {
            op.dst = st(0);
            if insn.mnemonic() == M::Fst { x87::STORE_REGISTER } else { x87::STORE_REGISTER_POP }
        }
        M::Fxch => {
            op.src = st(1);
            x87::EXCHANGE
        }
        M::Fcom | M::Fcomp | M::Fcompp | M::Fucom | M::Fucomp | M::Fucompp => {
            op.src = if count == 0 { 1 } else { st(count - 1) };
            let pops = match insn.mnemonic() {
                M::Fcom | M::Fucom => 0,
                M::Fcomp | M::Fucomp => 1,
                _ => 2,
            };
            x87::COMPARE[pops]
        }
        M::Fcomi | M::Fucomi | M::Fcomip | M::Fucomip => {
            op.src = st(1);
            let pops = matches!(insn.mnemonic(), M::Fcomip | M::Fucomip);
            if pops { x87::COMPARE_TO_EFLAGS_POP } else { x87::COMPARE_TO_EFLAGS }
        }
        M::Fcmovb | M::Fcmovnb | M::Fcmove | M::Fcmovne | M::Fcmovbe | M::Fcmovnbe | M::Fcmovu | M::Fcmovnu => {
            op.src = st(1);
            // The condition as opcodes encode it; iced tells that of CMOVcc and Jcc alone.
            x87::conditional_move_on(match insn.mnemonic() {
                M::Fcmovb => 2,
                M::Fcmovnb => 3,
                M::Fcmove => 4,
                M::Fcmovne => 5,
                M::Fcmovbe => 6,
                M::Fcmovnbe => 7,
                M::Fcmovu => 10,
                _ => 11,
            })
        }
        M::Fld1 => x87::LOAD_ONE,
        M::Fldz => x87::LOAD_ZERO,
        M::Fchs => x87::CHANGE_SIGN,
        M::Fabs => x87::ABSOLUTE,
        M::Ftst => x87::TEST,
        M::Fsqrt => x87::SQUARE_ROOT,
        M::Frndint => x87::ROUND,
        M::Fnstsw if insn.code() == Code::Fnstsw_AX => x87::STATUS_TO_AX,
        M::Wait => x87::WAIT,
        mnemonic => {
            let operation = arithmetic(mnemonic)?;
            (op.dst, op.src) = (st(0), st(1));
            let pops = matches!(mnemonic, M::Faddp | M::Fmulp | M::Fsubp | M::Fsubrp | M::Fdivp | M::Fdivrp);
            x87::arithmetic_between(operation, pops)
        }
    })
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::*;

    #[test]
    fn a_conditional_move_has_a_handler_for_every_condition() {
        for (escape, condition) in [0xda, 0xdb].into_iter().flat_map(|escape| (0..4).map(move |n| (escape, n))) {
            let bytes = [escape, 0xc1 | condition << 3];
            let insn = Decoder::new(32, &bytes, DecoderOptions::NONE).decode();
            assert!(between_registers(&mut Op::new(data::NOP), &insn).is_some(), "{insn}");
        }
    }
}
