//! Far jumps, calls and returns, interrupts and returns from them, without task switches' details.

use crate::{
    case::{Case, flag, pick, stack_top},
    descriptor::{self, gate, kind, level_near},
    layout::{at, sel, word},
};
use pagewalk_oracle::random::Random;

/// An offset to arrive at: mostly in the landing page.
fn landing(random: &mut Random) -> u32 {
    match random.below(12) {
        // A gate of 16 bits takes the lower half.
        0 => 0x1_0000 + at::LANDING + random.below(0x400) as u32,
        1 => 0xffff,
        2 => 0xfffe + random.below(4) as u32,
        _ => at::LANDING + random.below(8) as u32,
    }
}

/// A selector of code that could be entered from or at `level`.
fn code_selector(case: &mut Case, random: &mut Random, level: u8) -> u16 {
    match random.below(10) {
        0 => case.any_selector(random),
        1 => {
            let any = descriptor::any(random);
            case.fresh(random, any)
        }
        2 => sel::code(random.below(4) as u8),
        _ => {
            let code = descriptor::code(random, level);
            let selector = case.fresh(random, code.bits());
            if random.one_in(2) { selector & !3 | u16::from(level) } else { selector }
        }
    }
}

/// A call gate into code of this or an inner level.
fn call_gate(case: &mut Case, random: &mut Random) -> u64 {
    let inner = random.below(u64::from(case.level) + 1) as u8;
    let selector = code_selector(case, random, inner);
    let wide = !random.one_in(3);
    let kind = if wide { kind::CALL32 } else { kind::CALL16 };
    let count = if random.one_in(3) { random.bits(8) as u8 } else { random.below(4) as u8 };
    if random.one_in(6) {
        spoil_stack(case, random, inner);
    }
    gate(kind, level_near(random, 3), !random.one_in(16), selector, landing(random), count)
}

/// A stack in the TSS that is not as it should be.
fn spoil_stack(case: &mut Case, random: &mut Random, level: u8) {
    let field = at::TSS + 4 + u32::from(level.min(2)) * 8;
    match random.below(4) {
        0 => case.put_u32(field, random.below(0x40) as u32),
        1 => {
            let data = descriptor::data(random, level);
            let selector = case.fresh(random, data.bits()) & !3 | u16::from(level);
            case.put_u16(field + 4, selector);
        }
        2 => {
            let selector = case.any_selector(random);
            case.put_u16(field + 4, selector);
        }
        _ => {
            let limit = 0x67 - random.below(0x68) as u32;
            let mut tss = descriptor::Descriptor::segment(kind::TSS32, 0, 16);
            (tss.base, tss.limit) = (crate::layout::ARENA + at::TSS, limit.max(0x67 - 0x60));
            case.descriptor(sel::TSS, tss.bits());
        }
    }
}

/// JMP, CALL and RET far: to code, through call gates, to tasks, to what is neither.
pub fn far(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "far transfers");
    let size = *pick(random, &[16, 32]);
    let form = random.below(6);
    if form >= 4 {
        far_return(&mut case, random, size, form == 5);
        return case;
    }
    let level = case.level;
    let selector = match random.below(8) {
        0 => case.any_selector(random),
        1..=3 => code_selector(&mut case, random, level),
        4 => {
            let (tss, _) = case.task_descriptor(random, 0);
            let selector = case.fresh(random, tss);
            if random.one_in(2) {
                let gate = gate(kind::TASK, level_near(random, 3), !random.one_in(16), selector, 0, 0);
                case.fresh(random, gate)
            } else {
                selector
            }
        }
        _ => {
            let gate = call_gate(&mut case, random);
            case.fresh(random, gate)
        }
    };
    let offset = landing(random);
    if random.one_in(12) {
        case.init[word::EFLAGS] |= flag::TF;
    }
    // At level 0 the monitor's frame would not fit either; more would lie in the monitor's descriptors.
    if random.one_in(16) && level > 0 {
        case.init[word::ESP] = random.below(9) as u32;
    }
    case.code.size(size);
    match form {
        0 => _ = case.code.raw(&[0xea]).immediate(size, offset).immediate(16, selector.into()),
        1 => _ = case.code.raw(&[0x9a]).immediate(size, offset).immediate(16, selector.into()),
        _ => {
            case.put_u32(at::OPERANDS, offset);
            case.put_u16(at::OPERANDS + u32::from(size / 8), selector);
            case.code.raw(&[0xff]).mem(if form == 2 { 5 } else { 3 }, at::OPERANDS);
        }
    }
    case.about = format!(
        "{} far to {selector:04x}:{offset:x}, {size} bits",
        if form.is_multiple_of(2) { "jmp" } else { "call" }
    );
    case
}

fn far_return(case: &mut Case, random: &mut Random, size: u8, releases: bool) {
    let outer = case.level + random.below(u64::from(4 - case.level)) as u8;
    let selector = code_selector(case, random, outer);
    let release = if releases { random.below(5) as u32 * 4 } else { 0 };
    stack_of(case, random, size, outer);
    for _ in 0..release / u32::from(size / 8) {
        case.push(size, random.bits(32) as u32);
    }
    let offset = landing(random);
    case.push(size, selector.into());
    case.push(size, offset);
    spread_segments(case, random);
    case.code.size(size);
    if releases {
        case.code.raw(&[0xca]).immediate(16, release);
    } else {
        case.code.raw(&[0xcb]);
    }
    case.about = format!("retf {release} to {selector:04x}:{offset:x}, {size} bits");
}

/// Pushes SS and ESP for a return to `outer`.
fn stack_of(case: &mut Case, random: &mut Random, size: u8, outer: u8) {
    let selector = match random.below(8) {
        0 => case.any_selector(random),
        1 | 2 => {
            let data = descriptor::data(random, outer);
            case.fresh(random, data.bits()) & !3 | u16::from(outer)
        }
        _ => sel::data(outer),
    };
    case.push(size, selector.into());
    case.push(size, stack_top(outer) - 0x100);
}

/// Segment registers that a return to an outer level may have to clear.
fn spread_segments(case: &mut Case, random: &mut Random) {
    for register in [word::ES, word::DS, word::FS, word::GS] {
        if random.one_in(3) {
            let level = case.level + random.below(u64::from(4 - case.level)) as u8;
            case.init[register] = match random.below(3) {
                0 => 0,
                1 => u32::from(sel::data(level)),
                _ => u32::from(sel::code(level)),
            };
        }
    }
}

/// INT n and its kin, and faults, through gates of all kinds.
pub fn interrupt(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "interrupts");
    let level = case.level;
    let (vector, about): (u8, &str) = match random.below(10) {
        0 => (3, "int3"),
        1 => (4, "into"),
        2 => (1, "int1"),
        3 => (6, "ud2"),
        4 => (0, "div"),
        5 => (13, "mov to cr3 or hlt, segment limit"),
        _ => (random.bits(8) as u8, "int n"),
    };
    case.about = format!("{about}, vector {vector:02x}");
    match about {
        "int3" => _ = case.code.raw(&[0xcc]),
        "into" => {
            case.init[word::EFLAGS] |= 0x800;
            case.code.raw(&[0xce]);
        }
        "int1" => _ = case.code.raw(&[0xf1]),
        "ud2" => _ = case.code.raw(&[0x0f, 0x0b]),
        "div" => _ = case.code.raw(&[0x66, 0xf7, 0x36]).raw(&[0, 0]).raw(&[0xd4, 0x00]),
        "int n" => _ = case.code.raw(&[0xcd, vector]),
        _ => {
            case.init[word::DS] = 0;
            case.code.raw(&[0xa0]).immediate(case.bits, 0);
        }
    }
    if !random.one_in(8) {
        let inner = random.below(u64::from(level) + 1) as u8;
        let selector = code_selector(&mut case, random, inner);
        let entry = match random.below(12) {
            0 => {
                let (tss, _) = case.task_descriptor(random, 0);
                let selector = case.fresh(random, tss);
                gate(kind::TASK, level_near(random, 3), !random.one_in(16), selector, 0, 0)
            }
            1 => descriptor::any(random),
            _ => {
                let kind = *pick(random, &[6, 7, 14, 15, 14, 15]);
                gate(kind, level_near(random, 3), !random.one_in(16), selector, landing(random), 0)
            }
        };
        if vector != 3 || random.one_in(4) {
            case.idt(vector, entry);
        }
        if random.one_in(6) {
            spoil_stack(&mut case, random, inner);
        }
    }
    if random.one_in(12) {
        case.init[word::IDTR] = (random.below(0x100) as u32 * 8 + 7) << 16;
    }
    for bit in [flag::TF, flag::NT, flag::RF, flag::AC, flag::IF] {
        if random.one_in(6) {
            case.init[word::EFLAGS] |= bit;
        }
    }
    case
}

/// IRET of either size: to the same or an outer level, to virtual-8086 mode, back to a task.
pub fn iret(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "interrupt returns");
    let size = *pick(random, &[16, 32, 32]);
    let outer = case.level + random.below(u64::from(4 - case.level)) as u8;
    let selector = code_selector(&mut case, random, outer);
    let mut flags = random.bits(22) as u32 & !flag::VM & !flag::TF | 2;
    if !random.one_in(3) {
        flags &= !flag::NT;
    }
    if random.one_in(10) {
        flags |= flag::TF;
    }
    let offset = landing(random);
    if size == 32 && random.one_in(5) {
        flags |= flag::VM;
        for _ in 0..4 {
            case.push(32, 0x1000 + random.below(0x100) as u32);
        }
        case.push(32, 0x1000);
        case.push(32, stack_top(3) - 0x100);
        case.push(32, flags);
        // Below the memory of devices.
        case.push(32, if random.one_in(4) { random.below(0x8000) as u32 } else { 0x1000 });
    } else {
        stack_of(&mut case, random, size, outer);
        case.push(size, flags);
        case.push(size, selector.into());
    }
    case.push(size, offset);
    spread_segments(&mut case, random);
    if random.one_in(8) {
        case.init[word::EFLAGS] |= flag::NT;
        let (tss, place) = case.task_descriptor(random, 1);
        let busy = if random.one_in(6) { 0 } else { 2 << 40 };
        let mut link = case.fresh(random, tss | busy);
        if random.one_in(8) {
            link = case.any_selector(random);
        }
        case.put_u16(at::TSS, link);
        case.about = format!("iret to the task {link:04x}, its TSS at {place:x}");
    } else {
        case.about = format!("iret to {selector:04x}:{offset:x}, flags {flags:x}, {size} bits");
    }
    for bit in [flag::TF, flag::RF, flag::IF] {
        if random.one_in(10) {
            case.init[word::EFLAGS] |= bit;
        }
    }
    case.code.size(size).raw(&[0xcf]);
    case
}
