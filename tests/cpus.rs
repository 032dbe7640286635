//! Machines of several CPUs, from the command line.

use std::process::{Command, Output};

use libtest_mimic::Trial;

use crate::support::{pagewalk, trial, with_input};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("cpus::a_run_repeats_whatever_the_schedule_is_drawn_from", &[], repeats),
        trial("cpus::counters_are_told_by_cpu", &[], counters),
        trial("cpus::a_run_that_fails_tells_the_seed_that_repeats_it", &[], seed_of_failure),
        trial("cpus::lenses_show_each_cpu_of_a_saved_machine_that_goes_on_as_it_would_have", &[], lenses),
    ]
}

const SCRIPT: &str = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); done; echo $i | cat\n";

fn script(options: &[&str]) -> Output {
    with_input(pagewalk().arg("run").args(options), SCRIPT)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn row(output: &Output, name: &str) -> String {
    let all = text(&output.stderr);
    let of_name = |line: &str| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned);
    all.lines().find_map(of_name).unwrap_or_else(|| panic!("no {name} in:\n{all}"))
}

fn repeats() {
    for options in [&["--cpus", "4"][..], &["--cpus", "3", "--schedule-seed", "7"]] {
        let end = || {
            let output = script(&[options, &["--stats"]].concat());
            assert_eq!(text(&output.stdout), "50\n", "{}", text(&output.stderr));
            (row(&output, "instructions"), row(&output, "state_hash"))
        };
        assert_eq!(end(), end(), "{options:?}");
    }
}

fn counters() {
    let output = script(&["--cpus", "8", "--stats"]);
    assert_eq!(row(&output, "cpus"), "8");
    let number = |name: &str| row(&output, name).parse::<u64>().expect("a number");
    let sum: u64 = (0..8).map(|cpu| number(&format!("cpu{cpu}_instructions"))).sum();
    assert_eq!(sum, number("instructions"));
    assert!(number("cpu0_turns") > 0 && number("cpu0_interrupts") > 0);
    let single = script(&["--stats"]);
    assert_eq!(row(&single, "cpus"), "1");
    assert!(!text(&single.stderr).contains("cpu0_"));
}

fn seed_of_failure() {
    let options = ["--cpus", "2", "--schedule-seed", "99", "--max-instructions", "1000000"];
    let output = script(&options);
    assert_eq!(output.status.code(), Some(124));
    let shown = text(&output.stderr);
    let last = shown.lines().last().unwrap_or_default();
    assert!(last.ends_with("again with --cpus 2 --schedule-seed 99"), "{shown}");
}

fn lenses() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved");
    let file = file.to_str().expect("a plain path");
    script(&["--cpus", "2", "--save", file, "--save-at", "20000000"]);
    let look = |words: &[&str]| {
        let mut command: Command = pagewalk();
        command.args(words).args(["--snapshot", file]).output().expect("the command runs")
    };
    let both = text(&look(&["regs"]).stdout);
    assert!(both.contains("CPU 0: ") && both.contains("CPU 1: "), "{both}");
    let second = text(&look(&["regs", "--cpu", "1"]).stdout);
    assert!(both.ends_with(&second) && !second.is_empty(), "{second}");
    for words in [&["tlb", "--cpu", "1"][..], &["disas", "tlb_flush_begin", "1", "--cpu", "1"], &["stats"]] {
        let output = look(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    }
    let third = look(&["regs", "--cpu", "2"]);
    assert_eq!(third.status.code(), Some(1));
    assert!(text(&third.stderr).contains('2'), "{}", text(&third.stderr));
}
