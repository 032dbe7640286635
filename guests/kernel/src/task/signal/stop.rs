//! Job control: stopping and continuing.

use alloc::sync::Arc;

use super::{SIGCHLD, SigInfo, code, sa, send_to_process};
use crate::task::{
    TaskStruct, current, pid, sched,
    task_struct::{JobReport, state},
};

/// Stops the running process by `signal`.
pub(super) fn stop_current(signal: u32) {
    let task = current();
    {
        let mut group = task.signal().state.lock();
        group.stopped = true;
        group.report = JobReport::Stopped(signal);
    }
    // Others notice when they come by; who sleeps need not be disturbed, but a thread in
    // ring 3 of another CPU comes by at once.
    pid::threads(task.tgid()).iter().for_each(|thread| sched::kick_process(thread));
    notify_parent(&task, code::CLD_STOPPED, signal);
    sched::set_need_resched();
}

/// Waits while the process is stopped.
pub(super) fn park() {
    let task = current();
    while is_stopped(&task) {
        task.set_state(state::STOPPED);
        sched::schedule();
    }
    task.set_state(state::RUNNING);
}

fn is_stopped(task: &TaskStruct) -> bool {
    let group = task.signal().state.lock();
    group.stopped && group.exit_code.is_none() && !super::deliver::kill_pending(task, &group)
}

/// Continues a stopped process.
pub fn cont_group(task: &TaskStruct) {
    let was_stopped = {
        let mut group = task.signal().state.lock();
        let was_stopped = core::mem::take(&mut group.stopped);
        if was_stopped {
            group.report = JobReport::Continued;
        }
        was_stopped
    };
    if !was_stopped {
        return;
    }
    for thread in pid::threads(task.tgid()) {
        if thread.state() == state::STOPPED {
            sched::make_ready(&thread);
        }
    }
    notify_parent(task, code::CLD_CONTINUED, super::SIGCONT);
}

/// Tells the parent of a stop or its end.
fn notify_parent(task: &TaskStruct, code: i32, status: u32) {
    let (Some(leader), Some(parent)) = (pid::find(task.tgid()), pid::find_process(task.ppid())) else { return };
    if parent.sighand().lock().get(SIGCHLD).flags & sa::NOCLDSTOP == 0 {
        send_to_process(&parent, SigInfo::child(&leader, code, status, leader.cpu_time()));
    }
    parent.signal().wait_chldexit.wake_all();
}

/// Whether no process of the group has a parent outside the group but in its session: then
/// nobody could continue it. `but` does not count.
pub fn is_orphaned_pgrp(pgrp: u32, but: Option<&TaskStruct>) -> bool {
    let members = pid::group(pgrp);
    !members.iter().any(|task| {
        let skipped = but.is_some_and(|but| core::ptr::eq(Arc::as_ptr(task), but)) || task.state() == state::ZOMBIE;
        let parent = pid::find_process(task.ppid());
        !skipped && parent.is_some_and(|p| p.pid() != 1 && p.pgrp() != pgrp && p.session() == task.session())
    })
}

/// Whether a process of the group is stopped.
pub fn has_stopped_jobs(pgrp: u32) -> bool {
    pid::group(pgrp).iter().any(|task| task.signal().state.lock().stopped)
}
