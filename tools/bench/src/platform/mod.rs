//! Where a workload can run.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    child::{self, Ended},
    error::Error,
    workloads::{Spec, Time},
};

mod bochs;
mod debugged;
mod guest;
mod native;
mod pagewalk;
mod qemu;
mod rom;

/// All platforms by name.
pub const NAMES: &[&str] =
    &["native", "pagewalk", "pagewalk-watch", "pagewalk-break", "qemu-user", "qemu-tcg", "qemu-rr", "bochs"];
/// Those that are measured without a word about it.
pub const NAMES_BY_DEFAULT: &str = "native,pagewalk,qemu-user,qemu-tcg,qemu-rr,bochs";

/// A run of the program `workload`.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The workload's name there.
    pub program: &'static str,
    /// Its size.
    pub size: u32,
    /// How often it is computed.
    pub rounds: u32,
    /// CPUs of the machine.
    pub cpus: u8,
    /// What is timed.
    pub time: Time,
}

impl Job {
    /// The arguments of the program.
    pub fn args(&self) -> [String; 3] {
        [self.program.into(), self.size.to_string(), self.rounds.to_string()]
    }

    /// The answer in what the program printed, perhaps among a kernel's lines.
    fn answer(&self, output: &str) -> Option<String> {
        let start = format!("{} {}: ", self.program, self.size);
        output.lines().find_map(|line| line.trim().strip_prefix(&start)).map(Into::into)
    }
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The time that the job asks for.
    pub seconds: f64,
    /// The checksum.
    pub answer: String,
    /// Guest instructions retired, where the platform counts them.
    pub instructions: Option<u64>,
}

/// A processor, or a program that is one.
pub trait Platform {
    /// Name on the command line.
    fn name(&self) -> &'static str;
    /// Which version of it.
    fn version(&self) -> &str;
    /// Whether it has what a workload needs and is not another one's twin there.
    fn suits(&self, _spec: &Spec) -> bool {
        true
    }
    /// How many times slower than native it may be: where a guess at the number of rounds begins.
    fn slowness(&self) -> f64;
    /// Runs a job to its end.
    fn run(&self, job: Job) -> Result<Outcome, Error>;
}

/// Refuses a name that is none.
pub fn known(name: &str) -> Result<(), Error> {
    if NAMES.contains(&name) { Ok(()) } else { Err(Error::UnknownPlatform(name.into())) }
}

/// A platform, or what it needs to be there.
type Found = Result<Box<dyn Platform>, String>;

/// The `pagewalk` to measure: the one that is given, else that of this workspace.
pub fn pagewalk_program(given: Option<&Path>) -> Result<PathBuf, Error> {
    pagewalk::program(given)
}

/// Prepares a platform, with its files in `folder`.
pub fn find(name: &str, folder: &Path, pagewalk: Option<&Path>, timeout: f64) -> Result<Found, Error> {
    let runner = Runner { folder: folder.join(name), timeout };
    fs::create_dir_all(&runner.folder).map_err(|error| Error::file("create", &runner.folder, error))?;
    match name {
        "native" => native::find(runner),
        "pagewalk" => pagewalk::find(runner, pagewalk, None),
        "pagewalk-watch" => pagewalk::find(runner, pagewalk, Some(debugged::Wait::Watch)),
        "pagewalk-break" => pagewalk::find(runner, pagewalk, Some(debugged::Wait::Break)),
        "qemu-user" => qemu::find_user(runner),
        "qemu-tcg" => qemu::find_tcg(runner, qemu::Threads::Multi),
        "qemu-rr" => qemu::find_tcg(runner, qemu::Threads::Single),
        "bochs" => bochs::find(runner),
        _ => Err(Error::UnknownPlatform(name.into())),
    }
}

/// What all platforms have.
struct Runner {
    folder: PathBuf,
    timeout: f64,
}

impl Runner {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the program `workload`; its path.
    fn write_workload(&self) -> Result<PathBuf, Error> {
        let path = self.file("workload");
        let failed = |error| Error::file("write", &path, error);
        fs::write(&path, guest::workload()).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(path)
    }

    fn run(&self, command: Command, job: Job) -> Result<Ended, Error> {
        let place = match job.time {
            Time::Cpu => child::Place::OneCpu,
            Time::Clock => child::Place::AllCpus,
        };
        child::run(command, &self.folder, self.timeout, place)
    }
}

/// The outcome of a run whose program has printed its answer, with the status that says so.
fn outcome(ended: &Ended, job: Job, output: &str, is_success: bool) -> Result<Outcome, Error> {
    if !is_success {
        return Err(Error::Status { status: ended.status.to_string(), last_line: ended.last_line() });
    }
    let answer = job.answer(output).ok_or_else(|| Error::NoAnswer(ended.last_line()))?;
    let seconds = match job.time {
        Time::Cpu => ended.cpu_seconds,
        Time::Clock => ended.wall_seconds,
    };
    Ok(Outcome { seconds, answer, instructions: None })
}

/// Where a program of the host is.
fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(std::env::var_os("PATH").as_deref().unwrap_or(OsStr::new("")))
        .map(|folder| folder.join(name))
        .find(|path| fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_found_among_the_lines_of_a_kernel() {
        let job = Job { program: "sort", size: 500, rounds: 2, cpus: 1, time: Time::Cpu };
        let log = "[    0.1] hw: x\r\nsort 50: 00000001\r\nsort 500: 519ee772\r\n[    0.2] reboot\r\n";
        assert_eq!(job.answer(log).as_deref(), Some("519ee772"));
        assert_eq!(job.answer("sort 5000: 1"), None);
    }
}
