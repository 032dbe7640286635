//! Control and environment: the words, the images in memory, what needs no operand.

use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use x86::{Cr0, Eflags};

use super::{
    F80,
    access::{check, check_available, check_pending, drive_error_pin, load, note, st, store},
    number::Number,
    transfer::{of_bytes, to_bytes},
};
use crate::{
    Cpu, Exception, Fpu, operand,
    slow::{Flow, Slow},
};

/// The function that executes `insn`, if this family has it.
pub(super) fn lookup(insn: &Instruction) -> Option<Slow> {
    let slow: Slow = match insn.mnemonic() {
        Mnemonic::Wait => wait,
        Mnemonic::Fninit => fninit,
        Mnemonic::Fnclex => fnclex,
        Mnemonic::Fldcw => fldcw,
        Mnemonic::Fnstcw => fnstcw,
        Mnemonic::Fnstsw => fnstsw,
        Mnemonic::Ffree => |c, i| stack(c, i, |fpu, i| fpu.free(i)),
        Mnemonic::Ffreep => |c, i| {
            stack(c, i, |fpu, i| {
                fpu.free(i);
                fpu.pop();
            })
        },
        Mnemonic::Fincstp => |c, i| rotate(c, i, 1),
        Mnemonic::Fdecstp => |c, i| rotate(c, i, 7),
        Mnemonic::Fnop => fnop,
        // Obsolete since the 387.
        Mnemonic::Fneni | Mnemonic::Fndisi | Mnemonic::Fnsetpm => |cpu, _| check_available(cpu).map(|()| Flow::Next),
        _ => return lookup_images(insn.code()),
    };
    Some(slow)
}

fn lookup_images(code: Code) -> Option<Slow> {
    let slow: Slow = match code {
        Code::Fnstenv_m14byte => |c, i| fnstenv::<14>(c, i),
        Code::Fnstenv_m28byte => |c, i| fnstenv::<28>(c, i),
        Code::Fldenv_m14byte => |c, i| fldenv::<14>(c, i),
        Code::Fldenv_m28byte => |c, i| fldenv::<28>(c, i),
        Code::Fnsave_m94byte => |c, i| fnsave::<14, 94>(c, i),
        Code::Fnsave_m108byte => |c, i| fnsave::<28, 108>(c, i),
        Code::Frstor_m94byte => |c, i| frstor::<14, 94>(c, i),
        Code::Frstor_m108byte => |c, i| frstor::<28, 108>(c, i),
        _ => return None,
    };
    Some(slow)
}

/// WAIT heeds TS only with MP, and never EM.
fn wait(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    if cpu.state.cr0().contains(Cr0::MP | Cr0::TS) {
        return Err(Exception::nm());
    }
    check_pending(cpu)?;
    Ok(Flow::Next)
}

fn fninit(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    check_available(cpu)?;
    cpu.state.fpu = Fpu { r: cpu.state.fpu.r, ..Fpu::default() };
    drive_error_pin(cpu);
    Ok(Flow::Next)
}

fn fnclex(cpu: &mut Cpu, _: &Instruction) -> Result<Flow, Exception> {
    check_available(cpu)?;
    let fpu = &mut cpu.state.fpu;
    fpu.set_status(fpu.status & 0x7f00);
    drive_error_pin(cpu);
    Ok(Flow::Next)
}

fn fldcw(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    let control = u16::from_le_bytes(load(cpu, insn)?);
    cpu.state.fpu.set_control(control);
    Ok(Flow::Next)
}

fn fnstcw(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_available(cpu)?;
    store(cpu, insn, &cpu.state.fpu.control.to_le_bytes())?;
    Ok(Flow::Next)
}

fn fnstsw(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_available(cpu)?;
    let status = cpu.state.fpu.status;
    if insn.op0_kind() == OpKind::Register {
        operand::write_reg(cpu, insn.op0_register(), status.into());
    } else {
        store(cpu, insn, &status.to_le_bytes())?;
    }
    Ok(Flow::Next)
}

/// What changes tags alone: no exception is raised, C1 is cleared.
fn stack(cpu: &mut Cpu, insn: &Instruction, change: impl Fn(&mut Fpu, usize)) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    let index = if insn.op_count() > 0 { st(insn, 0) } else { 0 };
    change(&mut cpu.state.fpu, index);
    cpu.state.fpu.set_c1(false);
    Ok(Flow::Next)
}

fn fnop(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    note(cpu, insn);
    Ok(Flow::Next)
}

fn rotate(cpu: &mut Cpu, insn: &Instruction, by: u16) -> Result<Flow, Exception> {
    stack(cpu, insn, |fpu, _| fpu.rotate(by))
}

/// The full tag word: 0 valid, 1 zero, 2 special, 3 empty, two bits a physical register.
fn full_tags(fpu: &Fpu) -> u16 {
    let tag = |i: usize| match fpu.r[i].number() {
        _ if fpu.tag >> i & 1 == 0 => 3,
        Number::Finite { denormal: false, .. } => 0,
        Number::Zero { .. } => 1,
        _ => 2,
    };
    (0..8).map(|i| tag(i) << (2 * i)).sum()
}

fn abridged_tags(full: u16) -> u8 {
    (0..8).filter(|i| full >> (2 * i) & 3 != 3).map(|i| 1 << i).sum()
}

/// Real-address or virtual-8086 format: pointers are linear.
fn real_format(cpu: &Cpu) -> bool {
    !cpu.state.protected() || cpu.state.eflags.contains(Eflags::VM)
}

/// The environment in the format of mode and operand size (SDM Vol. 1, "Saving the x87 FPU's State
/// with FSTENV/FNSTENV and FSAVE/FNSAVE").
fn environment<const N: usize>(cpu: &Cpu) -> [u8; N] {
    let fpu = &cpu.state.fpu;
    let words = [fpu.control, fpu.status, full_tags(fpu)];
    let linear = |seg: u16, offset: u32| (u32::from(seg) << 4).wrapping_add(offset);
    let (ip, dp) = (linear(fpu.cs, fpu.ip), linear(fpu.ds, fpu.dp));
    let mut image = [0; N];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    if N == 14 {
        let pointers: [u32; 4] = if real_format(cpu) {
            [ip, ip >> 4 & 0xf000 | u32::from(fpu.opcode), dp, dp >> 4 & 0xf000]
        } else {
            [fpu.ip, fpu.cs.into(), fpu.dp, fpu.ds.into()]
        };
        words.iter().enumerate().for_each(|(i, word)| put(2 * i, &word.to_le_bytes()));
        pointers.iter().enumerate().for_each(|(i, &pointer)| put(6 + 2 * i, &(pointer as u16).to_le_bytes()));
    } else {
        let opcode = u32::from(fpu.opcode);
        let pointers: [u32; 4] = if real_format(cpu) {
            [
                ip & 0xffff | 0xffff_0000,
                ip >> 4 & 0x0fff_f000 | opcode,
                dp & 0xffff | 0xffff_0000,
                dp >> 4 & 0x0fff_f000,
            ]
        } else {
            [fpu.ip, opcode << 16 | u32::from(fpu.cs), fpu.dp, 0xffff_0000 | u32::from(fpu.ds)]
        };
        words.iter().enumerate().for_each(|(i, &word)| put(4 * i, &(0xffff_0000 | u32::from(word)).to_le_bytes()));
        pointers.iter().enumerate().for_each(|(i, pointer)| put(12 + 4 * i, &pointer.to_le_bytes()));
    }
    image
}

/// Loads what [`environment`] stores.
fn set_environment<const N: usize>(cpu: &mut Cpu, image: &[u8; N]) {
    let real = real_format(cpu);
    let u16_at = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let fpu = &mut cpu.state.fpu;
    let words = if N == 14 { [0, 2, 4] } else { [0, 4, 8] };
    fpu.set_control(u16_at(words[0]));
    fpu.set_status(u16_at(words[1]));
    fpu.tag = abridged_tags(u16_at(words[2]));
    let pointers = if N == 14 { [6, 8, 10, 12].map(|at| u32::from(u16_at(at))) } else { [12, 16, 20, 24].map(u32_at) };
    if real {
        let high = |word: u32| if N == 14 { (word & 0xf000) << 4 } else { (word & 0x0fff_f000) << 4 };
        (fpu.cs, fpu.ip) = (0, pointers[0] & 0xffff | high(pointers[1]));
        (fpu.ds, fpu.dp) = (0, pointers[2] & 0xffff | high(pointers[3]));
        fpu.opcode = pointers[1] as u16 & 0x7ff;
    } else {
        (fpu.ip, fpu.cs) = (pointers[0], pointers[1] as u16);
        (fpu.dp, fpu.ds) = (pointers[2], pointers[3] as u16);
        if N == 28 {
            fpu.opcode = (pointers[1] >> 16) as u16 & 0x7ff;
        }
    }
}

/// Stores the environment, then masks all exceptions.
fn fnstenv<const N: usize>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_available(cpu)?;
    store(cpu, insn, &environment::<N>(cpu))?;
    let fpu = &mut cpu.state.fpu;
    fpu.set_control(fpu.control | 0x3f);
    Ok(Flow::Next)
}

fn fldenv<const N: usize>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    let image = load::<N>(cpu, insn)?;
    set_environment(cpu, &image);
    drive_error_pin(cpu);
    Ok(Flow::Next)
}

/// Stores environment and registers, ST(0) first, then initializes.
fn fnsave<const ENV: usize, const N: usize>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check_available(cpu)?;
    let mut image = [0; N];
    image[..ENV].copy_from_slice(&environment::<ENV>(cpu));
    for (i, bytes) in image[ENV..].chunks_exact_mut(10).enumerate() {
        bytes.copy_from_slice(&to_bytes(cpu.state.fpu.st(i)));
    }
    store(cpu, insn, &image)?;
    fninit(cpu, insn)
}

fn frstor<const ENV: usize, const N: usize>(cpu: &mut Cpu, insn: &Instruction) -> Result<Flow, Exception> {
    check(cpu)?;
    let image = load::<N>(cpu, insn)?;
    let (environment, registers) = image.split_at(ENV);
    set_environment::<ENV>(cpu, environment.try_into().expect("split there"));
    for (i, bytes) in registers.chunks_exact(10).enumerate() {
        let value: F80 = of_bytes(bytes.try_into().expect("10 bytes"));
        cpu.state.fpu.set_st(i, value);
    }
    drive_error_pin(cpu);
    Ok(Flow::Next)
}
