//! Ticks and clocks.

mod clock;

pub use clock::{Moment, boot_time_ns, getnstimeofday, init, ktime_get_ns, note_places, set_realtime, tsc_khz};

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::arch::percpu::cpu_number;

/// Ticks a second.
pub const HZ: u32 = 250;
/// Nanoseconds of a tick.
pub const TICK_NSEC: u64 = 1_000_000_000 / HZ as u64;

static JIFFIES: AtomicU32 = AtomicU32::new(0);

/// Ticks since boot.
pub fn jiffies() -> u32 {
    JIFFIES.load(Relaxed)
}

/// IRQ 0, where there is no local timer.
fn timer_interrupt(_irq: u8, _data: usize) {
    JIFFIES.fetch_add(1, Relaxed);
    crate::task::sched::tick();
}

/// The local timer of a CPU. The boot CPU counts for all.
pub fn local_timer_interrupt() {
    if cpu_number() == 0 {
        JIFFIES.fetch_add(1, Relaxed);
    }
    crate::task::sched::tick();
}
