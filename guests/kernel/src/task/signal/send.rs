//! Sending signals.

use alloc::sync::Arc;

use super::{
    SIG_DFL, SIG_IGN, SIGCONT, SIGKILL, SIGSTOP, STOP_SIGNALS, SigInfo, SigSet, is_ignored_by_default, mask, stop,
};
use crate::task::{TaskStruct, current, pid, sched, task_struct::state};

/// Sends to the process that `task` belongs to.
pub fn send_to_process(task: &TaskStruct, info: SigInfo) {
    let candidates = pid::threads(task.tgid());
    // The first thread may have ended before the others.
    let Some(living) = candidates
        .iter()
        .find(|t| t.is_leader() && t.mm().is_some())
        .or_else(|| candidates.iter().find(|t| t.mm().is_some()))
    else {
        return;
    };
    if !prepare(living, info.signo) {
        return;
    }
    living.signal().state.lock().pending.add(info);
    // Whoever can take it, the first thread by preference.
    let taker = candidates.iter().find(|t| !t.is_exiting() && wants(t, info.signo));
    if let Some(task) = taker {
        signal_wake_up(task, info.signo);
    }
    if info.signo == SIGKILL {
        candidates.iter().for_each(|t| signal_wake_up(t, SIGKILL));
    }
}

/// Sends to one thread.
pub fn send_to_thread(task: &Arc<TaskStruct>, info: SigInfo) {
    if !prepare(task, info.signo) {
        return;
    }
    task.signals.lock().pending.add(info);
    if wants(task, info.signo) {
        signal_wake_up(task, info.signo);
    }
}

/// Sends to the running process.
pub fn send_to_current(info: SigInfo) {
    send_to_thread(&current().arc(), info);
}

/// Sends to every process of a group, and says whether there was one.
pub fn send_to_group(pgrp: u32, info: SigInfo) -> bool {
    let group = pid::group(pgrp);
    group.iter().for_each(|task| send_to_process(task, info));
    !group.is_empty()
}

/// Does at once what does not wait for delivery; false if nothing is left to deliver.
fn prepare(task: &TaskStruct, signal: u32) -> bool {
    if task.state() == state::ZOMBIE || task.mm().is_none() {
        return false;
    }
    if signal == SIGCONT {
        discard_everywhere(task, STOP_SIGNALS);
        stop::cont_group(task);
    } else if STOP_SIGNALS & mask(signal) != 0 {
        discard_everywhere(task, mask(SIGCONT));
    }
    !is_ignored(task, signal)
}

fn discard_everywhere(task: &TaskStruct, set: SigSet) {
    task.signal().state.lock().pending.discard(set);
    for thread in pid::threads(task.tgid()) {
        thread.signals.lock().pending.discard(set);
    }
}

/// Whether sending the signal has no effect at all. A blocked one may get a handler later.
fn is_ignored(task: &TaskStruct, signal: u32) -> bool {
    if task.signals.lock().blocked & mask(signal) != 0 {
        return false;
    }
    let handler = task.sighand().lock().get(signal).handler;
    let unkillable = task.tgid() == 1 && handler == SIG_DFL;
    handler == SIG_IGN || handler == SIG_DFL && (is_ignored_by_default(signal) || unkillable)
}

fn wants(task: &TaskStruct, signal: u32) -> bool {
    let unmaskable = mask(SIGKILL) | mask(SIGSTOP);
    (task.signals.lock().blocked & !unmaskable) & mask(signal) == 0
}

fn signal_wake_up(task: &Arc<TaskStruct>, signal: u32) {
    match task.state() {
        state::INTERRUPTIBLE => sched::wake_up_process(task),
        state::STOPPED | state::UNINTERRUPTIBLE if signal == SIGKILL => sched::make_ready(task),
        // In ring 3 of another CPU it hears of it at once.
        _ => sched::kick_process(task),
    }
}

/// Sends to the running thread a signal that it cannot ignore or block: if it tried, the
/// default happens.
pub fn force_sig(info: SigInfo) {
    let task = current();
    let bit = mask(info.signo);
    let sighand = task.sighand();
    {
        let mut sighand = sighand.lock();
        let mut signals = task.signals.lock();
        let mut action = sighand.get(info.signo);
        if signals.blocked & bit != 0 || action.handler == SIG_IGN {
            action.handler = SIG_DFL;
            sighand.set(info.signo, action);
            signals.blocked &= !bit;
        }
        signals.pending.add(info);
    }
}

/// Sends the signal of an exception to the running thread.
pub fn force_sig_fault(signal: u32, code: u32, addr: u32, trap_nr: u32, error_code: u32) {
    current().with_thread(|thread| {
        if trap_nr == 14 {
            thread.cr2 = addr;
        }
        thread.trap_nr = trap_nr;
        thread.error_code = error_code;
    });
    force_sig(SigInfo::fault(signal, code, addr));
}

/// Whether the running thread has a handler for the signal that will run.
pub fn is_handled(signal: u32) -> bool {
    let task = current();
    let handler = task.sighand().lock().get(signal).handler;
    let blocked = task.signals.lock().blocked & mask(signal) != 0;
    handler != SIG_DFL && handler != SIG_IGN && !blocked
}
