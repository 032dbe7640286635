//! Loads of segment registers, what LAR and its kin say, accesses at the edges of segments.

use crate::{
    case::{Case, flag, pick},
    descriptor,
    layout::{at, word},
};
use pagewalk_oracle::random::Random;

/// Numbers of segment registers as instructions encode them.
const SS: u8 = 2;

/// MOV, POP, LDS and its kin; then the segment is used.
pub fn load(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "segment loads");
    let descriptor = descriptor::data(random, case.level);
    let selector = match random.below(8) {
        0 | 1 => case.any_selector(random),
        2 => {
            let code = descriptor::code(random, case.level);
            case.fresh(random, code.bits())
        }
        3 => {
            let any = descriptor::any(random);
            case.fresh(random, any)
        }
        _ => case.fresh(random, descriptor.bits()),
    };
    let register = *pick(random, &[0, 2, 2, 3, 4, 5]);
    let size = *pick(random, &[16, 32]);
    let form = random.below(4);
    match form {
        0 => {
            case.init[word::EAX] = u32::from(selector) | 0xabcd_0000;
            case.code.size(size).raw(&[0x8e]).regs(register, 0);
        }
        1 => {
            case.put_u16(at::OPERANDS, selector);
            case.code.raw(&[0x8e]).mem(register, at::OPERANDS);
        }
        2 => {
            case.push(size, selector.into());
            let pop: &[u8] =
                [&[0x07][..], &[0x0e], &[0x17], &[0x1f], &[0x0f, 0xa1], &[0x0f, 0xa9]][usize::from(register)];
            case.code.size(size).raw(pop);
        }
        _ => {
            case.put_u32(at::OPERANDS, random.bits(32) as u32);
            case.put_u16(at::OPERANDS + u32::from(size / 8), selector);
            let load: &[u8] =
                [&[0xc4][..], &[], &[0x0f, 0xb2], &[0xc5], &[0x0f, 0xb4], &[0x0f, 0xb5]][usize::from(register)];
            case.code.size(size).raw(load).mem(3, at::OPERANDS);
        }
    }
    case.about = format!("load of segment register {register}, form {form}, {size} bits, with {selector:04x}");
    if register == SS && random.one_in(2) {
        // The shadow: a trap of this instruction waits for the next.
        if random.one_in(4) {
            case.init[word::EFLAGS] |= flag::TF;
        }
        case.code.size(size).raw(&[0x50 + random.below(8) as u8]);
        case.code.size(size).raw(&[0x58 + random.below(4) as u8]);
    } else {
        probe(&mut case, random, register, descriptor.last());
    }
    case
}

/// A read, and often a write, through a segment near its limit.
fn probe(case: &mut Case, random: &mut Random, register: u8, last: u32) {
    let offset = edge(random, last);
    let width = *pick(random, &[8, 16, 32]);
    let store = random.one_in(2);
    case.init[word::EAX + 3] = offset; // EBX
    access(case, register, width, store);
    if random.one_in(3) {
        access(case, register, width, !store);
    }
}

/// MOV between ECX and memory at EBX (BX in 16-bit code).
fn access(case: &mut Case, register: u8, width: u8, store: bool) {
    case.code.segment(register);
    if width != 8 {
        case.code.size(width);
    }
    let opcode = if store { 0x88 } else { 0x8a } | u8::from(width != 8);
    // [EBX] is rm 3, [BX] is rm 7.
    let rm = if case.bits == 32 { 3 } else { 7 };
    case.code.raw(&[opcode, 1 << 3 | rm]);
}

/// An offset at or near a limit, or anywhere in the arena's data.
fn edge(random: &mut Random, last: u32) -> u32 {
    let last = last.min(0xffff);
    match random.below(4) {
        0 => last.wrapping_sub(random.below(5) as u32) & 0xffff,
        1 => last.wrapping_add(random.below(5) as u32) & 0x1_ffff,
        2 => random.below(4) as u32,
        _ => at::DATA + random.below(0x2000) as u32,
    }
}

/// LAR, LSL, VERR, VERW, ARPL.
pub fn rights(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "descriptor checks");
    let selector = if random.one_in(2) {
        case.any_selector(random)
    } else {
        let any = descriptor::any(random);
        case.fresh(random, any)
    };
    let size = *pick(random, &[16, 32]);
    let memory = random.one_in(3);
    const CHECKS: &[(&str, &[u8], u8)] = &[
        ("lar", &[0x0f, 0x02], 1),
        ("lsl", &[0x0f, 0x03], 1),
        ("verr", &[0x0f, 0x00], 4),
        ("verw", &[0x0f, 0x00], 5),
        ("arpl", &[0x63], 1),
    ];
    let (name, opcode, reg) = *pick(random, CHECKS);
    case.about = format!("{name} of {selector:04x}, {size} bits");
    case.init[word::EAX] = u32::from(selector) | 0x5555_0000;
    case.put_u16(at::OPERANDS, selector);
    case.code.size(size).raw(opcode);
    if memory {
        case.code.mem(reg, at::OPERANDS);
    } else {
        case.code.regs(reg, 0);
    }
    case
}

/// Loads, stores, pushes and string instructions through segments of all kinds.
pub fn memory(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "memory in segments");
    let register = *pick(random, &[0_u8, 1, 2, 3, 4, 5]);
    let level = case.level;
    let mut segment = descriptor::data(random, level);
    segment.present = true;
    segment.dpl = 3;
    if register == 1 {
        segment.kind |= 0x18;
        segment.dpl = level;
    }
    if register == SS {
        segment.kind = 0x13 | segment.kind & 4;
        segment.dpl = level;
    }
    let offset = edge(random, segment.last());
    case.init[word::EAX + 3] = offset;
    case.init[word::EAX + 6] = offset;
    case.init[word::EAX + 7] = offset;
    case.about = format!("through segment register {register} at {offset:x}");
    if register == 1 {
        // What code can't reach its own page in would only end in #GP on the fetch.
        segment.limit = segment.limit.max(if segment.granular { 7 } else { at::CODE + 0x100 });
        segment.big = case.bits == 32;
        segment.base = crate::layout::ARENA;
        let selector = case.init[word::CS] as u16;
        case.descriptor(selector, segment.bits());
        access(&mut case, register, *pick(random, &[8, 16, 32]), random.one_in(3));
        return case;
    }
    let selector = 0x180 | u16::from(level);
    case.descriptor(selector, segment.bits());
    let place = if register < 2 { word::ES + usize::from(register) } else { word::SS + usize::from(register) - 2 };
    if register == SS {
        case.init[word::SS] = selector.into();
        case.init[word::ESP] = offset;
        let size = *pick(random, &[16, 32]);
        // PUSH, POP, PUSHA, POPA, PUSHF, ENTER twice, PUSH of memory, of ES, of a number, CALL.
        const STACK: &[&[u8]] = &[
            &[0x50],
            &[0x58],
            &[0x60],
            &[0x61],
            &[0x9c],
            &[0xc8, 0x10, 0, 0],
            &[0xc8, 8, 0, 2],
            &[0xff, 0x30],
            &[0x06],
            &[0x6a, 0x55],
            &[0xe8, 0, 0, 0, 0],
        ];
        let bytes = *pick(random, STACK);
        case.code.size(size).raw(bytes);
        return case;
    }
    case.init[place] = selector.into();
    if random.one_in(3) {
        case.init[word::EAX + 1] = random.below(6) as u32;
        case.init[word::EAX + if random.one_in(2) { 6 } else { 7 }] = at::DATA;
        case.init[word::EFLAGS] &= !0x400 | if random.one_in(4) { 0x400 } else { 0 };
        let size = *pick(random, &[16, 32]);
        let opcode = *pick(random, &[0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad]);
        if random.one_in(2) {
            case.code.raw(&[0xf3]);
        }
        if register != 0 {
            case.code.segment(register);
        }
        case.code.size(size).raw(&[opcode]);
    } else {
        access(&mut case, register, *pick(random, &[8, 16, 32]), random.one_in(2));
    }
    case
}
