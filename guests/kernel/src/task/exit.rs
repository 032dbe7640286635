//! The end of a task, and waiting for it.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering::Relaxed;

use abi::errno::{ECHILD, EINVAL, Result};

use super::{
    TaskStruct, current, fork, futex, pid, sched,
    signal::{self, SIG_IGN, SIGCHLD, SIGCONT, SIGHUP, SigInfo, code, sa},
    stack,
    task_struct::{ChildUsage, CpuTime, JobReport, state},
    wait::wait_event,
};
use crate::{
    fs::FdTable,
    lib::panic,
    mm::uaccess::{UserPtr, put_user},
    sync::SpinLock,
};

/// Ends the whole process with a wait status.
pub fn do_group_exit(code: i32) {
    let task = current();
    task.signal().state.lock().exit_code.get_or_insert(code);
    for thread in pid::threads(task.tgid()) {
        if !core::ptr::eq(Arc::as_ptr(&thread), &raw const *task) {
            wake_to_die(&thread);
        }
    }
    // The caller's way to ring 3 leads through `do_signal`, which ends this thread with an
    // empty stack behind it.
}

/// Wakes a thread whatever it waits for, so that it finds that it is to die.
fn wake_to_die(thread: &Arc<TaskStruct>) {
    if matches!(thread.state(), state::INTERRUPTIBLE | state::STOPPED | state::UNINTERRUPTIBLE) {
        sched::make_ready(thread);
    } else {
        sched::kick_process(thread);
    }
}

/// Ends the other threads, for `execve`; the caller takes the number of the process.
pub fn de_thread() -> Result<()> {
    let task = current();
    {
        let mut group = task.signal().state.lock();
        if group.exit_code.is_some() || group.exec_thread.is_some() {
            return Err(abi::errno::EAGAIN);
        }
        group.exec_thread = Some(task.pid());
    }
    loop {
        let others = pid::select(|t| t.tgid() == task.tgid() && t.pid() != task.pid() && t.state() != state::ZOMBIE);
        if others.is_empty() {
            break;
        }
        others.iter().for_each(wake_to_die);
        drop(others);
        sched::schedule();
    }
    task.signal().state.lock().exec_thread = None;
    if !task.is_leader() {
        let leader = pid::find(task.tgid());
        let exit_signal = leader.map_or(SIGCHLD, |l| l.exit_signal.load(Relaxed));
        task.exit_signal.store(exit_signal, Relaxed);
        pid::take_over(&task.arc(), task.tgid());
    }
    fork::update_nr_threads(task.tgid());
    Ok(())
}

/// Lets go of the address space, and tells those who wait for that.
pub fn mm_release() {
    let task = current();
    futex::exit_robust_list(task.robust_list.swap(0, Relaxed));
    let addr = task.clear_child_tid.swap(0, Relaxed);
    let shared = pid::select(|t| t.record().with(|r| r.mm) == task.record().with(|r| r.mm)).len() > 1;
    if addr != 0 && shared {
        // A bad address is the program's loss.
        let _ = put_user(UserPtr::new(addr), 0u32);
        let _ = futex::wake(addr, 1, !0);
    }
    if let Some(done) = task.vfork_done.lock().take() {
        done.complete();
    }
}

/// Ends the running thread. Its stack and its `task_struct` outlast it until the next
/// thread runs; a process leaves a zombie for its parent.
pub fn do_exit(code: i32) -> ! {
    {
        let task = current();
        task.exiting.store(true, Relaxed);
        if task.pid() == 1 {
            panic::end(format_args!("Attempted to kill init! exitcode=0x{code:08x}"));
        }
        task.record().update(|r| r.exit_code = code as u32);
        mm_release();
        let group_dead = !pid::any(|t| t.tgid() == task.tgid() && !t.is_exiting());
        let mm = task.set_mm(None);
        sched::activate_mm(None);
        drop(mm);
        drop(task.exe.lock().take());
        let files = task.set_files(Arc::new(SpinLock::new(FdTable::default())));
        drop(files);
        if group_dead {
            super::itimer::cancel_all(task.signal());
            super::posix_timer::delete_all(task.signal());
            crate::drivers::tty::disassociate_on_exit(&task);
        }
        sched::account(&task, sched::Mode::System);
        let time = task.cpu_time();
        if task.is_leader() {
            task.set_state(state::ZOMBIE);
        } else {
            task.signal().state.lock().dead_threads += time;
            task.set_state(state::DEAD);
            sched::keep_time_of_dead(time);
            pid::remove(&task);
        }
        fork::update_nr_threads(task.tgid());
        if group_dead {
            end_of_process(task.tgid());
        }
        stack::usage::check(task.stack_base());
    }
    sched::schedule();
    unreachable!("a task that has ended runs again")
}

/// The last thread has ended: orphans go elsewhere, and the parent learns of it.
fn end_of_process(tgid: u32) {
    let Some(leader) = pid::find(tgid) else { return };
    reparent_children(&leader);
    let group_code = leader.signal().state.lock().exit_code;
    let code = group_code.unwrap_or_else(|| leader.record().with(|r| r.exit_code) as i32);
    leader.record().update(|r| r.exit_code = code as u32);
    kill_orphaned_pgrp(&leader, leader.ppid());
    notify_parent_of_end(&leader);
}

/// Tells the parent of `leader` that it has ended; without interest, it is gone at once.
fn notify_parent_of_end(leader: &Arc<TaskStruct>) {
    let Some(parent) = pid::find_process(leader.ppid()) else {
        release(leader);
        return;
    };
    let exit_signal = leader.exit_signal.load(Relaxed);
    let action = parent.sighand().lock().get(SIGCHLD);
    let no_interest = exit_signal == SIGCHLD && (action.handler == SIG_IGN || action.flags & sa::NOCLDWAIT != 0);
    if exit_signal != 0 && !(no_interest && action.handler == SIG_IGN) {
        let (code, status) = describe_end(leader.record().with(|r| r.exit_code));
        let info = SigInfo { signo: exit_signal, ..SigInfo::child(leader, code, status, process_time(leader)) };
        signal::send_to_process(&parent, info);
    }
    if no_interest {
        release(leader);
    }
    parent.signal().wait_chldexit.wake_all();
}

/// `si_code` and `si_status` of a wait status.
fn describe_end(status: u32) -> (i32, u32) {
    match status & 0x7f {
        0 => (code::CLD_EXITED, status >> 8 & 0xff),
        signal if status & 0x80 != 0 => (code::CLD_DUMPED, signal),
        signal => (code::CLD_KILLED, signal),
    }
}

/// Time of all threads of a process that has ended.
fn process_time(leader: &TaskStruct) -> CpuTime {
    let mut time = leader.cpu_time();
    time += leader.signal().state.lock().dead_threads;
    time
}

/// Children of a process that ends go to the nearest ancestor that wants them, or to PID 1.
fn reparent_children(dying: &Arc<TaskStruct>) {
    let reaper = find_reaper(dying);
    for child in pid::select(|t| t.ppid() == dying.tgid()) {
        child.record().update(|r| r.ppid = reaper);
        if !child.is_leader() {
            continue;
        }
        if child.state() == state::ZOMBIE && !has_live_threads(&child) {
            child.exit_signal.store(SIGCHLD, Relaxed);
            notify_parent_of_end(&child);
        } else {
            child.exit_signal.store(SIGCHLD, Relaxed);
            kill_orphaned_pgrp(&child, dying.tgid());
        }
    }
}

fn find_reaper(dying: &TaskStruct) -> u32 {
    let mut at = pid::find_process(dying.ppid());
    while let Some(ancestor) = at {
        if ancestor.pid() == 1 {
            break;
        }
        if ancestor.signal().child_subreaper.load(Relaxed) && ancestor.state() != state::ZOMBIE {
            return ancestor.pid();
        }
        at = pid::find_process(ancestor.ppid());
    }
    1
}

/// A group that loses its last link to its session, with stopped members, hears of it.
fn kill_orphaned_pgrp(task: &TaskStruct, parent: u32) {
    let Some(parent) = pid::find_process(parent) else { return };
    let linked = parent.pgrp() != task.pgrp() && parent.session() == task.session();
    if linked && signal::is_orphaned_pgrp(task.pgrp(), Some(task)) && signal::has_stopped_jobs(task.pgrp()) {
        signal::send_to_group(task.pgrp(), SigInfo::kernel(SIGHUP));
        signal::send_to_group(task.pgrp(), SigInfo::kernel(SIGCONT));
    }
}

fn has_live_threads(leader: &TaskStruct) -> bool {
    pid::any(|t| t.tgid() == leader.tgid() && !t.is_exiting())
}

/// Forgets a zombie.
fn release(leader: &Arc<TaskStruct>) {
    sched::keep_time_of_dead(leader.cpu_time());
    pid::remove(leader);
}

/// Which children a `wait` means.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// Any.
    Any,
    /// One process.
    Pid(u32),
    /// The members of a group.
    Group(u32),
}

/// Options of the `wait` family.
pub mod w {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const NOHANG: u32 = 1;
    pub const STOPPED: u32 = 2;
    pub const EXITED: u32 = 4;
    pub const CONTINUED: u32 = 8;
    pub const NOWAIT: u32 = 0x0100_0000;
    pub const NOTHREAD: u32 = 0x2000_0000;
    pub const ALL: u32 = 0x4000_0000;
    pub const CLONE: u32 = 0x8000_0000;
}

/// What a `wait` found.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "Linux's names")]
pub struct Found {
    pub pid: u32,
    pub uid: u32,
    /// As `waitpid` stores it.
    pub status: u32,
    pub usage: ChildUsage,
}

impl Found {
    /// `si_code` and `si_status`.
    pub fn describe(&self) -> (i32, u32) {
        match self.status {
            0xffff => (code::CLD_CONTINUED, SIGCONT),
            status if status & 0xff == 0x7f => (code::CLD_STOPPED, status >> 8 & 0xff),
            status => describe_end(status),
        }
    }
}

/// Waits for a child to change its state as `options` say; `None` with `WNOHANG` if there
/// is one but nothing to tell.
pub fn do_wait(which: Which, options: u32) -> Result<Option<Found>> {
    let queue = current().signal().wait_chldexit.clone();
    loop {
        if let Some(found) = look(which, options)? {
            return Ok(Some(found));
        }
        if options & w::NOHANG != 0 {
            return Ok(None);
        }
        wait_event(&queue, || !matches!(peek(which, options), Ok(false)))?;
    }
}

/// The children that `which` means.
fn children(which: Which, options: u32) -> Vec<Arc<TaskStruct>> {
    let tgid = current().tgid();
    pid::select(|t| {
        let meant = match which {
            Which::Any => true,
            Which::Pid(pid) => t.pid() == pid,
            Which::Group(pgrp) => t.pgrp() == pgrp,
        };
        let signals_sigchld = t.exit_signal.load(Relaxed) == SIGCHLD;
        let kind = options & w::ALL != 0 || (options & w::CLONE != 0) != signals_sigchld;
        t.ppid() == tgid && t.is_leader() && meant && kind
    })
}

/// Whether a child has something to tell; ECHILD without children.
fn peek(which: Which, options: u32) -> Result<bool> {
    let children = children(which, options);
    if children.is_empty() {
        return Err(ECHILD);
    }
    Ok(children.iter().any(|child| report(child, options).is_some()))
}

/// What a child has to tell.
fn report(child: &Arc<TaskStruct>, options: u32) -> Option<u32> {
    if child.state() == state::ZOMBIE {
        let ended = options & w::EXITED != 0 && !has_live_threads(child);
        return ended.then(|| child.record().with(|r| r.exit_code));
    }
    match child.signal().state.lock().report {
        JobReport::Stopped(signal) if options & w::STOPPED != 0 => Some(signal << 8 | 0x7f),
        JobReport::Continued if options & w::CONTINUED != 0 => Some(0xffff),
        _ => None,
    }
}

fn look(which: Which, options: u32) -> Result<Option<Found>> {
    let children = children(which, options);
    if children.is_empty() {
        return Err(ECHILD);
    }
    for child in &children {
        let Some(status) = report(child, options) else { continue };
        let mut usage = child.signal().state.lock().children;
        usage.time += process_time(child);
        child.record().with(|r| {
            usage.min_flt += r.min_flt;
            usage.maj_flt += r.maj_flt;
        });
        let uid = child.cred.lock().uid;
        let found = Found { pid: child.pid(), uid, status, usage };
        if options & w::NOWAIT == 0 {
            if child.state() == state::ZOMBIE {
                reap(child, usage);
            } else {
                child.signal().state.lock().report = JobReport::None;
            }
        }
        return Ok(Some(found));
    }
    Ok(None)
}

fn reap(child: &Arc<TaskStruct>, usage: ChildUsage) {
    {
        let parent = current();
        let mut group = parent.signal().state.lock();
        group.children.time += usage.time;
        group.children.min_flt += usage.min_flt;
        group.children.maj_flt += usage.maj_flt;
    }
    release(child);
}

/// EINVAL for options that `wait4` does not know.
pub fn check_wait4_options(options: u32) -> Result<()> {
    let known = w::NOHANG | w::STOPPED | w::CONTINUED | w::NOTHREAD | w::CLONE | w::ALL;
    if options & !known != 0 { Err(EINVAL) } else { Ok(()) }
}
