//! Several CPUs and their TLBs: the loads that shoot translations down, the checker of coherence, and
//! the time line of a shootdown.

use std::{fs, process::Command};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{Need, pagewalk, program, trial, with_input};

pub fn trials() -> Vec<Trial> {
    let native = [Need::NativeI386];
    vec![
        trial("shootdown::the_loads_print_in_the_guest_what_they_print_on_the_host", &native, as_on_the_host),
        trial("shootdown::checking_the_tlb_changes_nothing_and_finds_nothing", &[], checked_and_silent),
        trial("shootdown::a_trace_of_the_tlb_changes_nothing", &[], traced),
        trial("shootdown::the_loads_come_out_right_on_four_cpus_and_the_checker_is_silent", &[], four_cpus),
        trial("shootdown::a_missing_ipi_is_named_by_the_checker", &[], no_ipi),
        trial("shootdown::a_missing_flush_is_named_by_the_checker", &[], no_flush),
        trial("shootdown::the_time_line_tells_every_step_and_agrees_with_the_kernels_count", &[], time_line),
        trial("shootdown::explore_finds_a_planted_race_and_the_seed_repeats_it", &[], planted_race),
    ]
}

/// The loads, small enough for a test.
const LOADS: [&str; 2] = ["shootdown 4 4 4", "smp-storm --seed 7 --processes 2 --threads 2 --rounds 4"];

/// Runs a script of the embedded shell; standard output, standard error, status.
fn guest(options: &[&str], script: &str) -> (String, String, Option<i32>) {
    let output = with_input(pagewalk().arg("run").args(options), script);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

fn as_on_the_host() {
    let (_folder, path) = program::alone("stress", program::embedded("stress"));
    let mut printed = String::new();
    for load in LOADS {
        let output = Command::new(&path).args(load.split(' ')).output().expect("the host runs it");
        assert!(output.status.success(), "{load}: {}", String::from_utf8_lossy(&output.stderr));
        printed += &String::from_utf8_lossy(&output.stdout);
    }
    let (stdout, stderr, status) = guest(&[], &format!("{}; {}\n", LOADS[0], LOADS[1]));
    assert_eq!((stdout, status), (printed, Some(0)), "{stderr}");
}

/// The rows of `--stats` that say whether two runs were the same.
fn same(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("instructions:") || line.starts_with("state_hash:")).collect()
}

fn checked_and_silent() {
    let script = format!("{}; {}; seq 300 | tail -n 1 | cat\n", LOADS[0], LOADS[1]);
    let (plain, plain_stderr, _) = guest(&["--stats"], &script);
    let (checked, stderr, status) = guest(&["--stats", "--check-tlb"], &script);
    assert_eq!((checked, status), (plain, Some(0)), "{stderr}");
    assert!(!stderr.contains("stale"), "{stderr}");
    assert_eq!(same(&stderr).len(), 2);
    assert_eq!(same(&stderr), same(&plain_stderr));
}

fn traced() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace.json");
    let script = format!("{}\n", LOADS[0]);
    let (plain, plain_stderr, _) = guest(&["--stats"], &script);
    let name = file.to_str().expect("a name");
    let (traced, stderr, status) = guest(&["--stats", "--trace", "ipi,tlb,mmu", "--trace-file", name], &script);
    assert_eq!((traced, status), (plain, Some(0)), "{stderr}");
    assert_eq!(same(&stderr), same(&plain_stderr));
    let trace: Value = serde_json::from_str(&fs::read_to_string(&file).expect("the trace")).expect("it is JSON");
    let events = trace.as_array().expect("a list");
    let changes = events.iter().filter(|event| event["name"] == "entry changed").count();
    assert!(changes > 100, "{changes} changes of entries in {} events", events.len());
    let (_, text, _) = guest(&["--trace", "tlb"], "true\n");
    assert!(text.lines().any(|line| line.contains(" CPU 0 loads CR3 with 0x")), "{text:.400}");
}

fn four_cpus() {
    let script = format!("{}; {}\n", LOADS[0], LOADS[1]);
    let (one, ..) = guest(&[], &script);
    let (four, stderr, status) = guest(&["--cpus", "4", "--check-tlb"], &script);
    assert_eq!((four, status), (one, Some(0)), "{stderr}");
    assert!(!stderr.contains("stale"), "{stderr}");
}

/// The reports of the checker in what was said on standard error.
fn reports(stderr: &str) -> Vec<String> {
    let (mut reports, mut inside) = (Vec::<String>::new(), false);
    for line in stderr.lines() {
        inside = line.starts_with("pagewalk: --check-tlb: CPU ") || inside && line.starts_with("  ");
        match reports.last_mut() {
            Some(report) if inside && line.starts_with("  ") => *report += &format!("{line}\n"),
            _ if inside => reports.push(format!("{line}\n")),
            _ => {}
        }
    }
    reports
}

fn no_ipi() {
    let options = ["--cpus", "2", "--check-tlb", "--append", "tlb=noipi"];
    let (_, stderr, status) = guest(&options, "shootdown 2 6 4\n");
    assert_eq!(status, Some(120), "{stderr}");
    assert!(stderr.contains("stale translation was used") || stderr.contains("by a stale translation"), "{stderr}");
    let reports = reports(&stderr);
    let missing = |report: &&String| report.contains("no IPI was sent to CPU ") && report.contains("IPI is missing");
    let report = reports.iter().find(missing).unwrap_or_else(|| panic!("no report of a missing IPI: {stderr}"));
    for part in ["  held ", "  tables ", "  changed ", "  over ", "in ring 3", " -> 0x"] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

fn no_flush() {
    let options = ["--check-tlb", "--append", "tlb=noflush"];
    let (_, stderr, status) = guest(&options, "shootdown 2 6 4\n");
    assert_eq!(status, Some(120), "{stderr}");
    let reports = reports(&stderr);
    assert!(reports.iter().any(|report| report.contains("  missing  an INVLPG of the page")), "{stderr}");
}

/// The words of `--snapshot` for a saved machine.
fn lens(file: &str, words: &[&str]) -> String {
    let output = pagewalk().args(words).args(["--snapshot", file]).output().expect("it looks");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn time_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved");
    let file = file.to_str().expect("a name");
    let (stdout, stderr, status) = guest(&["--cpus", "4", "--save", file], "shootdown 4 2 2\n");
    assert_eq!(status, Some(0), "{stderr}");
    let (on_one_cpu, ..) = guest(&[], "shootdown 4 2 2\n");
    assert_eq!(stdout, on_one_cpu, "the data are right");
    let told: Value = serde_json::from_str(&lens(file, &["timeline", "--json"])).expect("JSON");
    assert_eq!(told["forgotten"], 0, "the machine remembers all of a run this short");
    let shootdowns = told["shootdowns"].as_array().expect("a list");
    assert!(shootdowns.len() > 4, "{} shootdowns", shootdowns.len());
    let mut asked = 0;
    for shootdown in shootdowns {
        every_step(shootdown);
        asked += shootdown["targets"].as_array().map_or(0, Vec::len) as u64;
    }
    let interrupts = lens(file, &["interrupts"]);
    let row = interrupts.lines().find(|line| line.trim_start().starts_with("TLB:")).expect("a row");
    let counted: u64 = row.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).sum();
    assert_eq!(asked, counted, "{interrupts}");

    // A munmap that all other CPUs must hear of.
    let is_for_all = |shootdown: &&Value| {
        let targets = shootdown["targets"].as_array().expect("a list");
        let flushed = |target: &Value| !target["flushed"]["at"].is_null();
        shootdown["asked"]["reason"] == "unmap" && targets.len() == 3 && targets.iter().all(flushed)
    };
    let one = shootdowns.iter().find(is_for_all).expect("a munmap of memory that all CPUs use");
    let text = lens(file, &["timeline"]);
    let begin = format!("shootdown at {}: ", one["sent"]);
    let lines: Vec<&str> = text.lines().skip_while(|line| !line.starts_with(&begin)).take(7).collect();
    let [_, wants, own, targets @ .., done] = &lines[..] else { panic!("{text}") };
    let initiator = format!("  CPU {}  ", one["initiator"]);
    assert!(wants.starts_with(&initiator) && wants.ends_with(" gone: unmap"), "{text}");
    assert!(own.starts_with(&initiator) && own.contains("flushed its own +"), "{text}");
    for (line, target) in targets.iter().zip(one["targets"].as_array().expect("a list")) {
        assert!(line.starts_with(&format!("  CPU {}  received +", target["cpu"])), "{text}");
        assert_eq!([", flushed +", ", acknowledged +"].map(|step| line.matches(step).count()), [1, 1], "{text}");
    }
    assert!(done.starts_with("  done after "), "{text}");
}

/// Each target received, flushed and acknowledged once, in this order, before the initiator went on.
fn every_step(shootdown: &Value) {
    let time = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no time in {shootdown}"));
    let (sent, done) = (time(&shootdown["sent"]), time(&shootdown["done"]));
    let targets = shootdown["targets"].as_array().expect("a list");
    let mut cpus: Vec<_> = targets.iter().map(|target| time(&target["cpu"])).collect();
    assert!(!cpus.is_empty() && !cpus.contains(&time(&shootdown["initiator"])), "{shootdown}");
    cpus.dedup();
    assert_eq!(cpus.len(), targets.len(), "a target once: {shootdown}");
    assert!(shootdown["asked"]["reason"].is_string() && time(&shootdown["asked"]["began"]) < sent, "{shootdown}");
    for target in targets {
        let (received, acknowledged) = (time(&target["received"]), time(&target["acknowledged"]));
        assert!(sent < received && received < acknowledged && acknowledged < done, "{shootdown}");
        if let Some(flushed) = target["flushed"]["at"].as_u64() {
            assert!(received < flushed && flushed <= acknowledged, "{shootdown}");
        }
    }
}

fn planted_race() {
    let words = ["--cpus", "2", "--append", "tlb=noipi"];
    let script = "shootdown 2 3 2\n";
    let sweep = with_input(pagewalk().args(["explore", "--seeds", "1..6", "--json"]).args(words), script);
    let told: Value = serde_json::from_slice(&sweep.stdout).expect("JSON");
    assert_eq!(sweep.status.code(), Some(1), "{told}");
    let failure = &told["failed"][0];
    let seed = failure["seed"].as_u64().expect("a seed").to_string();
    let options = [&["--schedule-seed", seed.as_str()][..], &words].concat();
    let (_, stderr, status) = guest(&options, script);
    assert_eq!(status.map(i64::from), failure["status"].as_i64(), "{stderr}");
    assert_eq!(stderr, failure["stderr"].as_str().expect("text"), "the same words");
}
