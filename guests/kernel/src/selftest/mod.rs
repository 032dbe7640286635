//! Checks of the kernel by itself, on `selftest=NAME,NAME` of its command line: each prints
//! `selftest: NAME: ok`, or stops the kernel with what it found.

mod reclaim;
mod vmalloc;

use crate::{lib::cmdline, pr_info};

/// The checks by name.
const TESTS: &[(&str, fn())] = &[("reclaim", reclaim::run), ("vmalloc", vmalloc::run)];

/// Runs what the command line asks for, in the context of PID 1 before its first program.
pub fn run() {
    let Some(names) = cmdline::value_of("selftest") else { return };
    for name in names.split(',') {
        match TESTS.iter().find(|(known, _)| *known == name) {
            Some((_, test)) => {
                test();
                pr_info!("selftest: {name}: ok");
            }
            None => pr_info!("selftest: {name}: there is no such test"),
        }
    }
}
