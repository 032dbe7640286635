//! Interrupts from outside of the program, which the processor's own local APIC sends: through gates of all kinds,
//! between the iterations of a repeated instruction, held off by shadows, while another is handled.

use crate::{
    asm::Asm,
    case::{Case, flag, pick},
    descriptor::{self, Descriptor, gate, kind, level_near},
    layout::{APIC, ARENA, PAGE, apic, at, enter, sel, word},
};
use pagewalk_oracle::random::Random;

const NMI: u8 = 2;
/// The instruction's FS: the APIC's page, by a descriptor or, in virtual-8086 mode, by page tables.
const FS: u8 = 4;
/// The page of the megabyte that leads to the APIC.
const APIC_PAGE: u32 = 0x20;

/// Sends NMIs, after which comes INT3.
pub fn nmi(base: &[u8], random: &mut Random) -> Case {
    let mut case = with_apic(base, random, "non-maskable interrupts");
    // A handler sends as many more, which wait for its IRET, as ECX says: DEC ECX; JLE behind what sends.
    let more = |bits: u8| {
        let mut send = Asm::new(bits);
        write(&mut send, apic::COMMAND, apic::SEND_NMI);
        let mut code = vec![0x49, 0x7e, send.bytes.len() as u8];
        code.extend(send.bytes);
        code
    };
    set_gate(&mut case, random, NMI, more);
    case.init[word::EAX + 1] = 1 + random.below(3) as u32;
    for bit in [flag::TF, flag::IF, flag::AC, flag::RF] {
        if random.one_in(6) {
            case.init[word::EFLAGS] |= bit;
        }
    }
    if case.init[word::ENTER] & enter::V86 == 0 && random.one_in(6) {
        // The first of the iterations sends it.
        case.init[word::ES] = sel::APIC.into();
        case.init[word::EAX] = apic::SEND_NMI;
        case.init[word::EAX + 1] = 1 + random.below(2) as u32;
        case.init[word::EAX + 7] = apic::COMMAND;
        case.code.raw(&[0xf3]).size(32).raw(&[0xab]);
        case.about += ", by rep stosd";
        return case;
    }
    for _ in 0..1 + random.below(3) {
        write(&mut case.code, apic::COMMAND, apic::SEND_NMI);
        if random.one_in(3) {
            case.code.raw(&[0x90]);
        }
    }
    case
}

/// Sends one maskable interrupt, which is always taken before the case ends: none may wait for the next case.
pub fn external(base: &[u8], random: &mut Random) -> Case {
    let mut case = with_apic(base, random, "external interrupts");
    // Not the spurious vector, which Bochs never ends.
    let vector = 0x20 + random.below(0xdf) as u8;
    let end = |bits: u8| {
        let mut code = Asm::new(bits);
        write(&mut code, apic::END_OF_INTERRUPT, 0);
        code.bytes
    };
    set_gate(&mut case, random, vector, end);
    for bit in [flag::NT, flag::AC, flag::RF] {
        if random.one_in(6) {
            case.init[word::EFLAGS] |= bit;
        }
    }
    // Another case may have ended while it was handled.
    write(&mut case.code, apic::END_OF_INTERRUPT, 0);
    write(&mut case.code, apic::SPURIOUS, apic::ENABLED);
    let masked = random.one_in(2);
    if masked {
        case.code.raw(&[0xfa]);
        case.init[word::EFLAGS] |= 3 << 12;
    } else {
        case.init[word::EFLAGS] |= flag::IF;
    }
    write(&mut case.code, apic::COMMAND, apic::SEND | u32::from(vector));
    if masked {
        unmask(&mut case, random);
    }
    // INC EAX twice, of which a shadow lets the first go by.
    case.code.raw(&[0x40, 0x40]);
    case.about += &format!(", vector {vector:02x}");
    case
}

/// Sets IF, by what holds interrupts off for one more instruction and by what does not.
fn unmask(case: &mut Case, random: &mut Random) {
    let (sti, mov_ss): (&[u8], &[u8]) = (&[0xfb], &[0x8e, 0xd3]);
    match random.below(6) {
        0 => _ = case.code.raw(sti).raw(&[0xfa]).raw(sti),
        1 => {
            // From EBX.
            case.init[word::EAX + 3] = case.init[word::SS];
            case.code.raw(sti).raw(mov_ss);
        }
        2 => {
            case.init[word::EAX + 3] = case.init[word::SS];
            case.code.raw(mov_ss).raw(sti);
        }
        3 => {
            // PUSH of flags, POPF.
            let bits = case.bits;
            let flags = 0x3202 | random.bits(8) as u32 & 0xd5;
            case.code.raw(&[0x68]).immediate(bits, flags).raw(&[0x9d]);
        }
        4 if case.level == 0 => _ = case.code.raw(sti).raw(&[0xf4]),
        _ => _ = case.code.raw(sti),
    }
}

/// A case whose FS leads to the APIC.
fn with_apic(base: &[u8], random: &mut Random, family: &'static str) -> Case {
    if random.one_in(5) {
        return v86(base, random, family);
    }
    let mut case = Case::anywhere(base, random, family);
    let page = Descriptor { base: APIC, limit: PAGE - 1, ..Descriptor::segment(kind::DATA, 3, 32) };
    case.descriptor(sel::APIC, page.bits());
    case.init[word::FS] = sel::APIC.into();
    case
}

/// In virtual-8086 mode, with the megabyte mapped where it is, but for the APIC's page.
fn v86(base: &[u8], random: &mut Random, family: &'static str) -> Case {
    const SEGMENT: u32 = ARENA >> 4;
    const USERS: u32 = 7;
    const TABLE: u32 = at::PAGING + PAGE;
    let mut case = Case::new(base, random, family, 3, 16);
    case.init[word::ENTER] = enter::V86;
    case.init[word::EFLAGS] |= flag::VM | (random.below(4) as u32) << 12;
    for register in [word::ES, word::CS, word::SS, word::DS, word::GS] {
        case.init[register] = SEGMENT;
    }
    case.init[word::FS] = APIC_PAGE << 8;
    case.init[word::ESP] &= 0xffff;
    case.put_u32(at::PAGING, (ARENA + TABLE) | USERS);
    for page in 0..0x100 {
        let frame = if page == APIC_PAGE { APIC } else { page * PAGE };
        case.put_u32(TABLE + page * 4, frame | USERS);
    }
    case.init[word::CR3] = ARENA + at::PAGING;
    case.init[word::CR0] |= 1 << 31;
    case
}

/// MOV of `value` to a register of the APIC.
fn write(code: &mut Asm, register: u32, value: u32) {
    code.segment(FS).size(32).raw(&[0xc7]).mem(0, register).immediate(32, value);
}

/// The gate of `vector`: the monitor's, one to a task, one with something wrong at times, or one to a handler of the
/// case, which does what `more` makes in code of a size where FS is still the APIC's.
fn set_gate(case: &mut Case, random: &mut Random, vector: u8, more: impl Fn(u8) -> Vec<u8>) {
    let from_v86 = case.init[word::ENTER] & enter::V86 != 0;
    let inner = if from_v86 { 0 } else { random.below(u64::from(case.level) + 1) as u8 };
    case.about = match random.below(4) {
        0 => {
            any_gate(case, random, vector, inner);
            "through any gate"
        }
        1 => {
            let bits = if inner == case.level { case.bits } else { 32 };
            let width = if from_v86 || random.one_in(2) { 32 } else { 16 };
            let kind = if width == 32 { 14 } else { 6 } | random.below(2) as u8;
            case.idt(vector, gate(kind, random.below(4) as u8, true, sel::code(inner), at::LANDING, 0));
            // It counts in EAX.
            let mut code = Asm::new(bits);
            code.raw(&[0x40]);
            if !from_v86 {
                code.raw(&more(bits));
            }
            if random.one_in(4) {
                code.raw(&[0xcc]); // ends there
            }
            code.size(width).raw(&[0xcf]);
            case.put(at::LANDING, &code.bytes);
            "with a handler that returns"
        }
        2 => {
            let (tss, _) = case.task_descriptor(random, 0);
            let selector = case.fresh(random, tss);
            case.idt(vector, gate(kind::TASK, level_near(random, 3), !random.one_in(16), selector, 0, 0));
            "to a task"
        }
        _ => "to the monitor",
    }
    .to_owned();
    if random.one_in(12) {
        case.init[word::IDTR] = (random.below(u64::from(vector) + 2) as u32 * 8 + 7) << 16;
    }
}

/// A gate of any kind with something wrong at times; no gate's DPL is asked.
fn any_gate(case: &mut Case, random: &mut Random, vector: u8, inner: u8) {
    let selector = match random.below(4) {
        0 => case.any_selector(random),
        1 => {
            let code = descriptor::code(random, inner);
            case.fresh(random, code.bits())
        }
        _ => sel::code(inner),
    };
    let entry = if random.one_in(8) {
        descriptor::any(random)
    } else {
        let kind = *pick(random, &[6, 7, 14, 15]);
        gate(kind, level_near(random, 3), !random.one_in(8), selector, at::LANDING, 0)
    };
    case.idt(vector, entry);
}
