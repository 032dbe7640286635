//! Silicon as the oracle: unprivileged instructions run one by one on the host's processor, in a
//! 32-bit code segment, and on ours, from the same random state; everything must be equal.
//!
//! `PAGEWALK_ORACLE_SECONDS` runs it longer, `PAGEWALK_ORACLE_SEED` from elsewhere,
//! `PAGEWALK_ORACLE_ONLY` for the mnemonics with that beginning.

mod compare;
mod generate;
mod native;
mod ours;
mod random;
mod state;

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use iced_x86::{FastFormatter, Instruction};
use libtest_mimic::Trial;

use crate::support::{Need, trial};
use generate::{Case, Generator};
use native::Native;
use ours::Ours;
use random::Random;
use state::DATA_LEN;

pub fn trials() -> Vec<Trial> {
    vec![trial("oracle::unprivileged_instructions_do_what_silicon_does", &[Need::NativeI386], agrees_with_silicon)]
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    FastFormatter::new().format(instruction, &mut text);
    text
}

fn agrees_with_silicon() {
    // By default a fixed sequence of cases, or what of it a slow host manages in a few seconds.
    let seconds = number("PAGEWALK_ORACLE_SECONDS");
    let limit = if seconds.is_some() { u64::MAX } else { 100_000 };
    let seed = number("PAGEWALK_ORACLE_SEED").unwrap_or(1);
    let only = env::var("PAGEWALK_ORACLE_ONLY").unwrap_or_default();
    let Some(mut native) = Native::new() else {
        eprintln!("oracle: skipped: needs low addresses and 32-bit code segments");
        return;
    };
    let mut engines = [Ours::new(false), Ours::new(true)];
    let mut generator = Generator::new();
    let mut random = Random::new(seed);
    let mut data = vec![0; DATA_LEN];
    let mut differences: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut tried = 0_u64;
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(4));
    while Instant::now() < end && tried < limit {
        for _ in 0..256 {
            let case = generator.next(&mut random);
            if !format!("{:?}", case.instruction.mnemonic()).to_lowercase().starts_with(&only) {
                continue;
            }
            refill(&mut data, &mut random);
            tried += 1;
            let expected = native.run(&case.bytes, &case.state, &data);
            let ours = &mut engines[usize::from(tried.is_multiple_of(2))];
            let found = ours.run(&case.bytes, &case.state, &data);
            if let Some(difference) = compare::difference(&case, &data, &expected, &found) {
                let key = format!("{:?}", case.instruction.code());
                let entry = differences.entry(key).or_insert_with(|| (0, report(&case, &difference)));
                entry.0 += 1;
            }
        }
    }
    drop(native);
    eprintln!("oracle: {tried} instructions of {} forms, seed {seed}", generator.len());
    if !differences.is_empty() {
        let reports: Vec<String> =
            differences.iter().map(|(code, (count, first))| format!("{code}: {count} times; first {first}")).collect();
        panic!("{} opcodes differ:\n{}", reports.len(), reports.join("\n"));
    }
}

/// Some fresh data: a new start and numbers here and there.
fn refill(data: &mut [u8], random: &mut Random) {
    for _ in 0..16 {
        let at = random.below(DATA_LEN as u64 - 16) as usize;
        data[at..at + 16].copy_from_slice(&state::xmm(random).to_le_bytes());
    }
}

fn report(case: &Case, difference: &str) -> String {
    let bytes: Vec<String> = case.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} ({})\n    {difference}\n    from {:x?}", bytes.join(" "), text(&case.instruction), case.state)
}
