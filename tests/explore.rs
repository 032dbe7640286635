//! `explore`: many schedules of the same run, and what is told of those that fail.

use std::{
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{pagewalk, trial, with_input};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("explore::seeds_that_pass_are_counted", &[], pass),
        trial("explore::seeds_that_fail_are_told_with_the_command_that_repeats_them", &[], fail),
        trial("explore::a_limit_is_told_as_one", &[], limit),
        trial("explore::the_lowest_seed_that_fails_can_be_enough", &[], first),
        trial("explore::a_planted_race_of_forks_is_found_and_its_seed_repeats_it", &[], lost_fork),
        trial("explore::a_planted_loss_of_a_wake_up_is_found_and_its_seed_repeats_it", &[], lost_wake_up),
        trial("explore::what_runs_cannot_share_is_refused", &[], refused),
        trial("explore::an_interrupt_ends_all_runs", &[], interrupted),
        trial("explore::a_seed_decides_the_interleaving", &[], interleavings),
    ]
}

fn explore(words: &[&str], script: &str) -> Output {
    with_input(pagewalk().arg("explore").args(words), script)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn pass() {
    let output = explore(&["--seeds", "3..6", "--jobs", "2", "--", "--cpus", "2"], "echo one | cat; exit 0\n");
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("4 seeds: 4 passed, 0 failed\n", Some(0)));
}

fn fail() {
    let words = ["--seeds", "1..2", "--json", "--", "--cpus", "2", "--append", "a b"];
    let output = explore(&words, "echo what >&2; exit 3\n");
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!((&told["first"], &told["last"], &told["passed"]), (&1.into(), &2.into(), &0.into()));
    let failed = told["failed"].as_array().expect("a list");
    assert_eq!(failed.len(), 2);
    for (failure, seed) in failed.iter().zip(1..) {
        assert_eq!((&failure["seed"], &failure["status"]), (&seed.into(), &3.into()));
        assert_eq!(failure["reason"], "exit status 3");
        let command = format!("pagewalk run --schedule-seed {seed} --cpus 2 --append 'a b'");
        assert_eq!(failure["command"], command);
        assert!(failure["stderr"].as_str().expect("text").contains("what\n"), "{failure}");
    }
    let text = stdout(&explore(&words[..2], "exit 3\n"));
    assert!(text.starts_with("seed 1: exit status 3\n  pagewalk run --schedule-seed 1\n"), "{text}");
    assert!(text.ends_with("2 seeds: 0 passed, 2 failed\n"), "{text}");
}

fn limit() {
    let words = ["--seeds", "1..1", "--max-instructions", "20000000"];
    let output = explore(&words, "while true; do true; done\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).starts_with("seed 1: a limit was reached\n"), "{}", stdout(&output));
}

fn first() {
    // On one CPU the seed draws nothing: all fail, and the first of them is the lowest.
    let words = ["--seeds", "5..900", "--first", "--jobs", "2"];
    let text = stdout(&explore(&words, "exit 3\n"));
    assert!(text.starts_with("seed 5: exit status 3\n"), "{text}");
    assert!(text.ends_with("\n1 of 896 seeds: 0 passed, 1 failed\n"), "{text}");
}

/// Four shells fork at the same time, and the kernel's count of all forks says whether one was forgotten.
const FORKS: &str = "forks() {
    while read name count; do if [ \"$name\" = processes ]; then forks=$count; fi; done </proc/stat
}
storm() { for n in 1 2 3 4; do (for m in $1; do (:); done) & done; wait; }
forks; before=$forks; storm '1 2 3 4 5 6'; forks; echo $((forks - before)) forks; [ $((forks - before)) = 32 ]
exit $?
";

fn lost_fork() {
    is_found_and_repeated(&["--cpus", "4", "--append", "race=forks"], FORKS, 1);
}

/// Threads that wait for one another by futexes sleep for ever once a wake-up is lost.
const WAKE_UPS: &str = "smp-storm --processes 1 --threads 4 --rounds 20\n";

fn lost_wake_up() {
    let options = ["--cpus", "4", "--append", "race=futex", "--max-instructions", "150000000"];
    is_found_and_repeated(&options, WAKE_UPS, 124);
}

/// `explore` finds a seed under which the race ends the run with `status`; that seed repeats the run to the byte, and
/// without the race it passes.
fn is_found_and_repeated(options: &[&str], script: &str, status: i64) {
    let sweep = explore(&[&["--seeds", "1..1000", "--first", "--json", "--"], options].concat(), script);
    let told: Value = serde_json::from_str(&stdout(&sweep)).expect("JSON");
    assert_eq!(sweep.status.code(), Some(1), "{told}");
    let failure = &told["failed"][0];
    assert_eq!(failure["status"], status, "{told}");
    let seed = failure["seed"].as_u64().expect("a seed").to_string();
    let run =
        |more: &[&str]| with_input(pagewalk().args(["run", "--schedule-seed", &seed]).args(options).args(more), script);
    let again = run(&[]);
    assert_eq!(again.status.code().map(i64::from), Some(status));
    assert_eq!(String::from_utf8_lossy(&again.stderr), failure["stderr"].as_str().expect("text"), "the same words");
    let end = || {
        let output = run(&["--stats"]);
        let stats = String::from_utf8_lossy(&output.stderr).into_owned();
        let rows = stats.lines().filter(|line| line.starts_with("instructions:") || line.starts_with("state_hash:"));
        (output.stdout.clone(), output.status.code(), rows.map(str::to_owned).collect::<Vec<_>>())
    };
    let ended = end();
    assert_eq!(ended.2.len(), 2);
    assert_eq!(ended, end(), "the same run");
    let whole = with_input(pagewalk().args(["run", "--schedule-seed", &seed, "--cpus", "4"]), script);
    assert_eq!(whole.status.code(), Some(0), "{}", String::from_utf8_lossy(&whole.stderr));
}

fn refused() {
    for words in [
        &["--seeds", "1..2", "--save", "x"][..],
        &["--seeds", "1..2", "--name", "x"],
        &["--seeds", "1..2", "--schedule-seed", "4"],
        &["--seeds", "2..1"],
        &["--seeds", "1"],
        &["--seeds", "1..2", "--nonsense"],
        &[],
    ] {
        let output = explore(words, "");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{words:?}");
    }
    let output = explore(&["--seeds", "1..1000", "--", "/no/such/program"], "");
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "pagewalk: /no/such/program: no such file\n");
}

/// The processes of the host whose parent is this one.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let list = std::fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn interrupted() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut command = pagewalk();
    command.args(["explore", "--seeds", "1..4", "--jobs", "2"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, b"while true; do true; done\n").expect("it reads");
    drop(stdin);
    wait_until("two runs begin", || children(child.id()).len() == 2);
    let runs = children(child.id());
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    wait_until("the runs end too", || runs.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()));
}

fn interleavings() {
    let end = |seed: &str| {
        let words = ["run", "--cpus", "3", "--schedule-seed", seed, "--stats"];
        let output = with_input(pagewalk().args(words), "smp-storm --rounds 2; seq 30 | tail -n 1\n");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stats = String::from_utf8_lossy(&output.stderr).into_owned();
        let rows = stats.lines().filter(|line| line.starts_with("instructions:") || line.starts_with("state_hash:"));
        (stdout(&output), rows.map(str::to_owned).collect::<Vec<_>>())
    };
    let (first, again, other) = (end("1"), end("1"), end("2"));
    assert_eq!(first, again);
    assert_eq!(first.0, other.0, "the programs print the same");
    assert_ne!(first.1, other.1);
}
