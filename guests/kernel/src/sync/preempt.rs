//! Whether the running code may sleep, and where it may lose the CPU.
//!
//! The kernel lock keeps other kernel code out until the running task sleeps, so kernel code is not
//! preempted wherever an interrupt finds it. It is where it says that it may sleep in any case: at
//! [`cond_resched`], and at every instruction of [`preemptible`] work (`docs/locking.md`).

use core::{
    panic::Location,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

pub use crate::arch::percpu::preempt_count;
use crate::{
    arch::{
        irqflags,
        percpu::{is_preemptible, need_resched, preempt_count_add, preempt_count_sub, set_preemptible},
        traps::in_interrupt,
    },
    lib::{oops, panic, printk},
    pr_info,
    task::{self, sched, task_struct::state},
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

/// Whether the running task may give the CPU away here and be ready at once: a task that is about to
/// sleep, or has ended, would not come back.
fn may_be_preempted() -> bool {
    !in_atomic() && task::current::exists() && task::current().state() == state::RUNNING && !irqflags::irqs_disabled()
}

/// `cond_resched`: in a loop that may be long, where the running code may sleep anyway: others run
/// if it is time.
#[inline]
pub fn cond_resched() {
    if need_resched() {
        resched();
    }
}

#[cold]
fn resched() {
    if may_be_preempted() {
        sched::schedule();
    }
}

/// Does what shares nothing with others while it lasts, and may sleep in any case, such as a copy
/// from or to a program's memory: an interrupt that finds that it is time gives the CPU away at once.
/// Under a spin lock it stays all the same: whoever would take it looks at that.
///
/// The work calls nothing that sleeps, nor this again; it may take page faults, which do sleep.
#[inline]
pub fn preemptible<R>(work: impl FnOnce() -> R) -> R {
    cond_resched();
    set_preemptible(true);
    let result = work();
    set_preemptible(false);
    result
}

/// On the way into the kernel from kernel code: what this interrupted, a handler is not. Returns
/// what [`leave_handler`] wants.
#[inline]
pub fn enter_handler() -> bool {
    let interrupted = is_preemptible();
    set_preemptible(false);
    interrupted
}

/// `preempt_schedule_irq`, on the way back to kernel code whose interrupts were on, with interrupts
/// off: if that code may lose the CPU and it is time, another task runs first.
#[inline]
pub fn leave_handler(interrupted: bool) {
    if !interrupted {
        return;
    }
    if need_resched() {
        irqflags::local_irq_enable();
        resched();
        irqflags::local_irq_disable();
    }
    set_preemptible(true);
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
    debug_assert!(!is_preemptible(), "preemptible work sleeps by itself");
    if !task::current().stack_end_is_whole() {
        stack_overflow();
    }
}

/// Kernel stacks have no page below them that could fault: whatever lies there has been overwritten.
#[cold]
fn stack_overflow() -> ! {
    printk::set_console(true);
    oops::dump_stack();
    panic::end(format_args!("corrupted stack end detected inside scheduler"))
}

#[cold]
fn scheduling_while_atomic() -> ! {
    printk::set_console(true);
    let comm = task::running();
    pr_info!("BUG: scheduling while atomic: {comm}/{}/{:#010x}", comm.pid, preempt_count());
    oops::bug("scheduling while atomic")
}
