//! RDMSR, WRMSR and RDTSC at all levels: what registers take, what they refuse, which there are.

use crate::{
    case::{Case, pick},
    layout::{enter, word},
};
use pagewalk_oracle::random::Random;

const CR4_TSD: u32 = 1 << 2;
const EFER: u32 = 0xc000_0080;

/// Registers that both processors have, and some that neither has.
const NUMBERS: &[u32] = &[
    0xfe,
    0x174,
    0x175,
    0x176,
    0x200,
    0x201,
    0x206,
    0x20f,
    0x250,
    0x258,
    0x259,
    0x268,
    0x26f,
    0x277,
    0x277,
    0x277,
    0x2ff,
    0x2ff,
    EFER,
    EFER,
    0xc000_0103,
    0x0fff_ffff,
    0x4000_0000,
    0xc000_1234,
    0x251,
    0x270,
    0x2fe,
];

/// One register written and read again, or only read.
pub fn run(base: &[u8], random: &mut Random) -> Case {
    let mut case = Case::anywhere(base, random, "model-specific registers");
    case.init[word::ENTER] |= enter::MSR | enter::EFER;
    if random.one_in(12) {
        // Time itself differs; that it is kept from programs does not.
        case.init[word::CR4] |= CR4_TSD;
        case.code.raw(if case.level > 0 { &[0x0f, 0x31] } else { &[0x0f, 0x33] });
        case.about = "rdtsc that is not allowed, or rdpmc".to_owned();
        return case;
    }
    let number = *pick(random, NUMBERS);
    case.init[word::EAX + 1] = number;
    let writes = !random.one_in(3);
    if writes {
        let value = value(random, number);
        case.init[word::EAX] = value as u32;
        case.init[word::EAX + 2] = (value >> 32) as u32;
        case.code.raw(&[0x0f, 0x30]);
    }
    case.code.raw(&[0x0f, 0x32]);
    case.about = format!("{} of {number:x}", if writes { "wrmsr" } else { "rdmsr" });
    case
}

/// Mostly a value that the register takes.
fn value(random: &mut Random, number: u32) -> u64 {
    let mut types = |of: &[u8]| u64::from_le_bytes(std::array::from_fn(|_| *pick(random, of)));
    let value = match number {
        0x277 => types(&[0, 1, 4, 5, 6, 7]),
        0x250..=0x26f => types(&[0, 1, 4, 5, 6]),
        0x2ff => types(&[0, 1, 4, 5, 6]) & 0xff | random.bits(2) << 10,
        0x200..=0x20f if number & 1 == 0 => types(&[0, 1, 4, 5, 6]) & 0xff | random.bits(24) << 12,
        0x200..=0x20f => random.bits(24) << 12 | random.bits(1) << 11,
        EFER => random.bits(1) << 11,
        _ => random.bits(32),
    };
    // One bit more, but none that a processor of 64 bits has besides.
    if number == EFER && random.one_in(3) {
        return value | 1 << *pick(random, &[1, 2, 9, 20, 31, 32, 63]);
    }
    if random.one_in(4) && !(0x174..=0x176).contains(&number) {
        return value ^ 1 << pick(random, &[1, 3, 9, 40, 52, 63]);
    }
    value
}
