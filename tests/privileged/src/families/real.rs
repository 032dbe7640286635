//! Real mode: edges of the segments of 64 KiB, interrupts by the vector table, what it does not have.

use super::system;
use crate::{
    case::{Case, flag, pick},
    layout::{ARENA, REAL_STUBS, at, enter, word},
};
use pagewalk_oracle::random::Random;

/// The segment that is the arena.
const ARENA_SEGMENT: u32 = 0x1000;

/// One or two instructions in real mode.
pub fn run(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::new(base, random, "real mode", 0, 16);
    case.init[word::ENTER] = enter::REAL;
    for register in [word::ES, word::CS, word::SS, word::DS, word::FS, word::GS] {
        case.init[register] = ARENA_SEGMENT;
    }
    for register in [word::ES, word::DS, word::FS, word::GS] {
        if random.one_in(4) {
            case.init[register] = ARENA_SEGMENT + random.below(0x100) as u32;
        }
    }
    for vector in 0..256 {
        case.put_u32(at::IDT + vector * 4, REAL_STUBS + vector * 8);
    }
    case.init[word::IDTR] = 0x3ff << 16;
    if random.one_in(10) {
        case.init[word::IDTR] = (random.below(0x100) as u32) << 18 | 3 << 16;
    }
    if random.one_in(4) {
        case.init[word::ESP] |= 0x5a5a_0000;
    }
    match random.below(10) {
        0 | 1 => memory(&mut case, random),
        2 => stack(&mut case, random),
        3 => interrupt(&mut case, random),
        4 => iret(&mut case, random),
        5 => far(&mut case, random),
        6 => string(&mut case, random),
        7 => system_instruction(&mut case, random),
        8 => fault(&mut case, random),
        _ => system::flag_instruction(&mut case, random),
    }
    if random.one_in(10) {
        case.init[word::EFLAGS] |= flag::TF;
    }
    case
}

/// An offset near the end of 64 KiB, or beyond it.
fn edge(random: &mut Random) -> u32 {
    match random.below(6) {
        0 => at::DATA + random.below(0x100) as u32,
        1 => 0xffff + random.below(8) as u32,
        2 => random.bits(32) as u32,
        _ => 0xfff8 + random.below(8) as u32,
    }
}

/// An access by 16-bit or 32-bit addresses through any segment.
fn memory(case: &mut Case, random: &mut Random) {
    let offset = edge(random);
    case.init[word::EAX + 3] = offset;
    case.init[word::EAX + 5] = offset;
    if random.one_in(3) {
        case.code.segment(random.below(6) as u8);
    }
    let wide = random.one_in(2);
    if wide {
        case.code.raw(&[0x67]);
    }
    let size = *pick(random, &[8, 16, 32]);
    if size != 8 {
        case.code.size(size);
    }
    let opcode = *pick(random, &[0x88, 0x8a, 0x00, 0x38]) | u8::from(size != 8);
    // [BX] or [BP+0]; [EBX] or [EBP+0]: the second by SS.
    let operand: &[u8] = match (wide, random.one_in(3)) {
        (false, false) => &[0x0f],
        (false, true) => &[0x4e, 0],
        (true, false) => &[0x0b],
        (true, true) => &[0x4d, 0],
    };
    case.code.raw(&[opcode]).raw(operand);
    case.about = format!("access of {size} bits at {offset:x}");
}

/// PUSH and its kin, where SP passes 0.
fn stack(case: &mut Case, random: &mut Random) {
    if !random.one_in(4) {
        case.init[word::ESP] = case.init[word::ESP] & 0xffff_0000 | random.below(0x24) as u32;
    }
    // PUSH, POP, PUSHA, POPA, PUSHF, ENTER twice, PUSH of a number, CALL, PUSH of DS, POP of ES.
    const STACK: &[&[u8]] = &[
        &[0x50],
        &[0x5b],
        &[0x60],
        &[0x61],
        &[0x9c],
        &[0xc8, 0x10, 0, 0],
        &[0xc8, 8, 0, 2],
        &[0x6a, 0x55],
        &[0xe8, 0, 0],
        &[0x1e],
        &[0x07],
    ];
    let (size, bytes) = (*pick(random, &[16, 32]), *pick(random, STACK));
    case.code.size(size).raw(bytes);
    if bytes[0] == 0xe8 && size == 32 {
        case.code.raw(&[0, 0]);
    }
    case.about = format!("stack instruction {:02x}, {size} bits", bytes[0]);
}

fn interrupt(case: &mut Case, random: &mut Random) {
    let vector = random.bits(8) as u8;
    match random.below(5) {
        0 => _ = case.code.raw(&[0xcc]),
        1 => {
            case.init[word::EFLAGS] |= 0x800;
            case.code.raw(&[0xce]);
        }
        2 => _ = case.code.raw(&[0xf1]),
        _ => _ = case.code.raw(&[0xcd, vector]),
    }
    if random.one_in(4) {
        // Not enough of a stack for the frame.
        case.init[word::ESP] = case.init[word::ESP] & 0xffff_0000 | random.below(8) as u32;
    }
    for bit in [flag::NT, flag::RF, flag::AC, flag::IF] {
        if random.one_in(5) {
            case.init[word::EFLAGS] |= bit;
        }
    }
    case.about = format!("interrupt {vector:02x}");
}

fn iret(case: &mut Case, random: &mut Random) {
    let size = *pick(random, &[16, 32]);
    let flags = random.bits(22) as u32 & !flag::TF;
    case.push(size, flags);
    case.push(size, ARENA_SEGMENT);
    case.push(size, destination(random));
    case.code.size(size).raw(&[0xcf]);
    case.about = format!("iret with flags {flags:x}, {size} bits");
}

/// Where a far transfer arrives.
fn destination(random: &mut Random) -> u32 {
    match random.below(8) {
        0 => 0xffff,
        1 => 0x1_0000 | at::LANDING,
        _ => at::LANDING,
    }
}

/// JMP, CALL and RET far, direct and by memory.
fn far(case: &mut Case, random: &mut Random) {
    let size = *pick(random, &[16, 32]);
    let offset = destination(random);
    match random.below(4) {
        0 => {
            case.push(size, ARENA_SEGMENT);
            case.push(size, offset);
            case.code.size(size).raw(&[0xca, 4, 0]);
        }
        1 => {
            let reg = *pick(random, &[3, 5]);
            case.put_u32(at::OPERANDS, offset);
            case.put_u16(at::OPERANDS + u32::from(size / 8), ARENA_SEGMENT as u16);
            case.code.segment(1).size(size).raw(&[0xff]).mem(reg, at::OPERANDS);
        }
        n => {
            let opcode = if n == 2 { 0xea } else { 0x9a };
            case.code.size(size).raw(&[opcode]).immediate(size, offset).immediate(16, ARENA_SEGMENT);
        }
    }
    case.about = format!("far transfer to {offset:x}, {size} bits");
}

fn string(case: &mut Case, random: &mut Random) {
    for register in [6, 7] {
        case.init[word::EAX + register] = edge(random) & if random.one_in(4) { !0 } else { 0xffff };
    }
    case.init[word::EAX + 1] = random.below(6) as u32;
    if random.one_in(4) {
        case.init[word::EFLAGS] |= 0x400;
    }
    if random.one_in(2) {
        case.code.raw(&[0xf3]);
    }
    if random.one_in(3) {
        case.code.raw(&[0x67]);
    }
    let opcode = *pick(random, &[0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xa6, 0xa7, 0xae, 0xaf]);
    case.code.size(*pick(random, &[16, 32])).raw(&[opcode]);
    case.about = format!("string instruction {opcode:02x}");
}

/// What needs descriptors raises #UD; the rest of the system's instructions works.
fn system_instruction(case: &mut Case, random: &mut Random) {
    const PLAIN: &[&[u8]] = &[
        &[0x0f, 0x00, 0xd0],       // LLDT
        &[0x0f, 0x00, 0xd8],       // LTR
        &[0x0f, 0x00, 0xc0],       // SLDT
        &[0x0f, 0x00, 0xc8],       // STR
        &[0x0f, 0x00, 0xe0],       // VERR
        &[0x0f, 0x02, 0xc0],       // LAR
        &[0x0f, 0x03, 0xc0],       // LSL
        &[0x63, 0xc0],             // ARPL
        &[0x0f, 0x34],             // SYSENTER
        &[0x0f, 0x35],             // SYSEXIT
        &[0x0f, 0x01, 0xe0],       // SMSW
        &[0x0f, 0x06],             // CLTS
        &[0x0f, 0x20, 0xc1],       // MOV ECX, CR0
        &[0x0f, 0x21, 0xf1],       // MOV ECX, DR6
        &[0x0f, 0x22, 0xd0],       // MOV CR2, EAX
        &[0x8e, 0xc8],             // MOV CS, AX
        &[0x8e, 0xd0, 0x50],       // MOV SS, AX; PUSH AX
        &[0x0f, 0xb2, 0xe0],       // LSS with a register
        &[0x0f, 0x08],             // INVD
        &[0x2e, 0x0f, 0x01, 0x3f], // INVLPG CS:[BX]
    ];
    case.init[word::EAX] = ARENA_SEGMENT | (random.bits(16) as u32) << 16;
    match random.below(4) {
        0 => {
            case.put_u16(at::OPERANDS, random.bits(16) as u16);
            case.put_u32(at::OPERANDS + 2, ARENA + at::GDT);
            // LGDT.
            case.code.segment(1).size(*pick(random, &[16, 32])).raw(&[0x0f, 0x01]).mem(2, at::OPERANDS);
        }
        1 => {
            let reg = random.below(2) as u8;
            // SGDT, SIDT.
            case.code.segment(1).size(*pick(random, &[16, 32])).raw(&[0x0f, 0x01]).mem(reg, at::OPERANDS);
        }
        _ => {
            let bytes = *pick(random, PLAIN);
            case.code.raw(bytes);
        }
    }
    case.init[word::CR0] |= if random.one_in(2) { 8 } else { 0 };
    case.about = "system instruction".to_owned();
}

fn fault(case: &mut Case, random: &mut Random) {
    case.about = match random.below(6) {
        0 => {
            case.code.raw(&[0xd4, 0]); // AAM by 0
            "division by zero"
        }
        1 => {
            case.put_u32(at::OPERANDS, 0x0002_0001);
            case.code.segment(1).raw(&[0x62]).mem(0, at::OPERANDS); // BOUND
            "bound"
        }
        2 => {
            case.code.raw(&[0xf0, 0x90]); // LOCK NOP
            "lock"
        }
        3 => {
            // JMP near to an EIP that the segment does not reach.
            case.code.raw(&[0x66, 0xe9]).immediate(32, random.bits(17) as u32 | 0x1_0000);
            "a jump beyond the limit"
        }
        4 => {
            // An instruction over the end of the segment.
            case.init[word::EIP] = 0xfffd + random.below(3) as u32;
            case.code.raw(&[0xb8, 0x34, 0x12][..(0x1_0000 - case.init[word::EIP]) as usize]);
            "an instruction at the end"
        }
        _ => {
            case.code.raw(&[0x0f, 0x0b]);
            "ud2"
        }
    }
    .to_owned();
}
