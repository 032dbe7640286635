//! Limits and use of resources.

use abi::{
    errno::{EINVAL, EPERM, ESRCH, Result},
    wire::{record, u32_at, u64_at},
};

use super::user::{bytes, store};
use crate::{
    task::{
        TaskStruct, current, pid,
        rlimits::{RLIM_INFINITY, RLIM_NLIMITS, Rlimit},
        task_struct::CpuTime,
    },
    time::ktime_get_ns,
};

fn index(resource: u32) -> Result<usize> {
    if (resource as usize) < RLIM_NLIMITS { Ok(resource as usize) } else { Err(EINVAL) }
}

fn get(task: &TaskStruct, resource: usize) -> Rlimit {
    task.signal().rlimits.lock().0[resource]
}

fn set(task: &TaskStruct, resource: usize, new: Rlimit) -> Result<()> {
    if new.cur > new.max {
        return Err(EINVAL);
    }
    let is_root = current().cred.lock().euid == 0;
    let mut limits = task.signal().rlimits.lock();
    if new.max > limits.0[resource].max && !is_root {
        return Err(EPERM);
    }
    limits.0[resource] = new;
    Ok(())
}

/// `ugetrlimit`; `getrlimit` shows at most 2^31 - 1.
pub fn getrlimit(resource: u32, addr: u32, infinity: u32) -> Result<u32> {
    let limit = get(&current(), index(resource)?);
    let told = record::<8>(|w| _ = w.u32(limit.cur.min(infinity)).u32(limit.max.min(infinity)));
    store(addr, &told).map(|()| 0)
}

/// `setrlimit`
pub fn setrlimit(resource: u32, addr: u32) -> Result<u32> {
    let b: [u8; 8] = bytes(addr)?;
    set(&current(), index(resource)?, Rlimit { cur: u32_at(&b, 0), max: u32_at(&b, 4) }).map(|()| 0)
}

/// `prlimit64`
pub fn prlimit64(number: u32, resource: u32, new: u32, old: u32) -> Result<u32> {
    let resource = index(resource)?;
    let task = if number == 0 { current().arc() } else { pid::find(number).ok_or(ESRCH)? };
    let before = get(&task, resource);
    if new != 0 {
        let b: [u8; 16] = bytes(new)?;
        let narrow = |value: u64| u32::try_from(value).unwrap_or(RLIM_INFINITY);
        set(&task, resource, Rlimit { cur: narrow(u64_at(&b, 0)), max: narrow(u64_at(&b, 8)) })?;
    }
    if old != 0 {
        let widen = |value: u32| if value == RLIM_INFINITY { u64::MAX } else { value.into() };
        store(old, &record::<16>(|w| _ = w.u64(widen(before.cur)).u64(widen(before.max))))?;
    }
    Ok(0)
}

/// Time, faults and largest size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time on the CPU.
    pub time: CpuTime,
    /// Faults without a wait.
    pub min_flt: u32,
    /// Faults with one.
    pub maj_flt: u32,
    /// In kB.
    pub maxrss: u32,
}

/// `struct rusage`.
pub fn rusage_bytes(u: &Usage) -> [u8; 72] {
    record(|w| {
        for ns in [u.time.user_ns, u.time.system_ns] {
            w.u32((ns / 1_000_000_000) as u32).u32((ns % 1_000_000_000 / 1000) as u32);
        }
        w.u32(u.maxrss).skip(12).u32(u.min_flt).u32(u.maj_flt);
    })
}

fn process_usage() -> Usage {
    let task = current();
    let mut usage = Usage { time: task.signal().state.lock().dead_threads, ..Usage::default() };
    for thread in pid::threads(task.tgid()) {
        usage.time += thread.cpu_time();
        thread.record().with(|r| {
            usage.min_flt += r.min_flt;
            usage.maj_flt += r.maj_flt;
        });
    }
    usage.maxrss = task.mm().map_or(0, |mm| {
        let r = mm.snapshot();
        r.hiwater_rss.max(r.rss_anon + r.rss_file + r.rss_shmem) * 4
    });
    usage
}

/// `getrusage`
pub fn getrusage(who: u32, addr: u32) -> Result<u32> {
    let usage = match who as i32 {
        0 => process_usage(),
        -1 => {
            let c = current().signal().state.lock().children;
            Usage { time: c.time, min_flt: c.min_flt, maj_flt: c.maj_flt, maxrss: c.maxrss }
        }
        1 => Usage { time: current().cpu_time(), ..process_usage() },
        _ => return Err(EINVAL),
    };
    store(addr, &rusage_bytes(&usage)).map(|()| 0)
}

/// `times`
pub fn times(addr: u32) -> Result<u32> {
    let ticks = |ns: u64| abi::proc::clock_ticks(ns) as u32;
    if addr != 0 {
        let (own, children) = (process_usage().time, current().signal().state.lock().children.time);
        let told = record::<16>(|w| {
            for time in [own, children] {
                w.u32(ticks(time.user_ns)).u32(ticks(time.system_ns));
            }
        });
        store(addr, &told)?;
    }
    // Never in the range of errors.
    Ok(ticks(ktime_get_ns()) & 0x7fff_ffff)
}
