//! Sessions, and who is in the foreground.

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use abi::errno::{EINVAL, EIO, ENOTTY, EPERM, ERESTARTSYS, ESRCH, Result};

use super::Tty;
use crate::task::{
    TaskStruct, current, pid,
    signal::{self, SIG_IGN, SIGCONT, SIGHUP, SIGTTIN, SIGTTOU, SigInfo, send_to_group},
};

fn is_leader_of_session(task: &TaskStruct) -> bool {
    task.session() == task.tgid()
}

/// Whether `tty` controls the running process.
pub(super) fn is_own(tty: &Arc<Tty>) -> bool {
    current().signal().tty.lock().as_ref().is_some_and(|own| Arc::ptr_eq(own, tty))
}

/// A session leader without a terminal gets the one that it opens, if nobody has it.
pub(super) fn take_if_leader(tty: &Arc<Tty>) {
    let task = current();
    if is_leader_of_session(&task) && task.signal().tty.lock().is_none() && tty.session.load(Relaxed) == 0 {
        take(tty);
    }
}

fn take(tty: &Arc<Tty>) {
    let task = current();
    tty.session.store(task.session(), Relaxed);
    tty.pgrp.store(task.pgrp(), Relaxed);
    set_for_process(&task, Some(tty));
}

fn set_for_process(task: &TaskStruct, tty: Option<&Arc<Tty>>) {
    let old = core::mem::replace(&mut *task.signal().tty.lock(), tty.cloned());
    drop(old);
    let number = if tty.is_some() { Tty::DEVICE_NUMBER } else { 0 };
    for thread in pid::threads(task.tgid()) {
        thread.record().update(|r| r.tty_nr = number);
    }
}

/// `TIOCSCTTY`.
pub(super) fn set_controlling(tty: &Arc<Tty>, arg: u32) -> Result<u32> {
    let task = current();
    let session = tty.session.load(Relaxed);
    if is_leader_of_session(&task) && session == task.session() {
        return Ok(0);
    }
    if !is_leader_of_session(&task) || task.signal().tty.lock().is_some() {
        return Err(EPERM);
    }
    if session != 0 {
        // Only the superuser may steal it.
        if arg != 1 || task.cred.lock().euid != 0 {
            return Err(EPERM);
        }
        drop_from_session(session);
    }
    take(tty);
    Ok(0)
}

fn drop_from_session(session: u32) {
    for task in pid::select(|t| t.is_leader() && t.session() == session) {
        set_for_process(&task, None);
    }
}

/// `TIOCNOTTY`.
pub(super) fn give_up(tty: &Arc<Tty>) -> Result<u32> {
    if !is_own(tty) {
        return Err(ENOTTY);
    }
    let task = current();
    if is_leader_of_session(&task) {
        disassociate(&task)
    } else {
        set_for_process(&task, None)
    }
    Ok(0)
}

/// A session leader ends: its terminal is free again.
pub fn disassociate_on_exit(task: &TaskStruct) {
    if is_leader_of_session(task) {
        disassociate(task);
    }
}

fn disassociate(task: &TaskStruct) {
    let Some(tty) = task.signal().tty.lock().clone() else { return };
    let foreground = tty.pgrp.swap(0, Relaxed);
    if foreground != 0 {
        send_to_group(foreground, SigInfo::kernel(SIGHUP));
        send_to_group(foreground, SigInfo::kernel(SIGCONT));
    }
    tty.session.store(0, Relaxed);
    drop_from_session(task.session());
}

/// `TIOCGPGRP`.
pub(super) fn foreground(tty: &Arc<Tty>) -> Result<u32> {
    if !is_own(tty) {
        return Err(ENOTTY);
    }
    Ok(tty.pgrp.load(Relaxed))
}

/// `TIOCGSID`.
pub(super) fn session(tty: &Arc<Tty>) -> Result<u32> {
    if !is_own(tty) {
        return Err(ENOTTY);
    }
    Ok(tty.session.load(Relaxed))
}

/// `TIOCSPGRP`.
pub(super) fn set_foreground(tty: &Arc<Tty>, pgrp: u32) -> Result<u32> {
    if !is_own(tty) || tty.session.load(Relaxed) != current().session() {
        return Err(ENOTTY);
    }
    check_background(tty, SIGTTOU)?;
    if pgrp as i32 <= 0 {
        return Err(EINVAL);
    }
    let members = pid::group(pgrp);
    let first = members.first().ok_or(ESRCH)?;
    if first.session() != current().session() {
        return Err(EPERM);
    }
    tty.pgrp.store(pgrp, Relaxed);
    Ok(0)
}

/// A process in the background that uses its terminal is stopped by `signal`; EIO if
/// nobody could continue it.
pub(super) fn check_background(tty: &Arc<Tty>, sig: u32) -> Result<()> {
    let task = current();
    let foreground = tty.pgrp.load(Relaxed);
    if !is_own(tty) || foreground == 0 || foreground == task.pgrp() {
        return Ok(());
    }
    let blocked = task.signals.lock().blocked & signal::mask(sig) != 0;
    let ignored = blocked || task.sighand().lock().get(sig).handler == SIG_IGN;
    if ignored {
        return if sig == SIGTTIN { Err(EIO) } else { Ok(()) };
    }
    if signal::is_orphaned_pgrp(task.pgrp(), None) {
        return Err(EIO);
    }
    send_to_group(task.pgrp(), SigInfo::kernel(sig));
    Err(ERESTARTSYS)
}

/// Foreground process group of a process's terminal, -1 without one.
pub fn tpgid(task: &TaskStruct) -> i32 {
    task.signal().tty.lock().as_ref().map_or(-1, |tty| tty.pgrp.load(Relaxed) as i32)
}
