//! INT n, INT3, INTO, INT1, BOUND, UDn, IRET.

use iced_x86::{Instruction, Mnemonic};
use x86::Vector;

use super::next_eip;
use crate::{
    Cpu, Exception, Exit, Occurrence,
    event::{self, Event},
    operand,
    slow::Flow,
};

fn deliver(cpu: &mut Cpu, event: Event) -> Result<Flow, Exception> {
    Ok(match event::deliver(cpu, event) {
        Ok(()) => {
            cpu.run.interrupted = true;
            Flow::Jump
        }
        Err(first) => Flow::Exit(Exit::TripleFault { first }),
    })
}

fn software(cpu: &mut Cpu, insn: &Instruction, vector: u8) -> Result<Flow, Exception> {
    not_caught(cpu, vector)?;
    let return_eip = next_eip(cpu, insn);
    deliver(cpu, Event::Software { vector, return_eip })
}

/// `Err` if a debugger is to be told before the instruction interrupts. The exception is none.
fn not_caught(cpu: &mut Cpu, vector: u8) -> Result<(), Exception> {
    if !cpu.catches_before(vector) {
        return Ok(());
    }
    cpu.run.caught = Some(Occurrence::SoftwareInterrupt { vector });
    Err(Exception::bp())
}

/// INT n.
pub(super) fn int(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    if cpu.state.v86() && cpu.state.eflags.iopl() < 3 {
        return Err(Exception::gp(0));
    }
    software(cpu, insn, insn.immediate8())
}

/// INT3.
pub(super) fn int3(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    software(cpu, insn, 3)
}

/// INTO.
pub(super) fn into(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    if cpu.eflags().contains(x86::Eflags::OF) { software(cpu, insn, 4) } else { Ok(Flow::Next) }
}

/// INT1.
pub(super) fn int1(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    not_caught(cpu, Vector::DEBUG.0)?;
    let return_eip = next_eip(cpu, insn);
    deliver(cpu, Event::Icebp { return_eip })
}

/// BOUND.
pub(super) fn bound(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = operand::op_size(insn, 0);
    let lower_at = operand::linear_aligned(cpu, insn, 2 * size, size, false)?;
    let lower = operand::read_sized(cpu, lower_at, size)?;
    let upper = operand::read_sized(cpu, lower_at.wrapping_add(size), size)?;
    let index = operand::read_reg(cpu, insn.op0_register());
    let signed = |value: u32| if size == 2 { i32::from(value as i16) } else { value as i32 };
    if signed(index) < signed(lower) || signed(index) > signed(upper) {
        return Err(Exception::br());
    }
    Ok(Flow::Next)
}

/// UD0, UD1, UD2.
pub(super) fn undefined(_: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    Err(Exception::ud())
}

/// IRET.
pub(super) fn iret(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = if insn.mnemonic() == Mnemonic::Iretd { 4 } else { 2 };
    let next = next_eip(cpu, insn);
    let from = cpu.state.cpl;
    event::iret(cpu, size, next)?;
    if from < 3 && cpu.state.cpl == 3 && cpu.stops().is_some_and(|stops| stops.catches.user) {
        cpu.tell(Occurrence::EnteredUser);
    }
    Ok(Flow::Jump)
}
