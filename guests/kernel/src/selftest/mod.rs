//! Checks of the kernel by itself, on `selftest=NAME,NAME` of its command line: each prints
//! `selftest: NAME: ok`, or stops the kernel with what it found.

mod broken;
mod buddy;
mod compaction;
mod highmem;
mod reclaim;
mod slab;
mod verify;
mod vmalloc;

use crate::{lib::cmdline, pr_info};

/// The checks by name.
const TESTS: &[(&str, fn())] = &[
    ("buddy", buddy::run),
    ("compaction", compaction::run),
    ("highmem", highmem::run),
    ("reclaim", reclaim::run),
    ("slab", slab::run),
    ("verify", verify::run),
    ("vmalloc", vmalloc::run),
    ("sleep_in_atomic", broken::sleep_in_atomic),
    ("schedule_in_atomic", broken::schedule_in_atomic),
    ("stack_overflow", broken::stack_overflow),
    ("double_free_page", broken::double_free_page),
    ("double_free", broken::double_free),
    ("foreign_free", broken::foreign_free),
    ("free_inside", broken::free_inside),
    ("write_after_free", broken::write_after_free),
    ("overrun", broken::overrun),
    ("underrun", broken::underrun),
];

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

/// Numbers that look random and are the same in every run (a linear congruence).
struct Random(u32);

impl Random {
    /// A number below `bound`.
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % bound
    }
}
