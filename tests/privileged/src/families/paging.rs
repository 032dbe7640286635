//! Two-level and PAE paging: tables with random bits, accesses of all kinds through them.

use crate::{
    asm::Asm,
    case::{Case, flag, pick},
    descriptor::{Descriptor, kind},
    layout::{ARENA, PAGE, STUBS, at, enter, word},
};
use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind};
use pagewalk_oracle::random::Random;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const PG: u32 = 1 << 31;
const WP: u32 = 1 << 16;
const CR4_PSE: u32 = 1 << 4;
const CR4_PAE: u32 = 1 << 5;
const CR4_PGE: u32 = 1 << 7;

/// Linear address of the arena's second image, whose entries are random.
const ALIAS: u32 = 0x40_0000;

const CR4_UMIP: u32 = 1 << 11;
const CR4_SMEP: u32 = 1 << 20;
const CR4_SMAP: u32 = 1 << 21;
const EFER_NXE: u32 = 1 << 11;

/// Which structures a case has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    TwoLevel,
    Pae,
}

/// Whether SMEP, SMAP, UMIP and NX may be on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    No,
    Maybe,
}

/// Pages of the arena that a program of level 3 needs: code, data, its stack.
const USERS_PAGES: &[u32] = &[at::CODE, at::LANDING, at::DATA, at::DATA + PAGE, at::STACKS + 3 * PAGE];

impl Kind {
    /// Bytes of an entry.
    fn width(self) -> u32 {
        if self == Kind::Pae { 8 } else { 4 }
    }
}

fn put_entry(case: &mut Case, kind: Kind, offset: u32, entry: u64) {
    case.put(offset, &entry.to_le_bytes()[..kind.width() as usize]);
}

/// The arena's physical pages that a case may reach by the alias: code, data, stacks.
fn frame(random: &mut Random) -> u64 {
    u64::from(ARENA + at::CODE + PAGE * random.below(4) as u32)
}

/// Rights and memory types, mostly present; now and then a bit that is reserved.
fn attributes(random: &mut Random, kind: Kind) -> u64 {
    let mut bits = random.bits(12) & !LARGE;
    if !random.one_in(8) {
        bits |= PRESENT;
    }
    if random.one_in(2) {
        bits |= WRITABLE | USER;
    }
    if kind == Kind::Pae && random.one_in(12) {
        // 36 to 51 are reserved whatever the width of physical addresses is.
        bits |= 1 << (40 + random.below(12));
    }
    bits
}

/// Sets up paging: the monitor, the arena itself, and the alias.
fn tables(case: &mut Case, random: &mut Random, kind: Kind, guard: Guard) {
    let (width, level) = (kind.width(), case.level);
    // Structures: page 0 is the directory (PAE: page 0 the PDPT, page 3 the directory), page 1 the
    // table of the first megabytes, page 2 that of the alias.
    let page = |n: u32| at::PAGING + n * PAGE;
    let directory = if kind == Kind::Pae { page(3) } else { page(0) };
    if kind == Kind::Pae {
        put_entry(case, kind, page(0), u64::from(ARENA + directory) | PRESENT);
        for entry in 1..4 {
            if random.one_in(4) {
                put_entry(case, kind, page(0) + entry * 8, u64::from(ARENA + directory) | PRESENT);
            }
        }
    }
    put_entry(case, kind, directory, u64::from(ARENA + page(1)) | PRESENT | WRITABLE | USER);
    let mut identity = |linear: u32, rights: u64| {
        put_entry(case, kind, page(1) + (linear >> 12) * width, u64::from(linear) | rights | PRESENT);
    };
    identity(PAGE, WRITABLE);
    for n in 0..3 {
        identity(STUBS + n * PAGE, 0);
    }
    identity(0xf_e000, 0);
    for n in 0..16 {
        // SMAP and SMEP keep the kernel, and its tables, from what users may have.
        let open = guard == Guard::No || level == 3 && USERS_PAGES.contains(&(n * PAGE));
        identity(ARENA + n * PAGE, WRITABLE | if open { USER } else { 0 });
    }
    let slot = ALIAS >> if kind == Kind::Pae { 21 } else { 22 };
    let mut entry = attributes(random, kind);
    if random.one_in(5) {
        // A large page at 0 shows the arena at its own distance from the alias.
        entry |= LARGE;
        if random.one_in(4) {
            entry |= 1 << (13 + random.below(8)); // reserved, or the upper part of the address
        }
    } else {
        entry |= u64::from(ARENA + page(2));
    }
    if kind == Kind::Pae && random.one_in(6) {
        entry |= NO_EXECUTE;
    }
    put_entry(case, kind, directory + slot * width, entry);
    for n in 0..16 {
        let mut entry = attributes(random, kind) | frame(random);
        if random.one_in(8) {
            entry |= LARGE; // PAT in an entry of a table
        }
        if kind == Kind::Pae && random.one_in(4) {
            entry |= NO_EXECUTE;
        }
        put_entry(case, kind, page(2) + (0x10 + n) * width, entry);
    }
}

/// An offset into the arena's image, often at the border of two pages.
fn offset(random: &mut Random) -> u32 {
    let page = PAGE * random.below(16) as u32;
    if random.one_in(3) { page + 0xffd + random.below(3) as u32 } else { page + random.below(0xff8) as u32 }
}

fn case_of(base: &[u8], random: &mut Random, kind: Kind, guard: Guard) -> Case {
    let mut case = Case::anywhere(base, random, "paging");
    tables(&mut case, random, kind, guard);
    case.init[word::CR3] = ARENA + at::PAGING;
    case.init[word::CR0] |= PG | if random.one_in(2) { WP } else { 0 };
    let mut cr4 = 0;
    if kind == Kind::Pae {
        cr4 |= CR4_PAE;
    }
    for bit in [CR4_PSE, CR4_PGE] {
        if random.one_in(2) {
            cr4 |= bit;
        }
    }
    case.init[word::CR4] = cr4;
    // The alias, through FS.
    let mut alias = Descriptor::segment(kind::DATA, 3, 32);
    alias.base = ALIAS + ARENA;
    let selector = 0x1f8 | u16::from(case.level);
    case.descriptor(selector, alias.bits());
    case.init[word::FS] = selector.into();
    if guard == Guard::Maybe {
        protections(&mut case, random);
    }
    access(&mut case, random, guard);
    if case.stale.is_some() {
        case.stale = Some(writes(&case.code));
    }
    case
}

/// SMEP, SMAP, UMIP, NX, each in half of the cases, and what they are about.
fn protections(case: &mut Case, random: &mut Random) {
    for bit in [CR4_SMEP, CR4_SMAP, CR4_UMIP] {
        case.init[word::CR4] |= if random.one_in(2) { bit } else { 0 };
    }
    case.init[word::ENTER] |= enter::EFER;
    case.init[word::EFER] = if random.one_in(3) { 0 } else { EFER_NXE };
    case.init[word::EFLAGS] |= if random.one_in(4) { flag::AC } else { 0 };
    // STAC, CLAC, SMSW EAX, SLDT EAX, STR EAX.
    const PREVENTED: &[&[u8]] =
        &[&[0x0f, 0x01, 0xcb], &[0x0f, 0x01, 0xca], &[0x0f, 0x01, 0xe0], &[0x0f, 0x00, 0xc0], &[0x0f, 0x00, 0xc8]];
    if random.one_in(4) {
        let bytes = *pick(random, PREVENTED);
        case.code.raw(bytes);
    }
}

/// EIP of each instruction that writes memory, and where a far jump arrives.
fn writes(code: &Asm) -> Vec<u32> {
    let mut decoder = Decoder::with_ip(code.bits.into(), &code.bytes, at::CODE.into(), DecoderOptions::NONE);
    let place = |insn: Instruction| match insn.op0_kind() {
        OpKind::Memory => Some(insn.ip32()),
        OpKind::FarBranch32 => Some(insn.far_branch32()),
        _ => None,
    };
    decoder.iter().filter_map(place).collect()
}

/// What the case does with the alias.
fn access(case: &mut Case, random: &mut Random, guard: Guard) {
    let at = offset(random);
    let width = *pick(random, &[8, 16, 32]);
    case.init[word::EAX + 3] = at;
    let rm = if case.bits == 32 { 3 } else { 7 };
    for round in 0..1 + random.below(3) {
        let tables_open = guard == Guard::No || case.level < 3;
        if round > 0 && tables_open && random.one_in(3) {
            case.stale.get_or_insert_default();
            // The same page again with other rights: what the TLB holds decides.
            let place = at::PAGING + 2 * PAGE + (0x10 + (at >> 12)) * 4;
            case.code.segment(3).raw(&[0x80]);
            if case.bits == 32 {
                case.code.raw(&[0x35]).immediate(32, place);
            } else {
                case.code.raw(&[0x36]).immediate(16, place);
            }
            case.code.raw(&[*pick(random, &[1, 2, 4, 0x40])]);
            if case.level == 0 && random.one_in(2) {
                // INVLPG fs:[ebx], or CR3 loaded again.
                if random.one_in(2) {
                    case.code.segment(4).raw(&[0x0f, 0x01, 7 << 3 | rm]);
                } else {
                    case.code.raw(&[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]);
                }
            }
        }
        case.code.segment(4);
        match random.below(6) {
            0 => {
                // ADD [ebx], cl; its flags are defined.
                case.code.raw(&[0x00, 1 << 3 | rm]);
            }
            1 => {
                // Read and write at once that changes nothing.
                case.code.size(32).raw(&[0x83, 1 << 3 | rm, 0]);
            }
            n => {
                if width != 8 {
                    case.code.size(width);
                }
                let opcode = if n < 4 { 0x8a } else { 0x88 } | u8::from(width != 8);
                case.code.raw(&[opcode, 1 << 3 | rm]);
            }
        }
    }
    if random.one_in(4) {
        // Go there: the code segment's image in the alias.
        let mut code = Descriptor::segment(kind::CODE, case.level, 32);
        code.base = ALIAS + ARENA;
        let selector = 0x1e8 | u16::from(case.level);
        case.descriptor(selector, code.bits());
        let to = offset(random);
        case.code.size(32).raw(&[0xea]).immediate(32, to).immediate(16, selector.into());
    }
    case.about = format!("access of {width} bits at the alias + {at:x}");
    if random.one_in(8) {
        case.init[word::EFLAGS] |= flag::AC;
        case.init[word::CR0] |= 1 << 18;
    }
    if random.one_in(10) {
        // The tables that the processor reads by itself: the GDT by the alias.
        case.init[word::GDTR + 1] = ALIAS + ARENA + at::GDT;
        case.put_u32(at::PAGING + 2 * PAGE + 0x10 * 4, 0);
        let entry = (u64::from(ARENA) | PRESENT | if random.one_in(2) { WRITABLE } else { 0 }) as u32;
        if case.init[word::CR4] & CR4_PAE == 0 {
            case.put_u32(at::PAGING + 2 * PAGE + 0x10 * 4, entry);
        } else {
            case.put_u32(at::PAGING + 2 * PAGE + 0x10 * 8, entry);
            case.put_u32(at::PAGING + 2 * PAGE + 0x10 * 8 + 4, 0);
        }
    }
}

/// 32-bit paging with pages of 4 KiB and 4 MiB.
pub fn two_level(base: &[u8], random: &mut Random) -> Case {
    case_of(base, random, Kind::TwoLevel, Guard::No)
}

/// PAE paging with pages of 4 KiB and 2 MiB.
pub fn pae(base: &[u8], random: &mut Random) -> Case {
    case_of(base, random, Kind::Pae, Guard::No)
}

/// Either, with NX, SMEP, SMAP and UMIP.
pub fn protected(base: &[u8], random: &mut Random) -> Case {
    let kind = if random.one_in(3) { Kind::TwoLevel } else { Kind::Pae };
    case_of(base, random, kind, Guard::Maybe)
}
