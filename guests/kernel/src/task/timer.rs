//! Sleeping and timers, on monotonic time.

use alloc::{collections::BTreeMap, sync::Arc};

use abi::errno::Result;

use super::{SignalStruct, TaskStruct, current, itimer, posix_timer, sched, signal, softirq, task_struct::state};
use crate::{sync::SpinLock, time::ktime_get_ns};

/// What happens when a timer expires.
pub enum Action {
    /// A sleeping task goes on.
    Wake(Arc<TaskStruct>),
    /// `ITIMER_REAL` of a process.
    Alarm(Arc<SignalStruct>),
    /// A timer that the process has made.
    Posix(Arc<SignalStruct>, u32),
}

/// Names a timer: its time, and a number that makes it one of a kind.
pub type TimerId = (u64, u64);

struct Timers {
    queue: BTreeMap<TimerId, Action>,
    next_number: u64,
}

static TIMERS: SpinLock<Timers> = SpinLock::new(Timers { queue: BTreeMap::new(), next_number: 0 });

/// The earliest deadline, for the tick, which must not touch the queue.
static NEXT_DEADLINE: SpinLock<u64> = SpinLock::new(u64::MAX);

/// Whether a point of monotonic time has passed.
pub fn has_passed(deadline_ns: u64) -> bool {
    ktime_get_ns() >= deadline_ns
}

/// Starts a timer.
pub fn add(deadline_ns: u64, action: Action) -> TimerId {
    let mut timers = TIMERS.lock();
    timers.next_number += 1;
    let id = (deadline_ns, timers.next_number);
    timers.queue.insert(id, action);
    timers.note_next();
    id
}

/// Stops a timer; nothing happens if it has expired.
pub fn cancel(id: TimerId) {
    let mut timers = TIMERS.lock();
    let removed = timers.queue.remove(&id);
    timers.note_next();
    drop(timers);
    drop(removed);
}

impl Timers {
    fn note_next(&self) {
        let next = self.queue.first_key_value().map_or(u64::MAX, |(id, _)| id.0);
        *NEXT_DEADLINE.lock_irqsave() = next;
    }
}

/// The tick: has something expired? Called by the interrupt handler.
pub fn tick(now_ns: u64) {
    if now_ns >= *NEXT_DEADLINE.lock_irqsave() {
        softirq::raise(softirq::TIMER);
    }
}

/// Does what the expired timers say.
pub fn run_expired() {
    let now = ktime_get_ns();
    loop {
        let expired = {
            let mut timers = TIMERS.lock();
            let due = timers.queue.first_entry().filter(|first| first.key().0 <= now);
            let action = due.map(|first| first.remove());
            timers.note_next();
            action
        };
        match expired {
            Some(Action::Wake(task)) => sched::wake_up_process(&task),
            Some(Action::Alarm(process)) => itimer::expired(&process),
            Some(Action::Posix(process, id)) => posix_timer::expired(&process, id),
            None => return,
        }
    }
}

/// Gives the CPU away, in the state that the caller has set, until somebody wakes the task
/// or the time has come.
pub fn sleep_until(deadline_ns: Option<u64>) {
    let timer = deadline_ns.map(|deadline| add(deadline, Action::Wake(current().arc())));
    sched::schedule();
    if let Some(timer) = timer {
        cancel(timer);
    }
}

/// Sleeps until a point of monotonic time; `Err` if a signal comes first.
pub fn nanosleep_until(deadline_ns: u64) -> Result<()> {
    while !has_passed(deadline_ns) {
        if signal::pending() {
            return Err(abi::errno::ERESTART_RESTARTBLOCK);
        }
        current().set_state(state::INTERRUPTIBLE);
        sleep_until(Some(deadline_ns));
        current().set_state(state::RUNNING);
    }
    Ok(())
}

/// What `restart_syscall` goes on with.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// When the sleep ends.
    pub deadline_ns: u64,
    /// Where the rest of the time goes if it is disturbed again; 0 nowhere.
    pub remaining_addr: u32,
    /// The rest is written as two 64-bit numbers.
    pub time64: bool,
}
