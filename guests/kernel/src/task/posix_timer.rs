//! POSIX timers: a process has any number of them, each with a signal of its own.

use alloc::{collections::BTreeMap, sync::Arc};

use super::{
    SignalStruct, pid,
    signal::{SigInfo, code, mask, send_to_process, send_to_thread},
    timer::{self, Action, TimerId},
};
use crate::time::ktime_get_ns;

/// What happens when a timer expires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notify {
    /// Nothing.
    None,
    /// The process gets a signal.
    Process,
    /// One of its threads does.
    Thread(u32),
}

/// How a timer tells.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Whom it tells.
    pub notify: Notify,
    /// The signal.
    pub signo: u32,
    /// `si_value`; the timer's own number if nothing was said.
    pub value: Option<u32>,
}

/// The state of a timer.
#[derive(Clone, Copy, Debug)]
struct PosixTimer {
    event: Event,
    /// The clock is the wall's: a time on it is that much more than monotonic time.
    is_realtime: bool,
    armed: Option<TimerId>,
    interval_ns: u64,
    /// Expirations since the signal was sent that found it still pending.
    overrun: u32,
}

/// The timers of a process, by number.
#[derive(Default)]
pub struct PosixTimers {
    timers: BTreeMap<u32, PosixTimer>,
    next: u32,
}

/// Makes a timer; its number.
pub fn create(process: &SignalStruct, event: Event, is_realtime: bool) -> u32 {
    let mut all = process.posix_timers.lock();
    while all.timers.contains_key(&all.next) {
        all.next = (all.next + 1) & i32::MAX as u32;
    }
    let id = all.next;
    all.next = (id + 1) & i32::MAX as u32;
    all.timers.insert(id, PosixTimer { event, is_realtime, armed: None, interval_ns: 0, overrun: 0 });
    id
}

/// Whether a timer's clock is the wall's; `None` if there is no such timer.
pub fn is_realtime(process: &SignalStruct, id: u32) -> Option<bool> {
    process.posix_timers.lock().timers.get(&id).map(|timer| timer.is_realtime)
}

/// The time left and the interval in nanoseconds; 0 left when it is off. `None` if there is no
/// such timer.
pub fn get(process: &SignalStruct, id: u32) -> Option<(u64, u64)> {
    let timer = *process.posix_timers.lock().timers.get(&id)?;
    // An expired timer that is not served yet still has a moment to go.
    let left = timer.armed.map_or(0, |(deadline, _)| deadline.saturating_sub(ktime_get_ns()).max(1));
    Some((left, timer.interval_ns))
}

/// Has a timer expire at a point of monotonic time and then at intervals, or switches it off.
pub fn set(process: &Arc<SignalStruct>, id: u32, deadline_ns: Option<u64>, interval_ns: u64) {
    disarm(process, id);
    let armed = deadline_ns.map(|deadline| timer::add(deadline, Action::Posix(process.clone(), id)));
    if let Some(timer) = process.posix_timers.lock().timers.get_mut(&id) {
        (timer.armed, timer.interval_ns, timer.overrun) = (armed, interval_ns, 0);
    }
}

fn disarm(process: &SignalStruct, id: u32) {
    let armed = process.posix_timers.lock().timers.get_mut(&id).and_then(|timer| timer.armed.take());
    if let Some(armed) = armed {
        timer::cancel(armed);
    }
}

/// Expirations that the last signal stands for, besides its own; `None` if there is no such
/// timer.
pub fn overrun(process: &SignalStruct, id: u32) -> Option<u32> {
    process.posix_timers.lock().timers.get(&id).map(|timer| timer.overrun.min(i32::MAX as u32))
}

/// Removes a timer; says whether there was one.
pub fn delete(process: &SignalStruct, id: u32) -> bool {
    disarm(process, id);
    process.posix_timers.lock().timers.remove(&id).is_some()
}

/// The process has ended or begins another program.
pub fn delete_all(process: &SignalStruct) {
    let ids = || process.posix_timers.lock().timers.keys().next().copied();
    while let Some(id) = ids() {
        delete(process, id);
    }
}

/// A timer has expired.
pub fn expired(process: &Arc<SignalStruct>, id: u32) {
    let Some(due) = process.posix_timers.lock().timers.get(&id).copied() else { return };
    let Some((deadline, _)) = due.armed else { return };
    // Times that were missed are counted, not made up for.
    let missed = ktime_get_ns().saturating_sub(deadline).checked_div(due.interval_ns);
    let armed = missed.map(|missed| {
        let next = deadline + (missed + 1) * due.interval_ns;
        timer::add(next, Action::Posix(process.clone(), id))
    });
    let pending = is_pending(process, due.event);
    let (sent, missed) = (u32::from(pending), missed.unwrap_or(0).min(u32::MAX.into()) as u32);
    if let Some(timer) = process.posix_timers.lock().timers.get_mut(&id) {
        timer.armed = armed;
        timer.overrun = if pending { timer.overrun } else { 0 }.saturating_add(sent).saturating_add(missed);
    }
    if pending {
        return;
    }
    let fields = [id, missed, due.event.value.unwrap_or(id), 0, 0];
    let info = SigInfo { signo: due.event.signo, code: code::SI_TIMER, fields };
    match due.event.notify {
        Notify::None => {}
        Notify::Process => {
            if let Some(leader) = pid::find(process.tgid) {
                send_to_process(&leader, info);
            }
        }
        Notify::Thread(tid) => {
            if let Some(thread) = pid::find(tid).filter(|thread| thread.tgid() == process.tgid) {
                send_to_thread(&thread, info);
            }
        }
    }
}

/// Whether the signal of the last expiration waits still: a timer has one at a time.
fn is_pending(process: &SignalStruct, event: Event) -> bool {
    let set = match event.notify {
        Notify::None => return false,
        Notify::Process => process.state.lock().pending.set(),
        Notify::Thread(tid) => pid::find(tid).map_or(0, |thread| thread.signals.lock().pending.set()),
    };
    set & mask(event.signo) != 0
}
