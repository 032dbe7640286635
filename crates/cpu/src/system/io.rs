//! Port input and output (SDM Vol. 1, "Input/Output").

use iced_x86::{Instruction, OpKind, Register};
use x86::{LinearAddr, SegReg, SystemType, tss};

use crate::{
    Cpu, Exception, Gpr, IoSize, Occurrence,
    exec::bulk,
    mmu::{
        access::{self, View},
        breakpoint, flush,
    },
    operand,
    slow::Flow,
};

/// IN.
pub(super) fn input(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = operand::op_size(insn, 0);
    let port = port(cpu, insn, 1);
    check(cpu, port, size)?;
    let value = read_port(cpu, port, size);
    operand::write_reg(cpu, insn.op0_register(), value);
    Ok(after_bus(cpu))
}

/// OUT.
pub(super) fn output(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let size = operand::op_size(insn, 1);
    let port = port(cpu, insn, 0);
    check(cpu, port, size)?;
    let value = operand::read_reg(cpu, insn.op1_register());
    write_port(cpu, port, size, value);
    Ok(after_bus(cpu))
}

/// INS.
pub(super) fn input_string(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let wide = insn.op0_kind() == OpKind::MemoryESEDI;
    let place = Place { segment: SegReg::Es, index: Gpr::Edi, wide, input: true };
    repeat(cpu, insn, &place)
}

/// OUTS.
pub(super) fn output_string(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    let wide = insn.op1_kind() == OpKind::MemorySegESI;
    let place = Place { segment: operand::seg_reg(insn.memory_segment()), index: Gpr::Esi, wide, input: false };
    repeat(cpu, insn, &place)
}

/// Where a string instruction has its elements.
struct Place {
    segment: SegReg,
    index: Gpr,
    /// Addresses of 32 bits.
    wide: bool,
    /// From the port to memory.
    input: bool,
}

/// As for other string instructions ([`crate::exec::string`]): iterations run here until the budget is used up
/// or one did what the dispatcher must look at, and at once where memory and the device allow.
fn repeat(cpu: &mut Cpu, insn: &Instruction, place: &Place) -> Result<Flow, Exception> {
    let size = insn.memory_size().size() as u32;
    let repeat = insn.has_rep_prefix() || insn.has_repne_prefix();
    let port = cpu.state.gpr(Gpr::Edx) as u16;
    loop {
        // Even when nothing is to be repeated; and again, for INS may write to the bitmap.
        check(cpu, port, size)?;
        if !repeat {
            element(cpu, place, port, size)?;
            return Ok(after_bus(cpu));
        }
        let count = masked(cpu, Gpr::Ecx, place.wide);
        if count == 0 {
            return Ok(Flow::Next);
        }
        let offset = masked(cpu, place.index, place.wide);
        let done = match bulk::ports(cpu, place.input, (place.segment, offset), (port, size), count) {
            0 => {
                element(cpu, place, port, size)?;
                1
            }
            done => {
                set_masked(cpu, place.index, place.wide, offset.wrapping_add(done * size));
                done
            }
        };
        let left = count - done;
        set_masked(cpu, Gpr::Ecx, place.wide, left);
        cpu.retire_extra(u64::from(done - 1));
        if left == 0 {
            return Ok(after_bus(cpu));
        }
        if cpu.budget_left() == 0 || cpu.disturbed() {
            return Ok(Flow::Again);
        }
        cpu.retire_extra(1);
    }
}

/// Moves one element, and the index on.
fn element(cpu: &mut Cpu, place: &Place, port: u16, size: u32) -> Result<(), Exception> {
    let offset = masked(cpu, place.index, place.wide);
    let addr = operand::segment_linear(cpu, place.segment, offset, size, size, place.input)?;
    if place.input {
        access::probe_write(cpu, addr, size, View::Current)?;
        let value = read_port(cpu, port, size);
        operand::write_sized(cpu, addr, size, value)?;
    } else {
        let value = operand::read_sized(cpu, addr, size)?;
        write_port(cpu, port, size, value);
    }
    let step = if cpu.eflags().contains(x86::Eflags::DF) { size.wrapping_neg() } else { size };
    set_masked(cpu, place.index, place.wide, offset.wrapping_add(step));
    Ok(())
}

fn masked(cpu: &Cpu, reg: Gpr, wide: bool) -> u32 {
    let value = cpu.state.gpr(reg);
    if wide { value } else { value & 0xffff }
}

fn set_masked(cpu: &mut Cpu, reg: Gpr, wide: bool, value: u32) {
    let old = cpu.state.gpr(reg);
    cpu.state.set_gpr(reg, if wide { value } else { old & 0xffff_0000 | value & 0xffff });
}

fn port(cpu: &Cpu, insn: &Instruction, index: u32) -> u16 {
    match insn.op_kind(index) {
        OpKind::Register => {
            debug_assert_eq!(insn.op_register(index), Register::DX, "ports are numbered by DX");
            cpu.state.gpr(Gpr::Edx) as u16
        }
        _ => u16::from(insn.immediate8()),
    }
}

fn io_size(size: u32) -> IoSize {
    match size {
        1 => IoSize::Byte,
        2 => IoSize::Word,
        _ => IoSize::Dword,
    }
}

fn read_port(cpu: &mut Cpu, port: u16, size: u32) -> u32 {
    let now = cpu.now();
    let read = cpu.bus().port_in(now, port, io_size(size));
    access::note_effect(cpu, read.effect);
    breakpoint::ports(cpu, port, size);
    tell(cpu, port, size, false, read.value);
    read.value
}

fn write_port(cpu: &mut Cpu, port: u16, size: u32, value: u32) {
    let now = cpu.now();
    let effect = cpu.bus().port_out(now, port, io_size(size), value);
    access::note_effect(cpu, effect);
    breakpoint::ports(cpu, port, size);
    tell(cpu, port, size, true, value);
    flush::address_line_20(cpu);
}

/// Tells a debugger that waits for the port.
fn tell(cpu: &mut Cpu, port: u16, size: u32, output: bool, value: u32) {
    if cpu.stops().is_some_and(|stops| stops.catches.ports(port, size)) {
        let value = value & (u32::MAX >> (32 - 8 * size));
        cpu.tell(Occurrence::Port { port, size: io_size(size), output, value });
    }
}

fn after_bus(cpu: &Cpu) -> Flow {
    if cpu.run.attention { Flow::Leave } else { Flow::Next }
}

/// #GP(0) unless IOPL or the TSS's bitmap allows the ports (SDM Vol. 1, "Protected-Mode I/O").
fn check(cpu: &mut Cpu, port: u16, size: u32) -> Result<(), Exception> {
    let state = &cpu.state;
    if !state.protected() || !state.v86() && state.cpl <= state.eflags.iopl() {
        return Ok(());
    }
    let tr = state.tr;
    let denied = Err(Exception::gp(0));
    if tr.rights & 0xf != SystemType::Tss32Busy as u32 || tr.limit < tss::SIZE - 1 {
        return denied;
    }
    let base = LinearAddr(tr.base);
    let map = access::read_u16(cpu, base.wrapping_add(tss::IO_MAP_BASE), View::Supervisor)?;
    let byte = u32::from(map) + u32::from(port) / 8;
    if byte + 1 > tr.limit {
        return denied;
    }
    let bits = access::read_u16(cpu, base.wrapping_add(byte), View::Supervisor)?;
    let wanted = (1u32 << size) - 1;
    if u32::from(bits) >> (port & 7) & wanted != 0 { denied } else { Ok(()) }
}
