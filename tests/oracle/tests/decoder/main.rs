//! Random bytes, decoded as our processor decodes them (by iced) and by capstone: both must see the
//! same instruction, of the same length, with the same operands. Where they differ, one of [`rules::RULES`]
//! says why and who is right.
//!
//! `PAGEWALK_DECODER_CASES` tries more bytes, `PAGEWALK_DECODER_SEED` others.

mod plain;
mod rules;

use std::{collections::BTreeMap, env};

use capstone::{
    Capstone,
    arch::{BuildsCapstone, x86::ArchMode},
};
use iced_x86::{Decoder, DecoderOptions};
use pagewalk_oracle::{
    catalogue::Catalogue,
    ours::{Ours, Pace},
    random::Random,
};

use plain::Plain;
use rules::{Case, RULES};

/// As crates/cpu decodes.
const OPTIONS: u32 = DecoderOptions::NO_MPFX_0FBC | DecoderOptions::NO_MPFX_0FBD | DecoderOptions::NO_WBNOINVD;

/// Where the instructions lie.
const IP: u64 = 0x1000;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// 15 bytes: at times prefixes, at times an escape to another map, then anything.
fn some_bytes(random: &mut Random) -> [u8; 15] {
    let mut bytes = [0; 15];
    bytes.fill_with(|| random.bits(8) as u8);
    let mut at = 0;
    while at < 12 && random.one_in(3) {
        const PREFIXES: [u8; 11] = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
        bytes[at] = PREFIXES[random.below(11) as usize];
        at += 1;
    }
    match random.below(8) {
        0..3 => {}
        3..6 => bytes[at] = 0x0f,
        6 => bytes[at..at + 2].copy_from_slice(&[0x0f, 0x38]),
        _ => bytes[at..at + 2].copy_from_slice(&[0x0f, 0x3a]),
    }
    bytes
}

#[test]
fn random_bytes_are_the_same_instructions_to_another_decoder() {
    let decoders = [(16, ArchMode::Mode16), (32, ArchMode::Mode32)].map(|(bits, mode)| {
        let capstone = Capstone::new().x86().mode(mode).detail(true).build();
        (bits, capstone.expect("capstone decodes x86"))
    });
    let catalogue = Catalogue::new(&mut Ours::new(Pace::Slow));
    let mut random = Random::new(number("PAGEWALK_DECODER_SEED").unwrap_or(1));
    let mut used = vec![0_u64; RULES.len()];
    let mut unexplained: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let (mut compared, mut instructions) = (0_u64, 0_u64);
    while compared < number("PAGEWALK_DECODER_CASES").unwrap_or(300_000) {
        let bytes = some_bytes(&mut random);
        let (bits, capstone) = &decoders[random.below(2) as usize];
        let insn = Decoder::with_ip(*bits, &bytes, IP, OPTIONS).decode();
        // Where the processor raises #UD for want of the feature there is nothing to compare.
        if !insn.is_invalid() && !catalogue.is_modelled(insn.code()) {
            continue;
        }
        compared += 1;
        let ours = Plain::of_iced(&insn);
        instructions += u64::from(ours.is_some());
        let found = capstone.disasm_count(&bytes, IP, 1).expect("capstone decodes");
        let theirs = found.first().map(|insn| Plain::of_capstone(capstone, insn));
        let case = Case { bits: *bits, bytes: &bytes, insn: &insn, ours, theirs };
        if case.agree() {
            continue;
        }
        match RULES.iter().position(|rule| (rule.explains)(&case)) {
            Some(rule) => used[rule] += 1,
            None => {
                let entry = unexplained.entry(case.kind()).or_insert_with(|| (0, case.to_string()));
                entry.0 += 1;
            }
        }
    }
    for (rule, count) in RULES.iter().zip(&used) {
        println!("{count:8} {}", rule.why);
    }
    println!("{instructions} instructions in {compared} cases");
    let list: Vec<String> =
        unexplained.iter().map(|(kind, (count, first))| format!("{kind}: {count} times, first\n    {first}")).collect();
    assert!(list.is_empty(), "{} kinds of differences that no rule explains:\n{}", list.len(), list.join("\n"));
    for (rule, count) in RULES.iter().zip(&used) {
        assert!(*count > 0, "nothing needs the rule: {}", rule.why);
    }
}
