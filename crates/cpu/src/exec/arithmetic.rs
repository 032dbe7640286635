//! ADD, ADC, SUB, SBB, CMP, INC, DEC, NEG, AND, OR, XOR, TEST, NOT, MUL, IMUL, DIV, IDIV, XADD,
//! CMPXCHG, CMPXCHG8B and the decimal adjustments.

use iced_x86::{Instruction, Mnemonic};

use super::{
    by_width,
    place::{Place, read},
};
use crate::{
    Cpu, Exception, Gpr,
    alu::{self, Flags, Word},
    mmu::access::{self, View},
    operand,
    slow::{Flow, Slow},
};

pub(super) fn lookup(mnemonic: Mnemonic) -> Option<Slow> {
    Some(match mnemonic {
        Mnemonic::Add
        | Mnemonic::Adc
        | Mnemonic::Sub
        | Mnemonic::Sbb
        | Mnemonic::And
        | Mnemonic::Or
        | Mnemonic::Xor => |cpu, insn| by_width!(operand::op_size(insn, 0), binary(cpu, insn)),
        Mnemonic::Cmp | Mnemonic::Test => |cpu, insn| by_width!(operand::op_size(insn, 0), compare(cpu, insn)),
        Mnemonic::Inc | Mnemonic::Dec | Mnemonic::Neg | Mnemonic::Not => {
            |cpu, insn| by_width!(operand::op_size(insn, 0), unary(cpu, insn))
        }
        Mnemonic::Mul | Mnemonic::Div | Mnemonic::Idiv => {
            |cpu, insn| by_width!(operand::op_size(insn, 0), accumulator(cpu, insn))
        }
        Mnemonic::Imul => |cpu, insn| match insn.op_count() {
            1 => by_width!(operand::op_size(insn, 0), accumulator(cpu, insn)),
            _ => by_width!(operand::op_size(insn, 0), imul(cpu, insn)),
        },
        Mnemonic::Xadd => |cpu, insn| by_width!(operand::op_size(insn, 0), xadd(cpu, insn)),
        Mnemonic::Cmpxchg => |cpu, insn| by_width!(operand::op_size(insn, 0), cmpxchg(cpu, insn)),
        Mnemonic::Cmpxchg8b => cmpxchg8b,
        Mnemonic::Daa | Mnemonic::Das | Mnemonic::Aaa | Mnemonic::Aas | Mnemonic::Aam | Mnemonic::Aad => decimal,
        _ => return None,
    })
}

fn binary<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let src = read::<W>(cpu, insn, 1)?;
    let place = Place::read_write::<W>(cpu, insn, 0)?;
    let dst = place.get::<W>(cpu)?;
    let (result, flags) = match insn.mnemonic() {
        Mnemonic::Add => alu::add(dst, src),
        Mnemonic::Adc => alu::adc(dst, src, cpu.flags().cf),
        Mnemonic::Sub => alu::sub(dst, src),
        Mnemonic::Sbb => alu::sbb(dst, src, cpu.flags().cf),
        Mnemonic::And => alu::and(dst, src),
        Mnemonic::Or => alu::or(dst, src),
        _ => alu::xor(dst, src),
    };
    place.set(cpu, result)?;
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

fn compare<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let dst = read::<W>(cpu, insn, 0)?;
    let src = read::<W>(cpu, insn, 1)?;
    let (_, flags) = if insn.mnemonic() == Mnemonic::Cmp { alu::sub(dst, src) } else { alu::and(dst, src) };
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

fn unary<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let place = Place::read_write::<W>(cpu, insn, 0)?;
    let dst = place.get::<W>(cpu)?;
    let before = cpu.flags();
    let (result, flags) = match insn.mnemonic() {
        Mnemonic::Inc => alu::inc(dst, before),
        Mnemonic::Dec => alu::dec(dst, before),
        Mnemonic::Neg => alu::neg(dst),
        _ => (!dst, before),
    };
    place.set(cpu, result)?;
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

/// The double-width accumulator: AH:AL, DX:AX or EDX:EAX.
fn wide_accumulator<W: Word>(cpu: &Cpu) -> (W, W) {
    let eax = cpu.state.gpr(Gpr::Eax);
    let high = if W::BITS == 8 { eax >> 8 } else { cpu.state.gpr(Gpr::Edx) };
    (W::truncate(high.into()), W::truncate(eax.into()))
}

fn set_wide_accumulator<W: Word>(cpu: &mut Cpu, high: W, low: W) {
    let (high, low) = (high.zext() as u32, low.zext() as u32);
    let keep = |old: u32, value: u32| if W::BITS == 32 { value } else { old & 0xffff_0000 | value };
    if W::BITS == 8 {
        cpu.state.set_gpr(Gpr::Eax, keep(cpu.state.gpr(Gpr::Eax), high << 8 | low));
    } else {
        cpu.state.set_gpr(Gpr::Eax, keep(cpu.state.gpr(Gpr::Eax), low));
        cpu.state.set_gpr(Gpr::Edx, keep(cpu.state.gpr(Gpr::Edx), high));
    }
}

/// One-operand MUL, IMUL, DIV and IDIV.
fn accumulator<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let src = read::<W>(cpu, insn, 0)?;
    let (high, low) = wide_accumulator::<W>(cpu);
    let before = cpu.flags();
    let (high, low, flags) = match insn.mnemonic() {
        Mnemonic::Mul => alu::mul(low, src, before),
        Mnemonic::Imul => alu::imul(low, src, before),
        division => {
            let divide = if division == Mnemonic::Div { alu::div } else { alu::idiv };
            let (quotient, remainder, flags) = divide(high, low, src, before).ok_or(Exception::de())?;
            (remainder, quotient, flags)
        }
    };
    set_wide_accumulator(cpu, high, low);
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

/// IMUL with two and with three operands.
fn imul<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let (first, second) = if insn.op_count() == 3 { (1, 2) } else { (0, 1) };
    let a = read::<W>(cpu, insn, first)?;
    let b = read::<W>(cpu, insn, second)?;
    let (_, low, flags) = alu::imul(a, b, cpu.flags());
    operand::write_op(cpu, insn, 0, low.zext() as u32)?;
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

fn xadd<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let place = Place::read_write::<W>(cpu, insn, 0)?;
    let dst = place.get::<W>(cpu)?;
    let (sum, flags) = alu::add(dst, read::<W>(cpu, insn, 1)?);
    // The source first: with both the same register, the sum stays.
    operand::write_op(cpu, insn, 1, dst.zext() as u32)?;
    place.set(cpu, sum)?;
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

fn cmpxchg<W: Word>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let place = Place::read_write::<W>(cpu, insn, 0)?;
    let dst = place.get::<W>(cpu)?;
    let (_, accumulator) = wide_accumulator::<W>(cpu);
    let src = read::<W>(cpu, insn, 1)?;
    let (_, flags) = alu::sub(accumulator, dst);
    if flags.zf {
        place.set(cpu, src)?;
    } else {
        // The destination is written either way; what it held goes back.
        place.set(cpu, dst)?;
        let old = cpu.state.gpr(Gpr::Eax);
        let mask = (u64::MAX >> (64 - W::BITS)) as u32;
        cpu.state.set_gpr(Gpr::Eax, old & !mask | dst.zext() as u32);
    }
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

fn cmpxchg8b(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let addr = operand::linear(cpu, insn, 8, true)?;
    access::probe_write(cpu, addr, 8, View::Current)?;
    let held = access::read_u64(cpu, addr, View::Current)?;
    let pair = |high, low| u64::from(cpu.state.gpr(high)) << 32 | u64::from(cpu.state.gpr(low));
    let equal = held == pair(Gpr::Edx, Gpr::Eax);
    let new = if equal { pair(Gpr::Ecx, Gpr::Ebx) } else { held };
    access::write_u64(cpu, addr, new, View::Current)?;
    if !equal {
        cpu.state.set_gpr(Gpr::Eax, held as u32);
        cpu.state.set_gpr(Gpr::Edx, (held >> 32) as u32);
    }
    let flags = Flags { zf: equal, ..cpu.flags() };
    cpu.set_flags(flags);
    Ok(Flow::Next)
}

fn decimal(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let eax = cpu.state.gpr(Gpr::Eax);
    let (ax, al) = (eax as u16, eax as u8);
    let before = cpu.flags();
    let with_al = |(al, flags): (u8, Flags)| (ax & 0xff00 | u16::from(al), flags);
    let (ax, flags) = match insn.mnemonic() {
        Mnemonic::Daa => with_al(alu::daa(al, before)),
        Mnemonic::Das => with_al(alu::das(al, before)),
        Mnemonic::Aaa => alu::aaa(ax, before),
        Mnemonic::Aas => alu::aas(ax, before),
        Mnemonic::Aam => alu::aam(al, insn.immediate8()).ok_or(Exception::de())?,
        _ => alu::aad(ax, insn.immediate8()),
    };
    cpu.state.set_gpr(Gpr::Eax, eax & 0xffff_0000 | u32::from(ax));
    cpu.set_flags(flags);
    Ok(Flow::Next)
}
