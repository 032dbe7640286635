//! QEMU: user mode on the host's kernel, and a whole machine with our kernel.

use std::{path::PathBuf, process::Command};

use super::{Found, Job, Outcome, Platform, Runner, guest, in_path, outcome};
use crate::{error::Error, host, workloads::Spec};

/// What the program `workload` is told to start others with.
const RUNNER_VARIABLE: &str = "WORKLOAD_RUNNER";

struct User {
    runner: Runner,
    qemu: PathBuf,
    workload: PathBuf,
    version: String,
}

pub fn find_user(runner: Runner) -> Result<Found, Error> {
    let Some(qemu) = in_path("qemu-i386").or_else(|| in_path("qemu-i386-static")) else {
        return Ok(Err("no qemu-i386 in the path (Debian: apt-get install qemu-user)".into()));
    };
    let version = version_of(&qemu);
    let workload = runner.write_workload()?;
    Ok(Ok(Box::new(User { runner, qemu, workload, version })))
}

/// `qemu-i386 version 7.2.22 (…)` without the words before the number.
fn version_of(qemu: &std::path::Path) -> String {
    let line = host::first_line(&qemu.to_string_lossy(), &["--version"]);
    line.split_once("version ").map_or(line.as_str(), |(_, rest)| rest).into()
}

impl Platform for User {
    fn name(&self) -> &'static str {
        "qemu-user"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn slowness(&self) -> f64 {
        8.0
    }

    fn run(&self, job: Job) -> Result<Outcome, Error> {
        let mut command = Command::new(&self.qemu);
        // What the workload starts would otherwise run on the host's processor.
        command.env_clear().arg("-E").arg(format!("{RUNNER_VARIABLE}={}", self.qemu.display()));
        command.arg(&self.workload).args(job.args());
        let ended = self.runner.run(command, job)?;
        outcome(&ended, job, &ended.stdout, ended.status.success())
    }
}

/// Which threads of the host run the guest's CPUs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// One each: QEMU's usual way.
    Multi,
    /// One for all, in turns.
    Single,
}

struct Tcg {
    threads: Threads,
    runner: Runner,
    qemu: PathBuf,
    kernel: PathBuf,
    version: String,
}

pub fn find_tcg(runner: Runner, threads: Threads) -> Result<Found, Error> {
    let Some(qemu) = in_path("qemu-system-i386") else {
        return Ok(Err("no qemu-system-i386 in the path (Debian: apt-get install qemu-system-x86)".into()));
    };
    let version = version_of(&qemu);
    let kernel = guest::write_kernel(&runner)?;
    Ok(Ok(Box::new(Tcg { threads, runner, qemu, kernel, version })))
}

impl Platform for Tcg {
    fn name(&self) -> &'static str {
        match self.threads {
            Threads::Multi => "qemu-tcg",
            Threads::Single => "qemu-rr",
        }
    }

    fn suits(&self, spec: &Spec) -> bool {
        // With one CPU there is no difference.
        self.threads == Threads::Multi || spec.cpus > 1
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn slowness(&self) -> f64 {
        12.0
    }

    fn run(&self, job: Job) -> Result<Outcome, Error> {
        let initrd = guest::write_initramfs(&self.runner, job)?;
        let mut command = Command::new(&self.qemu);
        let threads = match self.threads {
            Threads::Multi => "tcg,thread=multi",
            Threads::Single => "tcg,thread=single",
        };
        command.args([
            "-accel",
            threads,
            "-smp",
            &job.cpus.to_string(),
            "-m",
            &guest::MEMORY_MIB.to_string(),
            "-display",
            "none",
        ]);
        command.args(["-nodefaults", "-serial", "stdio", "-monitor", "none", "-no-reboot"]);
        command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-append", guest::COMMAND_LINE]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(initrd);
        let ended = self.runner.run(command, job)?;
        // The device makes of a status `v` the status `2 v + 1`.
        outcome(&ended, job, &ended.stdout, ended.status.code() == Some(1))
    }
}
