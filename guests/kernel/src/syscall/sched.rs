//! Scheduling.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering::Relaxed;

use abi::errno::{EACCES, EINVAL, EPERM, ESRCH, Result};

use super::user::{TimeFormat, bytes, store, store_timespec};
use crate::{
    arch::{percpu::cpu_number, smp},
    mm::uaccess::{UserPtr, copy_from_user},
    task::{TaskStruct, current, pid, sched},
};

const MIN_NICE: i32 = -20;
const MAX_NICE: i32 = 19;

/// `sched_yield`
pub fn sched_yield() -> Result<u32> {
    sched::schedule();
    Ok(0)
}

fn check_pid(number: u32) -> Result<()> {
    if number == 0 || number == current().pid() {
        return Ok(());
    }
    pid::find(number).map(drop).ok_or(ESRCH)
}

fn task_of(number: u32) -> Result<Arc<TaskStruct>> {
    if number == 0 { Ok(current().arc()) } else { pid::find(number).ok_or(ESRCH) }
}

/// `sched_getaffinity`: the CPUs that run and that the task may have.
pub fn getaffinity(number: u32, len: u32, mask: u32) -> Result<u32> {
    if len < 4 || len & 3 != 0 {
        return Err(EINVAL);
    }
    let cpus = task_of(number)?.cpus_allowed.load(Relaxed) & smp::online_mask();
    store(mask, &cpus.to_le_bytes())?;
    Ok(4)
}

/// `sched_setaffinity`: EINVAL without a CPU that runs, EPERM for another user's task.
pub fn setaffinity(number: u32, len: u32, mask: u32) -> Result<u32> {
    let task = task_of(number)?;
    let mut word = [0; 4];
    copy_from_user(&mut word[..(len as usize).min(4)], UserPtr::new(mask))?;
    // One after the other: they are the same task's as a rule.
    let own = current().cred.lock().euid;
    let other = task.cred.lock().clone();
    if own != 0 && own != other.euid && own != other.uid {
        return Err(EPERM);
    }
    let cpus = u32::from_le_bytes(word) & smp::online_mask();
    if cpus == 0 {
        return Err(EINVAL);
    }
    sched::set_cpus_allowed(&task, cpus);
    Ok(0)
}

/// `getcpu`: the CPU, and the one node.
pub fn getcpu(cpu: u32, node: u32) -> Result<u32> {
    let number = cpu_number();
    for (at, value) in [(cpu, number), (node, 0)] {
        if at != 0 {
            store(at, &value.to_le_bytes())?;
        }
    }
    Ok(0)
}

/// `sched_getscheduler`: `SCHED_OTHER` for all.
pub fn getscheduler(number: u32) -> Result<u32> {
    check_pid(number).map(|()| 0)
}

/// `sched_setscheduler`, `sched_setparam`: only what everybody has.
pub fn setscheduler(number: u32, policy: u32, param: u32) -> Result<u32> {
    check_pid(number)?;
    let priority = u32::from_le_bytes(bytes(param)?);
    if policy & !0x4000_0000 != 0 || priority != 0 { Err(EINVAL) } else { Ok(0) }
}

/// `sched_getparam`
pub fn getparam(number: u32, param: u32) -> Result<u32> {
    check_pid(number)?;
    store(param, &0u32.to_le_bytes()).map(|()| 0)
}

/// `sched_get_priority_max`, `sched_get_priority_min`
pub fn get_priority(policy: u32, real_time: u32) -> Result<u32> {
    match policy {
        1 | 2 => Ok(real_time),
        0 | 3 | 5 => Ok(0),
        _ => Err(EINVAL),
    }
}

/// `sched_rr_get_interval`
pub fn rr_get_interval(number: u32, addr: u32, format: TimeFormat) -> Result<u32> {
    check_pid(number)?;
    store_timespec(addr, format, 0).map(|()| 0)
}

/// The threads that `getpriority` and `setpriority` mean.
fn tasks_of(which: u32, who: u32) -> Result<Vec<Arc<TaskStruct>>> {
    const PRIO_PROCESS: u32 = 0;
    const PRIO_PGRP: u32 = 1;
    const PRIO_USER: u32 = 2;
    let own = current();
    let tasks = match which {
        PRIO_PROCESS => pid::select(|t| t.pid() == if who == 0 { own.pid() } else { who }),
        PRIO_PGRP => {
            let pgrp = if who == 0 { own.pgrp() } else { who };
            pid::select(|t| t.pgrp() == pgrp)
        }
        PRIO_USER => {
            let uid = if who == 0 { own.cred.lock().uid } else { who };
            pid::select(|t| t.record().with(|r| r.uid) == uid)
        }
        _ => return Err(EINVAL),
    };
    if tasks.is_empty() { Err(ESRCH) } else { Ok(tasks) }
}

/// `getpriority`: the least modest of those meant, as 40 to 1, because a negative number would
/// be an error.
pub fn getpriority(which: u32, who: u32) -> Result<u32> {
    let least = tasks_of(which, who)?.iter().map(|task| task.nice.load(Relaxed)).min().unwrap_or(0);
    Ok((20 - least) as u32)
}

/// `setpriority`: the wish is kept, and every task gets the same share. EPERM for another
/// user's, EACCES for less modesty than before.
pub fn setpriority(which: u32, who: u32, nice: u32) -> Result<u32> {
    let nice = (nice as i32).clamp(MIN_NICE, MAX_NICE);
    let own = current().cred.lock().clone();
    let is_root = own.euid == 0;
    let mut result = Ok(0);
    for task in tasks_of(which, who)? {
        let (uid, euid) = {
            let cred = task.cred.lock();
            (cred.uid, cred.euid)
        };
        if !is_root && own.euid != uid && own.euid != euid {
            result = Err(EPERM);
        } else if !is_root && nice < task.nice.load(Relaxed) {
            result = Err(EACCES);
        } else {
            task.nice.store(nice, Relaxed);
        }
    }
    result
}

/// `nice`
pub fn nice(increment: u32) -> Result<u32> {
    let task = current();
    let increment = (increment as i32).clamp(-2 * MAX_NICE, 2 * MAX_NICE);
    if increment < 0 && task.cred.lock().euid != 0 {
        return Err(EPERM);
    }
    let nice = task.nice.load(Relaxed) + increment;
    task.nice.store(nice.clamp(MIN_NICE, MAX_NICE), Relaxed);
    Ok(0)
}
