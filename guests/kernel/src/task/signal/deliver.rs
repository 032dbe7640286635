//! Delivering signals on the way back to ring 3.

use abi::{
    errno::{ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS},
    nr,
};

use super::{
    SIG_DFL, SIG_IGN, SIGKILL, SIGSTOP, STOP_SIGNALS, SigAction, SigInfo, SigSet, TaskSignals, dumps_core, frame,
    is_ignored_by_default, is_orphaned_pgrp, mask, sa, stop,
};
use crate::{
    arch::PtRegs,
    task::{TaskStruct, current, exit::do_group_exit, task_struct::GroupState},
};

/// Never blocked.
const UNMASKABLE: SigSet = mask(SIGKILL) | mask(SIGSTOP);

/// Whether something disturbs the running thread's sleep: a signal to deliver, the end of
/// the process, or a stop.
pub fn pending() -> bool {
    let task = current();
    if task.mm_of_current().is_none() {
        return false;
    }
    let group = task.signal().state.lock();
    disturbs(&task, &group, &task.signals.lock())
}

fn disturbs(task: &TaskStruct, group: &GroupState, signals: &TaskSignals) -> bool {
    let waiting = signals.pending.set() | group.pending.set();
    waiting & !(signals.blocked & !UNMASKABLE) != 0
        || group.exit_code.is_some()
        || group.stopped
        || group.exec_thread.is_some_and(|thread| thread != task.pid())
}

/// Whether the running thread is to die.
pub fn fatal_pending() -> bool {
    let task = current();
    let group = task.signal().state.lock();
    group.exit_code.is_some() || kill_pending(&task, &group) || group.exec_thread.is_some_and(|t| t != task.pid())
}

pub(super) fn kill_pending(task: &TaskStruct, group: &GroupState) -> bool {
    (task.signals.lock().pending.set() | group.pending.set()) & mask(SIGKILL) != 0
}

/// Whether `do_signal` has something to do before ring 3.
pub fn has_work() -> bool {
    let task = current();
    let group = task.signal().state.lock();
    let signals = task.signals.lock();
    signals.restart_noted || signals.saved.is_some() || disturbs(&task, &group, &signals)
}

/// A call ended with a restart code: it must not reach the program, even if the signal
/// that disturbed it has gone.
pub fn note_restart() {
    current().signals.lock().restart_noted = true;
}

/// Delivers what waits: ends or stops the process, or changes `regs` so that a handler
/// runs.
pub fn do_signal(regs: &mut PtRegs) {
    let task = current();
    task.signals.lock().restart_noted = false;
    loop {
        let (exit_code, other_execs) = {
            let group = task.signal().state.lock();
            (group.exit_code, group.exec_thread.is_some_and(|thread| thread != task.pid()))
        };
        if other_execs {
            crate::task::exit::do_exit(0);
        }
        if let Some(code) = exit_code {
            crate::task::exit::do_exit(code);
        }
        stop::park();
        let Some(info) = dequeue(&task) else { break };
        let action = task.sighand().lock().get(info.signo);
        match action.handler {
            SIG_IGN => {}
            SIG_DFL => default_action(&task, info),
            _ => {
                handle(regs, info, action);
                return;
            }
        }
        if task.signal().state.lock().exit_code.is_some() {
            continue;
        }
    }
    restart_call(regs, None);
    let mut signals = task.signals.lock();
    if let Some(saved) = signals.saved.take() {
        signals.blocked = saved;
    }
}

/// The next signal of the thread, or of its process.
fn dequeue(task: &TaskStruct) -> Option<SigInfo> {
    let mut group = task.signal().state.lock();
    let mut signals = task.signals.lock();
    let blocked = signals.blocked & !UNMASKABLE;
    signals.pending.take(blocked).or_else(|| group.pending.take(blocked))
}

fn default_action(task: &TaskStruct, info: SigInfo) {
    let signal = info.signo;
    // What the first process does not handle cannot hurt it, unless it is its own fault.
    let is_own_fault = !info.is_from_user() && dumps_core(signal);
    if task.tgid() == 1 && !is_own_fault || is_ignored_by_default(signal) {
        return;
    }
    if STOP_SIGNALS & mask(signal) != 0 {
        if signal == SIGSTOP || !is_orphaned_pgrp(task.pgrp(), None) {
            stop::stop_current(signal);
        }
        return;
    }
    do_group_exit(signal as i32)
}

fn handle(regs: &mut PtRegs, info: SigInfo, mut action: SigAction) {
    let task = current();
    restart_call(regs, Some(action));
    let old_mask = {
        let mut signals = task.signals.lock();
        signals.saved.take().unwrap_or(signals.blocked)
    };
    if frame::setup(regs, info, &action, old_mask).is_err() {
        // No room for the frame. A handler of SIGSEGV itself has failed.
        if info.signo == super::SIGSEGV {
            action.handler = SIG_DFL;
            task.sighand().lock().set(info.signo, action);
        }
        super::force_sig(SigInfo::kernel(super::SIGSEGV));
        return;
    }
    let mut signals = task.signals.lock();
    signals.blocked |= action.mask;
    if action.flags & sa::NODEFER == 0 {
        signals.blocked |= mask(info.signo);
    }
    signals.blocked &= !UNMASKABLE;
    drop(signals);
    if action.flags & sa::RESETHAND != 0 {
        task.sighand().lock().set(info.signo, SigAction { handler: SIG_DFL, ..action });
    }
}

/// Turns a restart code into EINTR or into another try, once for each call.
fn restart_call(regs: &mut PtRegs, handler: Option<SigAction>) {
    let call = core::mem::replace(&mut regs.orig_eax, !0);
    if call == !0 {
        return;
    }
    let is = |errno: abi::Errno| regs.eax == errno.to_ret() as u32;
    let (code, again) = if is(ERESTARTNOINTR) {
        (true, Some(call))
    } else if is(ERESTARTSYS) {
        (true, (handler.is_none_or(|h| h.flags & sa::RESTART != 0)).then_some(call))
    } else if is(ERESTARTNOHAND) {
        (true, handler.is_none().then_some(call))
    } else if is(ERESTART_RESTARTBLOCK) {
        (true, handler.is_none().then_some(nr::RESTART_SYSCALL))
    } else {
        (false, None)
    };
    match again {
        Some(number) => {
            regs.eax = number;
            // Back over `int 0x80`.
            regs.eip = regs.eip.wrapping_sub(2);
        }
        None if code => regs.eax = abi::errno::EINTR.to_ret() as u32,
        None => {}
    }
}
