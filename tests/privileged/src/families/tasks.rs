//! Task switches by jumps, calls, interrupts and returns, between tasks with something wrong.

use crate::{
    case::{Case, flag, pick},
    descriptor::{self, Descriptor, gate, kind, level_near},
    layout::{at, word},
};
use pagewalk_oracle::random::Random;

/// A switch to another task, which then runs INT3, if it comes to that.
pub fn switch(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "task switches");
    let (tss, place) = case.task_descriptor(random, 0);
    let wide = tss >> 40 & 8 != 0;
    let way = random.below(4);
    let link = way == 3;
    let busy = if link && !random.one_in(8) { 2 << 40 } else { 0 };
    let selector = case.fresh(random, tss | busy);
    for _ in 0..random.below(3) {
        spoil(&mut case, random, place, wide);
    }
    if random.one_in(6) {
        case.init[word::EFLAGS] |= flag::NT;
    }
    let through = if random.one_in(2) {
        let gate = gate(kind::TASK, level_near(random, 3), !random.one_in(16), selector & !3 | selector & 4, 0, 0);
        case.fresh(random, gate)
    } else {
        selector
    };
    let size = *pick(random, &[16, 32]);
    match way {
        0 => _ = case.code.size(size).raw(&[0xea]).immediate(size, 0).immediate(16, through.into()),
        1 => _ = case.code.size(size).raw(&[0x9a]).immediate(size, 0).immediate(16, through.into()),
        2 => {
            let entry = gate(kind::TASK, level_near(random, 3), !random.one_in(16), selector & !3 | selector & 4, 0, 0);
            case.idt(0x40, entry);
            case.idt(13, entry);
            case.code.raw(if random.one_in(2) { &[0xcd, 0x40] } else { &[0xcd, 0xff] });
            if random.one_in(2) {
                case.init[word::IDTR] = 0x3ff << 16;
            }
        }
        _ => {
            case.init[word::EFLAGS] |= flag::NT;
            case.put_u16(at::TSS, selector);
            case.code.size(size).raw(&[0xcf]);
        }
    }
    case.about = format!("way {way} to the task {selector:04x} by {through:04x}, its TSS at {place:x}");
    case
}

/// Changes a field of the new task, unless it is in virtual-8086 mode: its code would be anywhere.
fn spoil(case: &mut Case, random: &mut Random, tss: u32, wide: bool) {
    if wide && case.get_u32(tss + 0x24) & flag::VM != 0 {
        return;
    }
    let segment = random.below(6) as u32;
    let field = if wide { tss + 0x48 + segment * 4 } else { tss + 0x22 + (segment % 4) * 2 };
    let level = random.below(4) as u8;
    match random.below(8) {
        0 => {
            let selector = case.any_selector(random);
            case.put_u16(field, selector);
        }
        1 => {
            let data = descriptor::data(random, level);
            let selector = case.fresh(random, data.bits()) & !3 | u16::from(level);
            case.put_u16(field, selector);
        }
        2 => {
            let code = descriptor::code(random, level);
            let selector = case.fresh(random, code.bits()) & !3 | u16::from(level);
            case.put_u16(if wide { tss + 0x4c } else { tss + 0x24 }, selector);
        }
        3 => {
            let selector = case.any_selector(random);
            case.put_u16(if wide { tss + 0x60 } else { tss + 0x2a }, selector);
        }
        4 if wide => {
            // V86: segments are paragraphs.
            let flags = 2 | flag::VM | (random.below(4) as u32) << 12;
            case.put_u32(tss + 0x24, flags);
            for segment in 0..6 {
                case.put_u32(tss + 0x48 + segment * 4, 0x1000);
            }
        }
        5 if wide => case.put_u16(tss + 0x64, 1),
        6 => {
            let flags = random.bits(17) as u16;
            case.put_u16(if wide { tss + 0x24 } else { tss + 0x10 }, flags | 2);
        }
        _ => {
            // The old task's TSS is too small to save the state.
            let mut old = Descriptor::segment(kind::TSS32, 0, 16);
            (old.base, old.limit) = (crate::layout::ARENA + at::TSS, 0x67 - random.below(0x40) as u32);
            case.descriptor(crate::layout::sel::TSS, old.bits());
        }
    }
}
