//! Our own machine with our kernel.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::{
    Found, Job, Outcome, Platform, Runner,
    debugged::{Debugger, Wait},
    guest, outcome,
};
use crate::{
    error::Error,
    workloads::{Family, Spec},
};

struct Pagewalk {
    runner: Runner,
    program: PathBuf,
    kernel: PathBuf,
    version: String,
    /// What a debugger waits for, under which it runs.
    wait: Option<Wait>,
}

/// What is read of `--stats=json`.
#[derive(Deserialize)]
struct Stats {
    instructions: u64,
}

pub fn find(runner: Runner, given: Option<&Path>, wait: Option<Wait>) -> Result<Found, Error> {
    let program = program(given)?;
    let output = match Command::new(&program).arg("--version").output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => return Ok(Err(format!("{} --version ended with {}", program.display(), output.status))),
        Err(error) => return Ok(Err(format!("{}: {error}", program.display()))),
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let kernel = guest::write_kernel(&runner)?;
    Ok(Ok(Box::new(Pagewalk { runner, program, kernel, version, wait })))
}

/// The command to measure.
pub fn program(given: Option<&Path>) -> Result<PathBuf, Error> {
    given.map_or_else(build, |path| Ok(path.to_path_buf()))
}

/// Builds the command of this workspace, so that it is not an old one that is measured; its
/// path. Without cargo it is the one beside this tool.
fn build() -> Result<PathBuf, Error> {
    let own = env::current_exe().map_err(|source| Error::Start { program: "bench".into(), source })?;
    if let Some(cargo) = env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--release", "--quiet", "--package", "pagewalk", "--manifest-path"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
        // The folder that this tool was built in, whichever profile.
        let target = own.ancestors().nth(2).unwrap_or(Path::new("target"));
        let status = command.arg("--target-dir").arg(target).status();
        let status = status.map_err(|source| Error::Start { program: "cargo".into(), source })?;
        return if status.success() { Ok(target.join("release/pagewalk")) } else { Err(Error::Build) };
    }
    Ok(own.with_file_name("pagewalk"))
}

impl Platform for Pagewalk {
    fn name(&self) -> &'static str {
        match self.wait {
            None => "pagewalk",
            Some(Wait::Watch) => "pagewalk-watch",
            Some(Wait::Break) => "pagewalk-break",
        }
    }

    fn suits(&self, spec: &Spec) -> bool {
        match self.wait {
            None => true,
            Some(Wait::Watch) => spec.family == Family::Integer,
            Some(Wait::Break) => spec.program == "syscall",
        }
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn slowness(&self) -> f64 {
        25.0
    }

    fn run(&self, job: Job) -> Result<Outcome, Error> {
        let mut command = Command::new(&self.program);
        command.args(["run", "--stats=json", "--memory", &format!("{}M", guest::MEMORY_MIB)]);
        command.args(["--cpus", &job.cpus.to_string()]);
        let debugger = self.wait.map(|wait| {
            let socket = self.runner.file("gdb");
            command.arg("--gdb").arg(format!("unix:{}", socket.display()));
            Debugger::start(wait, socket)
        });
        command.args(["--append", guest::COMMAND_LINE, "--initrd"]);
        command.arg(guest::write_initramfs(&self.runner, job)?).arg(&self.kernel);
        let ended = self.runner.run(command, job)?;
        debugger.map_or(Ok(()), Debugger::finish)?;
        let outcome = outcome(&ended, job, &ended.stdout, ended.status.success())?;
        let stats = ended.stderr.lines().rev().find_map(|line| serde_json::from_str::<Stats>(line).ok());
        Ok(Outcome { instructions: stats.map(|stats| stats.instructions), ..outcome })
    }
}
