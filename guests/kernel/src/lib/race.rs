//! `race=`: races planted on purpose, for tools that look for them. Each is a place where the kernel
//! lock is given back for a moment in the middle of what must not be divided.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::{
    arch::irqflags,
    lib::cmdline,
    sync::{lock_kernel, unlock_kernel},
};

/// A planted race.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Race {
    /// `race=forks`: the count of forks (`processes` in `/proc/stat`) is read and written in two
    /// steps, so that of two forks at once one may not be counted.
    Forks = 1,
    /// `race=futex`: a waiter has looked at the word, and is not in the queue yet: a wake-up in
    /// between is lost, and the waiter sleeps for ever.
    Futex = 2,
}

static WANTED: AtomicU32 = AtomicU32::new(0);

/// Reads `race=`.
pub fn init() {
    let wanted = match cmdline::value_of("race") {
        Some("forks") => Race::Forks,
        Some("futex") => Race::Futex,
        _ => return,
    };
    WANTED.store(wanted as u32, Relaxed);
}

/// If this race is wanted, other CPUs may enter the kernel here.
pub fn window(race: Race) {
    if WANTED.load(Relaxed) != race as u32 {
        return;
    }
    let flags = irqflags::local_irq_save();
    unlock_kernel();
    for _ in 0..WINDOW {
        core::hint::black_box(());
    }
    lock_kernel();
    irqflags::local_irq_restore(flags);
}

/// Turns of an empty loop while the door is open.
const WINDOW: u32 = 20;
