//! Tables and control registers, ports, flags, debug registers, SYSENTER: what asks for privileges.

use crate::{
    case::{Case, flag, pick},
    descriptor,
    layout::{ARENA, at, enter, sel, word},
};
use pagewalk_oracle::random::Random;

/// LGDT and its kin, LLDT, LTR, SMSW, LMSW, CLTS, MOV with control registers.
pub fn tables(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "system tables");
    let size = *pick(random, &[16, 32]);
    let form = random.below(12);
    let any = descriptor::any(random);
    let selector = match random.below(4) {
        0 => case.any_selector(random),
        1 => {
            let (tss, _) = case.task_descriptor(random, 0);
            case.fresh(random, tss)
        }
        2 => sel::LDT,
        _ => case.fresh(random, any),
    };
    case.init[word::EAX] = random.bits(16) as u32 & !0xffff | u32::from(selector);
    case.put_u16(at::OPERANDS, selector);
    let about = match form {
        0 | 1 => {
            let reg = if form == 0 { 2 } else { 3 };
            case.code.raw(&[0x0f, 0x00]);
            if random.one_in(2) {
                case.code.regs(reg, 0);
            } else {
                case.code.mem(reg, at::OPERANDS);
            }
            if form == 0 { "lldt" } else { "ltr" }
        }
        2 | 3 => {
            let reg = form as u8 - 2;
            case.code.size(size).raw(&[0x0f, 0x00]);
            if random.one_in(2) {
                case.code.regs(reg, 1);
            } else {
                case.code.mem(reg, at::OPERANDS);
            }
            "sldt or str"
        }
        4 | 5 => {
            // The same tables at their own place, so that the handler can be found.
            let base = if form == 4 { at::GDT } else { at::IDT };
            case.put_u16(at::OPERANDS, if form == 4 { 0x1ff } else { 0x7ff } - random.below(3) as u16 * 8);
            case.put_u32(at::OPERANDS + 2, ARENA + base);
            case.code.size(if form == 4 { size } else { 32 }).raw(&[0x0f, 0x01]).mem(form as u8 - 2, at::OPERANDS);
            "lgdt or lidt"
        }
        6 => {
            case.code.size(size).raw(&[0x0f, 0x01]).mem(random.below(2) as u8, at::OPERANDS);
            "sgdt or sidt"
        }
        7 => {
            case.code.size(size).raw(&[0x0f, 0x01]);
            if random.one_in(2) {
                case.code.regs(4, 1);
            } else {
                case.code.mem(4, at::OPERANDS);
            }
            "smsw"
        }
        8 => {
            case.code.raw(&[0x0f, 0x01]).regs(6, 0);
            "lmsw"
        }
        9 => {
            case.init[word::CR0] |= 8;
            case.code.raw(&[0x0f, 0x06]);
            "clts"
        }
        10 => {
            let register = *pick(random, &[0, 0, 2, 3, 4, 1, 5]);
            case.code.raw(&[0x0f, 0x20, 0xc0 | register << 3 | 1]);
            "mov from a control register"
        }
        _ => {
            let register = *pick(random, &[0, 2, 3, 4]);
            case.init[word::EAX] = match register {
                // PE stays and PG is not set.
                0 => random.bits(32) as u32 & 0x7fff_ffff | 1,
                4 => random.bits(32) as u32 & *pick(random, &[0x0000_069f, 0x0000_00ff, 0xffff_ffff]),
                _ => random.bits(32) as u32,
            };
            case.code.raw(&[0x0f, 0x22, 0xc0 | register << 3]);
            "mov to a control register"
        }
    };
    case.about = format!("{about} with {selector:04x}, {size} bits");
    case
}

/// IN, OUT, INS, OUTS with and without the rights.
pub fn ports(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "ports");
    io(&mut case, random);
    case
}

/// One port instruction on a port that no device has, with a random map.
pub fn io(case: &mut Case, random: &mut Random) {
    let port = 0x300 + random.below(0xc0) as u32;
    let mut map = [0xff; 0x98];
    for bit in 0..6 {
        if !random.one_in(4) {
            let bit = (port + bit) as usize;
            map[bit / 8] &= !(1 << (bit % 8));
        }
    }
    case.put(at::IO_MAP, &map);
    if random.one_in(6) {
        case.put_u16(at::TSS + 0x66, random.below(0x120) as u16);
    }
    if random.one_in(6) {
        let mut tss = descriptor::Descriptor::segment(descriptor::kind::TSS32, 0, 16);
        (tss.base, tss.limit) = (ARENA + at::TSS, 0x68 + port / 8 + random.below(3) as u32);
        case.descriptor(sel::TSS, tss.bits());
    }
    case.init[word::EAX + 2] = port;
    case.init[word::EAX + 6] = at::DATA;
    case.init[word::EAX + 7] = at::DATA + 0x100;
    case.init[word::EAX + 1] = 1 + random.below(3) as u32;
    let size = *pick(random, &[16, 32]);
    let opcode = *pick(random, &[0xec, 0xed, 0xee, 0xef, 0x6c, 0x6d, 0x6e, 0x6f]);
    if opcode < 0x70 && random.one_in(2) {
        case.code.raw(&[0xf3]);
    }
    case.code.size(size).raw(&[opcode]);
    case.about = format!("port instruction {opcode:02x} on {port:x}, {size} bits");
}

/// PUSHF, POPF, CLI, STI at all levels and IOPLs.
pub fn flags(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "flags");
    flag_instruction(&mut case, random);
    case
}

/// One instruction that is sensitive to IOPL.
pub fn flag_instruction(case: &mut Case, random: &mut Random) {
    let size = *pick(random, &[16, 32]);
    case.about = match random.below(4) {
        0 => {
            case.code.size(size).raw(&[0x9c]);
            format!("pushf, {size} bits")
        }
        1 => {
            let flags = random.bits(22) as u32;
            if case.init[word::ENTER] & (enter::V86 | enter::REAL) == 0 {
                case.push(size, flags);
            } else {
                let place = (case.init[word::SS] << 4) + (case.init[word::ESP] & 0xffff) - ARENA;
                case.put_u32(place, flags);
            }
            case.code.size(size).raw(&[0x9d]);
            case.code.raw(&[0x90]);
            format!("popf of {flags:x}, {size} bits")
        }
        n => {
            case.code.raw(&[if n == 2 { 0xfa } else { 0xfb }]);
            (if n == 2 { "cli" } else { "sti" }).to_owned()
        }
    };
    if random.one_in(6) {
        case.init[word::EFLAGS] |= flag::TF;
    }
}

/// DR7's breakpoints on code, data and ports, general detect, single steps.
pub fn debug(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "debug registers");
    case.init[word::CR4] |= if random.one_in(2) { 8 } else { 0 };
    let at = at::DATA + random.below(16) as u32;
    case.init[word::EAX + 3] = at;
    let mut control = 0x400;
    for n in 0..4 {
        let (address, kind) = match random.below(4) {
            0 => (ARENA + at::CODE + random.below(6) as u32, 0),
            1 => {
                (ARENA + at.wrapping_add(random.below(8) as u32).wrapping_sub(4), *pick(random, &[1, 3, 5, 7, 13, 15]))
            }
            2 => (0x340 + random.below(4) as u32, 2),
            _ => (random.bits(32) as u32 | 0x8000_0000, random.bits(4) as u32),
        };
        case.init[word::DR0 + n] = address;
        // A port's breakpoint without CR4.DE is undefined.
        let kind = if kind & 3 == 2 && case.init[word::CR4] & 8 == 0 { 1 } else { kind };
        control |= kind << (16 + 4 * n);
        if random.one_in(2) {
            control |= (random.below(4) as u32) << (2 * n);
        }
    }
    if random.one_in(8) {
        control |= 1 << 13;
    }
    case.init[word::DR7] = control;
    if random.one_in(4) {
        case.init[word::EFLAGS] |= flag::TF;
    }
    if random.one_in(4) {
        case.init[word::EFLAGS] |= flag::RF;
    }
    let rm = if case.bits == 32 { 3 } else { 7 };
    for _ in 0..1 + random.below(3) {
        match random.below(6) {
            0 => _ = case.code.raw(&[0x90]),
            1 => _ = case.code.size(32).raw(&[0x8b, 1 << 3 | rm]),
            2 => _ = case.code.size(16).raw(&[0x89, 1 << 3 | rm]),
            3 => _ = case.code.raw(&[0x8a, 1 << 3 | rm]),
            4 => {
                case.init[word::EAX + 2] = 0x340 + random.below(4) as u32;
                case.code.raw(&[0xec]);
            }
            _ => {
                let register = random.below(8) as u8;
                case.init[word::EAX] = random.bits(32) as u32 & if register & 1 == 1 { 0xff } else { 0x8001_ffff };
                let opcode = if random.one_in(2) { 0x21 } else { 0x23 };
                case.code.raw(&[0x0f, opcode, 0xc0 | register << 3]);
            }
        }
    }
    case.about = format!("with DR7 {control:x}");
    case
}

/// SYSENTER and SYSEXIT with all kinds of IA32_SYSENTER_CS.
pub fn sysenter(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "sysenter");
    case.init[word::SYSENTER_CS] = *pick(random, &[0, 1, 3, 8, 8, 8, 0x1b, 0x48, 0xfff8, 0x1_0008]);
    case.init[word::SYSENTER_ESP] = ARENA + at::STACKS + 0x800;
    case.init[word::SYSENTER_EIP] = ARENA + at::LANDING;
    case.init[word::EAX + 1] = ARENA + at::STACKS + 0x1800;
    case.init[word::EAX + 2] = ARENA + at::LANDING + 8;
    let exit = random.one_in(2);
    case.code.raw(&[0x0f, if exit { 0x35 } else { 0x34 }]);
    case.about = format!("{} with CS {:x}", if exit { "sysexit" } else { "sysenter" }, case.init[word::SYSENTER_CS]);
    case
}

/// Alignment checks at all levels.
pub fn alignment(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "alignment");
    case.init[word::CR0] |= if random.one_in(5) { 0 } else { 1 << 18 };
    case.init[word::EFLAGS] |= if random.one_in(5) { 0 } else { flag::AC };
    case.init[word::EAX + 3] = at::DATA + random.below(16) as u32;
    case.init[word::EAX + 6] = at::DATA + random.below(8) as u32;
    case.init[word::EAX + 7] = at::DATA + 0x80 + random.below(8) as u32;
    if random.one_in(3) {
        case.init[word::ESP] -= random.below(4) as u32;
    }
    let rm = if case.bits == 32 { 3 } else { 7 };
    let size = *pick(random, &[16, 32]);
    const PLAIN: &[&[u8]] = &[&[0x50], &[0x58], &[0x60], &[0xa5], &[0x9c], &[0x06], &[0xc8, 8, 0, 1]];
    if random.one_in(2) {
        let bytes = *pick(random, PLAIN);
        case.code.size(size).raw(bytes);
    } else {
        let opcode = *pick(random, &[0x8a, 0x8b, 0x88, 0x89, 0x03, 0x01]);
        case.code.size(size).raw(&[opcode, 1 << 3 | rm]);
    }
    case.about = format!("alignment, {size} bits");
    case
}
