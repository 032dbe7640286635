//! Waiting for children.

use abi::{
    errno::{EINVAL, Result},
    wire::record,
};

use super::{
    limits::{Usage, rusage_bytes},
    user::{store, store_u32_opt},
};
use crate::task::{
    current,
    exit::{Found, Which, check_wait4_options, do_wait, w},
    signal::SIGCHLD,
};

fn usage(found: &Found) -> [u8; 72] {
    let u = found.usage;
    rusage_bytes(&Usage { time: u.time, min_flt: u.min_flt, maj_flt: u.maj_flt, maxrss: u.maxrss })
}

/// `waitpid`, `wait4`
pub fn wait4(pid: u32, status: u32, options: u32, rusage: u32) -> Result<u32> {
    check_wait4_options(options)?;
    let which = match pid as i32 {
        -1 => Which::Any,
        0 => Which::Group(current().pgrp()),
        i32::MIN => return Err(abi::errno::ESRCH),
        n if n < 0 => Which::Group(n.unsigned_abs()),
        n => Which::Pid(n as u32),
    };
    let Some(found) = do_wait(which, options | w::EXITED)? else { return Ok(0) };
    store_u32_opt(status, found.status)?;
    if rusage != 0 {
        store(rusage, &usage(&found))?;
    }
    Ok(found.pid)
}

/// `waitid`
pub fn waitid(kind: u32, id: u32, info: u32, options: u32, rusage: u32) -> Result<u32> {
    let known = w::NOHANG | w::NOWAIT | w::EXITED | w::STOPPED | w::CONTINUED | w::NOTHREAD | w::CLONE | w::ALL;
    if options & !known != 0 || options & (w::EXITED | w::STOPPED | w::CONTINUED) == 0 {
        return Err(EINVAL);
    }
    let which = match (kind, id) {
        (0, _) => Which::Any,
        (1, id) if id as i32 > 0 => Which::Pid(id),
        (2, 0) => Which::Group(current().pgrp()),
        (2, id) if id as i32 > 0 => Which::Group(id),
        _ => return Err(EINVAL),
    };
    let found = do_wait(which, options)?;
    if let Some(found) = &found
        && rusage != 0
    {
        store(rusage, &usage(found))?;
    }
    if info != 0 {
        let told: [u8; 128] = match found {
            Some(found) => {
                let (code, status) = found.describe();
                record(|w| {
                    w.u32(SIGCHLD).u32(0).u32(code as u32).u32(found.pid).u32(found.uid).u32(status);
                })
            }
            None => [0; 128],
        };
        store(info, &told)?;
    }
    Ok(0)
}
