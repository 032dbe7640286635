//! Whether the running code may sleep.

use core::{
    panic::Location,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

pub use crate::arch::percpu::preempt_count;
use crate::{
    arch::{
        irqflags,
        percpu::{preempt_count_add, preempt_count_sub},
        traps::in_interrupt,
    },
    lib::{oops, printk},
    pr_info, task,
};

/// A wrong place has been reported: one report is enough to find it.
static REPORTED: AtomicBool = AtomicBool::new(false);

/// Whether the running code must not sleep: it holds a spin lock, or is an interrupt
/// handler, or said so.
pub fn in_atomic() -> bool {
    preempt_count() != 0 || in_interrupt()
}

/// Until this is dropped, the running code must not sleep.
pub struct PreemptGuard(());

/// `preempt_disable`.
pub fn preempt_disable() -> PreemptGuard {
    preempt_count_add();
    PreemptGuard(())
}

impl Drop for PreemptGuard {
    fn drop(&mut self) {
        preempt_count_sub();
    }
}

/// Said by what may sleep, even if this time it will not. If it must not, the first time is
/// reported.
#[track_caller]
#[inline]
pub fn might_sleep() {
    if in_atomic() || (irqflags::irqs_disabled() && task::current::exists()) {
        sleeping_in_atomic(Location::caller());
    }
}

#[cold]
fn sleeping_in_atomic(at: &Location) {
    if REPORTED.swap(true, Relaxed) {
        return;
    }
    printk::set_console(true);
    let comm = task::running();
    let irqs = u32::from(irqflags::irqs_disabled());
    let atomic = u32::from(in_atomic());
    pr_info!("BUG: sleeping function called from invalid context at {}:{}", at.file(), at.line());
    pr_info!("in_atomic(): {atomic}, irqs_disabled(): {irqs}, non_block: 0, pid: {}, name: {comm}", comm.pid);
    pr_info!("preempt_count: {:x}, expected: 0", preempt_count());
    oops::dump_stack();
}

/// Said by the scheduler, which takes the CPU away from the running task.
#[inline]
pub fn schedule_debug() {
    if in_atomic() {
        scheduling_while_atomic();
    }
}

#[cold]
fn scheduling_while_atomic() -> ! {
    printk::set_console(true);
    let comm = task::running();
    pr_info!("BUG: scheduling while atomic: {comm}/{}/{:#010x}", comm.pid, preempt_count());
    oops::bug("scheduling while atomic")
}
