//! Bochs as the oracle for what only the kernel may do: segments, gates, tasks, paging, virtual-8086
//! mode. Random cases run under a small monitor in a ROM, in Bochs and in ours, and everything that the
//! monitor can see must be equal, or the difference is one that `explained` explains by the manual.
//!
//! `PAGEWALK_PRIVILEGED_CASES` says how many cases run, `PAGEWALK_PRIVILEGED_SEED` from where,
//! `PAGEWALK_PRIVILEGED_CASE` runs one of them alone, `PAGEWALK_PRIVILEGED_ONLY` the families whose name
//! begins so. `PAGEWALK_PRIVILEGED_TABLE` prints the table that docs/fidelity.md keeps.

mod asm;
mod bochs;
mod case;
mod descriptor;
mod explained;
mod families;
mod layout;
mod monitor;
mod ours;
mod outcome;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
};

use bochs::{Bochs, LONG_SILENCE, SILENCE};
use case::Case;
use cpu::CpuModel;
use families::{FAMILIES, Family};
use layout::{RECORDS_LEN, WORD_NAMES};
use ours::How;
use outcome::{Lines, Outcome};
use pagewalk_oracle::random::Random;

/// Cases that are made together; of one in [`STEPPED`] such batches the cases here run by the slow functions.
const BATCH: usize = 4000;
const STEPPED: usize = 4;

/// Two processors that have the same features, as far as cases ask for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pair {
    /// Up to PAE and SSSE3.
    Plain,
    /// With NX, SMEP, SMAP, UMIP.
    Protected,
}

impl Pair {
    const ALL: [Pair; 2] = [Pair::Plain, Pair::Protected];

    /// Bochs' name of its processor.
    fn bochs(self) -> &'static str {
        match self {
            Pair::Plain => "atom_n270",
            Pair::Protected => "corei7_icelake_u",
        }
    }

    fn ours(self) -> CpuModel {
        match self {
            Pair::Plain => CpuModel::Core2,
            Pair::Protected => CpuModel::Max,
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// Which cases run.
struct Choice {
    cases: u64,
    seed: u64,
    only: String,
    /// One case alone.
    case: Option<u64>,
}

impl Choice {
    fn new(cases: u64) -> Choice {
        Choice {
            cases: number("PAGEWALK_PRIVILEGED_CASES").unwrap_or(cases),
            seed: number("PAGEWALK_PRIVILEGED_SEED").unwrap_or(1),
            only: env::var("PAGEWALK_PRIVILEGED_ONLY").unwrap_or_default(),
            case: number("PAGEWALK_PRIVILEGED_CASE"),
        }
    }

    /// The cases in batches; the same for the same seed.
    fn batches(&self, base: &[u8]) -> impl Iterator<Item = Vec<(u32, Case)>> {
        let families: Vec<_> = FAMILIES.iter().filter(|family| family.name.starts_with(&self.only)).collect();
        let turns: u64 = families.iter().map(|family| family.turns).sum();
        assert!(turns > 0, "no family begins with {:?}", self.only);
        let mut random = Random::new(self.seed);
        let mut number = 0;
        let case_alone = self.case;
        let all = case_alone.map_or(self.cases, |case| case + 1) as u32;
        std::iter::from_fn(move || {
            let mut batch = Vec::new();
            while number < all && batch.len() < BATCH {
                let mut turn = random.below(turns);
                let family = families.iter().find(|family| {
                    let found = turn < family.turns;
                    turn = turn.wrapping_sub(family.turns);
                    found
                });
                let Family { name, make, pair, .. } = family.expect("a turn is below the sum");
                let mut case = make(base, &mut random);
                (case.family, case.pair) = (name, *pair);
                if case_alone.is_none_or(|alone| alone == u64::from(number)) {
                    batch.push((number, case));
                }
                number += 1;
            }
            (!batch.is_empty()).then_some(batch)
        })
    }
}

/// Runs a batch, the cases of each pair of processors together.
fn run_pairs(
    rom: &[u8],
    base: &[u8],
    batch: &[(u32, Case)],
    mut run: impl FnMut(&[u8], Pair) -> Lines,
) -> BTreeMap<u32, Option<Outcome>> {
    let of = |pair| batch.iter().filter(|(_, case)| case.pair == pair).collect::<Vec<_>>();
    Pair::ALL.into_iter().flat_map(|pair| run_all(rom, base, &of(pair), |rom| run(rom, pair))).collect()
}

/// Runs cases whatever they do: one that never ends is left out and the rest goes on.
fn run_all(
    rom: &[u8],
    base: &[u8],
    batch: &[&(u32, Case)],
    mut run: impl FnMut(&[u8]) -> Lines,
) -> BTreeMap<u32, Option<Outcome>> {
    let mut outcomes = BTreeMap::new();
    let mut rest = batch;
    let mut silent_runs = 0;
    while !rest.is_empty() {
        let mut rom = rom.to_vec();
        let (mut len, mut fit) = (0, 0);
        for (number, case) in rest {
            let record = case.record(base, *number);
            if len + record.len() + 4 > RECORDS_LEN {
                break;
            }
            rom[len..][..record.len()].copy_from_slice(&record);
            len += record.len();
            fit += 1;
        }
        let lines = run(&rom);
        silent_runs = if lines.of.is_empty() { silent_runs + 1 } else { 0 };
        assert!(
            silent_runs < 3,
            "the monitor says nothing: does Bochs start (it needs its display library term, Debian's bochs-term)?"
        );
        let mut done = 0;
        for (number, _) in &rest[..fit] {
            let Some(line) = lines.of.get(number) else { break };
            outcomes.insert(*number, Outcome::parse(line));
            done += 1;
        }
        if let Some((number, _)) = rest[..fit].get(done) {
            outcomes.insert(*number, None);
            done += 1;
        }
        rest = &rest[done..];
    }
    outcomes
}

/// What is counted of a family.
#[derive(Default)]
struct Count {
    cases: u64,
    /// By vector of the end.
    ends: BTreeSet<u32>,
    explained: u64,
    differ: u64,
}

/// Runs the cases in Bochs and here; `Err` tells the differences that no rule explains.
pub fn agrees_with_bochs() -> Result<(), String> {
    let choice = Choice::new(1500);
    let base = case::base_arena();
    let rom = monitor::rom(&base);
    let bochs = Bochs::new();
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    let mut explained: BTreeMap<&str, u64> = BTreeMap::new();
    let mut reports: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for (i, batch) in choice.batches(&base).enumerate() {
        let expected = run_pairs(&rom, &base, &batch, |rom, pair| bochs.run(rom, pair.bochs(), SILENCE));
        let how = if i % STEPPED == 1 { How::Steps } else { How::Blocks };
        let found = run_pairs(&rom, &base, &batch, |rom, pair| ours::run(rom, pair.ours(), how));
        for numbered in &batch {
            let (number, case) = numbered;
            let alone = std::slice::from_ref(numbered);
            let count = counts.entry(case.family).or_default();
            count.cases += 1;
            let (mut end, ours) = (expected[number].clone(), &found[number]);
            if end.is_none() && ours.is_some() {
                // A busy host is no silence.
                let patient = run_pairs(&rom, &base, alone, |rom, pair| bochs.run(rom, pair.bochs(), LONG_SILENCE));
                end = patient[number].clone();
            }
            count.ends.extend(end.as_ref().and_then(Outcome::vector));
            if end == *ours {
                continue;
            }
            let emptied = |how: How<'_>| {
                run_pairs(&rom, &base, alone, |rom, pair| ours::run(rom, pair.ours(), how))[number] == end
            };
            let reason = match explained::explained(case, end.as_ref(), ours.as_ref()) {
                None if end.is_none() && bochs.left_memory() => Some(explained::DEVICE_CODE),
                None if is_stale(case, emptied) => Some(explained::STALE),
                reason => reason,
            };
            if let Some(reason) = reason {
                count.explained += 1;
                *explained.entry(reason).or_default() += 1;
                continue;
            }
            count.differ += 1;
            let (kind, report) = report(*number, case, end.as_ref(), ours.as_ref());
            if choice.cases > BATCH as u64 {
                eprintln!("privileged: {kind}: {report}");
            }
            reports.entry(kind).or_insert((0, report)).0 += 1;
        }
        if choice.cases > BATCH as u64 {
            let differ: u64 = counts.values().map(|count| count.differ).sum();
            eprintln!("privileged: {} batches, {differ} differences without a rule", i + 1);
        }
    }
    table(&counts, &explained);
    if !reports.is_empty() {
        let reports: Vec<String> =
            reports.into_iter().map(|(kind, (count, first))| format!("{kind}: {count} times; first {first}")).collect();
        return Err(format!("{} kinds of differences (seed {}):\n{}", reports.len(), choice.seed, reports.join("\n")));
    }
    Ok(())
}

/// Whether a case differs only in what the TLB held: Bochs keeps a translation that was read through for reads
/// alone, and walks again for the first write and the first fetch.
fn is_stale(case: &Case, ends_so: impl Fn(How) -> bool) -> bool {
    let Some(writes) = &case.stale else { return false };
    let first = &writes[..writes.len().min(1)];
    let one_by_one = writes.iter().map(std::slice::from_ref);
    [first, writes].into_iter().chain(one_by_one).map(Some).chain([None]).any(|at| ends_so(How::Emptied(at)))
}

/// Runs the cases by the slow functions alone and by the engine; `Err` names the first that differs.
pub fn engines_agree() -> Result<(), String> {
    let choice = Choice::new(1000);
    let base = case::base_arena();
    let rom = monitor::rom(&base);
    for batch in choice.batches(&base) {
        let [slow, fast] = [How::Steps, How::Blocks]
            .map(|how| run_pairs(&rom, &base, &batch, |rom, pair| ours::run(rom, pair.ours(), how)));
        for (number, case) in &batch {
            let (slow, fast) = (&slow[number], &fast[number]);
            if slow != fast {
                return Err(report(*number, case, slow.as_ref(), fast.as_ref()).1);
            }
        }
    }
    Ok(())
}

/// By what a difference shows itself, and its first case in full.
fn report(number: u32, case: &Case, bochs: Option<&Outcome>, ours: Option<&Outcome>) -> (String, String) {
    let end = |outcome: Option<&Outcome>| match outcome {
        None => "silence".to_owned(),
        Some(outcome) if outcome.reset => "reset".to_owned(),
        Some(outcome) => outcome.vector().map_or("nothing".to_owned(), |vector| format!("{vector:02x}")),
    };
    let mut kind = format!("{} [{} in Bochs, {} here]", case.family, end(bochs), end(ours));
    let mut details = String::new();
    if let (Some(bochs), Some(ours)) = (bochs, ours) {
        let differences = bochs.differences(ours);
        if bochs.vector() == ours.vector() {
            let names: BTreeSet<&str> = differences
                .iter()
                .map(|(name, ..)| name.split_once('+').map_or(name.as_str(), |(table, _)| table))
                .collect();
            kind += &format!(" {}", names.into_iter().collect::<Vec<_>>().join(","));
        }
        let value = |value: &Option<u32>| value.map_or("as before".to_owned(), |value| format!("{value:x}"));
        for (name, a, b) in &differences {
            details += &format!("\n      {name}: {} in Bochs, {} here", value(a), value(b));
        }
        details += &format!("\n    Bochs: {}\n    here:  {}", bochs.text(), ours.text());
    }
    let bytes: Vec<String> = case.code.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let state: Vec<String> =
        WORD_NAMES.iter().zip(&case.init).map(|(name, value)| format!("{name}={value:x}")).collect();
    let text = format!(
        "case {number}: {} (level {}, {}-bit code {}){details}\n    from {}",
        case.about,
        case.level,
        case.bits,
        bytes.join(" "),
        state.join(" ")
    );
    (kind, text)
}

fn table(counts: &BTreeMap<&str, Count>, explained: &BTreeMap<&str, u64>) {
    let cases: u64 = counts.values().map(|count| count.cases).sum();
    let sum: u64 = explained.values().sum();
    let differ: u64 = counts.values().map(|count| count.differ).sum();
    if env::var_os("PAGEWALK_PRIVILEGED_TABLE").is_none() {
        eprintln!("privileged: {cases} cases, {sum} explained differences, {differ} others");
        return;
    }
    println!("| family | cases | vectors seen | explained | others |\n|---|--:|--:|--:|--:|");
    for (name, count) in counts {
        println!("| {name} | {} | {} | {} | {} |", count.cases, count.ends.len(), count.explained, count.differ);
    }
    println!("| **all** | {cases} | | {sum} | {differ} |");
    println!("\n| explained difference | cases |\n|---|--:|");
    for (reason, cases) in explained {
        println!("| {reason} | {cases} |");
    }
}
