//! The host's own processor and kernel.

use std::{path::PathBuf, process::Command};

use super::{Found, Job, Outcome, Platform, Runner, outcome};
use crate::{error::Error, host, workloads::Time};

struct Native {
    runner: Runner,
    workload: PathBuf,
    version: String,
}

pub fn find(runner: Runner) -> Result<Found, Error> {
    let workload = runner.write_workload()?;
    let native = Native { runner, workload, version: host::first_line("uname", &["-sr"]) };
    Ok(match native.run(Job { program: "nothing", size: 0, rounds: 1, cpus: 1, time: Time::Cpu }) {
        Ok(_) => Ok(Box::new(native)),
        Err(error) => Err(format!("the host runs no i386 programs: {error}")),
    })
}

impl Platform for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn slowness(&self) -> f64 {
        1.0
    }

    fn run(&self, job: Job) -> Result<Outcome, Error> {
        let mut command = Command::new(&self.workload);
        command.args(job.args()).env_clear();
        let ended = self.runner.run(command, job)?;
        outcome(&ended, job, &ended.stdout, ended.status.success())
    }
}
