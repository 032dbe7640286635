//! Several CPUs and their TLBs: the loads that shoot translations down, the checker of coherence, and
//! the time line of a shootdown.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use libtest_mimic::Trial;

use crate::support::{Need, pagewalk, trial, with_input};

pub fn trials() -> Vec<Trial> {
    let native = [Need::NativeI386];
    vec![
        trial("shootdown::the_loads_print_in_the_guest_what_they_print_on_the_host", &native, as_on_the_host),
        trial("shootdown::checking_the_tlb_changes_nothing_and_finds_nothing", &[], checked_and_silent),
        trial("shootdown::a_trace_of_the_tlb_changes_nothing", &[], traced),
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
    let (_, program) = images::programs().iter().find(|(name, _)| *name == "stress").expect("it is embedded");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("stress");
    fs::write(&path, program).expect("write the program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
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
    let trace: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).expect("the trace")).expect("it is JSON");
    let events = trace.as_array().expect("a list");
    let changes = events.iter().filter(|event| event["name"] == "entry changed").count();
    assert!(changes > 100, "{changes} changes of entries in {} events", events.len());
    let (_, text, _) = guest(&["--trace", "tlb"], "true\n");
    assert!(text.lines().any(|line| line.contains(" CPU 0 loads CR3 with 0x")), "{text:.400}");
}
