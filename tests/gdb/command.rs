//! `pagewalk gdb` as a command: what it refuses, how it ends, what it leaves.

use std::{
    fs,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::support::{Need, pagewalk, program, trial, with_input};

pub fn trials() -> Vec<Trial> {
    let gdb = [Need::Program("gdb")];
    vec![
        trial("gdb::command_refuses_what_it_cannot_start_in_one_line", &gdb, refusals),
        trial("gdb::command_runs_a_batch_and_gives_gdbs_status", &gdb, batch),
        trial("gdb::command_ends_the_machine_when_its_script_is_over", &gdb, end_of_script),
        trial("gdb::command_shows_what_the_guest_prints_before_gdbs_word_of_its_end", &gdb, output),
    ]
}

/// A folder with the tour, which is also where temporary files go.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in [("tour", program::embedded("tour")), ("script", b"#!/bin/sh\n"), ("text", b"hello\n")] {
        program::write(&folder.path().join(name), bytes);
    }
    fs::create_dir(folder.path().join("tmp")).expect("a folder");
    folder
}

fn command(folder: &TempDir, words: &[&str]) -> Command {
    let mut command = pagewalk();
    command.current_dir(folder.path()).env("TMPDIR", folder.path().join("tmp"));
    command.args(["gdb", "--gdb-arg=-nx"]).args(words).stdin(Stdio::null());
    command
}

/// Nothing stays behind.
fn left(folder: &TempDir) -> usize {
    fs::read_dir(folder.path().join("tmp")).expect("the folder for temporary files").count()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn refusals() {
    let folder = folder();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--gdb-program", "/nonexistent/gdb", "tour"], 125, "install gdb, or name one with --gdb-program"),
        (&["--gdb-program", "/bin/true", "tour"], 125, "/bin/true is no gdb"),
        (&["nothing"], 127, "nothing: no such file"),
        (&["text"], 126, "text: is not an ELF file"),
        (&["script"], 126, "script: is a script: name its interpreter"),
        (&["--cpus", "9", "tour"], 2, "a machine has 1 to 8 CPUs, not 9"),
        (&[], 2, "required"),
    ];
    for (words, status, line) in cases {
        let output = command(&folder, words).output().expect("run pagewalk");
        let said = text(&output);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
        assert!(said.contains(line) && said.lines().count() == 1, "{words:?}: {said}");
        assert_eq!(left(&folder), 0, "{words:?}");
    }
}

fn batch() {
    let folder = folder();
    fs::write(folder.path().join("commands"), "info registers cpl\nquit 7\n").expect("write gdb's commands");
    let words = ["--gdb-arg=-batch", "--gdb-arg=-x", "--gdb-arg=commands", "tour"];
    let output = command(&folder, &words).output().expect("run pagewalk");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("in main ()") && said.contains("cpl            0x3"), "{said}");
    assert!(!said.contains("a tour of virtual memory"), "the machine goes on after gdb: {said}");
    assert_eq!(left(&folder), 0);
}

fn end_of_script() {
    let folder = folder();
    let began = Instant::now();
    let output = with_input(&mut command(&folder, &["tour"]), "print 1 + 1\n");
    let said = text(&output);
    assert!(output.status.success() && said.contains("= 2"), "{said}");
    assert!(!said.contains("a tour of virtual memory"), "the machine goes on after gdb: {said}");
    assert!(began.elapsed() < Duration::from_secs(100) && left(&folder) == 0);
}

fn output() {
    let folder = folder();
    let output = with_input(&mut command(&folder, &["tour"]), "continue\nmonitor ps\n");
    let said = String::from_utf8_lossy(&output.stdout);
    let printed = said.find("a tour of virtual memory").unwrap_or_else(|| panic!("{said}"));
    let end = said.find("exited normally").unwrap_or_else(|| panic!("{said}"));
    assert!(printed < end, "{said}");
    assert!(text(&output).contains("\"monitor\" command not supported by this target"), "gdb stays: {said}");
}
