//! All tasks, by number.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use abi::{
    Ptr32,
    books::SystemPlaces,
    errno::{EAGAIN, Result},
};

use super::TaskStruct;
use crate::{
    lib::{
        books,
        race::{self, Race},
    },
    sync::SpinLock,
};

/// Numbers go up to here and then begin again.
pub const PID_MAX: u32 = 32768;
/// Where they begin again.
const RESERVED_PIDS: u32 = 300;

struct Tasks {
    by_pid: BTreeMap<u32, Arc<TaskStruct>>,
    last: u32,
    /// Forks so far.
    total_forks: u32,
}

static TASKS: SpinLock<Tasks> = SpinLock::new(Tasks { by_pid: BTreeMap::new(), last: 0, total_forks: 0 });

/// Tells the host where the counts lie.
#[allow(unsafe_code)]
pub fn note_places(places: &mut SystemPlaces) {
    let tasks = TASKS.data_ptr();
    // SAFETY: only addresses are taken.
    let (last, forks) = unsafe { (&raw const (*tasks).last, &raw const (*tasks).total_forks) };
    (places.last_pid, places.total_forks) = (Ptr32::new(last as u32), Ptr32::new(forks as u32));
}

/// The next free number. Nobody else gets it: kernel code is not preempted before `insert`
/// unless it sleeps, which no caller does.
pub fn alloc() -> Result<u32> {
    let mut tasks = TASKS.lock();
    let mut pid = tasks.last;
    for _ in 0..PID_MAX {
        pid = if pid + 1 >= PID_MAX { RESERVED_PIDS } else { pid + 1 };
        let group_uses = |t: &Arc<TaskStruct>| t.pgrp() == pid || t.session() == pid;
        if !tasks.by_pid.contains_key(&pid) && !tasks.by_pid.values().any(group_uses) {
            tasks.last = pid;
            return Ok(pid);
        }
    }
    Err(EAGAIN)
}

/// The highest free number, for kernel threads: the low ones belong to programs, whose
/// numbers must not depend on which threads the kernel has.
pub fn alloc_last() -> Result<u32> {
    let tasks = TASKS.lock();
    (RESERVED_PIDS..PID_MAX).rev().find(|pid| !tasks.by_pid.contains_key(pid)).ok_or(EAGAIN)
}

/// Makes a task known.
pub fn insert(task: &Arc<TaskStruct>) {
    let forks = TASKS.lock().total_forks;
    race::window(Race::Forks);
    let mut tasks = TASKS.lock();
    tasks.total_forks = forks + 1;
    tasks.by_pid.insert(task.pid(), task.clone());
    tasks.relink(task.pid());
}

/// Forgets a task.
pub fn remove(task: &TaskStruct) {
    let mut tasks = TASKS.lock();
    let removed = tasks.by_pid.remove(&task.pid());
    tasks.relink(task.pid());
    drop(tasks);
    drop(removed);
}

/// `execve` of a thread that is not the leader: it takes the leader's number.
pub fn take_over(task: &Arc<TaskStruct>, leader_pid: u32) {
    let mut tasks = TASKS.lock();
    let old = task.pid();
    let thread = tasks.by_pid.remove(&old);
    tasks.relink(old);
    task.record().update(|r| r.pid = leader_pid);
    let leader = tasks.by_pid.insert(leader_pid, task.clone());
    tasks.relink(leader_pid);
    drop(tasks);
    drop((thread, leader));
}

impl Tasks {
    /// Mends the host's list around `pid`.
    fn relink(&self, pid: u32) {
        books::update(|root| {
            let ptr = |task: Option<&Arc<TaskStruct>>| task.map_or(Ptr32::NULL, |t| t.record().ptr());
            let after = self.by_pid.range(pid + 1..).next().map(|(_, t)| t);
            let here = self.by_pid.get(&pid);
            if let Some(here) = here {
                here.record().update(|r| r.next = ptr(after));
            }
            let first_from_here = ptr(here.or(after));
            match self.by_pid.range(..pid).next_back() {
                Some((_, before)) => before.record().update(|r| r.next = first_from_here),
                None => root.tasks = first_from_here,
            }
        });
    }
}

/// The thread with a number.
pub fn find(pid: u32) -> Option<Arc<TaskStruct>> {
    TASKS.lock().by_pid.get(&pid).cloned()
}

/// The first thread of the process with a number.
pub fn find_process(pid: u32) -> Option<Arc<TaskStruct>> {
    find(pid).filter(|t| t.is_leader())
}

/// All threads, by ascending number.
pub fn all() -> Vec<Arc<TaskStruct>> {
    TASKS.lock().by_pid.values().cloned().collect()
}

/// All threads that satisfy a condition, by ascending number.
pub fn select(condition: impl Fn(&TaskStruct) -> bool) -> Vec<Arc<TaskStruct>> {
    TASKS.lock().by_pid.values().filter(|t| condition(t)).cloned().collect()
}

/// Calls `visit` with every thread, by ascending number; it allocates nothing.
pub fn for_each(mut visit: impl FnMut(&TaskStruct)) {
    TASKS.lock().by_pid.values().for_each(|task| visit(task));
}

/// Whether a thread satisfies a condition.
pub fn any(condition: impl Fn(&TaskStruct) -> bool) -> bool {
    TASKS.lock().by_pid.values().any(|t| condition(t))
}

/// The threads of a process.
pub fn threads(tgid: u32) -> Vec<Arc<TaskStruct>> {
    select(|t| t.tgid() == tgid)
}

/// The leaders of a process group.
pub fn group(pgrp: u32) -> Vec<Arc<TaskStruct>> {
    select(|t| t.is_leader() && t.pgrp() == pgrp)
}

/// Number of tasks, the last number given, and the number of forks so far.
pub fn counts() -> (u32, u32, u32) {
    let tasks = TASKS.lock();
    (tasks.by_pid.len() as u32, tasks.last, tasks.total_forks)
}
