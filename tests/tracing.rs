//! `run --trace` beside page faults: what it tells, that it opens as a picture, that it changes nothing.

use std::{collections::BTreeMap, fs, path::Path, process::Output};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{pagewalk, trial, with_input};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("tracing::events_are_told_in_words_and_change_nothing", &[], words),
        trial("tracing::a_picture_has_named_rows_whose_bars_nest", &[], picture),
        trial("tracing::every_instruction_and_access_is_told_once", &[], instructions),
        trial("tracing::a_full_disk_is_named", &[], full),
    ]
}

const SCRIPT: &str = "echo hi; cat /no/such/file; (sleep 0; echo child) & wait\n";

/// The embedded shell with a script.
fn shell(options: &[&str]) -> Output {
    with_input(pagewalk().arg("run").args(options), SCRIPT)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Instructions and state at the end, as `--stats` prints them.
fn end(output: &Output) -> Vec<String> {
    let stderr = text(&output.stderr);
    let wanted = |line: &&str| line.starts_with("instructions:") || line.starts_with("state_hash:");
    let rows: Vec<String> = stderr.lines().filter(wanted).map(str::to_owned).collect();
    assert_eq!(rows.len(), 2, "{stderr}");
    rows
}

/// A run with a trace in a file, and the file.
fn traced(what: &str, file: &Path, options: &[&str]) -> (Output, String) {
    let name = file.to_str().expect("a name");
    let output = shell(&[&["--stats", "--trace", what, "--trace-file", name], options].concat());
    (output, fs::read_to_string(file).expect("the trace"))
}

fn words() {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = shell(&["--stats"]);
    let (output, trace) = traced("int,io,syscall,sched", &folder.path().join("trace.txt"), &[]);
    assert_eq!((&output.stdout, end(&output)), (&plain.stdout, end(&plain)));
    let times: Vec<u64> = trace.lines().map(|line| line.split(' ').next().unwrap().parse().expect("a time")).collect();
    assert!(times.is_sorted(), "the lines are in the order of time");
    let place = |what: &str| {
        let found = trace.lines().position(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("nothing tells `{what}` in {} lines", times.len()))
    };
    let lines: Vec<&str> = trace.lines().collect();
    let call = place("write(1, \"hi\\n\", 3)");
    let who = lines[call].split(['[', ']']).nth(1).expect("a thread");
    let returned = lines[call..].iter().find(|line| line.contains(&format!("[{who}] write = "))).expect("it returns");
    assert!(returned.contains("] write = 3  <"), "{returned}");
    let opened = lines.iter().position(|line| line.contains("\"/no/such/file\"")).expect("the file is tried");
    assert!(lines[opened..].iter().any(|line| line.contains("= -1 ENOENT")), "and not found");
    for what in ["switches from ", " raises #PF, error code 0x", " executes INT 0x80 at ", " takes interrupt "] {
        place(what);
    }
    assert!(
        lines.iter().any(|line| line.contains(" to port 0x0043 (timer") || line.contains(" to port 0x0021 (pic1)"))
    );
}

fn picture() {
    let folder = tempfile::tempdir().expect("a folder");
    let saved = folder.path().join("machine");
    let options = ["--cpus", "2", "--save", saved.to_str().expect("a name")];
    let (_, trace) = traced("syscall,sched,fault,int,tlb", &folder.path().join("trace.json"), &options);
    let events: Value = serde_json::from_str(&trace).expect("it is JSON");
    let events = events.as_array().expect("a list");
    let row = |event: &Value| (event["pid"].as_u64().expect("a group"), event["tid"].as_u64().expect("a row"));
    let mut names = BTreeMap::new();
    let mut bars: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    for event in events {
        match event["ph"].as_str().expect("a kind") {
            "M" if event["name"] == "thread_name" => {
                names.insert(row(event), event["args"]["name"].as_str().expect("a name").to_owned());
            }
            "X" if event["cat"] != "tlb" => {
                let ts = event["ts"].as_f64().expect("a time");
                bars.entry(row(event)).or_default().push((ts, ts + event["dur"].as_f64().expect("a length")));
            }
            _ => {}
        }
    }
    for event in events {
        assert!(names.contains_key(&row(event)), "a row without a name: {event}");
    }
    for name in ["CPU 0", "CPU 1", "CPU 0 runs", "1 (init)"] {
        assert!(names.values().any(|known| known == name), "no row {name}: {names:?}");
    }
    for (row, mut bars) in bars {
        bars.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
        let mut around: Vec<f64> = Vec::new();
        for (from, to) in bars {
            around.retain(|&end| end > from + 1e-6);
            assert!(around.iter().all(|&end| to <= end + 1e-6), "bars that cross in {}", names[&row]);
            around.push(to);
        }
    }
    let has = |category: &str, kind: &str| events.iter().any(|event| event["cat"] == category && event["ph"] == kind);
    assert!(has("syscall", "X") && has("sched", "X") && has("fault", "X") && has("int", "i") && has("tlb", "i"));
    timeline(&saved);
}

/// The time line of the saved machine opens as a picture, too.
fn timeline(saved: &Path) {
    let file = saved.with_extension("json");
    let write = |to: &Path| pagewalk().arg("timeline").arg("--snapshot").arg(saved).arg("-o").arg(to).output();
    let output = write(&file).expect("it runs");
    assert!(output.status.success() && output.stdout.is_empty(), "{}", text(&output.stderr));
    let events: Vec<Value> = serde_json::from_str(&fs::read_to_string(&file).expect("a file")).expect("it is JSON");
    let named = |name: &str| events.iter().any(|event| event["ph"] == "M" && event["args"]["name"] == name);
    assert!(named("CPU 0") && named("CPU 1"));
    assert!(events.iter().filter(|event| event["ph"] == "i").count() > 100, "{} events", events.len());
    let failed = write(Path::new("/no/such/folder/t.json")).expect("it runs");
    let stderr = text(&failed.stderr);
    assert!(!failed.status.success() && stderr.contains("cannot write /no/such/folder/t.json"), "{stderr}");
}

fn instructions() {
    let folder = tempfile::tempdir().expect("a folder");
    let limit = ["--max-instructions", "20000"];
    let plain = shell(&[&["--stats"], &limit[..]].concat());
    let (output, trace) = traced("exec", &folder.path().join("exec.txt"), &limit);
    assert_eq!(end(&output), end(&plain));
    assert_eq!(trace.lines().count(), 20_000, "one line an instruction");
    let (output, trace) = traced("mem", &folder.path().join("mem.txt"), &limit);
    assert_eq!(end(&output), end(&plain));
    let told = |what: &str| trace.lines().filter(|line| line.contains(what)).count();
    assert!(told(" writes 4 at 0x") > 1000, "{trace:.400}");
    assert!(trace.contains(" <_start+0x"), "each says who did it: {trace:.400}");
    let (_, trace) = traced("exec", &folder.path().join("exec.json"), &limit);
    let events: Vec<Value> = serde_json::from_str(&trace).expect("it is JSON");
    let counted: u64 = events.iter().filter_map(|event| event["args"]["instructions"].as_u64()).sum();
    assert_eq!(counted, 20_000, "the bars of functions hold every instruction");
}

fn full() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let output = shell(&["--trace", "exec", "--trace-file", "/dev/full", "--max-instructions", "20000"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("cannot write the trace to /dev/full: No space left"), "{stderr}");
}
