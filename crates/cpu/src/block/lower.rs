//! Which handler executes an instruction, and what its operation holds.
//!
//! What has none here, or addresses memory through a segment that is not flat, runs by its slow
//! function.

mod float;
mod kernel;
mod x87;

use iced_x86::{Code, ConditionCode, Instruction, Mnemonic, OpKind, Register};

use super::Op;
use crate::{
    engine::mode::{self, Mode},
    exec::hot::{
        alu::{self, Form},
        branch::{self, Operands},
        data, shift, stack, string,
    },
};

/// How a block goes on after its last instruction.
pub(super) enum WayOut {
    /// The instruction's handler decides.
    Unknown,
    /// Behind the instruction.
    Next,
    /// Always there; the instruction needs no operation of its own.
    Jump { target: u32 },
    /// There, after the handler has pushed the return address.
    Call { target: u32 },
    /// There or behind the instruction.
    Branch { target: u32 },
}

/// Whether handlers other than the generic one may be used at all.
fn hot(mode: Mode) -> bool {
    let wanted = mode::CODE32 | mode::FLAT_CS;
    mode.0 & (wanted | mode::CAREFUL) == wanted
}

fn flat_stack(mode: Mode) -> bool {
    mode.has(mode::STACK32) && mode.has(mode::FLAT_SS)
}

/// See [`WayOut`].
pub(super) fn way_out(insn: &Instruction, mode: Mode) -> WayOut {
    if !hot(mode) {
        return WayOut::Next;
    }
    match insn.code() {
        Code::Jmp_rel8_32 | Code::Jmp_rel32_32 => WayOut::Jump { target: insn.near_branch32() },
        Code::Call_rel32_32 if flat_stack(mode) => WayOut::Call { target: insn.near_branch32() },
        Code::Retnd | Code::Retnd_imm16 | Code::Jmp_rm32 | Code::Call_rm32 => WayOut::Unknown,
        Code::Loop_rel8_32_ECX => WayOut::Branch { target: insn.near_branch32() },
        _ if jump_code(insn).is_some() => WayOut::Branch { target: insn.near_branch32() },
        _ => WayOut::Next,
    }
}

/// Whether `insn` is a conditional branch that has a handler, behind which a block may go on.
pub(super) fn is_branch(insn: &Instruction, mode: Mode) -> bool {
    hot(mode) && jump_code(insn).is_some()
}

/// The condition of a Jcc with a 32-bit target.
fn jump_code(insn: &Instruction) -> Option<u8> {
    let wide = insn.op0_kind() == OpKind::NearBranch32;
    if wide && insn.is_jcc_short_or_near() { condition(insn) } else { None }
}

/// A condition as opcodes encode it.
pub(crate) fn condition(insn: &Instruction) -> Option<u8> {
    use ConditionCode as C;
    Some(match insn.condition_code() {
        C::None => return None,
        C::o => 0,
        C::no => 1,
        C::b => 2,
        C::ae => 3,
        C::e => 4,
        C::ne => 5,
        C::be => 6,
        C::a => 7,
        C::s => 8,
        C::ns => 9,
        C::p => 10,
        C::np => 11,
        C::l => 12,
        C::ge => 13,
        C::le => 14,
        C::g => 15,
    })
}

/// The byte offset of a general-purpose register in the state.
pub(crate) fn register(register: Register) -> Option<u8> {
    let number = register.number() as u8;
    if register.is_gpr32() || register.is_gpr16() {
        Some(number * 4)
    } else if register.is_gpr8() {
        Some((number & 3) * 4 + (number >> 2))
    } else {
        None
    }
}

/// Puts the memory operand's address into `op`; says whether it is indexed. `None` if it does not
/// lie in a flat segment.
fn memory(op: &mut Op, insn: &Instruction, mode: Mode) -> Option<bool> {
    let flat = match insn.memory_segment() {
        Register::DS => mode::FLAT_DS,
        Register::SS => mode::FLAT_SS,
        Register::ES => mode::FLAT_ES,
        Register::CS => mode::FLAT_CS,
        _ => return None,
    };
    if !mode.has(flat) {
        return None;
    }
    address(op, insn)
}

/// The segment may be one that can be written: not code.
fn writable(insn: &Instruction) -> bool {
    insn.memory_segment() != Register::CS
}

/// Puts the memory operand's offset into `op`; says whether it is indexed.
fn address(op: &mut Op, insn: &Instruction) -> Option<bool> {
    let part = |reg: Register| match reg {
        Register::None => Some(Op::ZERO),
        reg if reg.is_gpr32() => register(reg),
        _ => None,
    };
    op.base = part(insn.memory_base())?;
    op.index = part(insn.memory_index())?;
    op.scale = insn.memory_index_scale().trailing_zeros() as u8;
    op.disp = insn.memory_displacement32();
    Some(op.index != Op::ZERO)
}

/// Puts two operands into `op` and tells their form. Only registers, immediates and memory.
fn two_operands(op: &mut Op, insn: &Instruction, mode: Mode) -> Option<Form> {
    let form = match (insn.op0_kind(), insn.op1_kind()) {
        (OpKind::Register, OpKind::Register) => {
            (op.dst, op.src) = (register(insn.op0_register())?, register(insn.op1_register())?);
            Form::RegReg
        }
        (OpKind::Register, OpKind::Memory) => {
            op.dst = register(insn.op0_register())?;
            Form::RegMem { indexed: memory(op, insn, mode)? }
        }
        (OpKind::Memory, OpKind::Register) if writable(insn) => {
            op.src = register(insn.op1_register())?;
            Form::MemReg { indexed: memory(op, insn, mode)? }
        }
        (OpKind::Register, _) => {
            op.dst = register(insn.op0_register())?;
            op.imm = insn.try_immediate(1).ok()? as u32;
            Form::RegImm
        }
        (OpKind::Memory, OpKind::Register) => return None,
        (OpKind::Memory, _) if writable(insn) => {
            op.imm = insn.try_immediate(1).ok()? as u32;
            Form::MemImm { indexed: memory(op, insn, mode)? }
        }
        _ => return None,
    };
    Some(form)
}

/// Bytes of the first operand.
pub(crate) fn size(insn: &Instruction) -> u32 {
    match insn.op0_kind() {
        OpKind::Register => insn.op0_register().size() as u32,
        _ => insn.memory_size().size() as u32,
    }
}

pub(crate) fn binary_op(mnemonic: Mnemonic) -> Option<u8> {
    Some(match mnemonic {
        Mnemonic::Add => alu::ADD,
        Mnemonic::Or => alu::OR,
        Mnemonic::Adc => alu::ADC,
        Mnemonic::Sbb => alu::SBB,
        Mnemonic::And => alu::AND,
        Mnemonic::Sub => alu::SUB,
        Mnemonic::Xor => alu::XOR,
        Mnemonic::Cmp => alu::CMP,
        Mnemonic::Test => alu::TEST,
        _ => return None,
    })
}

/// The operation of one instruction; `flags` says that flags which it sets are live.
pub(super) fn simple(insn: &Instruction, mode: Mode, flags: bool) -> Option<Op> {
    if !hot(mode) {
        return None;
    }
    // Replaced by the match; an operation is never run with this handler from here.
    let mut op = Op::new(data::NOP);
    op.handler = match insn.mnemonic() {
        Mnemonic::Mov => return mov(op, insn, mode),
        Mnemonic::Movzx | Mnemonic::Movsx => return extend(op, insn, mode),
        Mnemonic::Lea if insn.op0_register().is_gpr32() => {
            op.dst = register(insn.op0_register())?;
            data::load_address(address(&mut op, insn)?)
        }
        Mnemonic::Inc | Mnemonic::Dec => {
            let in_memory = one_operand(&mut op, insn, mode)?;
            let down = insn.mnemonic() == Mnemonic::Dec;
            if !flags && !in_memory && size(insn) == 4 {
                // An addition of a constant, which can be joined with what follows.
                (op.src, op.imm) = (Op::ZERO, 1);
                alu::binary(if down { alu::SUB } else { alu::ADD }, Form::RegImm, 4, false)
            } else {
                alu::step(down, in_memory, size(insn), flags)
            }
        }
        Mnemonic::Neg if !one_operand(&mut op, insn, mode)? => alu::neg(size(insn), flags),
        Mnemonic::Not if !one_operand(&mut op, insn, mode)? => alu::not(size(insn)),
        Mnemonic::Imul | Mnemonic::Mul | Mnemonic::Div | Mnemonic::Idiv => return multiply(op, insn, mode, flags),
        Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Rol | Mnemonic::Ror => {
            return shift_op(op, insn, mode, flags);
        }
        Mnemonic::Shld | Mnemonic::Shrd => {
            let right = insn.mnemonic() == Mnemonic::Shrd;
            if !register_pair(&mut op, insn) {
                return None;
            }
            if insn.op2_kind() == OpKind::Register {
                shift::double_by_cl(right)
            } else {
                op.imm = insn.immediate8().into();
                op.imm &= 31;
                if op.imm == 0 {
                    return None;
                }
                shift::double(right, flags)
            }
        }
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc => {
            if !insn.op0_register().is_gpr32() {
                return None;
            }
            op.dst = register(insn.op0_register())?;
            match insn.op1_kind() {
                OpKind::Register => op.src = register(insn.op1_register())?,
                _ => op.imm = insn.try_immediate(1).ok()? as u32,
            }
            shift::test_bit(match insn.mnemonic() {
                Mnemonic::Bts => shift::BTS,
                Mnemonic::Btr => shift::BTR,
                Mnemonic::Btc => shift::BTC,
                _ => shift::BT,
            })
        }
        Mnemonic::Bsf | Mnemonic::Bsr if register_pair(&mut op, insn) => shift::scan(insn.mnemonic() == Mnemonic::Bsr),
        Mnemonic::Xchg => {
            let form = two_operands(&mut op, insn, mode)?;
            data::xchg(form != Form::RegReg, size(insn))
        }
        Mnemonic::Xadd | Mnemonic::Cmpxchg if insn.op0_kind() == OpKind::Memory && size(insn) == 4 => {
            two_operands(&mut op, insn, mode)?;
            if insn.mnemonic() == Mnemonic::Xadd { alu::XADD } else { alu::CMPXCHG }
        }
        Mnemonic::Movsb | Mnemonic::Movsd | Mnemonic::Stosb | Mnemonic::Stosd | Mnemonic::Lodsb | Mnemonic::Lodsd => {
            return string_op(op, insn, mode);
        }
        Mnemonic::Bswap if insn.op0_register().is_gpr32() => {
            op.dst = register(insn.op0_register())?;
            data::BSWAP
        }
        Mnemonic::Cdq => data::CDQ,
        Mnemonic::Cwde => {
            (op.dst, op.src) = (0, 0);
            data::extend(true, 2, None)
        }
        Mnemonic::Nop => data::NOP,
        Mnemonic::Push
        | Mnemonic::Pop
        | Mnemonic::Pushad
        | Mnemonic::Popad
        | Mnemonic::Leave
        | Mnemonic::Call
        | Mnemonic::Ret => return stack_op(op, insn, mode),
        Mnemonic::Loop if insn.code() == Code::Loop_rel8_32_ECX => branch::LOOP,
        Mnemonic::Jmp => return jump(op, insn, mode),
        mnemonic => match binary_op(mnemonic) {
            Some(operation) => {
                let form = two_operands(&mut op, insn, mode)?;
                alu::binary(operation, form, size(insn), flags)
            }
            None => return conditional(op, insn, mode),
        },
    };
    Some(op)
}

/// The operation of an MMX, SSE or x87 instruction.
pub(super) use float::operation as float;
/// The operation of what kernels do all the time.
pub(super) use kernel::operation as kernel;

/// Puts a register or memory operand into `op`; says whether it is memory.
fn one_operand(op: &mut Op, insn: &Instruction, mode: Mode) -> Option<bool> {
    if insn.op0_kind() == OpKind::Register {
        op.dst = register(insn.op0_register())?;
        op.src = op.dst;
        Some(false)
    } else if writable(insn) {
        memory(op, insn, mode)?;
        Some(true)
    } else {
        None
    }
}

/// Puts two registers of 32 bits into `op`, if that is what the operands are.
fn register_pair(op: &mut Op, insn: &Instruction) -> bool {
    let (dst, src) = (insn.op0_register(), insn.op1_register());
    let both = dst.is_gpr32() && src.is_gpr32();
    if both && let (Some(dst), Some(src)) = (register(dst), register(src)) {
        (op.dst, op.src) = (dst, src);
    }
    both
}

fn mov(mut op: Op, insn: &Instruction, mode: Mode) -> Option<Op> {
    op.handler = match two_operands(&mut op, insn, mode) {
        Some(form) => data::mov(form, size(insn)),
        None => {
            // FS and GS, through which threads reach their own data.
            let segment = match (insn.op_count(), insn.memory_segment()) {
                (2, Register::FS) => 4,
                (2, Register::GS) => 5,
                _ => return None,
            };
            op.imm = segment;
            let has_handler = |register: Register| register.is_gpr32() || register.is_gpr8();
            let store = match (insn.op0_kind(), insn.op1_kind()) {
                (OpKind::Register, OpKind::Memory) if has_handler(insn.op0_register()) => {
                    op.dst = register(insn.op0_register())?;
                    false
                }
                (OpKind::Memory, OpKind::Register) if has_handler(insn.op1_register()) => {
                    op.src = register(insn.op1_register())?;
                    true
                }
                _ => return None,
            };
            address(&mut op, insn)?;
            data::mov_segment(store, size(insn))
        }
    };
    Some(op)
}

fn extend(mut op: Op, insn: &Instruction, mode: Mode) -> Option<Op> {
    if !insn.op0_register().is_gpr32() {
        return None;
    }
    op.dst = register(insn.op0_register())?;
    let signed = insn.mnemonic() == Mnemonic::Movsx;
    op.handler = if insn.op1_kind() == OpKind::Register {
        op.src = register(insn.op1_register())?;
        data::extend(signed, insn.op1_register().size() as u32, None)
    } else {
        let indexed = memory(&mut op, insn, mode)?;
        data::extend(signed, insn.memory_size().size() as u32, Some(indexed))
    };
    Some(op)
}

fn multiply(mut op: Op, insn: &Instruction, mode: Mode, flags: bool) -> Option<Op> {
    let in_memory = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory);
    if insn.op_count() == 1 {
        if size(insn) != 4 || in_memory != one_operand(&mut op, insn, mode)? {
            return None;
        }
        op.handler = match insn.mnemonic() {
            Mnemonic::Mul => alu::mul(in_memory, flags),
            Mnemonic::Imul if !in_memory => alu::imul_wide(flags),
            Mnemonic::Div if !in_memory => alu::div(false, flags),
            Mnemonic::Idiv if !in_memory => alu::div(true, flags),
            _ => return None,
        };
        return Some(op);
    }
    if !insn.op0_register().is_gpr32() {
        return None;
    }
    op.dst = register(insn.op0_register())?;
    let immediate = insn.op_count() == 3;
    if immediate {
        op.imm = insn.try_immediate(2).ok()? as u32;
    }
    if in_memory {
        memory(&mut op, insn, mode)?;
    } else {
        op.src = register(insn.op1_register())?;
    }
    op.handler = alu::imul(in_memory, immediate, flags);
    Some(op)
}

fn shift_op(mut op: Op, insn: &Instruction, mode: Mode, flags: bool) -> Option<Op> {
    let in_memory = one_operand(&mut op, insn, mode)?;
    if size(insn) != 4 {
        return None;
    }
    let by_cl = insn.op1_kind() == OpKind::Register;
    if !by_cl {
        op.imm = insn.try_immediate(1).ok()? as u32 & 31;
    }
    let operation = match insn.mnemonic() {
        Mnemonic::Shr => shift::SHR,
        Mnemonic::Sar => shift::SAR,
        Mnemonic::Rol => shift::ROL,
        Mnemonic::Ror if !flags && !by_cl && !in_memory => {
            op.imm = (32 - op.imm) & 31;
            shift::ROL
        }
        Mnemonic::Ror => shift::ROR,
        _ => shift::SHL,
    };
    op.handler = match (by_cl || op.imm != 0, in_memory) {
        (true, true) => shift::shift_memory(operation, by_cl),
        (true, false) => shift::shift(operation, by_cl, flags),
        // It accesses memory all the same.
        (false, true) => return None,
        (false, false) => data::NOP,
    };
    Some(op)
}

/// MOVS and STOS of 1 or 4 bytes, repeated too, and LODS.
fn string_op(mut op: Op, insn: &Instruction, mode: Mode) -> Option<Op> {
    if !insn.is_string_instruction() || insn.has_repne_prefix() {
        return None;
    }
    let wide = insn.memory_size().size() == 4;
    let reads = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::MemorySegESI);
    let writes = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::MemoryESEDI);
    let short = (0..insn.op_count()).any(|n| matches!(insn.op_kind(n), OpKind::MemorySegSI | OpKind::MemoryESDI));
    let flat = !reads || insn.memory_segment() == Register::DS && mode.has(mode::FLAT_DS);
    if short || !flat || writes && !mode.has(mode::FLAT_ES) {
        return None;
    }
    op.handler = match (reads, writes, insn.has_rep_prefix()) {
        (true, true, false) => string::movs(wide),
        (false, true, false) => string::stos(wide),
        (true, true, true) => string::repeated_movs(wide),
        (false, true, true) => string::repeated_stos(wide),
        (_, _, false) => string::lods(wide),
        (_, _, true) => return None,
    };
    Some(op)
}

fn stack_op(mut op: Op, insn: &Instruction, mode: Mode) -> Option<Op> {
    if !flat_stack(mode) {
        return None;
    }
    op.handler = match insn.code() {
        Code::Push_r32 | Code::Push_rm32 if !one_operand(&mut op, insn, mode)? => stack::PUSH,
        Code::Push_rm32 => stack::PUSH_MEM,
        Code::Pushd_imm8 | Code::Pushd_imm32 => {
            op.imm = insn.try_immediate(0).ok()? as u32;
            stack::PUSH
        }
        Code::Pop_r32 | Code::Pop_rm32 if !one_operand(&mut op, insn, mode)? => stack::POP_REG,
        Code::Pushad => stack::PUSH_ALL,
        Code::Popad => stack::POP_ALL,
        Code::Leaved => stack::LEAVE,
        Code::Call_rel32_32 => {
            op.imm = insn.next_ip32();
            stack::CALL
        }
        Code::Call_rm32 => {
            op.imm = insn.next_ip32();
            if one_operand(&mut op, insn, mode)? { stack::CALL_MEM } else { stack::CALL_REG }
        }
        Code::Retnd => {
            op.imm = 4;
            stack::RET
        }
        Code::Retnd_imm16 => {
            op.imm = 4 + u32::from(insn.immediate16());
            stack::RET
        }
        _ => return None,
    };
    Some(op)
}

fn jump(mut op: Op, insn: &Instruction, mode: Mode) -> Option<Op> {
    op.handler = match insn.code() {
        // The way out stands for it.
        Code::Jmp_rel8_32 | Code::Jmp_rel32_32 => data::NOP,
        Code::Jmp_rm32 if one_operand(&mut op, insn, mode)? => branch::JUMP_MEM,
        Code::Jmp_rm32 => branch::JUMP_REG,
        _ => return None,
    };
    Some(op)
}

/// Jcc, SETcc and CMOVcc.
fn conditional(mut op: Op, insn: &Instruction, mode: Mode) -> Option<Op> {
    let code = condition(insn)?;
    op.handler = if insn.is_jcc_short_or_near() {
        branch::jump_if(jump_code(insn)?)
    } else if insn.op_count() == 1 {
        // LOOPE and LOOPNE have a condition too.
        if insn.op0_kind() == OpKind::NearBranch32 || insn.op0_kind() == OpKind::NearBranch16 {
            return None;
        }
        let in_memory = one_operand(&mut op, insn, mode)?;
        data::set_if(code, in_memory)
    } else {
        let in_memory = insn.op1_kind() == OpKind::Memory;
        if !insn.op0_register().is_gpr32() {
            return None;
        }
        two_operands(&mut op, insn, mode)?;
        data::mov_if(code, in_memory)
    };
    Some(op)
}

/// The operation of `first` fused with the Jcc after it. The Jcc keeps its own operation, which
/// holds the link, and runs where the first had to be looked at.
pub(super) fn fused(first: &Instruction, last: &Instruction, mode: Mode) -> Option<Op> {
    if !hot(mode) {
        return None;
    }
    let code = jump_code(last)?;
    let mut op = Op::new(data::NOP);
    if matches!(first.mnemonic(), Mnemonic::Inc | Mnemonic::Dec) {
        if one_operand(&mut op, first, mode)? || size(first) != 4 {
            return None;
        }
        op.handler = branch::step_jump(first.mnemonic() == Mnemonic::Dec, code)?;
        return Some(op);
    }
    let operation = binary_op(first.mnemonic())?;
    let operands = match two_operands(&mut op, first, mode)? {
        Form::RegReg => Operands::RegReg,
        Form::RegImm => Operands::RegImm,
        Form::RegMem { .. } => Operands::RegMem,
        Form::MemReg { .. } => Operands::MemReg,
        Form::MemImm { .. } => Operands::MemImm,
    };
    op.handler = match (operation, operands) {
        (alu::CMP | alu::TEST, _) => branch::compare_jump(operation, operands, size(first), code)?,
        (_, Operands::RegReg | Operands::RegImm) if size(first) == 4 => {
            branch::compute_jump(operation, operands == Operands::RegImm, code)?
        }
        _ => return None,
    };
    Some(op)
}
