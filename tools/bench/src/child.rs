//! Runs a program to its end and takes its CPU time.
#![allow(unsafe_code)]

use std::{
    fs::{self, File},
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::error::Error;

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(2);

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// User and system time of it and of all that it has waited for.
    pub cpu_seconds: f64,
    /// From start to end on the clock.
    pub wall_seconds: f64,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// The last line that it printed, on standard error if there is any.
    pub fn last_line(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        text.trim_end().lines().last().unwrap_or("(nothing)").trim().into()
    }
}

/// Where a program may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On one CPU of the host, so that it does not wander between caches.
    OneCpu,
    /// On all that there are.
    AllCpus,
}

/// Runs a program without input. What it prints goes through files
/// in `folder`, so that it never waits for us.
pub fn run(mut command: Command, folder: &Path, timeout: f64, place: Place) -> Result<Ended, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| Error::Start { program: program.clone(), source };
    let (out, err) = (folder.join("stdout"), folder.join("stderr"));
    let create = |path| File::create(path).map_err(|error| Error::file("create", path, error));
    command.stdin(Stdio::null()).stdout(create(&out)?).stderr(create(&err)?);
    // A group of its own, so that nothing of it is left when it is ended.
    command.process_group(0);
    let cpu = if place == Place::OneCpu { last_cpu() } else { None };
    // SAFETY: the function only makes a system call.
    unsafe { command.pre_exec(move || stay_on(cpu)) };

    let start = Instant::now();
    let child = command.spawn().map_err(failed)?;
    let pid = child.id() as libc::pid_t;
    let (status, cpu_seconds) = wait(pid, timeout).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout(timeout),
        _ => failed(error),
    })?;
    let wall_seconds = start.elapsed().as_secs_f64();
    let text = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let read = |path| text(path).map_err(|error| Error::file("read", path, error));
    Ok(Ended { status, cpu_seconds, wall_seconds, stdout: read(&out)?, stderr: read(&err)? })
}

/// Waits for a child; ends its group after `timeout` seconds.
fn wait(pid: libc::pid_t, timeout: f64) -> io::Result<(ExitStatus, f64)> {
    let start = Instant::now();
    let mut timed_out = false;
    loop {
        let mut status = 0;
        // SAFETY: both are places for results; all-zero bytes are a valid `rusage`.
        let (found, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::wait4(pid, &mut status, libc::WNOHANG, &mut usage), usage)
        };
        match found {
            -1 => return Err(io::Error::last_os_error()),
            0 if !timed_out && start.elapsed().as_secs_f64() > timeout => {
                timed_out = true;
                // SAFETY: the group is that of our child, which has not been waited for.
                unsafe { libc::kill(-pid, libc::SIGKILL) };
            }
            0 => thread::sleep(POLL),
            _ if timed_out => return Err(io::ErrorKind::TimedOut.into()),
            _ => {
                let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
                return Ok((ExitStatus::from_raw(status), seconds(usage.ru_utime) + seconds(usage.ru_stime)));
            }
        }
    }
}

/// The last of the CPUs on which we may run; the first ones serve the host's interrupts.
fn last_cpu() -> Option<usize> {
    // SAFETY: all-zero bytes are an empty set, which the call fills; the queries stay inside.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return None;
        }
        (0..libc::CPU_SETSIZE as usize).rev().find(|&cpu| libc::CPU_ISSET(cpu, &set))
    }
}

/// Keeps this process on one CPU, if one is given.
fn stay_on(cpu: Option<usize>) -> io::Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    // SAFETY: the set is on the stack and `cpu` is one of its members.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: f64) -> Result<Ended, Error> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, folder.path(), timeout, Place::AllCpus)
    }

    #[test]
    fn output_and_status_of_a_program_are_kept_apart() {
        let ended = sh("echo out; echo err >&2; exit 3", 60.0).unwrap();
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.last_line(), "err");
    }

    #[test]
    fn a_program_without_end_is_ended_with_all_that_it_started() {
        assert!(matches!(sh("sleep 1000 & sleep 1000", 0.05), Err(Error::Timeout(_))));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(Command::new("/no/such/program"), folder.path(), 1.0, Place::OneCpu).unwrap_err();
        assert!(error.to_string().starts_with("cannot run /no/such/program: "), "{error}");
    }
}
