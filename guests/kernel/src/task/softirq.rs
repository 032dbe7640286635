//! Work that interrupt handlers leave for later: they set a bit, and the work is done in
//! the context of whichever task next enters the scheduler or leaves for ring 3. So nothing
//! but the bit is shared with handlers, and the work may allocate.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Timers have expired.
pub const TIMER: u32 = 1;
/// Terminals have input.
pub const TTY: u32 = 2;
/// Disks have something to say.
pub const BLOCK: u32 = 8;
/// Memory is short.
pub const KSWAPD: u32 = 4;

static PENDING: AtomicU32 = AtomicU32::new(0);

/// Leaves work. Called by interrupt handlers.
pub fn raise(bits: u32) {
    PENDING.fetch_or(bits, Relaxed);
    super::sched::set_need_resched();
}

/// Whether there is work.
pub fn pending() -> bool {
    PENDING.load(Relaxed) != 0
}

/// Does the work.
pub fn run() {
    loop {
        let bits = PENDING.swap(0, Relaxed);
        if bits == 0 {
            return;
        }
        if bits & TIMER != 0 {
            super::timer::run_expired();
        }
        if bits & TTY != 0 {
            crate::drivers::tty::run_input();
        }
        if bits & BLOCK != 0 {
            crate::drivers::ata::run_interrupts();
        }
        if bits & KSWAPD != 0 {
            crate::mm::vmscan::run_wakeup();
        }
    }
}
