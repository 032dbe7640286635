//! Which task runs: round robin, one time slice after the other.
#![allow(unsafe_code)]

use alloc::{collections::VecDeque, sync::Arc};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use abi::{U64, books::TaskRecord};

use super::{
    TaskStruct,
    cred::Cred,
    current, pid,
    rlimits::Rlimits,
    signal::{SigHand, TaskSignals},
    softirq,
    stack::KernelStack,
    task_struct::{CpuTime, SignalStruct, TaskParts, state},
    timer,
};
use crate::{
    arch::{
        ThreadStruct, boot::sections, cpu, irqflags, local_irq_disable, local_irq_enable, local_irq_restore,
        local_irq_save, paging, switch_to,
    },
    fs::{FdTable, namei::FsStruct},
    mm::{
        MmRef,
        uaccess::{UserPtr, put_user},
    },
    sync::{Once, SpinLock, schedule_debug},
    time::{TICK_NSEC, ktime_get_ns},
};

/// Ticks that a task may run while others wait.
const TIME_SLICE: u32 = 5;

struct RunQueue {
    ready: VecDeque<Arc<TaskStruct>>,
    running: Option<Arc<TaskStruct>>,
    /// Gave the CPU away and is let go of by the task that got it, on another stack.
    previous: Option<Arc<TaskStruct>>,
    /// Whose page directory is in CR3, which outlasts the switch to a kernel thread.
    active_mm: Option<MmRef>,
}

static RUN_QUEUE: SpinLock<RunQueue> =
    SpinLock::new(RunQueue { ready: VecDeque::new(), running: None, previous: None, active_mm: None });
static IDLE: Once<Arc<TaskStruct>> = Once::new();
static NEED_RESCHED: AtomicBool = AtomicBool::new(false);
static SLICE_LEFT: AtomicU32 = AtomicU32::new(TIME_SLICE);
static SWITCHES: AtomicU32 = AtomicU32::new(0);
/// Ready tasks besides the running one, for the tick, which must not touch the queue.
static NR_READY: AtomicU32 = AtomicU32::new(0);

/// Makes the running flow of control the idle task, PID 0. After this there is `current`.
pub fn init() {
    let stack = sections::init_stack();
    let mut comm = [0; 16];
    comm[..9].copy_from_slice(b"swapper/0");
    let record = TaskRecord { state: state::RUNNING, comm, nr_threads: 1, ..TaskRecord::default() };
    let parts = TaskParts {
        record,
        thread: ThreadStruct::boot(stack),
        stack: KernelStack::boot(stack),
        signal: SignalStruct::new(0, None, Rlimits::initial()),
        mm: None,
        fs: Arc::new(FsStruct::initial()),
        files: Arc::new(SpinLock::new(FdTable::default())),
        sighand: Arc::new(SpinLock::new(SigHand::default())),
        signals: TaskSignals::default(),
        cred: Cred::default(),
    };
    let idle = TaskStruct::new(parts);
    current::set(&idle);
    RUN_QUEUE.lock().running = Some(idle.clone());
    IDLE.set(idle);
}

/// The idle task's loop: waits for interrupts while nobody is ready.
pub fn cpu_idle() -> ! {
    loop {
        local_irq_disable();
        if NR_READY.load(Relaxed) == 0 && !softirq::pending() {
            irqflags::safe_halt();
        } else {
            local_irq_enable();
        }
        schedule();
    }
}

/// Asks for `schedule` on the way back to ring 3.
pub fn set_need_resched() {
    NEED_RESCHED.store(true, Relaxed);
}

/// Whether somebody asked.
pub fn need_resched() -> bool {
    NEED_RESCHED.load(Relaxed)
}

/// The timer interrupt.
pub fn tick() {
    if !current::exists() {
        return;
    }
    let now = ktime_get_ns();
    timer::tick(now);
    crate::drivers::ata::tick(now);
    let left = SLICE_LEFT.load(Relaxed);
    if left > 1 {
        SLICE_LEFT.store(left - 1, Relaxed);
    } else if NR_READY.load(Relaxed) > 0 {
        set_need_resched();
    }
    load::tick();
}

/// Makes a sleeping task ready. A running or ready one stays as it is.
pub fn wake_up_process(task: &Arc<TaskStruct>) {
    if matches!(task.state(), state::INTERRUPTIBLE | state::UNINTERRUPTIBLE) {
        make_ready(task);
    }
}

/// Makes a task ready that job control had stopped, or a new one.
pub fn make_ready(task: &Arc<TaskStruct>) {
    task.set_state(state::RUNNING);
    let is_running = core::ptr::eq(Arc::as_ptr(task), &raw const *current());
    if !is_running && !task.on_rq.swap(true, Relaxed) {
        let mut queue = RUN_QUEUE.lock();
        queue.ready.push_back(task.clone());
        NR_READY.store(queue.ready.len() as u32, Relaxed);
    }
}

/// Gives the CPU to the next ready task. A task in another state than running comes back
/// when somebody wakes it.
pub fn schedule() {
    schedule_debug();
    softirq::run();
    NEED_RESCHED.store(false, Relaxed);
    let flags = local_irq_save();
    if let Some((prev, next)) = pick_next() {
        SWITCHES.fetch_add(1, Relaxed);
        SLICE_LEFT.store(TIME_SLICE, Relaxed);
        // SAFETY: `prev` runs, `next` does not; the run queue and `previous` keep both
        // alive; interrupts are off.
        unsafe { switch_to(prev, next) };
        schedule_tail();
    }
    local_irq_restore(flags);
}

/// Chooses, and does all of the switch but the stacks. `None`: the task goes on.
fn pick_next() -> Option<(*mut ThreadStruct, *mut ThreadStruct)> {
    let mut queue = RUN_QUEUE.lock();
    let idle = IDLE.get();
    let prev = queue.running.clone()?;
    let is_idle = Arc::ptr_eq(&prev, idle);
    let runs_on = prev.state() == state::RUNNING;
    if runs_on && queue.ready.is_empty() {
        return None;
    }
    if runs_on && !is_idle {
        prev.on_rq.store(true, Relaxed);
        queue.ready.push_back(prev.clone());
    }
    let next = queue.ready.pop_front().unwrap_or_else(|| idle.clone());
    NR_READY.store(queue.ready.len() as u32, Relaxed);
    next.on_rq.store(false, Relaxed);
    if Arc::ptr_eq(&prev, &next) {
        return None;
    }
    let switches = if runs_on { &prev.nivcsw } else { &prev.nvcsw };
    switches.fetch_add(1, Relaxed);
    account(&prev, Mode::System);
    *next.accounted_ns.lock() = ktime_get_ns();

    let pointers = (prev.thread_ptr(), next.thread_ptr());
    let old_mm = next.mm().and_then(|mm| switch_mm(&mut queue, mm));
    current::set(&next);
    crate::lib::books::set_current(next.record().ptr());
    queue.running = Some(next);
    queue.previous = Some(prev);
    drop(queue);
    drop(old_mm);
    Some(pointers)
}

/// Loads the page directory of `mm`, and returns the address space that nobody of the
/// scheduler's needs any more.
fn switch_mm(queue: &mut RunQueue, mm: MmRef) -> Option<MmRef> {
    if queue.active_mm.as_ref().is_some_and(|active| active.ptr_eq(&mm)) {
        return Some(mm);
    }
    mm.activate();
    queue.active_mm.replace(mm)
}

/// The running task has another address space now (`execve`), or none (`exit`).
pub fn activate_mm(mm: Option<&MmRef>) {
    let old = {
        let mut queue = RUN_QUEUE.lock();
        match mm {
            Some(mm) => switch_mm(&mut queue, mm.clone()),
            None => {
                // SAFETY: the kernel's own directory maps the kernel.
                unsafe { cpu::load_cr3(paging::swapper_pg_dir_phys()) };
                queue.active_mm.take()
            }
        }
    };
    drop(old);
}

/// The first act of a task that has got the CPU: lets go of the one that gave it. A task
/// that has ended is freed here, on another stack than its own.
pub fn schedule_tail() {
    let previous = RUN_QUEUE.lock().previous.take();
    drop(previous);
    let set_child_tid = current().set_child_tid.swap(0, Relaxed);
    if set_child_tid != 0 {
        // As in Linux, a bad address goes unnoticed. A new task begins with interrupts off, and the
        // page may have to be copied first.
        local_irq_enable();
        let _ = put_user(UserPtr::new(set_child_tid), current().pid());
        local_irq_disable();
    }
}

/// Where time has been spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// In ring 3.
    User,
    /// In the kernel.
    System,
}

/// Counts the time since the last call for `task`.
pub fn account(task: &TaskStruct, mode: Mode) {
    let now = ktime_get_ns();
    let mut last = task.accounted_ns.lock();
    let passed = now.saturating_sub(*last);
    *last = now;
    task.record().update(|r| {
        let counter = if mode == Mode::User { &mut r.utime_ns } else { &mut r.stime_ns };
        *counter = U64::new(counter.get() + passed);
    });
}

static DEAD_TIME: SpinLock<CpuTime> = SpinLock::new(CpuTime { user_ns: 0, system_ns: 0 });

/// A task is forgotten: its time still counts for the CPU.
pub fn keep_time_of_dead(time: CpuTime) {
    *DEAD_TIME.lock() += time;
}

/// Time of all tasks that are forgotten.
pub fn dead_time() -> CpuTime {
    *DEAD_TIME.lock()
}

/// Time that the CPU had nothing to do.
pub fn idle_ns() -> u64 {
    IDLE.get().cpu_time().sum_ns()
}

/// Context switches since boot.
pub fn switches() -> u64 {
    SWITCHES.load(Relaxed).into()
}

/// Tasks that run or are ready.
pub fn nr_running() -> u32 {
    let idle_runs = core::ptr::eq(Arc::as_ptr(IDLE.get()), &raw const *current());
    NR_READY.load(Relaxed) + u32::from(!idle_runs)
}

/// Load averages over 1, 5 and 15 minutes.
pub mod load {
    use super::{AtomicU32, Relaxed, TICK_NSEC, pid};

    /// Fixed point with 11 fraction bits.
    const FIXED_1: u64 = 2048;
    /// 2048 / e^(5 s / 1, 5, 15 min)
    const EXP: [u64; 3] = [1884, 2014, 2037];
    const LOAD_TICKS: u32 = (5_000_000_000 / TICK_NSEC) as u32 + 1;

    static AVERAGES: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
    static TICKS: AtomicU32 = AtomicU32::new(0);

    /// Every five seconds the averages move on.
    pub(super) fn tick() {
        if !(TICKS.fetch_add(1, Relaxed) + 1).is_multiple_of(LOAD_TICKS) {
            return;
        }
        let active = u64::from(super::nr_running()) * FIXED_1;
        for (average, exp) in AVERAGES.iter().zip(EXP) {
            let old = u64::from(average.load(Relaxed));
            let sum = old * exp + active * (FIXED_1 - exp);
            let rounded = if active >= old { sum + FIXED_1 - 1 } else { sum };
            average.store((rounded / FIXED_1) as u32, Relaxed);
        }
    }

    /// The averages, and what else `/proc/loadavg` tells: ready tasks, all tasks, last PID.
    pub fn now() -> ([u32; 3], u32, u32, u32) {
        let (total, last, _) = pid::counts();
        (AVERAGES.each_ref().map(|a| a.load(Relaxed)), super::nr_running(), total, last)
    }
}
