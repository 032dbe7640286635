//! The memory suite on several CPUs under drawn schedules: this binary runs it again, once for
//! each seed, with [`asked`](crate::support::asked)'s variables. By itself that is a few quick tests under
//! two seeds; `PAGEWALK_SEEDS=20` has the whole suite run under the seeds 1 to 20, and `PAGEWALK_SEEDS=7..7` under
//! one, which takes minutes for each.

use std::{
    env,
    ops::RangeInclusive,
    process::{Command, Stdio},
};

use libtest_mimic::Trial;

use crate::support::{asked, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("seeds::memory_is_kept_right_on_four_cpus_whatever_the_schedule", &[], sweep)]
}

/// How many seeds, or which.
const SEEDS: &str = "PAGEWALK_SEEDS";
/// CPUs, unless the environment asks for more than one.
const CPUS: u8 = 4;
/// The tests that are run in any case: quick ones, which fork, swap, compact and load modules.
const QUICK: [&str; 6] = [
    "mm::races::a_page_on_its_way_from_swap_is_inherited_by_fork",
    "mm::races::a_page_on_its_way_from_swap_does_not_come_where_munmap_was",
    "mm::memory::two_who_turn_one_device_off_bring_its_pages_back_once",
    "mm::frames::programs_go_on_while_their_pages_are_moved",
    "mm::modules::each_sample_loads_shows_itself_and_leaves_no_trace",
    "mm::reclaim::fork_copies_as_many_pages_as_are_written",
];

/// The seeds that the environment asks for.
fn wanted() -> Option<RangeInclusive<u64>> {
    let text = env::var(SEEDS).ok()?;
    let (first, last) = text.split_once("..").unwrap_or(("1", &text));
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{SEEDS}={text}: write 20, or FIRST..LAST"));
    Some(number(first)..=number(last))
}

fn sweep() {
    let all = wanted();
    let cpus = if asked::cpus() == 1 { CPUS } else { asked::cpus() };
    let runs: Vec<Vec<&str>> = match all {
        Some(_) => vec![vec!["mm::", "--skip", "qemu"]],
        None => QUICK.iter().map(|name| vec![*name, "--exact"]).collect(),
    };
    let mut failures = String::new();
    for seed in all.clone().unwrap_or(1..=2) {
        for words in &runs {
            let (passed, failed) = run(cpus, seed, words);
            if all.is_some() {
                eprintln!("seed {seed}: {passed} passed, {} failed", failed.lines().count());
            }
            failures += &failed;
        }
    }
    assert!(failures.is_empty(), "with {cpus} CPUs:\n{failures}");
}

/// Runs tests of this binary under a seed: how many passed, and a line for each that did not.
fn run(cpus: u8, seed: u64, words: &[&str]) -> (usize, String) {
    let program = env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args(words).args(["--test-threads", "2"]).stdin(Stdio::null());
    command.env("PAGEWALK_CPUS", cpus.to_string()).env("PAGEWALK_SCHEDULE_SEED", seed.to_string());
    let output = command.output().expect("this program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let verdicts = text.lines().filter_map(|line| line.strip_prefix("test ")?.rsplit_once("... "));
    let passed = verdicts.clone().filter(|&(_, verdict)| verdict.trim() == "ok").count();
    let failed: String = verdicts
        .filter(|(_, verdict)| verdict.trim() == "FAILED")
        .map(|(name, _)| format!("seed {seed}: {}\n", name.trim()))
        .collect();
    if failed.is_empty() && !(output.status.success() && passed > 0) {
        return (passed, format!("seed {seed}: {:?} of {words:?}: {text}\n", output.status));
    }
    let told = text.split_once("\nfailures:\n").map_or("", |(_, told)| told);
    if !told.is_empty() {
        eprintln!("{told}");
    }
    (passed, failed)
}
