//! Waiting for something to happen.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::errno::{ERESTARTSYS, Result};

use super::{TaskStruct, current, sched, signal, task_struct::state, timer};
use crate::sync::SpinLock;

/// Tasks that want to hear of an event. A task may stand in several queues.
#[derive(Default)]
pub struct WaitQueue {
    waiters: SpinLock<Vec<Arc<TaskStruct>>>,
}

impl<T: Default> Default for SpinLock<T> {
    fn default() -> Self {
        SpinLock::new(T::default())
    }
}

impl WaitQueue {
    /// Nobody waits.
    pub const fn new() -> Self {
        WaitQueue { waiters: SpinLock::new(Vec::new()) }
    }

    /// Enters the running task.
    pub fn enter(&self) {
        let task = current().arc();
        self.waiters.lock().push(task);
    }

    /// Takes the running task out, once.
    pub fn leave(&self) {
        let task = current();
        let mut waiters = self.waiters.lock();
        if let Some(at) = waiters.iter().position(|t| core::ptr::eq(Arc::as_ptr(t), &raw const *task)) {
            // The running task has another owner: this drop frees nothing.
            waiters.remove(at);
        }
    }

    /// Wakes every waiter. They stay in the queue until they leave.
    pub fn wake_all(&self) {
        for task in self.waiters.lock().iter() {
            sched::wake_up_process(task);
        }
    }

    /// The same by a task that will soon sleep itself: see [`sched::wake_up_process_sync`].
    pub fn wake_all_sync(&self) {
        for task in self.waiters.lock().iter() {
            sched::wake_up_process_sync(task);
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.lock().is_empty()
    }
}

/// How a wait with a limit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// What was waited for is there.
    Ready,
    /// The time is over.
    TimedOut,
}

/// Sleeps until `ready`; a wake-up of `queue` makes it look again. ERESTARTSYS when a
/// signal comes first.
pub fn wait_event(queue: &WaitQueue, ready: impl FnMut() -> bool) -> Result<()> {
    wait_event_until(queue, None, ready).map(drop)
}

/// The same until a point of monotonic time.
pub fn wait_event_until(queue: &WaitQueue, deadline_ns: Option<u64>, ready: impl FnMut() -> bool) -> Result<Waited> {
    wait_in(state::INTERRUPTIBLE, signal::pending, queue, deadline_ns, ready)
}

/// The same, not disturbed by signals.
pub fn wait_event_uninterruptible(queue: &WaitQueue, ready: impl FnMut() -> bool) {
    undisturbed(state::UNINTERRUPTIBLE, queue, None, ready);
}

/// The same for kernel threads, which no signal disturbs: until a point of monotonic time,
/// or for ever. Such a sleep is no load.
pub fn wait_event_idle(queue: &WaitQueue, deadline_ns: Option<u64>, ready: impl FnMut() -> bool) -> Waited {
    undisturbed(state::INTERRUPTIBLE, queue, deadline_ns, ready)
}

fn undisturbed(sleeping: u32, queue: &WaitQueue, deadline_ns: Option<u64>, ready: impl FnMut() -> bool) -> Waited {
    // Nothing disturbs, so there is no error.
    wait_in(sleeping, || false, queue, deadline_ns, ready).unwrap_or(Waited::Ready)
}

/// Sleeps in a state until `ready`, the time is over, or `disturbed`: ERESTARTSYS.
fn wait_in(
    sleeping: u32,
    disturbed: impl Fn() -> bool,
    queue: &WaitQueue,
    deadline_ns: Option<u64>,
    mut ready: impl FnMut() -> bool,
) -> Result<Waited> {
    loop {
        queue.enter();
        current().set_state(sleeping);
        let result = if ready() {
            Some(Ok(Waited::Ready))
        } else if disturbed() {
            Some(Err(ERESTARTSYS))
        } else if deadline_ns.is_some_and(timer::has_passed) {
            Some(Ok(Waited::TimedOut))
        } else {
            timer::sleep_until(deadline_ns);
            None
        };
        current().set_state(state::RUNNING);
        queue.leave();
        if let Some(result) = result {
            return result;
        }
    }
}

/// An event that happens once.
#[derive(Default)]
pub struct Completion {
    done: AtomicBool,
    queue: WaitQueue,
}

impl Completion {
    /// It has happened.
    pub fn complete(&self) {
        self.done.store(true, Relaxed);
        self.queue.wake_all();
    }

    /// Sleeps until it has happened, or until this task is to die.
    pub fn wait_killable(&self) {
        wait_event_uninterruptible(&self.queue, || self.done.load(Relaxed) || signal::fatal_pending());
    }
}
