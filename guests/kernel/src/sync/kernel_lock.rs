//! The kernel lock: one CPU at a time runs kernel code (`docs/locking.md`).
//!
//! It belongs to a CPU, not to a task. A CPU takes it on every way into the kernel, by system
//! call, fault or device interrupt, and gives it back on the way to ring 3 and before it halts
//! in the idle loop. A sleeping task has nothing of it: whoever gets the CPU finds the lock held.
//! The messages of other CPUs (TLB flush, reschedule, function call) are handled without it.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::arch::{apic, irqflags, percpu::this_cpu};

/// How often CPUs that come may pass those that wait. Without this a CPU that has just left the
/// kernel and comes back would have to wait for one that, under an emulator, may not be running;
/// with no end to it those who wait could starve.
const MAX_PASSES: u32 = 64;

static LOCKED: AtomicBool = AtomicBool::new(false);
/// The next ticket of those who wait.
static NEXT: AtomicU32 = AtomicU32::new(0);
/// The ticket whose turn it is.
static SERVING: AtomicU32 = AtomicU32::new(0);
/// How often the one whose turn it is has been passed.
static PASSES: AtomicU32 = AtomicU32::new(0);

/// Whether nobody waits.
fn is_uncontended() -> bool {
    NEXT.load(Ordering::Relaxed) == SERVING.load(Ordering::Relaxed)
}

fn try_lock() -> bool {
    !LOCKED.load(Ordering::Relaxed) && !LOCKED.swap(true, Ordering::Acquire)
}

/// Takes the lock for this CPU; `false` if it had it already. Interrupts are off.
///
/// CPUs that have to wait get it in the order in which they came.
pub fn lock_kernel() -> bool {
    let cpu = this_cpu();
    if cpu.holds_kernel.load(Ordering::Relaxed) {
        return false;
    }
    if is_uncontended() {
        if !try_lock() {
            wait();
        }
    } else if PASSES.load(Ordering::Relaxed) < MAX_PASSES && try_lock() {
        PASSES.store(PASSES.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    } else {
        wait();
    }
    cpu.holds_kernel.store(true, Ordering::Relaxed);
    true
}

/// Waits while others have the lock. What they may want of this CPU meanwhile, it does: only the
/// highest class of vectors is let in, that of the CPUs' messages, whose handlers never take
/// the lock.
#[cold]
fn wait() {
    let ticket = NEXT.fetch_add(1, Ordering::Relaxed);
    apic::set_task_priority(apic::IPI_CLASS - 0x10);
    irqflags::local_irq_enable();
    loop {
        if SERVING.load(Ordering::Relaxed) == ticket {
            // Who has the lock keeps the messages' handlers out of what it does next.
            irqflags::local_irq_disable();
            if try_lock() {
                break;
            }
            irqflags::local_irq_enable();
        }
        core::hint::spin_loop();
    }
    PASSES.store(0, Ordering::Relaxed);
    SERVING.store(ticket.wrapping_add(1), Ordering::Relaxed);
    apic::set_task_priority(0);
}

/// Gives the lock back. Interrupts are off.
pub fn unlock_kernel() {
    debug_assert!(holds_kernel());
    this_cpu().holds_kernel.store(false, Ordering::Relaxed);
    LOCKED.store(false, Ordering::Release);
}

/// Whether this CPU has the lock.
pub fn holds_kernel() -> bool {
    this_cpu().holds_kernel.load(Ordering::Relaxed)
}

/// Lets every CPU that waits for the lock have it once before this one goes on. Where a task may
/// sleep it may call this: others may run there in any case.
pub fn yield_kernel() {
    if is_uncontended() {
        return;
    }
    let flags = irqflags::local_irq_save();
    unlock_kernel();
    wait();
    this_cpu().holds_kernel.store(true, Ordering::Relaxed);
    irqflags::local_irq_restore(flags);
}
