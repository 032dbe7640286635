//! Clocks and sleeping.

use abi::{
    errno::{EINVAL, ERESTARTNOHAND, Result},
    wire::u32_at,
};

use super::user::{TimeFormat, bytes, duration_ns, store, store_timespec};
use crate::{
    task::{
        current, pid,
        task_struct::CpuTime,
        timer::{Restart, nanosleep_until},
    },
    time::{TICK_NSEC, getnstimeofday, ktime_get_ns, set_realtime},
};

/// Numbers of the clocks.
#[allow(missing_docs, reason = "Linux's names")]
pub mod clock {
    pub const REALTIME: u32 = 0;
    pub const MONOTONIC: u32 = 1;
    pub const PROCESS_CPUTIME_ID: u32 = 2;
    pub const THREAD_CPUTIME_ID: u32 = 3;
    pub const MONOTONIC_RAW: u32 = 4;
    pub const REALTIME_COARSE: u32 = 5;
    pub const MONOTONIC_COARSE: u32 = 6;
    pub const BOOTTIME: u32 = 7;
    pub const TAI: u32 = 11;
}

fn process_cpu_time() -> u64 {
    let task = current();
    crate::task::sched::account(&task, crate::task::sched::Mode::System);
    let mut time: CpuTime = task.signal().state.lock().dead_threads;
    pid::threads(task.tgid()).iter().for_each(|t| time += t.cpu_time());
    time.sum_ns()
}

/// A clock's time.
fn read(id: u32) -> Result<u64> {
    let coarse = |ns: u64| ns - ns % TICK_NSEC;
    Ok(match id {
        clock::REALTIME | clock::TAI => getnstimeofday(),
        clock::REALTIME_COARSE => coarse(getnstimeofday()),
        clock::MONOTONIC | clock::MONOTONIC_RAW | clock::BOOTTIME => ktime_get_ns(),
        clock::MONOTONIC_COARSE => coarse(ktime_get_ns()),
        clock::PROCESS_CPUTIME_ID => process_cpu_time(),
        clock::THREAD_CPUTIME_ID => {
            let task = current();
            crate::task::sched::account(&task, crate::task::sched::Mode::System);
            task.cpu_time().sum_ns()
        }
        // CPU-time clocks of a process are a negated number with the kind in the low bits.
        id if (id as i32) < 0 && id & 7 == 2 => {
            let number = !(id as i32 >> 3) as u32;
            let task = if number == 0 { current().arc() } else { pid::find(number).ok_or(EINVAL)? };
            task.cpu_time().sum_ns()
        }
        _ => return Err(EINVAL),
    })
}

/// `clock_gettime`, `clock_gettime64`
pub fn clock_gettime(id: u32, addr: u32, format: TimeFormat) -> Result<u32> {
    store_timespec(addr, format, read(id)?).map(|()| 0)
}

/// `clock_settime`, `clock_settime64`
pub fn clock_settime(id: u32, addr: u32, format: TimeFormat) -> Result<u32> {
    if id != clock::REALTIME {
        return Err(EINVAL);
    }
    let ns = duration_ns(addr, format)?;
    set_wall_clock(ns)
}

fn set_wall_clock(ns: u64) -> Result<u32> {
    if current().cred.lock().euid != 0 {
        return Err(abi::errno::EPERM);
    }
    set_realtime(ns);
    Ok(0)
}

/// `clock_getres`, `clock_getres_time64`
pub fn clock_getres(id: u32, addr: u32, format: TimeFormat) -> Result<u32> {
    read(id)?;
    let ns = if matches!(id, clock::REALTIME_COARSE | clock::MONOTONIC_COARSE) { TICK_NSEC } else { 1 };
    if addr != 0 { store_timespec(addr, format, ns).map(|()| 0) } else { Ok(0) }
}

/// `time`
pub fn time(addr: u32) -> Result<u32> {
    let seconds = (getnstimeofday() / 1_000_000_000) as u32;
    if addr != 0 {
        store(addr, &seconds.to_le_bytes())?;
    }
    Ok(seconds)
}

/// `stime`
pub fn stime(addr: u32) -> Result<u32> {
    set_wall_clock(u64::from(u32::from_le_bytes(bytes(addr)?)) * 1_000_000_000)
}

/// `gettimeofday`
pub fn gettimeofday(tv: u32, tz: u32) -> Result<u32> {
    if tv != 0 {
        let ns = getnstimeofday();
        let words = [(ns / 1_000_000_000) as u32, (ns % 1_000_000_000 / 1000) as u32];
        store(tv, &words.map(u32::to_le_bytes).concat())?;
    }
    if tz != 0 {
        store(tz, &[0; 8])?;
    }
    Ok(0)
}

/// `settimeofday`
pub fn settimeofday(tv: u32) -> Result<u32> {
    if tv == 0 {
        return Ok(0);
    }
    let b: [u8; 8] = bytes(tv)?;
    if u32_at(&b, 4) >= 1_000_000 {
        return Err(EINVAL);
    }
    set_wall_clock(u64::from(u32_at(&b, 0)) * 1_000_000_000 + u64::from(u32_at(&b, 4)) * 1000)
}

/// `nanosleep`, `clock_nanosleep`, `clock_nanosleep_time64`
pub fn clock_nanosleep(id: u32, flags: u32, request: u32, remaining: u32, format: TimeFormat) -> Result<u32> {
    const TIMER_ABSTIME: u32 = 1;
    let now = match id {
        clock::REALTIME | clock::MONOTONIC | clock::BOOTTIME | clock::TAI => read(id)?,
        clock::PROCESS_CPUTIME_ID => return Err(abi::errno::EOPNOTSUPP),
        _ => return Err(EINVAL),
    };
    let ns = duration_ns(request, format)?;
    let is_absolute = flags & TIMER_ABSTIME != 0;
    let span = if is_absolute { ns.saturating_sub(now) } else { ns };
    let deadline_ns = ktime_get_ns().saturating_add(span);
    if is_absolute {
        return nanosleep_until(deadline_ns).map(|()| 0).map_err(|_| ERESTARTNOHAND);
    }
    let restart = Restart { deadline_ns, remaining_addr: remaining, time64: format == TimeFormat::Time64 };
    sleep(restart)
}

fn sleep(restart: Restart) -> Result<u32> {
    nanosleep_until(restart.deadline_ns).map(|()| 0).map_err(|error| {
        let left = restart.deadline_ns.saturating_sub(ktime_get_ns());
        let format = if restart.time64 { TimeFormat::Time64 } else { TimeFormat::Time32 };
        if restart.remaining_addr != 0
            && let Err(fault) = store_timespec(restart.remaining_addr, format, left)
        {
            return fault;
        }
        *current().restart.lock() = Some(restart);
        error
    })
}

/// `restart_syscall`: goes on with a sleep that a stop had disturbed.
pub fn restart_syscall() -> Result<u32> {
    let restart = current().restart.lock().take();
    match restart {
        Some(restart) => sleep(restart),
        None => Err(abi::errno::EINTR),
    }
}
