//! The scheduler.

/// Called at every tick, in the timer's interrupt.
pub fn tick() {}

/// Gives the CPU to the next thread that can run.
pub fn schedule() {
    crate::arch::irqflags::safe_halt();
}

/// Whether the running thread should give the CPU away before it returns to ring 3.
pub fn need_resched() -> bool {
    false
}

/// The first act of a new thread: ends the switch that led to it.
pub fn schedule_tail() {}
