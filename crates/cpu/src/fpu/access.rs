//! What every x87 instruction does first and last, and its memory operands.

use iced_x86::{Instruction, OpKind, Register};
use x86::{Cr0, SegReg};

use super::{F80, flags::Flags, number::Narrow, opcode::opcode};
use crate::{
    Cpu, Exception,
    mmu::access::{self, View},
    operand,
};

/// #NM while the FPU is absent or another task's.
pub(super) fn check_available(cpu: &Cpu) -> Result<(), Exception> {
    if cpu.state.cr0().intersects(Cr0::EM | Cr0::TS) { Err(Exception::nm()) } else { Ok(()) }
}

/// What a waiting instruction checks: that, and #MF for an exception that is pending.
pub(super) fn check(cpu: &mut Cpu) -> Result<(), Exception> {
    check_available(cpu)?;
    check_pending(cpu)
}

/// #MF for an exception that is pending, unless CR0.NE is clear and the board asserts IGNNE#. With CR0.NE
/// clear nothing is delivered: the instruction begins again and again until the board's interrupt comes.
pub(crate) fn check_pending(cpu: &mut Cpu) -> Result<(), Exception> {
    if !cpu.state.fpu.pending() {
        return Ok(());
    }
    let ignored = !cpu.state.cr0().contains(Cr0::NE) && cpu.bus().numeric_error(true);
    if ignored { Ok(()) } else { Err(Exception::mf()) }
}

/// Lets the board know, after what may have cleared the exceptions or brought others.
pub(crate) fn drive_error_pin(cpu: &mut Cpu) {
    if !cpu.state.cr0().contains(Cr0::NE) {
        let asserted = cpu.state.fpu.pending();
        cpu.bus().numeric_error(asserted);
    }
}

/// Notes where a non-control instruction and its memory operand are, and its opcode.
///
/// The opcode is kept of every such instruction, on all models: as processors before the Pentium 4 do,
/// and later ones with the fopcode compatibility mode on; with it off it need be valid only after an
/// unmasked exception (SDM Vol. 1, "Fopcode Compatibility Sub-mode").
pub(super) fn note(cpu: &mut Cpu, insn: &Instruction) {
    let data =
        (insn.op_count() > 0 && insn.op0_kind() == OpKind::Memory).then(|| operand::effective_address(cpu, insn));
    let cs = cpu.state.selector(SegReg::Cs).0;
    let ds = data.map(|(seg, offset)| (cpu.state.selector(seg).0, offset));
    let fpu = &mut cpu.state.fpu;
    (fpu.cs, fpu.ip, fpu.opcode) = (cs, cpu.state.eip, opcode(insn));
    if let Some((ds, dp)) = ds {
        (fpu.ds, fpu.dp) = (ds, dp);
    }
}

/// The number of operand `index`, an ST register.
pub(super) fn st(insn: &Instruction, index: u32) -> usize {
    let reg = insn.op_register(index);
    debug_assert!(reg.is_st());
    reg as usize - Register::ST0 as usize
}

/// `N` bytes of the memory operand.
pub(super) fn load<const N: usize>(cpu: &mut Cpu, insn: &Instruction) -> Result<[u8; N], Exception> {
    let addr = operand::linear(cpu, insn, N as u32, false)?;
    access::read(cpu, addr, View::Current)
}

/// `N` bytes to the memory operand.
pub(super) fn store<const N: usize>(cpu: &mut Cpu, insn: &Instruction, bytes: &[u8; N]) -> Result<(), Exception> {
    let addr = operand::linear(cpu, insn, N as u32, true)?;
    access::write(cpu, addr, bytes, View::Current)
}

/// A number in memory, by format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Single,
    Double,
    Int16,
    Int32,
    Int64,
}

/// The memory operand as an 80-bit number. A signaling NaN stays one; DE is told apart, since a
/// denormal is normal once widened.
pub(super) fn load_number(cpu: &mut Cpu, insn: &Instruction, source: Source) -> Result<(F80, Flags), Exception> {
    Ok(match source {
        Source::Single => F80::of_narrow(u32::from_le_bytes(load(cpu, insn)?).into(), Narrow::SINGLE),
        Source::Double => F80::of_narrow(u64::from_le_bytes(load(cpu, insn)?), Narrow::DOUBLE),
        Source::Int16 => (F80::of_i64(i16::from_le_bytes(load(cpu, insn)?).into()), 0),
        Source::Int32 => (F80::of_i64(i32::from_le_bytes(load(cpu, insn)?).into()), 0),
        Source::Int64 => (F80::of_i64(i64::from_le_bytes(load(cpu, insn)?)), 0),
    })
}
