//! The kernel lock: one CPU at a time runs kernel code (`docs/locking.md`).
//!
//! It belongs to a CPU, not to a task. A CPU takes it on every way into the kernel, by system
//! call, fault or device interrupt, and gives it back on the way to ring 3 and before it halts
//! in the idle loop. A sleeping task has nothing of it: whoever gets the CPU finds the lock held.
//! The messages of other CPUs (TLB flush, reschedule, function call) are handled without it.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::arch::{apic, irqflags, percpu::this_cpu};

/// The next ticket.
static NEXT: AtomicU32 = AtomicU32::new(0);
/// The ticket whose turn it is.
static SERVING: AtomicU32 = AtomicU32::new(0);

/// Takes the lock for this CPU; `false` if it had it already. Interrupts are off.
///
/// CPUs get it in the order in which they came.
pub fn lock_kernel() -> bool {
    let cpu = this_cpu();
    if cpu.holds_kernel.load(Ordering::Relaxed) {
        return false;
    }
    let ticket = NEXT.fetch_add(1, Ordering::Relaxed);
    if SERVING.load(Ordering::Acquire) != ticket {
        wait_for(ticket);
    }
    cpu.holds_kernel.store(true, Ordering::Relaxed);
    true
}

/// Waits while others have the lock. What they may want of this CPU meanwhile, it does: only the
/// highest class of vectors is let in, that of the CPUs' messages, whose handlers never take
/// the lock.
#[cold]
fn wait_for(ticket: u32) {
    apic::set_task_priority(apic::IPI_CLASS - 0x10);
    irqflags::local_irq_enable();
    while SERVING.load(Ordering::Acquire) != ticket {
        core::hint::spin_loop();
    }
    irqflags::local_irq_disable();
    apic::set_task_priority(0);
}

/// Gives the lock back. Interrupts are off.
pub fn unlock_kernel() {
    let cpu = this_cpu();
    debug_assert!(holds_kernel());
    cpu.holds_kernel.store(false, Ordering::Relaxed);
    // Nobody else changes it while we have the lock.
    SERVING.store(SERVING.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
}

/// Whether this CPU has the lock.
pub fn holds_kernel() -> bool {
    this_cpu().holds_kernel.load(Ordering::Relaxed)
}

/// Lets every CPU that waits for the lock have it once before this one goes on. Where a task may
/// sleep it may call this: others may run there in any case.
pub fn yield_kernel() {
    if NEXT.load(Ordering::Relaxed) == SERVING.load(Ordering::Relaxed).wrapping_add(1) {
        return;
    }
    let flags = irqflags::local_irq_save();
    unlock_kernel();
    lock_kernel();
    irqflags::local_irq_restore(flags);
}
