//! `task_struct` and `signal_struct`.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed},
};

use abi::{
    Ptr32, U64,
    books::{ChildUsageRecord, CpuTimeRecord, TaskPlacesRecord, TaskRecord},
};

use super::{
    cred::Cred,
    exec::ExeFile,
    itimer::ITimers,
    posix_timer::PosixTimers,
    rlimits::Rlimits,
    signal::{Pending, SigHand, TaskSignals},
    stack::KernelStack,
    wait::{Completion, WaitQueue},
};
use crate::{
    arch::{PtRegs, ThreadStruct, task_pt_regs},
    drivers::tty::Tty,
    fs::{Book, FdTable, namei::FsStruct},
    mm::{MmRef, MmStruct},
    sync::SpinLock,
    time::Moment,
};

/// States of a task, as `/proc/PID/stat` shows them.
pub mod state {
    #![allow(missing_docs, reason = "Linux's letters")]
    pub const RUNNING: u32 = b'R' as u32;
    pub const INTERRUPTIBLE: u32 = b'S' as u32;
    pub const UNINTERRUPTIBLE: u32 = b'D' as u32;
    pub const STOPPED: u32 = b'T' as u32;
    pub const ZOMBIE: u32 = b'Z' as u32;
    pub const DEAD: u32 = b'X' as u32;
    pub const IDLE: u32 = b'I' as u32;
}

/// Nanoseconds on the CPU.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct CpuTime {
    /// In ring 3.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
}

impl CpuTime {
    /// Both together.
    pub fn sum_ns(&self) -> u64 {
        self.user_ns + self.system_ns
    }
}

impl core::ops::AddAssign for CpuTime {
    fn add_assign(&mut self, other: CpuTime) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
    }
}

/// Time and faults of children that were waited for.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "Linux's names")]
#[repr(C)]
pub struct ChildUsage {
    pub time: CpuTime,
    pub min_flt: u32,
    pub maj_flt: u32,
    pub maxrss: u32,
}

// The host reads them as these records.
const _: () = assert!(size_of::<CpuTime>() == size_of::<CpuTimeRecord>());
const _: () = assert!(size_of::<ChildUsage>() == size_of::<ChildUsageRecord>());

/// How job control stopped or continued a process, until its parent has heard of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum JobReport {
    /// Nothing to tell.
    #[default]
    None,
    /// Stopped by this signal.
    Stopped(u32),
    /// Continued.
    Continued,
}

/// What changes in a thread group.
#[derive(Default)]
pub struct GroupState {
    /// Signals for any of the threads.
    pub pending: Pending,
    /// The status that every thread dies with, once one of them ends the group.
    pub exit_code: Option<i32>,
    /// The group is stopped by job control.
    pub stopped: bool,
    /// What `wait` has to tell the parent.
    pub report: JobReport,
    /// Time of threads that have ended.
    pub dead_threads: CpuTime,
    /// Of waited-for children.
    pub children: ChildUsage,
    /// This thread is replacing the program and ends all others.
    pub exec_thread: Option<u32>,
    /// The process has called `execve` since it was made.
    pub did_exec: bool,
}

/// `signal_struct`: what the threads of a process share.
pub struct SignalStruct {
    /// Number of the process.
    pub tgid: u32,
    /// What changes.
    pub state: SpinLock<GroupState>,
    /// Where the process waits for its children.
    pub wait_chldexit: Arc<WaitQueue>,
    /// The controlling terminal.
    pub tty: SpinLock<Option<Arc<Tty>>>,
    /// Limits.
    pub rlimits: SpinLock<Rlimits>,
    /// Timers that signal.
    pub itimers: SpinLock<ITimers>,
    /// Timers that the process has made.
    pub posix_timers: SpinLock<PosixTimers>,
    /// Orphaned children come to the nearest ancestor that asked for them.
    pub child_subreaper: AtomicBool,
}

impl SignalStruct {
    /// For a new process.
    pub fn new(tgid: u32, tty: Option<Arc<Tty>>, rlimits: Rlimits) -> Arc<Self> {
        Arc::new(SignalStruct {
            tgid,
            state: SpinLock::new(GroupState::default()),
            wait_chldexit: Arc::default(),
            tty: SpinLock::new(tty),
            rlimits: SpinLock::new(rlimits),
            itimers: SpinLock::new(ITimers::default()),
            posix_timers: SpinLock::new(PosixTimers::default()),
            child_subreaper: AtomicBool::new(false),
        })
    }
}

/// What a new task begins with.
#[allow(missing_docs, reason = "as in `TaskStruct`")]
pub struct TaskParts {
    pub record: TaskRecord,
    pub thread: ThreadStruct,
    pub stack: KernelStack,
    pub signal: Arc<SignalStruct>,
    pub mm: Option<MmRef>,
    pub fs: Arc<SpinLock<FsStruct>>,
    pub files: Arc<SpinLock<FdTable>>,
    pub sighand: Arc<SpinLock<SigHand>>,
    pub signals: TaskSignals,
    pub cred: Cred,
    pub cpus_allowed: u32,
}

/// `task_struct`: a thread.
#[repr(C)]
pub struct TaskStruct {
    record: Book<TaskRecord>,
    places: Book<TaskPlacesRecord>,
    thread: UnsafeCell<ThreadStruct>,
    stack: KernelStack,
    signal: Arc<SignalStruct>,
    mm: SpinLock<Option<MmRef>>,
    fs: SpinLock<Arc<SpinLock<FsStruct>>>,
    files: SpinLock<Arc<SpinLock<FdTable>>>,
    sighand: SpinLock<Arc<SpinLock<SigHand>>>,
    /// Signals of this thread.
    pub signals: SpinLock<TaskSignals>,
    /// Who it acts as.
    pub cred: SpinLock<Cred>,
    /// The file of the running program.
    pub exe: SpinLock<Option<Arc<ExeFile>>>,
    /// Where to store 0 and wake a futex at the end.
    pub clear_child_tid: AtomicU32,
    /// Where the new thread stores its number when it first runs.
    pub set_child_tid: AtomicU32,
    /// Head of the list of robust futexes.
    pub robust_list: AtomicU32,
    /// The signal that tells the parent of the end; 0 none.
    pub exit_signal: AtomicU32,
    /// What the parent of a `vfork` waits for.
    pub vfork_done: SpinLock<Option<Arc<Completion>>>,
    /// It is in a run queue.
    pub on_rq: AtomicBool,
    /// CPUs that it may run on, as a mask.
    pub cpus_allowed: AtomicU32,
    /// When it last said that it would sleep after a wake-up, it did so before the next tick.
    pub sleeps_as_said: AtomicBool,
    /// It is past the point of no return.
    pub exiting: AtomicBool,
    /// It reclaims memory, and may take the reserve for that (`PF_MEMALLOC`).
    pub memalloc: AtomicBool,
    /// How modest it is, -20 to 19. Everybody gets the same share all the same.
    pub nice: AtomicI32,
    /// The CPU was given away by waiting.
    pub nvcsw: AtomicU32,
    /// The CPU was taken away.
    pub nivcsw: AtomicU32,
    /// When its time was last counted.
    pub accounted: Moment,
    /// The deadline of a `restart_syscall`, and its arguments.
    pub restart: SpinLock<Option<super::timer::Restart>>,
}

// SAFETY: `thread` is touched only by the task itself and by the scheduler while the task
// does not run, under the kernel lock.
unsafe impl Sync for TaskStruct {}
// SAFETY: as above; nothing in a task is bound to a CPU.
unsafe impl Send for TaskStruct {}

impl TaskStruct {
    /// A task out of its parts. It neither runs nor has anybody heard of it.
    pub fn new(parts: TaskParts) -> Arc<Self> {
        let mut record = parts.record;
        record.stack = parts.stack.base();
        record.cpus_allowed = parts.cpus_allowed;
        record.mm = parts.mm.as_ref().map_or(Ptr32::NULL, |mm| mm.record());
        record.start_time_ns = U64::new(crate::time::ktime_get_ns());
        let task = Arc::new(TaskStruct {
            record: Book::new(record),
            places: Book::new(TaskPlacesRecord::default()),
            thread: UnsafeCell::new(parts.thread),
            stack: parts.stack,
            signal: parts.signal,
            mm: SpinLock::new(parts.mm),
            fs: SpinLock::new(parts.fs),
            files: SpinLock::new(parts.files),
            sighand: SpinLock::new(parts.sighand),
            signals: SpinLock::new(parts.signals),
            cred: SpinLock::new(parts.cred),
            exe: SpinLock::new(None),
            clear_child_tid: AtomicU32::new(0),
            set_child_tid: AtomicU32::new(0),
            robust_list: AtomicU32::new(0),
            exit_signal: AtomicU32::new(0),
            vfork_done: SpinLock::new(None),
            on_rq: AtomicBool::new(false),
            cpus_allowed: AtomicU32::new(parts.cpus_allowed),
            sleeps_as_said: AtomicBool::new(true),
            exiting: AtomicBool::new(false),
            memalloc: AtomicBool::new(false),
            nice: AtomicI32::new(0),
            nvcsw: AtomicU32::new(0),
            nivcsw: AtomicU32::new(0),
            accounted: Moment::now(),
            restart: SpinLock::new(None),
        });
        task.note_places();
        task.record.update(|r| r.places = task.places.ptr());
        task
    }

    /// Tells the host where the words lie that are not in the record.
    fn note_places(&self) {
        fn at<T, U>(word: *const T) -> Ptr32<U> {
            Ptr32::new(word as u32)
        }
        let (fs, files) = (self.fs.lock().data_ptr(), self.files.lock().data_ptr());
        let (signals, group) = (self.signals.data_ptr(), self.signal.state.data_ptr());
        // SAFETY: only addresses are taken, of what the task keeps as long as it says so here.
        let places = unsafe {
            TaskPlacesRecord {
                nr_fds: at(&raw const (*files).nr_fds),
                umask: at(&raw const (*fs).umask),
                cred: at(self.cred.data_ptr()),
                sigactions: at((*self.sighand.lock().data_ptr()).actions()),
                blocked: at(&raw const (*signals).blocked),
                pending: (*signals).pending.record(),
                shared_pending: (*group).pending.record(),
                children: at(&raw const (*group).children),
                dead_threads: at(&raw const (*group).dead_threads),
                rlimits: at(self.signal.rlimits.data_ptr()),
                exit_signal: at(self.exit_signal.as_ptr()),
                nice: at(self.nice.as_ptr()),
                nvcsw: at(self.nvcsw.as_ptr()),
                nivcsw: at(self.nivcsw.as_ptr()),
            }
        };
        self.places.update(|record| *record = places);
    }

    /// The record that the host reads.
    pub fn record(&self) -> &Book<TaskRecord> {
        &self.record
    }

    /// The thread's own number.
    pub fn pid(&self) -> u32 {
        self.record.with(|r| r.pid)
    }

    /// The process's number.
    pub fn tgid(&self) -> u32 {
        self.record.with(|r| r.tgid)
    }

    /// The parent process's number.
    pub fn ppid(&self) -> u32 {
        self.record.with(|r| r.ppid)
    }

    /// The process group.
    pub fn pgrp(&self) -> u32 {
        self.record.with(|r| r.pgrp)
    }

    /// The session.
    pub fn session(&self) -> u32 {
        self.record.with(|r| r.session)
    }

    /// The letter of its state.
    pub fn state(&self) -> u32 {
        self.record.with(|r| r.state)
    }

    /// Sets the state.
    pub fn set_state(&self, state: u32) {
        self.record.update(|r| r.state = state);
    }

    /// Whether it is the first thread of its process.
    pub fn is_leader(&self) -> bool {
        self.record.with(|r| r.pid == r.tgid)
    }

    /// The name, without padding.
    pub fn comm(&self) -> alloc::string::String {
        let comm = self.record.with(|r| r.comm);
        let len = comm.iter().position(|&b| b == 0).unwrap_or(comm.len());
        alloc::string::String::from_utf8_lossy(&comm[..len]).into_owned()
    }

    /// Names the task: at most 15 bytes count.
    pub fn set_comm(&self, name: &[u8]) {
        let mut comm = [0; 16];
        let len = name.len().min(15);
        comm[..len].copy_from_slice(&name[..len]);
        self.record.update(|r| r.comm = comm);
    }

    /// What the process's threads share.
    pub fn signal(&self) -> &Arc<SignalStruct> {
        &self.signal
    }

    /// The address space; `None` in kernel threads and after the end.
    pub fn mm(&self) -> Option<MmRef> {
        self.mm.lock().clone()
    }

    /// The address space of the running task, which stays while the task does not change it.
    pub fn mm_of_current(&self) -> Option<&'static MmStruct> {
        let mm = self.mm.lock();
        let at: *const MmStruct = &raw const **mm.as_ref()?;
        // SAFETY: the caller is the running task, and keeps its own address space at least
        // until it returns from what it needs this for.
        Some(unsafe { &*at })
    }

    /// The address space, for the scheduler: the task keeps it while it runs.
    pub fn mm_of_task(&self) -> Option<&MmStruct> {
        let mm = self.mm.lock();
        let at: *const MmStruct = &raw const **mm.as_ref()?;
        // SAFETY: the task does not run, and nobody else changes what it has.
        Some(unsafe { &*at })
    }

    /// The CPU that it runs on or last ran on.
    pub fn cpu(&self) -> u32 {
        self.record.with(|r| r.cpu)
    }

    /// Says where it runs next.
    pub fn set_cpu(&self, number: u32) {
        self.record.update(|r| r.cpu = number);
    }

    /// Replaces the address space and returns the old one.
    pub fn set_mm(&self, mm: Option<MmRef>) -> Option<MmRef> {
        let record = mm.as_ref().map_or(Ptr32::NULL, |mm| mm.record());
        self.record.update(|r| r.mm = record);
        core::mem::replace(&mut self.mm.lock(), mm)
    }

    /// Root, working directory and umask.
    pub fn fs(&self) -> Arc<SpinLock<FsStruct>> {
        self.fs.lock().clone()
    }

    /// Stops sharing them (`CLONE_FS`).
    pub fn set_fs(&self, fs: Arc<SpinLock<FsStruct>>) {
        *self.fs.lock() = fs;
        self.note_places();
    }

    /// The descriptors.
    pub fn files(&self) -> Arc<SpinLock<FdTable>> {
        self.files.lock().clone()
    }

    /// Replaces the table of descriptors and returns the old one.
    pub fn set_files(&self, files: Arc<SpinLock<FdTable>>) -> Arc<SpinLock<FdTable>> {
        let old = core::mem::replace(&mut *self.files.lock(), files);
        self.note_places();
        old
    }

    /// The handlers of signals.
    pub fn sighand(&self) -> Arc<SpinLock<SigHand>> {
        self.sighand.lock().clone()
    }

    /// Replaces the handlers.
    pub fn set_sighand(&self, sighand: Arc<SpinLock<SigHand>>) {
        *self.sighand.lock() = sighand;
        self.note_places();
    }

    /// User and group for files.
    pub fn fsuid_gid(&self) -> (u32, u32) {
        let cred = self.cred.lock();
        (cred.euid, cred.egid)
    }

    /// The soft limit number `resource`.
    pub fn rlimit(&self, resource: usize) -> u32 {
        self.signal.rlimits.lock().0[resource].cur
    }

    /// Whether it is past the point of no return.
    pub fn is_exiting(&self) -> bool {
        self.exiting.load(Relaxed)
    }

    /// Lowest address of the kernel stack.
    pub fn stack_base(&self) -> u32 {
        self.stack.base()
    }

    /// Whether its kernel stack was large enough so far.
    #[inline]
    pub fn stack_end_is_whole(&self) -> bool {
        self.stack.end_is_whole()
    }

    /// The part that belongs to the processor.
    ///
    /// Only the scheduler and the task itself use it.
    pub fn thread_ptr(&self) -> *mut ThreadStruct {
        self.thread.get()
    }

    /// Uses the part that belongs to the processor; the task is the running one.
    pub fn with_thread<R>(&self, change: impl FnOnce(&mut ThreadStruct) -> R) -> R {
        // SAFETY: the running task is the only one that touches its own, see `Sync`.
        change(unsafe { &mut *self.thread.get() })
    }

    /// A copy of the registers of ring 3, as they were when the thread entered the kernel.
    pub fn user_regs(&self) -> PtRegs {
        // SAFETY: the top of every kernel stack is initialised with them.
        unsafe { *task_pt_regs(self.stack.base()) }
    }

    /// Time on the CPU, up to the last time it was counted.
    pub fn cpu_time(&self) -> CpuTime {
        self.record.with(|r| CpuTime { user_ns: r.utime_ns.get(), system_ns: r.stime_ns.get() })
    }
}
