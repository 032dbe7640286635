//! What memory management asks of the running task and of all.

use alloc::string::String;

use super::{
    TaskStruct, current, pid,
    signal::{self, SIGKILL, SigInfo, send_to_process},
};
use crate::mm::{MmRef, MmStruct, oom::Candidate};

/// The running thread, for the kernel's messages.
pub fn pid_and_comm() -> (u32, String) {
    if !current::exists() {
        return (0, "swapper".into());
    }
    let task = current();
    (task.pid(), task.comm())
}

/// The running thread, for messages of code that holds locks and must not allocate.
pub struct Comm {
    /// Its number.
    pub pid: u32,
    name: [u8; 16],
}

impl core::fmt::Display for Comm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let len = self.name.iter().position(|&b| b == 0).unwrap_or(self.name.len());
        f.write_str(core::str::from_utf8(&self.name[..len]).unwrap_or("?"))
    }
}

/// The number and name of the running thread.
pub fn running() -> Comm {
    if !current::exists() {
        return Comm { pid: 0, name: *b"swapper\0\0\0\0\0\0\0\0\0" };
    }
    current().record().with(|record| Comm { pid: record.pid, name: record.comm })
}

/// The address space of the running thread, unless it is a kernel thread.
pub fn current_mm() -> Option<&'static MmStruct> {
    if current::exists() { current().mm_of_current() } else { None }
}

/// Counts a page fault that the running thread took.
pub fn account_fault(major: bool) {
    current().record().update(|r| {
        let count = if major { &mut r.maj_flt } else { &mut r.min_flt };
        *count = count.wrapping_add(1);
    });
}

/// The running thread's soft limit of a resource.
pub fn rlimit(resource: u32) -> u32 {
    current().rlimit(resource as usize)
}

/// `find_lock_task_mm`: the address space of a process, which outlives the process's first
/// thread while others run.
pub fn mm_of_process(leader: &TaskStruct) -> Option<MmRef> {
    leader.mm().or_else(|| pid::threads(leader.tgid()).iter().find_map(|thread| thread.mm()))
}

/// Calls `visit` with every process that has an address space.
pub fn for_each_process(visit: &mut dyn FnMut(Candidate)) {
    for task in pid::select(TaskStruct::is_leader) {
        let Some(mm) = mm_of_process(&task) else { continue };
        let group = task.signal().state.lock();
        let dying = group.exit_code.is_some() || group.pending.set() & signal::mask(SIGKILL) != 0;
        drop(group);
        let (comm, uid) = (task.comm(), task.cred.lock().uid);
        visit(Candidate { pid: task.pid(), comm: &comm, uid, mm: &mm, dying, oom_score_adj: 0 });
    }
}

/// Sends SIGKILL to a process.
pub fn kill_process(number: u32) {
    if let Some(task) = pid::find_process(number) {
        send_to_process(&task, SigInfo::kernel(SIGKILL));
    }
}
