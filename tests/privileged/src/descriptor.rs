//! Random descriptors: most of them right, many of them wrong in one way.

use super::layout::{ARENA, at, sel};
use pagewalk_oracle::random::Random;

/// A segment or system descriptor, by its parts.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub base: u32,
    /// 20 bits, in bytes or pages as `granular` says.
    pub limit: u32,
    /// The S bit (16) and the type.
    pub kind: u8,
    pub dpl: u8,
    pub present: bool,
    pub available: bool,
    /// D or B.
    pub big: bool,
    pub granular: bool,
}

impl Descriptor {
    /// A segment over the arena.
    pub const fn segment(kind: u8, dpl: u8, bits: u8) -> Descriptor {
        Descriptor {
            base: ARENA,
            limit: 0xffff,
            kind,
            dpl,
            present: true,
            available: false,
            big: bits == 32,
            granular: false,
        }
    }

    pub fn bits(&self) -> u64 {
        let low = self.limit & 0xffff | self.base << 16;
        let high = self.base >> 16 & 0xff
            | u32::from(self.kind) << 8
            | u32::from(self.dpl) << 13
            | u32::from(self.present) << 15
            | self.limit & 0xf_0000
            | u32::from(self.available) << 20
            | u32::from(self.big) << 22
            | u32::from(self.granular) << 23
            | self.base & 0xff00_0000;
        u64::from(high) << 32 | u64::from(low)
    }

    /// The last valid byte, if the segment grows up.
    pub fn last(&self) -> u32 {
        if self.granular { self.limit << 12 | 0xfff } else { self.limit }
    }
}

/// Type and S bit of kinds of segments.
pub mod kind {
    pub const DATA: u8 = 0x13;
    pub const CODE: u8 = 0x1b;
    pub const TSS16: u8 = 1;
    pub const LDT: u8 = 2;
    pub const CALL16: u8 = 4;
    pub const TASK: u8 = 5;
    pub const TSS32: u8 = 9;
    pub const CALL32: u8 = 12;
    pub const INTERRUPT32: u8 = 14;
}

/// A gate.
pub fn gate(kind: u8, dpl: u8, present: bool, selector: u16, offset: u32, count: u8) -> u64 {
    let high = offset & 0xffff_0000 | u32::from(present) << 15 | u32::from(dpl) << 13 | u32::from(kind) << 8;
    u64::from(high | u32::from(count)) << 32 | u64::from(u32::from(selector) << 16 | offset & 0xffff)
}

/// A privilege level, often `level`.
pub fn level_near(random: &mut Random, level: u8) -> u8 {
    if random.one_in(2) { level } else { random.below(4) as u8 }
}

/// A code segment that one could run in at `level`, give or take.
pub fn code(random: &mut Random, level: u8) -> Descriptor {
    let kind = 0x18 | random.below(8) as u8;
    let mut code = Descriptor::segment(kind, level_near(random, level), if random.one_in(3) { 16 } else { 32 });
    code.present = !random.one_in(16);
    vary_limit(random, &mut code);
    code
}

/// A data segment of any type.
pub fn data(random: &mut Random, level: u8) -> Descriptor {
    let kind = 0x10 | random.below(8) as u8;
    let mut data = Descriptor::segment(kind, level_near(random, level), if random.one_in(3) { 16 } else { 32 });
    data.present = !random.one_in(16);
    vary_limit(random, &mut data);
    data
}

/// Anything that the bits allow.
pub fn any(random: &mut Random) -> u64 {
    let mut any = Descriptor::segment(random.below(32) as u8, random.below(4) as u8, 32);
    any.present = !random.one_in(8);
    any.big = random.one_in(2);
    any.available = random.one_in(2);
    vary_limit(random, &mut any);
    let mut bits = any.bits();
    if random.one_in(4) {
        bits ^= 1 << random.below(64);
    }
    bits
}

fn vary_limit(random: &mut Random, segment: &mut Descriptor) {
    match random.below(8) {
        0 => (segment.limit, segment.granular) = (0xf_ffff, true),
        1 => (segment.limit, segment.granular) = (random.below(16) as u32, true),
        2 => segment.limit = random.bits(16) as u32,
        3 => segment.limit = at::LANDING + random.below(4) as u32,
        4 => segment.limit = (random.below(16) as u32) << 12 | 0xfff,
        5 => segment.limit = random.bits(20) as u32,
        _ => {}
    }
    if random.one_in(8) {
        segment.base = ARENA + ((random.below(16) as u32) << 4);
    }
}

/// A selector into the random part of the GDT, with a requested level near `level`.
pub fn random_slot(random: &mut Random, level: u8) -> u16 {
    let slots = u64::from(sel::END - sel::RANDOM) / 8;
    sel::RANDOM + (random.below(slots) as u16) * 8 + u16::from(level_near(random, level))
}
