//! Scheduling.

use abi::errno::{EINVAL, ESRCH, Result};

use super::user::{TimeFormat, bytes, store, store_timespec};
use crate::{
    mm::uaccess::{UserPtr, copy_from_user},
    task::{current, pid, sched},
};

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

/// `sched_getaffinity`: one CPU.
pub fn getaffinity(number: u32, len: u32, mask: u32) -> Result<u32> {
    if len < 4 || len & 3 != 0 {
        return Err(EINVAL);
    }
    check_pid(number)?;
    store(mask, &1u32.to_le_bytes())?;
    Ok(4)
}

/// `sched_setaffinity`: EINVAL without CPU 0.
pub fn setaffinity(number: u32, len: u32, mask: u32) -> Result<u32> {
    check_pid(number)?;
    let mut word = [0; 4];
    copy_from_user(&mut word[..(len as usize).min(4)], UserPtr::new(mask))?;
    if word[0] & 1 == 0 { Err(EINVAL) } else { Ok(0) }
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

/// `getpriority`: nice values are 0, which the call shows as 20.
pub fn getpriority(which: u32, _who: u32) -> Result<u32> {
    if which > 2 { Err(EINVAL) } else { Ok(20) }
}

/// `setpriority`: every task gets the same share, whatever it wishes.
pub fn setpriority(which: u32, _who: u32, _nice: u32) -> Result<u32> {
    if which > 2 { Err(EINVAL) } else { Ok(0) }
}
