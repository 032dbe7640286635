//! The integration tests: one binary, a module a subject.
//!
//! A test that needs something that this machine lacks (QEMU, gdb, Debian's i386
//! programs) says `skipped: needs X` and counts as ignored.

#[cfg(unix)]
mod control;
#[cfg(unix)]
mod corrupt;
#[cfg(unix)]
mod cpus;
#[cfg(unix)]
mod diff;
#[cfg(unix)]
mod disks;
#[cfg(unix)]
mod docs;
#[cfg(unix)]
mod dynamic;
mod engines;
#[cfg(unix)]
mod explore;
#[cfg(unix)]
mod flux;
#[cfg(unix)]
mod foreign;
#[cfg(unix)]
mod gdb;
mod layering;
#[cfg(unix)]
mod lenses;
#[cfg(unix)]
mod mm;
#[cfg(unix)]
mod percpu;
#[cfg(unix)]
mod proc_formats;
#[cfg(unix)]
mod procfolder;
#[cfg(unix)]
mod programs;
#[cfg(unix)]
mod qemu;
#[cfg(unix)]
mod report;
#[cfg(unix)]
mod run;
mod screen;
#[cfg(unix)]
mod seeds;
#[cfg(unix)]
mod shootdown;
#[cfg(unix)]
mod smp;
#[cfg(unix)]
mod snapshots;
#[cfg(unix)]
mod states;
mod support;
#[cfg(unix)]
mod top;
#[cfg(unix)]
mod trace;
mod tracing;
#[cfg(unix)]
mod why;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = Vec::new();
    #[cfg(unix)]
    trials.extend(control::trials());
    #[cfg(unix)]
    trials.extend(corrupt::trials());
    #[cfg(unix)]
    trials.extend(cpus::trials());
    #[cfg(unix)]
    trials.extend(diff::trials());
    #[cfg(unix)]
    trials.extend(disks::trials());
    #[cfg(unix)]
    trials.extend(docs::trials());
    #[cfg(unix)]
    trials.extend(dynamic::trials());
    trials.extend(engines::trials());
    #[cfg(unix)]
    trials.extend(explore::trials());
    #[cfg(unix)]
    trials.extend(flux::trials());
    #[cfg(unix)]
    trials.extend(foreign::trials());
    #[cfg(unix)]
    trials.extend(gdb::trials());
    trials.extend(layering::trials());
    #[cfg(unix)]
    trials.extend(lenses::trials());
    #[cfg(unix)]
    trials.extend(mm::trials());
    #[cfg(unix)]
    trials.extend(percpu::trials());
    #[cfg(unix)]
    trials.extend(proc_formats::trials());
    #[cfg(unix)]
    trials.extend(procfolder::trials());
    #[cfg(unix)]
    trials.extend(programs::trials());
    #[cfg(unix)]
    trials.extend(qemu::trials());
    #[cfg(unix)]
    trials.extend(report::trials());
    #[cfg(unix)]
    trials.extend(run::trials());
    trials.extend(screen::trials());
    #[cfg(unix)]
    trials.extend(seeds::trials());
    #[cfg(unix)]
    trials.extend(smp::trials());
    #[cfg(unix)]
    trials.extend(snapshots::trials());
    #[cfg(unix)]
    trials.extend(shootdown::trials());
    #[cfg(unix)]
    trials.extend(states::trials());
    #[cfg(unix)]
    trials.extend(top::trials());
    #[cfg(unix)]
    trials.extend(trace::trials());
    trials.extend(tracing::trials());
    #[cfg(unix)]
    trials.extend(why::trials());
    libtest_mimic::run(&arguments, trials).exit();
}
