//! The system as a whole: information, the log, random numbers, the end.

use abi::{
    errno::{EINVAL, EPERM, Result},
    wire::record,
};

use super::user::store;
use crate::{
    arch::irqflags,
    drivers::{debug_exit, random},
    lib::printk,
    mm::{
        page_alloc::totals,
        uaccess::{UserPtr, strncpy_from_user},
        vmstat::{self, Item},
    },
    pr_info,
    task::{current, sched},
    time::ktime_get_ns,
};

/// `sysinfo`
pub fn sysinfo(addr: u32) -> Result<u32> {
    let t = totals();
    let (averages, _, procs, _) = sched::load::now();
    let told = record::<64>(|w| {
        w.u32((ktime_get_ns() / 1_000_000_000) as u32);
        for average in averages {
            // Averages here have 16 fraction bits.
            w.u32(average << 5);
        }
        w.u32(t.managed).u32(t.free).u32(vmstat::read(Item::nr_shmem)).u32(0).u32(0).u32(0);
        w.u16(procs as u16).u16(0).u32(t.managed_high).u32(t.free_high).u32(4096);
    });
    store(addr, &told).map(|()| 0)
}

/// `syslog`
pub fn syslog(kind: u32, buf: u32, len: u32) -> Result<u32> {
    const LOG_BUF_LEN: u32 = 1 << 16;
    match kind {
        // Close, open, console off, on and level.
        0 | 1 | 6 | 7 | 8 => Ok(0),
        2..=4 => {
            if len as i32 <= -1 {
                return Err(EINVAL);
            }
            let mut bytes = alloc::vec![0; len.min(LOG_BUF_LEN) as usize];
            let count = printk::read_log(&mut bytes);
            store(buf, &bytes[..count])?;
            Ok(count as u32)
        }
        5 => Ok(0),
        9 => Ok(0),
        10 => Ok(LOG_BUF_LEN),
        _ => Err(EINVAL),
    }
}

/// `getrandom`
pub fn getrandom(buf: u32, len: u32, flags: u32) -> Result<u32> {
    const KNOWN: u32 = 1 | 2 | 4;
    if flags & !KNOWN != 0 {
        return Err(EINVAL);
    }
    let len = len.min(i32::MAX as u32);
    let mut chunk = [0; 256];
    let mut done = 0;
    while done < len {
        let count = chunk.len().min((len - done) as usize);
        random::fill(&mut chunk[..count]);
        match store(buf.wrapping_add(done), &chunk[..count]) {
            Ok(()) => done += count as u32,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// `reboot`. The status of `exit N`, the argument of a restart, is for the host.
pub fn reboot(magic1: u32, magic2: u32, cmd: u32, arg: u32) -> Result<u32> {
    const MAGIC1: u32 = 0xfee1_dead;
    const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const RESTART: u32 = 0x0123_4567;
    const HALT: u32 = 0xcdef_0123;
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    const POWER_OFF: u32 = 0x4321_fedc;
    const RESTART2: u32 = 0xa1b2_c3d4;
    if current().cred.lock().euid != 0 {
        return Err(EPERM);
    }
    if magic1 != MAGIC1 || !MAGIC2.contains(&magic2) {
        return Err(EINVAL);
    }
    let status = match cmd {
        CAD_ON | CAD_OFF => return Ok(0),
        RESTART => {
            pr_info!("reboot: Restarting system");
            0
        }
        HALT => 0,
        POWER_OFF => {
            pr_info!("reboot: Power down");
            0
        }
        RESTART2 => {
            let command = strncpy_from_user(UserPtr::new(arg), 256)?;
            let command = alloc::string::String::from_utf8_lossy(&command).into_owned();
            match command.strip_prefix("exit ").and_then(|n| n.trim().parse::<u32>().ok()) {
                Some(status) => status,
                None => {
                    pr_info!("reboot: Restarting system with command '{command}'");
                    0
                }
            }
        }
        _ => return Err(EINVAL),
    };
    irqflags::local_irq_disable();
    debug_exit::exit(status);
    pr_info!("reboot: System halted");
    irqflags::halt_forever()
}

/// `personality`: only the one that everybody has.
pub fn personality(persona: u32) -> Result<u32> {
    const QUERY: u32 = !0;
    // Not randomising addresses is what this kernel does anyway.
    const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
    if persona == QUERY || persona & !ADDR_NO_RANDOMIZE == 0 { Ok(0) } else { Err(EINVAL) }
}

/// `capget`: root has them all.
pub fn capget(header: u32, data: u32) -> Result<u32> {
    const VERSION_3: u32 = 0x2008_0522;
    let version = u32::from_le_bytes(super::user::bytes(header)?);
    let words = match version {
        0x1998_0330 => 1,
        0x2007_1026 | VERSION_3 => 2,
        _ => {
            store(header, &VERSION_3.to_le_bytes())?;
            return if data == 0 { Ok(0) } else { Err(EINVAL) };
        }
    };
    if data == 0 {
        return Ok(0);
    }
    let all: u64 = if current().cred.lock().euid == 0 { 0x1ff_ffff_ffff } else { 0 };
    let mut bytes = alloc::vec::Vec::new();
    for n in 0..words {
        let part = (all >> (32 * n)) as u32;
        for word in [part, part, 0] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    store(data, &bytes).map(|()| 0)
}
