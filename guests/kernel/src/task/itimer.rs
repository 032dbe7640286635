//! Interval timers that send signals.

use alloc::sync::Arc;

use super::{
    SignalStruct, pid,
    signal::{SIGALRM, SigInfo, send_to_process},
    timer::{self, Action, TimerId},
};
use crate::time::ktime_get_ns;

/// The timers of a process.
#[derive(Default)]
pub struct ITimers {
    real: Option<(TimerId, u64)>,
}

/// The time left and the interval of `ITIMER_REAL`, in nanoseconds; 0, 0 when it is off.
pub fn get_real(process: &SignalStruct) -> (u64, u64) {
    match process.itimers.lock().real {
        // An expired timer that is not served yet still has a moment to go.
        Some(((deadline, _), interval)) => (deadline.saturating_sub(ktime_get_ns()).max(1000), interval),
        None => (0, 0),
    }
}

/// Sets `ITIMER_REAL`, or switches it off with a value of 0.
pub fn set_real(process: &Arc<SignalStruct>, value_ns: u64, interval_ns: u64) {
    let old = process.itimers.lock().real.take();
    if let Some((id, _)) = old {
        timer::cancel(id);
    }
    if value_ns != 0 {
        let deadline = ktime_get_ns().saturating_add(value_ns);
        let id = timer::add(deadline, Action::Alarm(process.clone()));
        process.itimers.lock().real = Some((id, interval_ns));
    }
}

/// `ITIMER_REAL` has expired.
pub fn expired(process: &Arc<SignalStruct>) {
    let due = process.itimers.lock().real.take();
    let Some(((deadline, _), interval)) = due else { return };
    // Times that were missed are not made up for.
    if let Some(missed) = ktime_get_ns().saturating_sub(deadline).checked_div(interval) {
        let next = deadline + (missed + 1) * interval;
        let id = timer::add(next, Action::Alarm(process.clone()));
        process.itimers.lock().real = Some((id, interval));
    }
    if let Some(leader) = pid::find(process.tgid) {
        send_to_process(&leader, SigInfo::kernel(SIGALRM));
    }
}

/// The process has ended.
pub fn cancel_all(process: &Arc<SignalStruct>) {
    set_real(process, 0, 0);
}
