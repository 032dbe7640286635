//! Scripts in the guest's shell, the guest's programs on the host, and what they print.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use super::{pagewalk_run, with_input};

/// Seconds after which a script has failed.
const TIME_LIMIT: &str = "600";

/// What a script prints in the embedded shell of a machine with `options`; it must end well.
pub fn guest(options: &[&str], script: &str) -> String {
    let output = with_input(pagewalk_run(options).args(["--timeout", TIME_LIMIT]), script);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}: {out}{err}", output.status);
    out.into_owned()
}

/// Runs an embedded program on the host's processor and under its Linux.
pub fn natively(name: &str, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    let (_, bytes) = images::programs().iter().find(|(known, _)| *known == name).expect("the program is embedded");
    fs::write(&path, bytes).expect("write the program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    Command::new(&path).args(args).output().expect("the host runs it")
}

/// What `workload` prints there.
pub fn workload(args: &[&str]) -> String {
    let output = natively("workload", args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The number in a row of `/proc/vmstat`.
pub fn row(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}
