//! Scripts in the guest's shell, a program's answers on the host, and what they print.

use super::{pagewalk_run, program::natively, with_input};

/// Seconds after which a script has failed.
const TIME_LIMIT: &str = "600";

/// What a script prints in the embedded shell of a machine with `options`; it must end well.
pub fn guest(options: &[&str], script: &str) -> String {
    let output = with_input(pagewalk_run(options).args(["--timeout", TIME_LIMIT]), script);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}: {out}{err}", output.status);
    out.into_owned()
}

/// What `workload` prints on the host.
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
