//! Virtual-8086 mode: what IOPL forbids, ports, interrupts out of it.

use super::system;
use crate::{
    case::{Case, flag, pick},
    descriptor::{self, gate, level_near},
    layout::{at, enter, sel, word},
};
use pagewalk_oracle::random::Random;

/// The segment that is the arena.
const ARENA_SEGMENT: u32 = 0x1000;

/// One instruction in virtual-8086 mode.
pub fn run(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::new(base, random, "virtual-8086 mode", 3, 16);
    case.init[word::ENTER] = enter::V86;
    case.init[word::EFLAGS] |= flag::VM | (random.below(4) as u32) << 12;
    for register in [word::ES, word::CS, word::SS, word::DS, word::FS, word::GS] {
        case.init[register] = ARENA_SEGMENT;
    }
    for register in [word::ES, word::DS, word::FS, word::GS] {
        if random.one_in(4) {
            case.init[register] = ARENA_SEGMENT + random.below(0x100) as u32;
        }
    }
    case.init[word::ESP] &= 0xffff;
    // VME stays off: Bochs' processor and ours differ in having it.
    match random.below(8) {
        0 => system::io(&mut case, random),
        1 => system::flag_instruction(&mut case, random),
        2 | 3 => {
            let vector = random.bits(8) as u8;
            if random.one_in(4) {
                case.code.raw(&[0xcc]);
            } else {
                case.code.raw(&[0xcd, vector]);
            }
            case.about = format!("int {vector:02x}");
            if !random.one_in(4) {
                let level = if random.one_in(2) { 0 } else { random.below(4) as u8 };
                let code = descriptor::code(random, level);
                let selector = if random.one_in(3) { sel::code(0) } else { case.fresh(random, code.bits()) };
                let entry = gate(
                    *pick(random, &[6, 7, 14, 15]),
                    level_near(random, 3),
                    !random.one_in(16),
                    selector,
                    at::LANDING,
                    0,
                );
                case.idt(vector, entry);
            }
        }
        4 => {
            let size = *pick(random, &[16, 32]);
            let flags = random.bits(18) as u32 & !flag::TF;
            let at = case.init[word::ESP];
            let step = u32::from(size / 8);
            case.put_u32(at, at::LANDING);
            case.put_u16(at + step, ARENA_SEGMENT as u16);
            case.put(at + 2 * step, &flags.to_le_bytes()[..step as usize]);
            case.code.size(size).raw(&[0xcf]);
            case.about = format!("iret with flags {flags:x}, {size} bits");
        }
        5 => {
            // MOV to a segment register, then a use of it.
            let register = *pick(random, &[0, 2, 3, 4, 5]);
            case.init[word::EAX] = ARENA_SEGMENT + random.below(0x100) as u32;
            case.init[word::EAX + 3] = at::DATA + random.below(0x100) as u32;
            case.code.raw(&[0x8e, 0xc0 | register << 3]).segment(register).raw(&[0x8a, 0x0f]);
            case.about = format!("mov to segment register {register}");
        }
        6 => {
            const FORBIDDEN: &[&[u8]] = &[
                &[0x0f, 0x06],
                &[0x0f, 0x20, 0xc0],
                &[0x0f, 0x22, 0xc0],
                &[0x0f, 0x21, 0xc0],
                &[0x0f, 0x00, 0xd0],
                &[0x0f, 0x00, 0xc0],
                &[0x0f, 0x02, 0xc0],
                &[0x63, 0xc0],
                &[0x0f, 0x01, 0xf0],
                &[0x0f, 0x08],
                &[0x0f, 0x32],
                &[0xf0, 0x00, 0x07],
                &[0x0f, 0x34],
                &[0x0f, 0x35],
            ];
            case.init[word::EAX + 3] = at::DATA;
            let bytes = *pick(random, FORBIDDEN);
            case.code.raw(bytes);
            case.about = "an instruction that may not be here".to_owned();
        }
        _ => {
            // Far jump, call and return within the megabyte.
            let offset = if random.one_in(8) { 0xffff } else { at::LANDING };
            let opcode = *pick(random, &[0xea_u8, 0x9a]);
            case.code.raw(&[opcode]).immediate(16, offset).immediate(16, ARENA_SEGMENT);
            case.about = format!("far transfer {opcode:02x} to {offset:x}");
        }
    }
    if random.one_in(10) {
        case.init[word::EFLAGS] |= flag::TF;
    }
    case
}
