//! POSIX timers.

use abi::{
    errno::{EFAULT, EINVAL, EOPNOTSUPP, Result},
    wire::u32_at,
};

use super::{
    time::clock,
    user::{TimeFormat, bytes, duration_ns, store, store_timespec},
};
use crate::{
    task::{
        current, pid,
        posix_timer::{self, Event, Notify},
        signal::{NSIG, SIGALRM},
    },
    time::{getnstimeofday, ktime_get_ns},
};

/// `timer_create`: timers of clocks that count time on the CPU are not there.
pub fn timer_create(clock_id: u32, event: u32, out: u32) -> Result<u32> {
    let is_realtime = match clock_id {
        clock::REALTIME | clock::TAI => true,
        clock::MONOTONIC | clock::BOOTTIME => false,
        id if id <= clock::TAI || (id as i32) < 0 => return Err(EOPNOTSUPP),
        _ => return Err(EINVAL),
    };
    let event = if event == 0 {
        Event { notify: Notify::Process, signo: SIGALRM, value: None }
    } else {
        read_event(&bytes(event)?)?
    };
    let process = current().signal().clone();
    let id = posix_timer::create(&process, event, is_realtime);
    if store(out, &id.to_le_bytes()).is_err() {
        posix_timer::delete(&process, id);
        return Err(EFAULT);
    }
    Ok(0)
}

/// `struct sigevent`. EINVAL.
fn read_event(b: &[u8; 64]) -> Result<Event> {
    const SIGEV_SIGNAL: u32 = 0;
    const SIGEV_NONE: u32 = 1;
    const SIGEV_THREAD: u32 = 2;
    const SIGEV_THREAD_ID: u32 = 4;
    let (value, signo) = (u32_at(b, 0), u32_at(b, 4));
    let notify = match u32_at(b, 8) {
        SIGEV_NONE => Notify::None,
        SIGEV_SIGNAL | SIGEV_THREAD => Notify::Process,
        SIGEV_THREAD_ID => {
            let tid = u32_at(b, 12);
            pid::find(tid).filter(|thread| thread.tgid() == current().tgid()).ok_or(EINVAL)?;
            Notify::Thread(tid)
        }
        _ => return Err(EINVAL),
    };
    if notify != Notify::None && !(1..=NSIG).contains(&signo) {
        return Err(EINVAL);
    }
    Ok(Event { notify, signo, value: Some(value) })
}

/// Bytes of a `timespec`.
fn timespec_bytes(format: TimeFormat) -> u32 {
    if format == TimeFormat::Time32 { 8 } else { 16 }
}

/// Stores a `struct itimerspec`: the interval, then the time left.
fn store_timer(addr: u32, format: TimeFormat, (left, interval): (u64, u64)) -> Result<()> {
    store_timespec(addr, format, interval)?;
    store_timespec(addr + timespec_bytes(format), format, left)
}

/// `timer_settime`, `timer_settime64`
pub fn timer_settime(id: u32, flags: u32, new: u32, old: u32, format: TimeFormat) -> Result<u32> {
    const TIMER_ABSTIME: u32 = 1;
    if new == 0 {
        return Err(EINVAL);
    }
    let interval = duration_ns(new, format)?;
    let value = duration_ns(new.wrapping_add(timespec_bytes(format)), format)?;
    let process = current().signal().clone();
    let is_realtime = posix_timer::is_realtime(&process, id).ok_or(EINVAL)?;
    let before = posix_timer::get(&process, id).ok_or(EINVAL)?;
    let now = if is_realtime { getnstimeofday() } else { ktime_get_ns() };
    let span = if flags & TIMER_ABSTIME != 0 { value.saturating_sub(now) } else { value };
    let deadline = (value != 0).then(|| ktime_get_ns().saturating_add(span));
    posix_timer::set(&process, id, deadline, interval);
    if old != 0 { store_timer(old, format, before).map(|()| 0) } else { Ok(0) }
}

/// `timer_gettime`, `timer_gettime64`
pub fn timer_gettime(id: u32, out: u32, format: TimeFormat) -> Result<u32> {
    let now = posix_timer::get(current().signal(), id).ok_or(EINVAL)?;
    store_timer(out, format, now).map(|()| 0)
}

/// `timer_getoverrun`
pub fn timer_getoverrun(id: u32) -> Result<u32> {
    posix_timer::overrun(current().signal(), id).ok_or(EINVAL)
}

/// `timer_delete`
pub fn timer_delete(id: u32) -> Result<u32> {
    if posix_timer::delete(current().signal(), id) { Ok(0) } else { Err(EINVAL) }
}
