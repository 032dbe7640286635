//! The machine on which it is measured, and what with.

use std::{fs, process::Command};

use serde::Serialize;

/// The machine and the versions.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Host {
    /// Model name of its CPU.
    pub cpu: String,
    /// CPUs on which we may run.
    pub cpus: usize,
    /// Kernel.
    pub kernel: String,
    /// Runnable processes of the last minute when the measurement ended: ours is one.
    pub load: f64,
    /// The compiler of this tree.
    pub rustc: String,
    /// Commit of this tree, with `+` if files differ from it.
    pub commit: String,
}

/// What can be found out; `unknown` for the rest.
pub fn describe() -> Host {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = fs::read_to_string("/proc/loadavg").ok();
    Host {
        cpu: cpu.map_or("unknown".into(), |(_, name)| name.trim().into()),
        cpus: std::thread::available_parallelism().map_or(0, Into::into),
        kernel: first_line("uname", &["-sr"]),
        load: load.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(f64::NAN),
        rustc: first_line("rustc", &["--version"]),
        commit: commit(),
    }
}

fn commit() -> String {
    let dir = env!("CARGO_MANIFEST_DIR");
    let commit = first_line("git", &["-C", dir, "rev-parse", "--short=12", "HEAD"]);
    let clean = Command::new("git").args(["-C", dir, "diff", "--quiet", "HEAD"]).status().is_ok_and(|s| s.success());
    if clean || commit == "unknown" { commit } else { commit + "+" }
}

/// The first line that a program prints.
pub fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown").trim().into()
}
