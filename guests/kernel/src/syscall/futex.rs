//! `futex`.

use abi::errno::{EINVAL, ENOSYS, Result};

use super::user::{TimeFormat, duration_ns};
use crate::{task::futex, time};

#[allow(missing_docs, reason = "Linux's names")]
mod op {
    pub const WAIT: u32 = 0;
    pub const WAKE: u32 = 1;
    pub const REQUEUE: u32 = 3;
    pub const CMP_REQUEUE: u32 = 4;
    pub const WAKE_OP: u32 = 5;
    pub const WAIT_BITSET: u32 = 9;
    pub const WAKE_BITSET: u32 = 10;
    pub const PRIVATE_FLAG: u32 = 128;
    pub const CLOCK_REALTIME: u32 = 256;
}

/// `futex`, `futex_time64`: `args` are address, operation, value, timeout or second value,
/// second address, third value.
pub fn futex(args: [u32; 6], format: TimeFormat) -> Result<u32> {
    let [addr, operation, val, timeout, addr2, val3] = args;
    let command = operation & !(op::PRIVATE_FLAG | op::CLOCK_REALTIME);
    match command {
        op::WAIT | op::WAIT_BITSET => {
            let deadline = match timeout {
                0 => None,
                at => Some(deadline(duration_ns(at, format)?, command, operation & op::CLOCK_REALTIME != 0)),
            };
            let bitset = if command == op::WAIT { !0 } else { val3 };
            futex::wait(addr, val, bitset, deadline).map(|()| 0)
        }
        op::WAKE => futex::wake(addr, val, !0),
        op::WAKE_BITSET => futex::wake(addr, val, val3),
        op::REQUEUE => futex::requeue(addr, val, addr2, timeout, None),
        op::CMP_REQUEUE => futex::requeue(addr, val, addr2, timeout, Some(val3)),
        op::WAKE_OP => futex::wake_op(addr, val, addr2, timeout, val3),
        6..=8 | 11..=13 => Err(ENOSYS),
        _ => Err(EINVAL),
    }
}

/// `FUTEX_WAIT` gives a span, `FUTEX_WAIT_BITSET` a point of time on one of two clocks.
fn deadline(ns: u64, command: u32, realtime: bool) -> u64 {
    let now = time::ktime_get_ns();
    match (command, realtime) {
        (op::WAIT, _) => now.saturating_add(ns),
        (_, false) => ns,
        (_, true) => now.saturating_add(ns.saturating_sub(time::getnstimeofday())),
    }
}
