//! Signals.

use abi::{
    errno::{EAGAIN, EINTR, EINVAL, ENOMEM, EPERM, ERESTARTNOHAND, ESRCH, Result},
    wire::{record, u32_at, u64_at},
};

use super::user::{TimeFormat, bytes, duration_ns, store};
use crate::{
    arch::PtRegs,
    task::{
        TaskStruct, current, itimer, pid, sched,
        signal::{
            self, AltStack, NSIG, SIG_DFL, SIG_IGN, SIGKILL, SIGSTOP, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, SigAction,
            SigInfo, SigSet, code, is_ignored_by_default, mask,
        },
        task_struct::state,
        timer,
    },
    time::ktime_get_ns,
};

const UNMASKABLE: SigSet = mask(SIGKILL) | mask(SIGSTOP);

fn check_size(size: u32) -> Result<()> {
    if size == 8 { Ok(()) } else { Err(EINVAL) }
}

/// Sets an action and returns the old one; signals that are now ignored are forgotten.
fn do_sigaction(number: u32, new: Option<SigAction>) -> Result<SigAction> {
    if !(1..=NSIG).contains(&number) || new.is_some() && UNMASKABLE & mask(number) != 0 {
        return Err(EINVAL);
    }
    let task = current();
    let old = task.sighand().lock().get(number);
    if let Some(mut new) = new {
        new.mask &= !UNMASKABLE;
        task.sighand().lock().set(number, new);
        let ignored = new.handler == SIG_IGN || new.handler == SIG_DFL && is_ignored_by_default(number);
        if ignored {
            task.signal().state.lock().pending.discard(mask(number));
            for thread in pid::threads(task.tgid()) {
                thread.signals.lock().pending.discard(mask(number));
            }
        }
    }
    Ok(old)
}

/// `rt_sigaction`: handler, flags, restorer, mask of 64 bits.
pub fn rt_sigaction(number: u32, new: u32, old: u32, size: u32) -> Result<u32> {
    check_size(size)?;
    let action = match new {
        0 => None,
        addr => {
            let b: [u8; 20] = bytes(addr)?;
            Some(SigAction {
                handler: u32_at(&b, 0),
                flags: u32_at(&b, 4),
                restorer: u32_at(&b, 8),
                mask: u64_at(&b, 12),
            })
        }
    };
    let before = do_sigaction(number, action)?;
    if old != 0 {
        let told = record::<20>(|w| {
            w.u32(before.handler).u32(before.flags).u32(before.restorer).u64(before.mask);
        });
        store(old, &told)?;
    }
    Ok(0)
}

/// `sigaction`: handler, mask of 32 bits, flags, restorer.
pub fn sigaction(number: u32, new: u32, old: u32) -> Result<u32> {
    let action = match new {
        0 => None,
        addr => {
            let b: [u8; 16] = bytes(addr)?;
            let mask = u32_at(&b, 4).into();
            Some(SigAction { handler: u32_at(&b, 0), flags: u32_at(&b, 8), restorer: u32_at(&b, 12), mask })
        }
    };
    let before = do_sigaction(number, action)?;
    if old != 0 {
        let told = record::<16>(|w| {
            w.u32(before.handler).u32(before.mask as u32).u32(before.flags).u32(before.restorer);
        });
        store(old, &told)?;
    }
    Ok(0)
}

/// `signal`
pub fn signal(number: u32, handler: u32) -> Result<u32> {
    let flags = signal::sa::RESETHAND | signal::sa::NODEFER;
    do_sigaction(number, Some(SigAction { handler, flags, ..SigAction::default() })).map(|old| old.handler)
}

/// `rt_sigprocmask`, and with sets of 32 bits `sigprocmask`.
pub fn sigprocmask(how: u32, set: u32, old: u32, bytes_of_set: usize) -> Result<u32> {
    let task = current();
    let before = task.signals.lock().blocked;
    if set != 0 {
        let low = match bytes_of_set {
            4 => u32::from_le_bytes(bytes(set)?).into(),
            _ => u64::from_le_bytes(bytes(set)?),
        };
        // The old call leaves the upper half alone.
        let upper = if bytes_of_set == 4 { before & !0xffff_ffff } else { 0 };
        let new = match how {
            0 => before | low,
            1 => before & !low,
            2 => low | upper,
            _ => return Err(EINVAL),
        };
        task.signals.lock().blocked = new & !UNMASKABLE;
    }
    if old != 0 {
        store(old, &before.to_le_bytes()[..bytes_of_set])?;
    }
    Ok(0)
}

/// `rt_sigprocmask`
pub fn rt_sigprocmask(how: u32, set: u32, old: u32, size: u32) -> Result<u32> {
    check_size(size)?;
    sigprocmask(how, set, old, 8)
}

/// `rt_sigpending`, `sigpending`
pub fn sigpending(addr: u32, size: u32) -> Result<u32> {
    if size > 8 {
        return Err(EINVAL);
    }
    let task = current();
    let shared = task.signal().state.lock().pending.set();
    let set = {
        let signals = task.signals.lock();
        (signals.pending.set() | shared) & signals.blocked
    };
    store(addr, &set.to_le_bytes()[..size as usize]).map(|()| 0)
}

/// Sleeps with another set of blocked signals until a handler has run.
fn suspend(set: SigSet) -> Result<u32> {
    let task = current();
    {
        let mut signals = task.signals.lock();
        signals.saved = Some(signals.blocked);
        signals.blocked = set & !UNMASKABLE;
    }
    pause()
}

/// `pause`
pub fn pause() -> Result<u32> {
    while !signal::pending() {
        current().set_state(state::INTERRUPTIBLE);
        sched::schedule();
    }
    current().set_state(state::RUNNING);
    Err(ERESTARTNOHAND)
}

/// `rt_sigsuspend`
pub fn rt_sigsuspend(set: u32, size: u32) -> Result<u32> {
    check_size(size)?;
    suspend(u64::from_le_bytes(bytes(set)?))
}

/// `sigsuspend`: the set is the third argument itself.
pub fn sigsuspend(set: u32) -> Result<u32> {
    suspend(set.into())
}

/// `rt_sigtimedwait`, `rt_sigtimedwait_time64`
pub fn sigtimedwait(set: u32, info: u32, span: u32, size: u32, format: TimeFormat) -> Result<u32> {
    check_size(size)?;
    let wanted: SigSet = u64::from_le_bytes(bytes(set)?) & !UNMASKABLE;
    let until = match span {
        0 => None,
        addr => Some(ktime_get_ns().saturating_add(duration_ns(addr, format)?)),
    };
    let task = current();
    loop {
        let taken = {
            let mut group = task.signal().state.lock();
            let mut signals = task.signals.lock();
            signals.pending.take(!wanted).or_else(|| group.pending.take(!wanted))
        };
        if let Some(taken) = taken {
            if info != 0 {
                store(info, &taken.to_bytes())?;
            }
            return Ok(taken.signo);
        }
        if until.is_some_and(timer::has_passed) {
            return Err(EAGAIN);
        }
        if signal::pending() {
            return Err(EINTR);
        }
        // What is waited for is blocked: it must wake this thread all the same.
        let blocked = {
            let mut signals = task.signals.lock();
            let before = signals.blocked;
            signals.blocked &= !wanted;
            before
        };
        task.set_state(state::INTERRUPTIBLE);
        timer::sleep_until(until);
        task.set_state(state::RUNNING);
        task.signals.lock().blocked = blocked;
    }
}

/// Whether the caller may signal a process.
fn may_signal(task: &TaskStruct, number: u32) -> Result<()> {
    let own = current().cred.lock().clone();
    let other = task.cred.lock().clone();
    let same = [own.euid, own.uid].iter().any(|id| *id == other.uid || *id == other.suid);
    let continues = number == signal::SIGCONT && task.session() == current().session();
    if own.euid == 0 || same || continues { Ok(()) } else { Err(EPERM) }
}

/// `kill`
pub fn kill(target: u32, number: u32) -> Result<u32> {
    if number > NSIG {
        return Err(EINVAL);
    }
    let own = current();
    let targets = match target as i32 {
        i32::MIN => return Err(ESRCH),
        -1 => pid::select(|t| t.is_leader() && t.pid() > 1 && t.tgid() != own.tgid()),
        0 => pid::group(own.pgrp()),
        n if n < 0 => pid::group(n.unsigned_abs()),
        n => pid::find(n as u32).into_iter().collect(),
    };
    if targets.is_empty() {
        return Err(ESRCH);
    }
    let mut result = Err(EPERM);
    for task in &targets {
        if may_signal(task, number).is_ok() {
            result = Ok(0);
            if number != 0 {
                signal::send_to_process(task, SigInfo::user(number, code::SI_USER));
            }
        }
    }
    result
}

/// `tkill`, `tgkill`: `tgid` 0 does not matter.
pub fn tgkill(tgid: u32, tid: u32, number: u32) -> Result<u32> {
    if tid as i32 <= 0 || number > NSIG {
        return Err(EINVAL);
    }
    let task = pid::find(tid).filter(|t| tgid == 0 || t.tgid() == tgid).ok_or(ESRCH)?;
    may_signal(&task, number)?;
    if number != 0 {
        signal::send_to_thread(&task, SigInfo::user(number, code::SI_TKILL));
    }
    Ok(0)
}

/// `rt_sigqueueinfo`
pub fn rt_sigqueueinfo(target: u32, number: u32, info: u32) -> Result<u32> {
    let info = SigInfo::from_bytes(number, &bytes(info)?)?;
    let task = pid::find(target).ok_or(ESRCH)?;
    if (info.code >= 0 || info.code == code::SI_TKILL) && task.tgid() != current().tgid() {
        return Err(EPERM);
    }
    may_signal(&task, number)?;
    if number != 0 {
        signal::send_to_process(&task, info);
    }
    Ok(0)
}

/// `sigaltstack`
pub fn sigaltstack(new: u32, old: u32, regs: &PtRegs) -> Result<u32> {
    const MINSIGSTKSZ: u32 = 2048;
    let task = current();
    let before = task.signals.lock().altstack;
    if new != 0 {
        let b: [u8; 12] = bytes(new)?;
        let (sp, flags, size) = (u32_at(&b, 0), u32_at(&b, 4), u32_at(&b, 8));
        if before.contains(regs.esp) {
            return Err(EPERM);
        }
        let mode = flags & !SS_AUTODISARM;
        if mode != 0 && mode != SS_DISABLE && mode != SS_ONSTACK {
            return Err(EINVAL);
        }
        let stack = if mode == SS_DISABLE {
            AltStack::default()
        } else if size < MINSIGSTKSZ {
            return Err(ENOMEM);
        } else {
            AltStack { sp, size, flags: flags & SS_AUTODISARM }
        };
        task.signals.lock().altstack = stack;
    }
    if old != 0 {
        let words = [before.sp, before.status(regs.esp) | before.flags, before.size];
        store(old, &words.map(u32::to_le_bytes).concat())?;
    }
    Ok(0)
}

/// `alarm`
pub fn alarm(seconds: u32) -> Result<u32> {
    let process = current().signal().clone();
    let (left, _) = itimer::get_real(&process);
    itimer::set_real(&process, u64::from(seconds) * 1_000_000_000, 0);
    // Rounded, but never to "none".
    Ok(if left == 0 { 0 } else { ((left + 500_000_000) / 1_000_000_000).max(1) as u32 })
}

fn timeval(b: &[u8], at: usize) -> Result<u64> {
    let (sec, usec) = (u32_at(b, at), u32_at(b, at + 4));
    if sec as i32 <= -1 || usec >= 1_000_000 {
        return Err(EINVAL);
    }
    Ok(u64::from(sec) * 1_000_000_000 + u64::from(usec) * 1000)
}

fn store_itimer(addr: u32, (value, interval): (u64, u64)) -> Result<()> {
    let words = [interval, value].map(|ns| [(ns / 1_000_000_000) as u32, (ns % 1_000_000_000 / 1000) as u32]);
    store(addr, &words.concat().iter().flat_map(|w| w.to_le_bytes()).collect::<alloc::vec::Vec<u8>>())
}

/// `setitimer`: `ITIMER_REAL`.
pub fn setitimer(which: u32, new: u32, old: u32) -> Result<u32> {
    check_itimer(which)?;
    let process = current().signal().clone();
    let before = itimer::get_real(&process);
    if new != 0 {
        let b: [u8; 16] = bytes(new)?;
        let (interval, value) = (timeval(&b, 0)?, timeval(&b, 8)?);
        itimer::set_real(&process, value, interval);
    }
    if old != 0 { store_itimer(old, before).map(|()| 0) } else { Ok(0) }
}

/// `getitimer`: `ITIMER_REAL`.
pub fn getitimer(which: u32, addr: u32) -> Result<u32> {
    check_itimer(which)?;
    store_itimer(addr, itimer::get_real(&current().signal().clone())).map(|()| 0)
}

/// The timers that count CPU time are not there.
fn check_itimer(which: u32) -> Result<()> {
    match which {
        0 => Ok(()),
        1 | 2 => Err(abi::errno::ENOSYS),
        _ => Err(EINVAL),
    }
}
