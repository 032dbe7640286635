//! One case: the arena as it finds it, the state it is entered with, the code it runs.

use super::{
    Pair,
    asm::Asm,
    descriptor::{self, Descriptor, gate, kind, level_near},
    layout::*,
    outcome::place,
};
use pagewalk_oracle::random::Random;

/// A case being made, and made.
#[derive(Clone)]
pub struct Case {
    /// Name of the family.
    pub family: &'static str,
    /// The processors that it runs on.
    pub pair: Pair,
    /// What it tries, in a few words.
    pub about: String,
    pub level: u8,
    pub bits: u8,
    pub arena: Vec<u8>,
    pub init: [u32; WORDS],
    pub code: Asm,
    /// EIP of each instruction that writes memory, and of one that is jumped to, if entries of its page tables change under the TLB.
    pub stale: Option<Vec<u32>>,
    /// The next free slot among the GDT's random descriptors.
    slot: u16,
}

/// EFLAGS' bits by name.
pub mod flag {
    pub const TF: u32 = 1 << 8;
    pub const IF: u32 = 1 << 9;
    pub const NT: u32 = 1 << 14;
    pub const RF: u32 = 1 << 16;
    pub const VM: u32 = 1 << 17;
    pub const AC: u32 = 1 << 18;
}

/// The arena that all cases share: sane tables, INT3 wherever there is nothing else.
pub fn base_arena() -> Vec<u8> {
    let mut arena = vec![0xcc; ARENA_LEN];
    let mut put =
        |offset: u32, bytes: &[u8]| arena[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    put(at::GDT, &[0; 0x400]);
    put(at::LDT, &[0; 0x200]);
    let mut descriptor = |selector: u16, bits: u64| put(at::GDT + u32::from(selector & !7), &bits.to_le_bytes());
    descriptor(sel::MONITOR_CODE, 0x00cf_9b00_0000_ffff);
    descriptor(sel::MONITOR_DATA, 0x00cf_9300_0000_ffff);
    for level in 0..4 {
        descriptor(sel::code(level), Descriptor::segment(kind::CODE, level, 32).bits());
        descriptor(sel::data(level), Descriptor::segment(kind::DATA, level, 32).bits());
    }
    let system = |kind, offset, limit| Descriptor {
        base: ARENA + offset,
        limit,
        big: false,
        ..Descriptor::segment(kind, 0, 32)
    };
    descriptor(sel::TSS, system(kind::TSS32, at::TSS, 0xff).bits());
    descriptor(sel::LDT, system(kind::LDT, at::LDT, 0x7f).bits());
    // The same for every seed, so that all cases share one base.
    let mut random = Random::new(0);
    for slot in (sel::RANDOM..sel::END).step_by(8) {
        descriptor(slot, descriptor::any(&mut random));
    }
    for slot in 1..16 {
        put(at::LDT + slot * 8, &descriptor::any(&mut random).to_le_bytes());
    }
    put(at::TSS, &[0; 0x68]);
    for level in 0..3_u8 {
        let field = at::TSS + 4 + u32::from(level) * 8;
        put(field, &stack_top(level).to_le_bytes());
        put(field + 4, &u32::from(sel::data(level)).to_le_bytes());
    }
    put(at::TSS + 0x66, &0x68_u16.to_le_bytes());
    put(at::IO_MAP, &[0xff; 0x98]);
    for vector in 0..256 {
        let level = if vector == 3 { 3 } else { 0 };
        let entry = gate(kind::INTERRUPT32, level, true, sel::MONITOR_CODE, STUBS + vector * 16, 0);
        put(at::IDT + vector * 8, &entry.to_le_bytes());
    }
    put(at::PAGING, &[0; 0x4000]);
    arena
}

/// Where the stack of a level begins, growing down.
pub const fn stack_top(level: u8) -> u32 {
    at::STACKS + 0x1000 * (level as u32 + 1)
}

impl Case {
    /// A case that would just run INT3 at `level` in a segment of `bits`.
    pub fn new(base: &[u8], random: &mut Random, family: &'static str, level: u8, bits: u8) -> Case {
        let mut case = Case {
            family,
            pair: Pair::Plain,
            about: String::new(),
            level,
            bits,
            arena: base.to_vec(),
            init: [0; WORDS],
            code: Asm::new(bits),
            stale: None,
            slot: sel::RANDOM + (random.below(16) as u16) * 8,
        };
        for register in 0..8 {
            case.init[word::EAX + register] = random.bits(32) as u32;
        }
        case.init[word::VECTOR] = !0;
        case.init[word::ESP] = stack_top(level) - 0x80;
        for register in [word::ES, word::SS, word::DS, word::FS, word::GS] {
            case.init[register] = sel::data(level).into();
        }
        case.init[word::CS] = sel::code(level).into();
        case.init[word::EIP] = at::CODE;
        case.init[word::EFLAGS] = 2 | (random.bits(12) as u32 & 0x8d5) | (random.below(4) as u32) << 12;
        case.init[word::CR0] = 0x11;
        case.init[word::DR6] = 0xffff_0ff0;
        case.init[word::DR7] = 0x400;
        case.init[word::GDTR] = (u32::from(sel::END) - 1) << 16;
        case.init[word::GDTR + 1] = ARENA + at::GDT;
        case.init[word::IDTR] = 0x7ff << 16;
        case.init[word::IDTR + 1] = ARENA + at::IDT;
        case.init[word::LDTR] = sel::LDT.into();
        case.init[word::TR] = sel::TSS.into();
        case.init[word::ENTER] = if level == 0 { 0 } else { enter::OUTER };
        if bits == 16 {
            let selector = sel::code(level);
            case.descriptor(selector, Descriptor::segment(kind::CODE, level, 16).bits());
        }
        case
    }

    /// At a random level, in code of either size.
    pub fn anywhere(base: &[u8], random: &mut Random, family: &'static str) -> Case {
        let level = *pick(random, &[0, 0, 0, 1, 2, 3, 3, 3]);
        let bits = if random.one_in(3) { 16 } else { 32 };
        let mut case = Case::new(base, random, family, level, bits);
        if random.one_in(6) {
            case.small_stack();
        }
        case
    }

    /// Makes the stack segment one of 16 bits.
    pub fn small_stack(&mut self) {
        let selector = sel::data(self.level);
        self.descriptor(selector, Descriptor::segment(kind::DATA, self.level, 16).bits());
        self.init[word::ESP] |= 0x5a5a_0000;
    }

    pub fn put(&mut self, offset: u32, bytes: &[u8]) {
        self.arena[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub fn put_u16(&mut self, offset: u32, value: u16) {
        self.put(offset, &value.to_le_bytes());
    }

    pub fn put_u32(&mut self, offset: u32, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }

    /// The doubleword at an offset, which wraps at the arena's end.
    pub fn get_u32(&self, offset: u32) -> u32 {
        let byte = |n: u32| self.arena[offset.wrapping_add(n) as usize % ARENA_LEN];
        u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    }

    /// The doubleword that has this name before the case begins.
    pub fn named(&self, name: &str) -> u32 {
        (0..ARENA_LEN as u32).step_by(4).find(|&offset| place(offset) == name).map_or(0, |offset| self.get_u32(offset))
    }

    /// Puts a descriptor into the slot of `selector`, in the GDT or the LDT.
    pub fn descriptor(&mut self, selector: u16, bits: u64) {
        let table = if selector & 4 == 0 { at::GDT } else { at::LDT };
        self.put(table + u32::from(selector & !7), &bits.to_le_bytes());
    }

    /// Puts a descriptor into a fresh slot and gives its selector, mostly requested at this level.
    pub fn fresh(&mut self, random: &mut Random, bits: u64) -> u16 {
        let mut selector = self.slot;
        self.slot += 8;
        if self.slot >= sel::END {
            self.slot = sel::RANDOM;
        }
        if random.one_in(4) {
            selector = ((1 + random.below(15) as u16) * 8) | 4;
        }
        self.descriptor(selector, bits);
        if random.one_in(3) { selector | random.below(4) as u16 } else { selector | u16::from(self.level) }
    }

    /// Some selector: null, beyond the table, of a random descriptor.
    pub fn any_selector(&mut self, random: &mut Random) -> u16 {
        match random.below(8) {
            0 => random.below(4) as u16,
            1 => random.bits(16) as u16,
            2 => sel::END + random.below(16) as u16,
            3 => (random.below(20) as u16) << 3 | 4 | random.below(4) as u16,
            4 => random.bits(9) as u16,
            _ => descriptor::random_slot(random, self.level),
        }
    }

    /// Pushes on the stack that the case is entered with.
    pub fn push(&mut self, size: u8, value: u32) {
        let esp = self.init[word::ESP] - u32::from(size / 8);
        self.init[word::ESP] = esp;
        self.put(esp & 0xffff, &value.to_le_bytes()[..usize::from(size / 8)]);
    }

    /// Replaces a gate of the IDT.
    pub fn idt(&mut self, vector: u8, gate: u64) {
        self.put(at::IDT + u32::from(vector) * 8, &gate.to_le_bytes());
    }

    /// A second task: its TSS at `at::OTHER_TSS + index * 0x100`, whose registers are sane.
    pub fn task32(&mut self, random: &mut Random, index: u32, level: u8) -> u32 {
        let tss = at::OTHER_TSS + index * 0x100;
        self.put(tss, &[0; 0x68]);
        for ring in 0..3_u8 {
            let field = tss + 4 + u32::from(ring) * 8;
            self.put_u32(field, stack_top(ring) - 0x200);
            self.put_u32(field + 4, sel::data(ring).into());
        }
        self.put_u32(tss + 0x1c, self.init[word::CR3]);
        self.put_u32(tss + 0x20, at::LANDING + random.below(16) as u32);
        self.put_u32(tss + 0x24, 2 | random.bits(12) as u32 & 0x8d5 | (random.below(4) as u32) << 12);
        for register in 0..8 {
            self.put_u32(tss + 0x28 + register * 4, random.bits(32) as u32);
        }
        self.put_u32(tss + 0x38, stack_top(level) - 0x300);
        for segment in 0..6 {
            let selector = if segment == 1 { sel::code(level) } else { sel::data(level) };
            self.put_u32(tss + 0x48 + segment * 4, selector.into());
        }
        self.put_u32(tss + 0x60, sel::LDT.into());
        self.put_u32(tss + 0x64, 0x68 << 16);
        self.put(tss + 0x68, &[0xff; 0x20]);
        tss
    }

    /// The same for a 16-bit TSS.
    pub fn task16(&mut self, random: &mut Random, index: u32, level: u8) -> u32 {
        let tss = at::OTHER_TSS + index * 0x100;
        self.put(tss, &[0; 0x2c]);
        for ring in 0..3_u8 {
            let field = tss + 2 + u32::from(ring) * 4;
            self.put_u16(field, (stack_top(ring) - 0x200) as u16);
            self.put_u16(field + 2, sel::data(ring));
        }
        self.put_u16(tss + 0x0e, (at::LANDING + random.below(16) as u32) as u16);
        self.put_u16(tss + 0x10, 2 | random.bits(12) as u16 & 0x8d5 | (random.below(4) as u16) << 12);
        for register in 0..8 {
            self.put_u16(tss + 0x12 + register * 2, random.bits(16) as u16);
        }
        self.put_u16(tss + 0x1a, (stack_top(level) - 0x300) as u16);
        for segment in 0..4 {
            let selector = if segment == 1 { sel::code(level) } else { sel::data(level) };
            self.put_u16(tss + 0x22 + segment * 2, selector);
        }
        self.put_u16(tss + 0x2a, sel::LDT);
        tss
    }

    /// A descriptor of a task, mostly right.
    pub fn task_descriptor(&mut self, random: &mut Random, index: u32) -> (u64, u32) {
        let wide = !random.one_in(3);
        let level = random.below(4) as u8;
        let tss = if wide { self.task32(random, index, level) } else { self.task16(random, index, level) };
        let limit = if wide { 0x87 } else { 0x2b };
        let descriptor = Descriptor {
            base: ARENA + tss,
            limit: if random.one_in(10) { random.bits(7) as u32 } else { limit },
            kind: if wide { kind::TSS32 } else { kind::TSS16 } | if random.one_in(10) { 2 } else { 0 },
            dpl: level_near(random, 3),
            present: !random.one_in(16),
            big: false,
            ..Descriptor::segment(0, 0, 32)
        };
        (descriptor.bits(), tss)
    }

    /// The record for the monitor (see [`super::layout`]).
    pub fn record(&self, base: &[u8], number: u32) -> Vec<u8> {
        let mut arena = self.arena.clone();
        let code = self.init[word::EIP] as usize;
        if self.init[word::ENTER] & (enter::V86 | enter::REAL) != 0 {
            let start = (((self.init[word::CS] << 4) + self.init[word::EIP]) - ARENA) as usize;
            arena[start..start + self.code.bytes.len()].copy_from_slice(&self.code.bytes);
        } else {
            arena[code..code + self.code.bytes.len()].copy_from_slice(&self.code.bytes);
        }
        let mut record = vec![0; 4];
        record.extend(number.to_le_bytes());
        record.extend(self.init.iter().flat_map(|word| word.to_le_bytes()));
        let mut offset = 0;
        while offset < ARENA_LEN {
            if arena[offset] == base[offset] {
                offset += 1;
                continue;
            }
            // Gaps of less than a head's length are cheaper written.
            let mut end = offset + 1;
            let mut last = offset;
            while end < ARENA_LEN && end - last <= 4 {
                if arena[end] != base[end] {
                    last = end;
                }
                end += 1;
            }
            record.extend((offset as u16).to_le_bytes());
            record.extend(((last + 1 - offset) as u16).to_le_bytes());
            record.extend(&arena[offset..=last]);
            offset = last + 1;
        }
        record.extend([0; 4]);
        record.resize(record.len().next_multiple_of(4), 0);
        let len = record.len() as u32;
        record[..4].copy_from_slice(&len.to_le_bytes());
        record
    }
}

/// One of several.
pub fn pick<'a, T>(random: &mut Random, of: &'a [T]) -> &'a T {
    &of[random.below(of.len() as u64) as usize]
}
