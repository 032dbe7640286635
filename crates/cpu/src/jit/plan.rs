//! What of an instruction host code is made for: its operation and operands, without encodings.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use crate::{
    block::{Op, lower},
    exec::hot::{self, alu, shift},
    operand::seg_reg,
};

/// Numbers of general-purpose registers.
pub(super) const EAX: u8 = 0;
pub(super) const ECX: u8 = 1;
pub(super) const EDX: u8 = 2;
pub(super) const ESP: u8 = 4;
pub(super) const EBP: u8 = 5;

/// A memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub base: Option<u8>,
    /// The index and log2 of its factor.
    pub index: Option<(u8, u8)>,
    pub disp: u32,
    /// FS or GS by number; all others are flat.
    pub segment: Option<u8>,
}

impl Address {
    /// `disp` bytes from where a register points.
    pub(super) const fn at(base: u8, disp: i32) -> Self {
        Address { base: Some(base), index: None, disp: disp as u32, segment: None }
    }
}

/// A register by the byte offset of its lowest byte among the general-purpose registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reg(pub u8);

impl Reg {
    /// The number of the full register.
    pub(super) fn number(self) -> u8 {
        self.0 >> 2
    }

    /// AH to BH.
    pub(super) fn is_high(self) -> bool {
        self.0 & 3 != 0
    }
}

/// Where a result goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Reg(Reg),
    Mem(Address),
}

/// Where an operand comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Reg(Reg),
    Imm(u32),
    Mem(Address),
}

/// An instruction. Sizes are in bytes; registers by number are full ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    Nop,
    Move {
        size: u32,
        to: Place,
        from: Source,
    },
    Extend {
        signed: bool,
        size: u32,
        to: u8,
        from: Source,
    },
    Lea {
        to: u8,
        address: Address,
    },
    Binary {
        op: u8,
        size: u32,
        to: Place,
        from: Source,
    },
    Step {
        down: bool,
        to: Place,
    },
    Not(u8),
    Neg(u8),
    Shift {
        op: u8,
        to: Place,
        count: u32,
    },
    /// By CL.
    ShiftBy {
        op: u8,
        to: u8,
    },
    /// SHLD, SHRD; by CL without a count.
    DoubleShift {
        right: bool,
        to: u8,
        from: u8,
        count: Option<u32>,
    },
    /// BSF, BSR.
    Scan {
        reverse: bool,
        to: u8,
        from: u8,
    },
    /// BSWAP.
    Swap(u8),
    /// MUL and IMUL of EAX into EDX:EAX.
    Product {
        signed: bool,
        by: Source,
    },
    Multiply {
        to: u8,
        a: Source,
        b: Source,
    },
    /// CDQ.
    Sign,
    SetIf {
        code: u8,
        to: Reg,
    },
    MoveIf {
        code: u8,
        to: u8,
        from: Source,
    },
    /// XCHG of a register with another or with memory.
    Exchange {
        size: u32,
        reg: Reg,
        with: Place,
    },
    Push(Source),
    Pop(u8),
    Leave,
    /// Jcc: by the operation's link, or behind the instruction.
    Branch {
        code: u8,
    },
    /// JMP by the last exit.
    Jump,
    /// By the operation's link.
    Call {
        back: u32,
    },
    /// By a register or by memory.
    CallBy {
        to: Source,
        back: u32,
    },
    /// By a register or by memory.
    JumpBy {
        to: Source,
    },
    /// RET that takes so many bytes off the stack.
    Return {
        release: u32,
    },
}

impl Plan {
    /// Of an instruction with its operation, if host code can be made.
    pub(super) fn of(insn: &Instruction, op: &Op) -> Option<Self> {
        if std::ptr::fn_addr_eq(op.handler, hot::SLOW) {
            return None;
        }
        let size = lower::size(insn);
        Some(match insn.mnemonic() {
            Mnemonic::Nop => Plan::Nop,
            Mnemonic::Mov if general(insn) => Plan::Move { size, to: place(insn)?, from: source(insn, 1)? },
            Mnemonic::Movzx | Mnemonic::Movsx => Plan::Extend {
                signed: insn.mnemonic() == Mnemonic::Movsx,
                size: source_size(insn),
                to: full(insn.op0_register())?,
                from: source(insn, 1)?,
            },
            Mnemonic::Cwde => Plan::Extend { signed: true, size: 2, to: EAX, from: Source::Reg(Reg(0)) },
            Mnemonic::Lea => Plan::Lea { to: full(insn.op0_register())?, address: address(insn, op_address(insn)?)? },
            Mnemonic::Inc | Mnemonic::Dec if size == 4 => {
                Plan::Step { down: insn.mnemonic() == Mnemonic::Dec, to: place(insn)? }
            }
            Mnemonic::Not => Plan::Not(full(insn.op0_register())?),
            Mnemonic::Neg => Plan::Neg(full(insn.op0_register())?),
            Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Rol | Mnemonic::Ror => {
                return rotate_or_shift(insn);
            }
            Mnemonic::Shld | Mnemonic::Shrd => Plan::DoubleShift {
                right: insn.mnemonic() == Mnemonic::Shrd,
                to: full(insn.op0_register())?,
                from: full(insn.op1_register())?,
                count: insn.try_immediate(2).ok().map(|count| count as u32 & 31),
            },
            Mnemonic::Bsf | Mnemonic::Bsr if insn.op1_kind() == OpKind::Register => Plan::Scan {
                reverse: insn.mnemonic() == Mnemonic::Bsr,
                to: full(insn.op0_register())?,
                from: full(insn.op1_register())?,
            },
            Mnemonic::Xchg => {
                Plan::Exchange { size, reg: Reg(lower::register(insn.op1_register())?), with: place(insn)? }
            }
            Mnemonic::Bswap => Plan::Swap(full(insn.op0_register())?),
            Mnemonic::Mul | Mnemonic::Imul if insn.op_count() == 1 && size == 4 => {
                Plan::Product { signed: insn.mnemonic() == Mnemonic::Imul, by: source(insn, 0)? }
            }
            Mnemonic::Imul if insn.op_count() == 2 => Plan::Multiply {
                to: full(insn.op0_register())?,
                a: Source::Reg(Reg(4 * full(insn.op0_register())?)),
                b: source(insn, 1)?,
            },
            Mnemonic::Imul if insn.op_count() == 3 => {
                Plan::Multiply { to: full(insn.op0_register())?, a: source(insn, 1)?, b: source(insn, 2)? }
            }
            Mnemonic::Cdq => Plan::Sign,
            Mnemonic::Push | Mnemonic::Pop | Mnemonic::Leave | Mnemonic::Call | Mnemonic::Ret => return stack(insn),
            Mnemonic::Jmp => match insn.code() {
                Code::Jmp_rel8_32 | Code::Jmp_rel32_32 => Plan::Jump,
                Code::Jmp_rm32 => Plan::JumpBy { to: source(insn, 0)? },
                _ => return None,
            },
            mnemonic => match lower::binary_op(mnemonic) {
                Some(op) if size == 4 || !matches!(op, alu::ADD | alu::ADC | alu::SUB | alu::SBB) => {
                    Plan::Binary { op, size, to: place(insn)?, from: source(insn, 1)? }
                }
                Some(_) => return None,
                None => return conditional(insn),
            },
        })
    }

    /// The memory that it touches: where, how many bytes, and whether it is written.
    pub(super) fn access(&self) -> Option<(Address, u32, bool)> {
        let of = |source: &Source, size| match *source {
            Source::Mem(address) => Some((address, size, false)),
            _ => None,
        };
        match self {
            Plan::Move { size, to: Place::Mem(address), .. } => Some((*address, *size, true)),
            Plan::Move { size, from, .. } => of(from, *size),
            Plan::Extend { size, from, .. } => of(from, *size),
            Plan::Binary { op, size, to: Place::Mem(address), .. } => {
                Some((*address, *size, !matches!(*op, alu::CMP | alu::TEST)))
            }
            Plan::Binary { size, from, .. } => of(from, *size),
            Plan::Step { to: Place::Mem(address), .. } | Plan::Shift { to: Place::Mem(address), .. } => {
                Some((*address, 4, true))
            }
            Plan::Multiply { a, b, .. } => of(a, 4).or_else(|| of(b, 4)),
            Plan::Product { by, .. } => of(by, 4),
            Plan::MoveIf { from, .. } => of(from, 4),
            Plan::Exchange { size, with: Place::Mem(address), .. } => Some((*address, *size, true)),
            Plan::JumpBy { to } => of(to, 4),
            // Beside what they may read: it is looked at alone.
            Plan::Push(_) | Plan::Call { .. } | Plan::CallBy { .. } => Some((Address::at(ESP, -4), 4, true)),
            Plan::Pop(_) | Plan::Return { .. } => Some((Address::at(ESP, 0), 4, false)),
            Plan::Leave => Some((Address::at(EBP, 0), 4, false)),
            _ => None,
        }
    }

    /// The full registers that it writes, a bit each.
    pub(super) fn written(&self) -> u8 {
        let of = |place: &Place| if let Place::Reg(reg) = place { 1 << reg.number() } else { 0 };
        match self {
            Plan::Binary { op: alu::CMP | alu::TEST, .. } => 0,
            Plan::Move { to, .. } | Plan::Binary { to, .. } | Plan::Step { to, .. } | Plan::Shift { to, .. } => of(to),
            Plan::Extend { to, .. }
            | Plan::Lea { to, .. }
            | Plan::Not(to)
            | Plan::Neg(to)
            | Plan::ShiftBy { to, .. }
            | Plan::DoubleShift { to, .. }
            | Plan::Scan { to, .. }
            | Plan::Swap(to)
            | Plan::Multiply { to, .. }
            | Plan::MoveIf { to, .. } => 1 << to,
            Plan::SetIf { to, .. } => 1 << to.number(),
            Plan::Exchange { reg, with, .. } => 1 << reg.number() | of(with),
            Plan::Sign => 1 << EDX,
            Plan::Product { .. } => 1 << EAX | 1 << EDX,
            Plan::Push(_) | Plan::Call { .. } | Plan::CallBy { .. } | Plan::Return { .. } => 1 << ESP,
            Plan::Pop(to) => 1 << ESP | 1 << to,
            Plan::Leave => 1 << ESP | 1 << EBP,
            Plan::Nop | Plan::Branch { .. } | Plan::Jump | Plan::JumpBy { .. } => 0,
        }
    }

    /// The full registers that it touches in any way.
    pub(super) fn touched(&self) -> u8 {
        let in_address = |address: &Address| {
            address.base.map_or(0, |base| 1u8 << base) | address.index.map_or(0, |(index, _)| 1 << index)
        };
        let read = |source: &Source| match source {
            Source::Reg(reg) => 1 << reg.number(),
            Source::Imm(_) => 0,
            Source::Mem(address) => in_address(address),
        };
        let place = |place: &Place| match place {
            Place::Reg(reg) => 1 << reg.number(),
            Place::Mem(address) => in_address(address),
        };
        self.written()
            | match self {
                Plan::Move { to, from, .. } | Plan::Binary { to, from, .. } => place(to) | read(from),
                Plan::Extend { from, .. } => read(from),
                Plan::Lea { address, .. } => in_address(address),
                Plan::Step { to, .. } | Plan::Shift { to, .. } => place(to),
                Plan::ShiftBy { .. } => 1 << ECX,
                Plan::DoubleShift { from, count, .. } => 1 << from | if count.is_none() { 1 << ECX } else { 0 },
                Plan::Product { by, .. } => read(by),
                Plan::Multiply { a, b, .. } => read(a) | read(b),
                Plan::Sign => 1 << EAX,
                Plan::MoveIf { from, .. } => read(from),
                Plan::Exchange { with, .. } => place(with),
                Plan::Scan { from, .. } => 1 << from,
                Plan::Push(source) => read(source),
                Plan::CallBy { to, .. } | Plan::JumpBy { to } => read(to),
                _ => 0,
            }
    }

    /// Whether nothing follows it in its block.
    pub(super) fn is_way_out(&self) -> bool {
        use Plan as P;
        matches!(
            self,
            P::Branch { .. } | P::Jump | P::Call { .. } | P::CallBy { .. } | P::JumpBy { .. } | P::Return { .. }
        )
    }
}

/// Operands are general-purpose registers, memory and constants.
fn general(insn: &Instruction) -> bool {
    (0..insn.op_count()).all(|n| insn.op_kind(n) != OpKind::Register || insn.op_register(n).is_gpr())
}

/// The number of a register of 32 bits.
fn full(register: Register) -> Option<u8> {
    if register.is_gpr32() { Some(register.number() as u8) } else { None }
}

fn source_size(insn: &Instruction) -> u32 {
    match insn.op1_kind() {
        OpKind::Register => insn.op1_register().size() as u32,
        _ => insn.memory_size().size() as u32,
    }
}

/// The segment of a memory operand, if it is not flat.
fn op_address(insn: &Instruction) -> Option<Option<u8>> {
    Some(match insn.memory_segment() {
        _ if insn.mnemonic() == Mnemonic::Lea => None,
        segment @ (Register::FS | Register::GS) => Some(seg_reg(segment) as u8),
        _ => None,
    })
}

fn address(insn: &Instruction, segment: Option<u8>) -> Option<Address> {
    let part = |register| match register {
        Register::None => Some(None),
        register => full(register).map(Some),
    };
    Some(Address {
        base: part(insn.memory_base())?,
        index: part(insn.memory_index())?.map(|index| (index, insn.memory_index_scale().trailing_zeros() as u8)),
        disp: insn.memory_displacement32(),
        segment,
    })
}

fn place(insn: &Instruction) -> Option<Place> {
    Some(match insn.op0_kind() {
        OpKind::Register => Place::Reg(Reg(lower::register(insn.op0_register())?)),
        OpKind::Memory => Place::Mem(address(insn, op_address(insn)?)?),
        _ => return None,
    })
}

fn source(insn: &Instruction, n: u32) -> Option<Source> {
    Some(match insn.op_kind(n) {
        OpKind::Register => Source::Reg(Reg(lower::register(insn.op_register(n))?)),
        OpKind::Memory => Source::Mem(address(insn, op_address(insn)?)?),
        _ => Source::Imm(insn.try_immediate(n).ok()? as u32),
    })
}

fn rotate_or_shift(insn: &Instruction) -> Option<Plan> {
    let to = place(insn)?;
    if lower::size(insn) != 4 {
        return None;
    }
    let op = match insn.mnemonic() {
        Mnemonic::Shr => shift::SHR,
        Mnemonic::Sar => shift::SAR,
        Mnemonic::Rol => shift::ROL,
        Mnemonic::Ror => shift::ROR,
        _ => shift::SHL,
    };
    Some(match (insn.try_immediate(1), to) {
        (Ok(count), Place::Reg(_)) if count & 31 == 0 => Plan::Nop,
        // It accesses memory all the same.
        (Ok(count), Place::Mem(_)) if count & 31 == 0 => return None,
        (Ok(count), _) => Plan::Shift { op, to, count: count as u32 & 31 },
        (Err(_), Place::Reg(to)) => Plan::ShiftBy { op, to: to.number() },
        (Err(_), Place::Mem(_)) => return None,
    })
}

fn stack(insn: &Instruction) -> Option<Plan> {
    Some(match insn.code() {
        Code::Push_r32 | Code::Push_rm32 | Code::Pushd_imm8 | Code::Pushd_imm32 => Plan::Push(source(insn, 0)?),
        Code::Pop_r32 => Plan::Pop(full(insn.op0_register())?),
        Code::Pop_rm32 if insn.op0_kind() == OpKind::Register => Plan::Pop(full(insn.op0_register())?),
        Code::Leaved => Plan::Leave,
        Code::Call_rel32_32 => Plan::Call { back: insn.next_ip32() },
        Code::Call_rm32 => Plan::CallBy { to: source(insn, 0)?, back: insn.next_ip32() },
        Code::Retnd => Plan::Return { release: 4 },
        Code::Retnd_imm16 => Plan::Return { release: 4 + u32::from(insn.immediate16()) },
        _ => return None,
    })
}

/// Jcc, CMOVcc, and SETcc of registers.
fn conditional(insn: &Instruction) -> Option<Plan> {
    let code = lower::condition(insn)?;
    if insn.is_jcc_short_or_near() {
        return Some(Plan::Branch { code });
    }
    match insn.op_count() {
        1 if insn.op0_kind() == OpKind::Register => {
            Some(Plan::SetIf { code, to: Reg(lower::register(insn.op0_register())?) })
        }
        2 => Some(Plan::MoveIf { code, to: full(insn.op0_register())?, from: source(insn, 1)? }),
        _ => None,
    }
}
