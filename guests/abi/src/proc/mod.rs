//! The text of `/proc` files, byte for byte as Linux 6.1 prints them on i386: one source
//! for the guest kernel and for the host, which reads the same records from outside.
//!
//! A formatter takes plain values and an [`Out`](crate::Out); it allocates nothing, so
//! that the kernel can call it with the lock held that guards the values.

pub mod areas;
pub mod counts;
pub mod cpuinfo;
pub mod cpumask;
pub mod disks;
pub mod interrupts;
pub mod limits;
pub mod maps;
pub mod meminfo;
pub mod modules;
pub mod page;
pub mod pid_stat;
pub mod resources;
pub mod slabinfo;
pub mod smaps;
pub mod status;
pub mod system;
pub mod vmallocinfo;
pub mod vmstat;
pub mod zones;

/// Pages of 4 KiB in kB.
pub const fn kb(pages: u32) -> u64 {
    pages as u64 * 4
}

/// Clock ticks of `USER_HZ` (100 a second) in nanoseconds.
pub const fn clock_ticks(ns: u64) -> u64 {
    ns / 10_000_000
}
