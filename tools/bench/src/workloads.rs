//! What is run: the workloads of `guests/programs/workload` with their sizes here.

use std::fmt;

use serde::Serialize;

use crate::error::Error;

/// Workloads that use the same part of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Integer computations.
    Integer,
    /// Computations on doubles.
    Float,
    /// Memory and the TLB.
    Memory,
    /// Code that is new each time.
    Code,
    /// The kernel's services.
    System,
    /// Several CPUs at once.
    Smp,
}

impl Family {
    /// All, in the order of the table.
    pub const ALL: [Family; 6] = [Self::Integer, Self::Float, Self::Memory, Self::Code, Self::System, Self::Smp];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Memory => "memory",
            Self::Code => "code",
            Self::System => "system",
            Self::Smp => "smp",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a run without the work is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Baseline {
    /// The program that does nothing: the same for all workloads.
    Nothing,
    /// The same workload, prepared and not run.
    Prepared,
}

/// A workload.
#[derive(Debug)]
pub struct Spec {
    /// Its name here.
    pub name: &'static str,
    /// What it uses.
    pub family: Family,
    /// What a reader of the table is told.
    pub what: &'static str,
    /// Its name in the program `workload`.
    pub program: &'static str,
    /// Its size there, so that a round takes from a tenth to some milliseconds natively.
    pub size: u32,
    /// What is taken off.
    pub baseline: Baseline,
    /// CPUs of the machine that runs it.
    pub cpus: u8,
}

impl Spec {
    /// What is timed. Several CPUs, and one that is compared with them, are timed by the clock.
    pub fn time(&self) -> Time {
        if self.family == Family::Smp { Time::Clock } else { Time::Cpu }
    }
}

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Time {
    /// User and system time, on one CPU of the host.
    Cpu,
    /// From start to end, on all CPUs that the host has.
    Clock,
}

const fn spec(name: &'static str, family: Family, program: &'static str, size: u32, what: &'static str) -> Spec {
    Spec { name, family, what, program, size, baseline: Baseline::Nothing, cpus: 1 }
}

/// For workloads whose preparation takes time.
const fn prepared(name: &'static str, family: Family, program: &'static str, size: u32, what: &'static str) -> Spec {
    Spec { name, family, what, program, size, baseline: Baseline::Prepared, cpus: 1 }
}

/// For machines with several CPUs.
const fn smp(name: &'static str, cpus: u8, program: &'static str, size: u32, what: &'static str) -> Spec {
    Spec { cpus, ..prepared(name, Family::Smp, program, size, what) }
}

/// The program that only starts and ends.
pub const NOTHING: Spec = spec("nothing", Family::System, "nothing", 0, "start and end of a program");

/// All workloads, by families.
pub const ALL: &[Spec] = {
    use Family::{Code, Float, Integer, Memory, Smp, System};
    &[
        spec("sha256", Integer, "sha256", 2048, "SHA-256 of 128 KiB"),
        prepared("sieve", Integer, "sieve", 300_000, "sieve of Eratosthenes"),
        prepared("quicksort", Integer, "sort", 50_000, "quicksort"),
        spec("calls", Integer, "calls", 25, "recursive calls"),
        spec("indirect", Integer, "indirect", 300_000, "indirect calls without a pattern"),
        spec("bytecode", Integer, "bytecode", 1_000_000, "bytecode interpreter (jump table)"),
        spec("divide", Integer, "divide", 100_000, "divisions of 32 and 64 bits"),
        spec("nbody", Float, "nbody", 5_000, "n-body, SSE2"),
        spec("matrix", Float, "matrix", 64, "matrix product, SSE2"),
        spec("nbody87", Float, "nbody87", 5_000, "n-body, x87"),
        prepared("walk", Memory, "walk", 256, "array walk, 256 KiB"),
        prepared("chase64", Memory, "chase", 64, "pointer chase, a page a step, 64 MiB"),
        prepared("chase512", Memory, "chase", 512, "pointer chase, a page a step, 512 MiB"),
        prepared("copy", Memory, "copy", 16_384, "`rep movsd`, 16 MiB"),
        prepared("cold", Code, "cold", 1_024, "code run once, 1 MiB"),
        spec("patch", Code, "patch", 5_000, "self-modifying code (patch, call)"),
        spec("syscall", System, "syscall", 10_000, "system calls (getppid)"),
        spec("faults", System, "faults", 256, "page faults (mmap, touch, munmap)"),
        spec("switch", System, "switch", 500, "pipe ping-pong of two processes"),
        spec("fork", System, "fork", 1_024, "fork, 1 MiB of data"),
        spec("exec", System, "exec", 2, "fork and exec"),
        smp("shootdown2", 2, "shootdown", 64, "TLB shootdowns (mprotect under a reader), 2 CPUs"),
        smp("switch2", 2, "switch", 500, "pipe ping-pong of two processes, 2 CPUs"),
        smp("crowd4", 4, "crowd", 512, "SHA-256 in four threads, 4 CPUs"),
        prepared("crowd1", Smp, "crowd", 512, "SHA-256 in four threads, 1 CPU"),
    ]
};

/// The workloads of the names and families given; all if none is.
pub fn chosen(only: &[String]) -> Result<Vec<&'static Spec>, Error> {
    let is = |spec: &Spec, name: &str| spec.name == name || spec.family.name() == name;
    if let Some(unknown) = only.iter().find(|name| !ALL.iter().any(|spec| is(spec, name))) {
        return Err(Error::UnknownWorkload(unknown.clone()));
    }
    Ok(ALL.iter().filter(|spec| only.is_empty() || only.iter().any(|name| is(spec, name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<&'static str> {
        let only: Vec<_> = only.iter().map(|&name| name.into()).collect();
        chosen(&only).unwrap().iter().map(|spec| spec.name).collect()
    }

    #[test]
    fn a_family_stands_for_its_workloads_and_nothing_for_all() {
        assert_eq!(names(&["sieve", "code"]), ["sieve", "cold", "patch"]);
        assert_eq!(names(&[]).len(), ALL.len());
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let error = chosen(&["sieve".into(), "seive".into()]).unwrap_err();
        assert!(error.to_string().contains("`seive`"), "{error}");
    }
}
