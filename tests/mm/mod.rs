//! The memory suite: what memory management does, in our machine and in QEMU.
//!
//! `cargo test -p pagewalk --test integration -- mm::` runs it by itself; the storms of
//! [`reclaim`] and [`swap`] take as many seeds as `PAGEWALK_STORMS` says. `PAGEWALK_CPUS` and
//! `PAGEWALK_SCHEDULE_SEED` decide on what machines ([`asked`](crate::support::asked)).

mod compaction;
mod frames;
mod memory;
mod modules;
mod qemu;
mod races;
mod reclaim;
mod remote;
mod stacks;
mod swap;
mod verify;

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    let subjects = [
        compaction::trials(),
        frames::trials(),
        memory::trials(),
        modules::trials(),
        qemu::trials(),
        races::trials(),
        reclaim::trials(),
        remote::trials(),
        stacks::trials(),
        swap::trials(),
        verify::trials(),
    ];
    subjects.into_iter().flatten().collect()
}
