//! MOVS, CMPS, STOS, LODS, SCAS and their repetition.
//!
//! A repeated instruction retires an instruction an iteration, with a boundary between two
//! (SDM Vol. 2, "REP/REPE/REPZ/REPNE/REPNZ"). Iterations run here until the budget is used
//! up or one did what the dispatcher must look at. Where all of it is plain RAM, all but LODS
//! go a page at a time on the host ([`super::bulk`]), to the same result.

use iced_x86::{Instruction, Mnemonic, Register};
use x86::{Eflags, LinearAddr, SegReg};

use super::{bulk, by_width};
use crate::{
    Cpu, Exception,
    alu::{self, Word},
    operand,
    slow::{Flow, Slow},
};

pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    // MOVSD and CMPSD name SSE2 instructions too; those have another encoding.
    use Mnemonic as M;
    if !insn.is_string_instruction() {
        return None;
    }
    Some(match insn.mnemonic() {
        M::Movsb | M::Movsw | M::Movsd => |cpu, insn| by_width!(width(insn), repeat(cpu, insn, Kind::Movs)),
        M::Cmpsb | M::Cmpsw | M::Cmpsd => |cpu, insn| by_width!(width(insn), repeat(cpu, insn, Kind::Cmps)),
        M::Stosb | M::Stosw | M::Stosd => |cpu, insn| by_width!(width(insn), repeat(cpu, insn, Kind::Stos)),
        M::Lodsb | M::Lodsw | M::Lodsd => |cpu, insn| by_width!(width(insn), repeat(cpu, insn, Kind::Lods)),
        M::Scasb | M::Scasw | M::Scasd => |cpu, insn| by_width!(width(insn), repeat(cpu, insn, Kind::Scas)),
        _ => return None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Movs,
    Cmps,
    Stos,
    Lods,
    Scas,
}

fn width(insn: &Instruction) -> u32 {
    insn.memory_size().size() as u32
}

/// The registers of a string instruction, by its address size.
pub(super) struct Pointers {
    pub source: Register,
    pub source_seg: SegReg,
    pub destination: Register,
    pub counter: Register,
}

impl Pointers {
    fn of(insn: &Instruction) -> Self {
        use iced_x86::OpKind as K;
        let short = (0..insn.op_count()).any(|n| matches!(insn.op_kind(n), K::MemorySegSI | K::MemoryESDI));
        let reads_source = (0..insn.op_count()).any(|n| matches!(insn.op_kind(n), K::MemorySegSI | K::MemorySegESI));
        let source_seg = if reads_source { operand::seg_reg(insn.memory_segment()) } else { SegReg::Ds };
        let (source, destination, counter) = match short {
            true => (Register::SI, Register::DI, Register::CX),
            false => (Register::ESI, Register::EDI, Register::ECX),
        };
        Pointers { source, source_seg, destination, counter }
    }
}

/// Stores of one instruction that are no series yet.
const FEW: u32 = 8;

fn repeat<W: Word>(cpu: &mut Cpu, insn: &Instruction, kind: Kind) -> Result<Flow, Exception> {
    let pointers = Pointers::of(insn);
    let repne = insn.has_repne_prefix();
    if !repne && !insn.has_rep_prefix() {
        iterate::<W>(cpu, kind, &pointers)?;
        return Ok(Flow::Next);
    }
    loop {
        let count = operand::read_reg(cpu, pointers.counter);
        if count == 0 {
            return Ok(Flow::Next);
        }
        let done = match bulk::run::<W>(cpu, kind, &pointers, count, repne) {
            0 => {
                cpu.run.in_series = count > FEW;
                let iterated = iterate::<W>(cpu, kind, &pointers);
                cpu.run.in_series = false;
                iterated?;
                1
            }
            done => done,
        };
        operand::write_reg(cpu, pointers.counter, count - done);
        cpu.retire_extra(u64::from(done - 1));
        let decided = matches!(kind, Kind::Cmps | Kind::Scas) && cpu.flags().zf == repne;
        if count == done || decided {
            return Ok(Flow::Next);
        }
        if cpu.budget_left() == 0 || cpu.disturbed() {
            return Ok(Flow::Again);
        }
        cpu.retire_extra(1);
    }
}

fn source_addr<W: Word>(cpu: &Cpu, pointers: &Pointers) -> Result<LinearAddr, Exception> {
    let len = W::BITS / 8;
    operand::segment_linear(cpu, pointers.source_seg, operand::read_reg(cpu, pointers.source), len, len, false)
}

fn destination_addr<W: Word>(cpu: &Cpu, pointers: &Pointers, write: bool) -> Result<LinearAddr, Exception> {
    let len = W::BITS / 8;
    operand::segment_linear(cpu, SegReg::Es, operand::read_reg(cpu, pointers.destination), len, len, write)
}

/// One iteration.
fn iterate<W: Word>(cpu: &mut Cpu, kind: Kind, pointers: &Pointers) -> Result<(), Exception> {
    let len = W::BITS / 8;
    let accumulator = match W::BITS {
        8 => Register::AL,
        16 => Register::AX,
        _ => Register::EAX,
    };
    match kind {
        Kind::Movs => {
            let (from, to) = (source_addr::<W>(cpu, pointers)?, destination_addr::<W>(cpu, pointers, true)?);
            let value = operand::read_sized(cpu, from, len)?;
            operand::write_sized(cpu, to, len, value)?;
        }
        Kind::Stos => {
            let to = destination_addr::<W>(cpu, pointers, true)?;
            operand::write_sized(cpu, to, len, operand::read_reg(cpu, accumulator))?;
        }
        Kind::Lods => {
            let from = source_addr::<W>(cpu, pointers)?;
            let value = operand::read_sized(cpu, from, len)?;
            operand::write_reg(cpu, accumulator, value);
        }
        Kind::Cmps | Kind::Scas => {
            let first = match kind {
                Kind::Cmps => {
                    let from = source_addr::<W>(cpu, pointers)?;
                    operand::read_sized(cpu, from, len)?
                }
                _ => operand::read_reg(cpu, accumulator),
            };
            let to = destination_addr::<W>(cpu, pointers, false)?;
            let second = operand::read_sized(cpu, to, len)?;
            let (_, flags) = alu::sub(W::truncate(first.into()), W::truncate(second.into()));
            cpu.set_flags(flags);
        }
    }
    let step = if cpu.state.eflags.contains(Eflags::DF) { len.wrapping_neg() } else { len };
    if matches!(kind, Kind::Movs | Kind::Cmps | Kind::Lods) {
        advance(cpu, pointers.source, step);
    }
    if kind != Kind::Lods {
        advance(cpu, pointers.destination, step);
    }
    Ok(())
}

/// Moves a pointer register by `bytes`.
pub(super) fn advance(cpu: &mut Cpu, register: Register, bytes: u32) {
    let moved = operand::read_reg(cpu, register).wrapping_add(bytes);
    operand::write_reg(cpu, register, moved);
}
