//! The text screen: what a guest puts into video memory, by `--display` and by the lens.

use std::{
    fs,
    path::PathBuf,
    process::{Output, Stdio},
};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{pagewalk, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("screen::a_run_with_a_display_ends_with_what_is_on_it", &[], display),
        trial("screen::the_lens_shows_the_screen_of_a_saved_machine", &[], lens),
        trial("screen::without_a_display_nothing_of_it_is_shown", &[], no_display),
    ]
}

/// A ROM that writes `Hi` in yellow on blue at row 1, column 2, puts the cursor behind it and
/// powers off by ACPI.
fn rom() -> Vec<u8> {
    let mut rom = vec![0; 0x1000];
    rom[0xff0..0xff3].copy_from_slice(&[0xe9, 0x0d, 0xf0]); // jmp 0xf000
    let code = [
        &[0xea, 0x05, 0xf0, 0x00, 0xf0][..],               // jmp 0xf000:0xf005
        &[0xb8, 0x00, 0xb8, 0x8e, 0xd8],                   // mov ax, 0xb800; mov ds, ax
        &[0xc7, 0x06, 0xa4, 0x00, b'H', 0x1e],             // mov word [164], 'H' | 0x1e00
        &[0xc7, 0x06, 0xa6, 0x00, b'i', 0x1e],             // mov word [166], 'i' | 0x1e00
        &[0xba, 0xd4, 0x03, 0xb8, 0x0f, 0x54, 0xef],       // mov dx, 0x3d4; mov ax, 0x540f; out dx, ax
        &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4], // mov dx, 0x604; mov ax, 0x2000; out dx, ax; hlt
    ]
    .concat();
    rom[..code.len()].copy_from_slice(&code);
    rom
}

/// Runs the ROM in a folder of its own.
fn run(options: &[&str]) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("rom");
    fs::write(&path, rom()).expect("a file");
    let mut command = pagewalk();
    command.current_dir(folder.path()).args(["run", "--bios"]).arg(&path).args(options).stdin(Stdio::null());
    let output = command.output().expect("the command runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    (folder, output)
}

fn display() {
    let (_, output) = run(&["--display", "text"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "\n  Hi\n");
}

fn no_display() {
    for options in [&["--display", "none"][..], &[]] {
        let (_, output) = run(options);
        assert!(output.stdout.is_empty(), "{options:?}");
    }
}

fn lens() {
    let (folder, _) = run(&["--save", "saved"]);
    let look = |options: &[&str]| {
        let mut command = pagewalk();
        command.current_dir(folder.path()).args(["screen", "--snapshot", "saved"]).args(options);
        let output = command.output().expect("the command runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(look(&[]), "\n  Hi\n");
    let json: Value = serde_json::from_str(&look(&["--json"])).expect("JSON");
    assert_eq!((&json["columns"], &json["rows"]), (&80.into(), &25.into()));
    assert_eq!(json["cursor"], serde_json::json!({ "row": 1, "column": 4 }));
    assert_eq!(json["text"][1].as_str().map(|row| &row[..5]), Some("  Hi "));
    assert_eq!(json["attributes"][1].as_str().map(|row| &row[..10]), Some("00001e1e00"));
}
