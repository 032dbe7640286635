//! Waiting for several files: `poll` and `select`.

use alloc::{sync::Arc, vec::Vec};

use abi::{
    errno::{EBADF, EINTR, EINVAL, ERESTARTNOHAND, Result},
    wire::{u16_at, u32_at},
};

use super::user::{TimeFormat, bytes, duration_ns, store, store_timespec};
use crate::{
    fs::{File, PollTable, poll::events},
    mm::uaccess::{UserPtr, copy_from_user},
    task::{
        current,
        rlimits::resource,
        signal::{self, SIGKILL, SIGSTOP, mask},
        task_struct::state,
        timer,
    },
    time::ktime_get_ns,
};

/// A file and what is asked of it.
struct Item {
    file: Option<Arc<File>>,
    wanted: u32,
    found: u32,
}

/// Looks at all items, and sleeps until one is ready, the time is over or a signal comes.
/// Returns how many are ready.
fn wait(items: &mut [Item], deadline_ns: Option<u64>) -> Result<u32> {
    loop {
        // The tables stand until this round has slept.
        let mut table = PollTable::default();
        current().set_state(state::INTERRUPTIBLE);
        let mut ready = 0;
        for item in items.iter_mut() {
            let always = events::ERR | events::HUP | events::NVAL;
            table.ask_for(item.wanted);
            item.found = match &item.file {
                Some(file) => file.ops().poll(file, &mut table) & (item.wanted | always),
                None => events::NVAL,
            };
            ready += u32::from(item.found != 0);
        }
        let result = if ready > 0 {
            Some(Ok(ready))
        } else if deadline_ns.is_some_and(timer::has_passed) {
            Some(Ok(0))
        } else if signal::pending() {
            Some(Err(EINTR))
        } else {
            timer::sleep_until(deadline_ns);
            None
        };
        current().set_state(state::RUNNING);
        if let Some(result) = result {
            return result;
        }
    }
}

fn deadline(span_ns: Option<u64>) -> Option<u64> {
    span_ns.map(|ns| ktime_get_ns().saturating_add(ns))
}

/// `poll`
pub fn poll(fds: u32, count: u32, timeout_ms: u32) -> Result<u32> {
    let span = (timeout_ms as i32 >= 0).then(|| u64::from(timeout_ms) * 1_000_000);
    do_poll(fds, count, deadline(span)).map_err(|e| if e == EINTR { ERESTARTNOHAND } else { e })
}

fn do_poll(fds: u32, count: u32, deadline: Option<u64>) -> Result<u32> {
    if count > current().rlimit(resource::NOFILE) {
        return Err(EINVAL);
    }
    let mut raw = alloc::vec![0; count as usize * 8];
    copy_from_user(&mut raw, UserPtr::new(fds))?;
    // A negative descriptor asks for nothing.
    let asked: Vec<usize> = (0..count as usize).filter(|n| u32_at(&raw, n * 8) as i32 >= 0).collect();
    let mut items: Vec<Item> = asked
        .iter()
        .map(|n| Item {
            file: current().files().lock().get(u32_at(&raw, n * 8)).ok(),
            wanted: u16_at(&raw, n * 8 + 4).into(),
            found: 0,
        })
        .collect();
    let ready = wait(&mut items, deadline)?;
    for n in 0..count as usize {
        raw[n * 8 + 6..n * 8 + 8].fill(0);
    }
    for (n, item) in asked.iter().zip(&items) {
        raw[n * 8 + 6..n * 8 + 8].copy_from_slice(&(item.found as u16).to_le_bytes());
    }
    store(fds, &raw)?;
    Ok(ready)
}

/// Runs a wait with another set of blocked signals; a handler then finds the old one.
fn with_mask(set: Option<u64>, call: impl FnOnce() -> Result<u32>) -> Result<u32> {
    let Some(set) = set else { return call() };
    let task = current();
    let old = {
        let mut signals = task.signals.lock();
        core::mem::replace(&mut signals.blocked, set & !(mask(SIGKILL) | mask(SIGSTOP)))
    };
    let result = call();
    let mut signals = task.signals.lock();
    if result == Err(EINTR) {
        signals.saved = Some(old);
    } else {
        signals.blocked = old;
    }
    result
}

fn sigset(addr: u32, size: u32) -> Result<Option<u64>> {
    if addr == 0 {
        return Ok(None);
    }
    if size != 8 {
        return Err(EINVAL);
    }
    Ok(Some(u64::from_le_bytes(bytes(addr)?)))
}

/// Writes back how much of a span is left.
fn store_rest(addr: u32, format: TimeFormat, deadline: Option<u64>) -> Result<()> {
    match deadline {
        Some(deadline) if addr != 0 => store_timespec(addr, format, deadline.saturating_sub(ktime_get_ns())),
        _ => Ok(()),
    }
}

/// `ppoll`, `ppoll_time64`
pub fn ppoll(args: [u32; 6], format: TimeFormat) -> Result<u32> {
    let [fds, count, span, set, size, _] = args;
    let until = deadline(if span == 0 { None } else { Some(duration_ns(span, format)?) });
    let result = with_mask(sigset(set, size)?, || do_poll(fds, count, until));
    store_rest(span, format, until)?;
    result.map_err(|e| if e == EINTR { ERESTARTNOHAND } else { e })
}

const READABLE: u32 = events::RDNORM | events::RDBAND | events::IN | events::HUP | events::ERR;
const WRITABLE: u32 = events::WRNORM | events::WRBAND | events::OUT | events::ERR;
const EXCEPTION: u32 = events::PRI;

fn do_select(count: u32, sets: [u32; 3], until: Option<u64>) -> Result<u32> {
    if count as i32 <= -1 {
        return Err(EINVAL);
    }
    let count = count.min(current().files().lock().capacity());
    let words = count.div_ceil(32) as usize;
    let mut maps: [Vec<u8>; 3] = [const { Vec::new() }; 3];
    for (map, addr) in maps.iter_mut().zip(sets) {
        map.resize(words * 4, 0);
        if addr != 0 {
            copy_from_user(map, UserPtr::new(addr))?;
        }
    }
    let has = |map: &[u8], fd: u32| map[fd as usize / 8] >> (fd % 8) & 1 != 0;
    let mut fds = Vec::new();
    let mut items = Vec::new();
    for fd in 0..count {
        let asks = [READABLE, WRITABLE, EXCEPTION];
        let wanted = maps.iter().zip(asks).filter(|(map, _)| has(map, fd)).fold(0, |all, (_, ask)| all | ask);
        if wanted != 0 {
            let file = current().files().lock().get(fd).map_err(|_| EBADF)?;
            fds.push(fd);
            items.push(Item { file: Some(file), wanted, found: 0 });
        }
    }
    // HUP and ERR alone count only where they are asked for, so a wait may end with nothing.
    wait(&mut items, until)?;
    let mut total = 0;
    let mut out: [Vec<u8>; 3] = [const { Vec::new() }; 3];
    for ((map, result), ask) in maps.iter().zip(&mut out).zip([READABLE, WRITABLE, EXCEPTION]) {
        result.resize(words * 4, 0);
        for (fd, item) in fds.iter().zip(&items) {
            if has(map, *fd) && item.found & ask != 0 {
                result[*fd as usize / 8] |= 1 << (fd % 8);
                total += 1;
            }
        }
    }
    for (addr, map) in sets.into_iter().zip(&out) {
        if addr != 0 {
            store(addr, map)?;
        }
    }
    Ok(total)
}

/// `_newselect`: the time is in seconds and microseconds.
pub fn select(count: u32, sets: [u32; 3], timeval: u32) -> Result<u32> {
    let span = match timeval {
        0 => None,
        addr => {
            let b: [u8; 8] = bytes(addr)?;
            let (sec, usec) = (u32_at(&b, 0), u32_at(&b, 4));
            if (sec as i32) < 0 || (usec as i32) < 0 {
                return Err(EINVAL);
            }
            Some(u64::from(sec) * 1_000_000_000 + u64::from(usec) * 1000)
        }
    };
    let until = deadline(span);
    let result = do_select(count, sets, until);
    if let (Some(until), true) = (until, timeval != 0) {
        let left = until.saturating_sub(ktime_get_ns());
        let words = [(left / 1_000_000_000) as u32, (left % 1_000_000_000 / 1000) as u32];
        store(timeval, &words.map(u32::to_le_bytes).concat())?;
    }
    result.map_err(|e| if e == EINTR { ERESTARTNOHAND } else { e })
}

/// `pselect6`, `pselect6_time64`: the last argument points at the set and its size.
pub fn pselect6(args: [u32; 6], format: TimeFormat) -> Result<u32> {
    let [count, read, write, except, span, sig] = args;
    let until = deadline(if span == 0 { None } else { Some(duration_ns(span, format)?) });
    let set = match sig {
        0 => None,
        addr => {
            let b: [u8; 8] = bytes(addr)?;
            sigset(u32_at(&b, 0), u32_at(&b, 4))?
        }
    };
    let result = with_mask(set, || do_select(count, [read, write, except], until));
    store_rest(span, format, until)?;
    result.map_err(|e| if e == EINTR { ERESTARTNOHAND } else { e })
}
