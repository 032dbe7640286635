//! Programs as files that can be run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use super::with_input;

/// Makes a file that may be run from some bytes.
///
/// A child writes it. If this process did, whatever another test starts at that moment would hold
/// the file open for writing until its `execve`, and until then Linux runs no such file (`ETXTBSY`).
pub fn write(path: &Path, bytes: &[u8]) {
    let mut shell = Command::new("sh");
    let output = with_input(shell.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path), bytes);
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::metadata(path).expect("it is there").len(), bytes.len() as u64, "{}", path.display());
}

/// A folder of its own with a program in it, and the program's path.
pub fn alone(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    write(&path, bytes);
    (folder, path)
}

/// An embedded program.
pub fn embedded(name: &str) -> &'static [u8] {
    images::program(name).unwrap_or_else(|| panic!("no program {name} is embedded"))
}

/// Runs an embedded program on the host's processor and under its Linux.
pub fn natively(name: &str, args: &[&str]) -> Output {
    let (_folder, path) = alone(name, embedded(name));
    Command::new(&path).args(args).output().expect("the host runs it")
}
