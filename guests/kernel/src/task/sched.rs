//! Which task runs where: each CPU has a queue, round robin, one time slice after the other.
#![allow(unsafe_code)]

use alloc::{collections::VecDeque, sync::Arc};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::{U64, books::TaskRecord, errno::Result};

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
        ThreadStruct,
        boot::sections,
        irqflags, local_irq_disable, local_irq_enable, local_irq_restore, local_irq_save,
        percpu::{NR_CPUS, cpu_number, need_resched, per_cpu, this_cpu},
        smp, switch_to, tlb,
    },
    fs::{FdTable, namei::FsStruct},
    lib::books::{self, Spent},
    mm::{
        MmRef,
        uaccess::{UserPtr, put_user},
    },
    sync::{SpinLock, lock_kernel, schedule_debug, unlock_kernel, yield_kernel},
    time::{TICK_NSEC, ktime_get_ns},
};

/// Ticks that a task may run while others wait.
const TIME_SLICE: u32 = 5;

/// The tasks of a CPU. The kernel lock makes every look at another CPU's queue a true one.
struct RunQueue {
    ready: VecDeque<Arc<TaskStruct>>,
    running: Option<Arc<TaskStruct>>,
    /// Gave the CPU away and is let go of by the task that got it, on another stack.
    previous: Option<Arc<TaskStruct>>,
    idle: Option<Arc<TaskStruct>>,
}

static RUN_QUEUES: [SpinLock<RunQueue>; NR_CPUS] =
    [const { SpinLock::new(RunQueue { ready: VecDeque::new(), running: None, previous: None, idle: None }) }; NR_CPUS];
static SWITCHES: AtomicU32 = AtomicU32::new(0);

fn this_queue() -> &'static SpinLock<RunQueue> {
    &RUN_QUEUES[cpu_number() as usize]
}

/// Makes the running flow of control the idle task, PID 0. After this there is `current`.
pub fn init() {
    let idle = idle_task(0, ThreadStruct::boot(sections::init_stack()), KernelStack::boot(sections::init_stack()));
    adopt_idle(0, idle);
}

/// Makes the idle task of a CPU that is about to be started, and says where its stack begins.
/// ENOMEM without memory for that.
pub fn init_idle(number: u32) -> Result<u32> {
    let stack = KernelStack::new()?;
    let base = stack.base();
    adopt_idle(number, idle_task(number, ThreadStruct::boot(base), stack));
    Ok(base)
}

/// Lowest address of the stack of a CPU's idle task.
pub fn idle_stack(number: u32) -> u32 {
    RUN_QUEUES[number as usize].lock().idle.as_ref().map_or(0, |idle| idle.stack_base())
}

fn idle_task(number: u32, thread: ThreadStruct, stack: KernelStack) -> Arc<TaskStruct> {
    let mut comm = *b"swapper/0\0\0\0\0\0\0\0";
    comm[8] += number as u8;
    let record = TaskRecord { state: state::RUNNING, comm, nr_threads: 1, cpu: number, ..TaskRecord::default() };
    TaskStruct::new(TaskParts {
        record,
        thread,
        stack,
        signal: SignalStruct::new(0, None, Rlimits::initial()),
        mm: None,
        fs: Arc::new(FsStruct::initial()),
        files: Arc::new(SpinLock::new(FdTable::default())),
        sighand: Arc::new(SpinLock::new(SigHand::default())),
        signals: TaskSignals::default(),
        cred: Cred::default(),
        cpus_allowed: 1 << number,
    })
}

/// The idle task runs on its CPU.
fn adopt_idle(number: u32, idle: Arc<TaskStruct>) {
    let cpu = per_cpu(number);
    current::set(cpu, &idle);
    cpu.is_idle.store(true, Relaxed);
    books::set_idle(number, idle.record().ptr());
    let mut queue = RUN_QUEUES[number as usize].lock();
    queue.running = Some(idle.clone());
    queue.idle = Some(idle);
}

/// The idle task's loop: waits for interrupts while nobody is ready, without the kernel lock.
pub fn cpu_idle() -> ! {
    loop {
        local_irq_disable();
        if books::nr_ready(cpu_number()) == 0 && !softirq::pending() && !need_resched() {
            unlock_kernel();
            irqflags::safe_halt();
            local_irq_disable();
            lock_kernel();
        }
        local_irq_enable();
        schedule();
    }
}

/// Asks for `schedule` on the way back to ring 3.
pub fn set_need_resched() {
    this_cpu().need_resched.store(true, Relaxed);
}

/// The timer interrupt of a CPU. The boot CPU looks after what concerns all.
pub fn tick() {
    if !current::exists() {
        return;
    }
    let cpu = this_cpu();
    if cpu.number() == 0 {
        let now = ktime_get_ns();
        timer::tick(now);
        crate::drivers::ata::tick(now);
        load::tick();
    }
    if cpu.is_idle.load(Relaxed) && smp::num_online_cpus() > 1 {
        account(&current(), Mode::System);
    }
    if cpu.woke_partner.swap(false, Relaxed) {
        current().sleeps_as_said.store(false, Relaxed);
    }
    let left = cpu.slice_left.load(Relaxed);
    if left > 1 && !cpu.is_idle.load(Relaxed) {
        cpu.slice_left.store(left - 1, Relaxed);
    } else if smp::online().any(|number| books::nr_ready(number) > 0) {
        // Its own, or those of another CPU that this one may relieve.
        set_need_resched();
    }
}

/// Makes a sleeping task ready. A running or ready one stays as it is.
pub fn wake_up_process(task: &Arc<TaskStruct>) {
    if matches!(task.state(), state::INTERRUPTIBLE | state::UNINTERRUPTIBLE) {
        make_ready(task);
    }
}

/// The same by a task that will soon sleep itself (`WF_SYNC`), as the ends of a pipe do for each other: the
/// woken one gets this CPU after it, and no other CPU is disturbed. Who says so and runs on all the same is
/// believed until the next tick: then a CPU without work takes the woken one, and the next wake-ups are ordinary
/// ones, until it has slept after one again.
pub fn wake_up_process_sync(task: &Arc<TaskStruct>) {
    if matches!(task.state(), state::INTERRUPTIBLE | state::UNINTERRUPTIBLE) {
        this_cpu().woke_partner.store(true, Relaxed);
        make_ready_by(task, if current().sleeps_as_said.load(Relaxed) { Waker::Leaves } else { Waker::Stays });
    }
}

/// Makes a task ready that job control had stopped, or a new one.
pub fn make_ready(task: &Arc<TaskStruct>) {
    make_ready_by(task, Waker::Stays);
}

/// Whether the task that wakes another one will soon give its CPU away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waker {
    Stays,
    Leaves,
}

fn make_ready_by(task: &Arc<TaskStruct>, waker: Waker) {
    task.set_state(state::RUNNING);
    if running_on(task).is_none() && !task.on_rq.swap(true, Relaxed) {
        enqueue(task.clone(), waker);
    }
}

/// `kick_process`: a task that runs on another CPU comes into the kernel, and sees there what it
/// has been sent.
pub fn kick_process(task: &TaskStruct) {
    if let Some(number) = running_on(task).filter(|&number| number != cpu_number()) {
        smp::send_reschedule(number);
    }
}

/// The CPU that a task runs on now.
fn running_on(task: &TaskStruct) -> Option<u32> {
    let number = task.cpu();
    core::ptr::eq(per_cpu(number).current.load(Relaxed), task).then_some(number)
}

/// Puts a task that does not run into a CPU's queue, and wakes the CPU if it sleeps.
fn enqueue(task: Arc<TaskStruct>, waker: Waker) {
    let number = select_cpu(&task, waker);
    task.set_cpu(number);
    let mut queue = RUN_QUEUES[number as usize].lock();
    queue.ready.push_back(task);
    queue.note_ready(number);
    drop(queue);
    if number != cpu_number() && smp::is_idle(number) {
        smp::send_reschedule(number);
    }
}

/// Says which of the running CPUs a task may have. If it has another, it leaves that.
pub fn set_cpus_allowed(task: &TaskStruct, cpus: u32) {
    task.cpus_allowed.store(cpus, Relaxed);
    task.record().update(|record| record.cpus_allowed = cpus);
    if let Some(number) = running_on(task).filter(|number| cpus & 1 << *number == 0) {
        if number == cpu_number() {
            schedule();
        } else {
            smp::send_reschedule(number);
        }
        return;
    }
    let mut queue = RUN_QUEUES[task.cpu() as usize].lock();
    let is_it = |ready: &Arc<TaskStruct>| core::ptr::eq(Arc::as_ptr(ready), task);
    if cpus & 1 << task.cpu() == 0
        && let Some(at) = queue.ready.iter().position(is_it)
        && let Some(ready) = queue.ready.remove(at)
    {
        queue.note_ready(task.cpu());
        drop(queue);
        enqueue(ready, Waker::Stays);
    }
}

/// The CPUs that a task which does not run may go on at.
fn allowed_cpus(task: &TaskStruct) -> u32 {
    // SAFETY: the task does not run, and nobody else is in the kernel.
    let bound = unsafe { (*task.thread_ptr()).is_bound_to_cpu() };
    let online = smp::online_mask();
    if bound {
        return 1 << task.cpu();
    }
    match task.cpus_allowed.load(Relaxed) & online {
        0 => online,
        allowed => allowed,
    }
}

/// Where a task that becomes ready goes: to this CPU if whoever wakes it leaves it alone there; to the CPU
/// that it knows if that is free, else to this one or any that is, else to the shortest queue.
fn select_cpu(task: &TaskStruct, waker: Waker) -> u32 {
    if smp::num_online_cpus() == 1 {
        return 0;
    }
    let allowed = allowed_cpus(task);
    let is_free = |number: &u32| smp::is_idle(*number) && books::nr_ready(*number) == 0;
    let may = |number: &u32| allowed & 1 << *number != 0;
    let own = cpu_number();
    if waker == Waker::Leaves && may(&own) && books::nr_ready(own) == 0 && !smp::is_idle(own) {
        return own;
    }
    let known = [task.cpu(), own];
    let free = known.into_iter().chain(smp::online()).filter(may).find(is_free);
    let shortest = || known.into_iter().chain(smp::online()).filter(may).min_by_key(|&number| books::nr_ready(number));
    free.or_else(shortest).unwrap_or(0)
}

impl RunQueue {
    fn note_ready(&self, number: u32) {
        books::set_nr_ready(number, self.ready.len() as u32);
    }
}

/// Takes a task from the longest queue of another CPU, if that has at least `least` waiting.
fn steal(least: u32) -> Option<Arc<TaskStruct>> {
    let own = cpu_number();
    let busiest = smp::online().filter(|&number| number != own).max_by_key(|&number| books::nr_ready(number))?;
    if books::nr_ready(busiest) < least {
        return None;
    }
    let mut queue = RUN_QUEUES[busiest as usize].lock();
    let at = queue.ready.iter().position(|task| allowed_cpus(task) & 1 << own != 0)?;
    let task = queue.ready.remove(at)?;
    queue.note_ready(busiest);
    task.set_cpu(own);
    Some(task)
}

/// After so many switches of tasks the CPUs that wait for the kernel lock have it.
const SWITCHES_UNTIL_OTHERS: u32 = 64;

/// Gives the CPU to the next ready task. A task in another state than running comes back
/// when somebody wakes it.
pub fn schedule() {
    schedule_debug();
    softirq::run();
    // Tasks that wait in loops, as for a `Mutex`, may hand this CPU round among themselves for ever, while the one
    // that they wait for is ready on a CPU that waits for the kernel lock.
    if SWITCHES.load(Relaxed).is_multiple_of(SWITCHES_UNTIL_OTHERS) {
        yield_kernel();
    }
    this_cpu().need_resched.store(false, Relaxed);
    let flags = local_irq_save();
    if let Some((prev, next)) = pick_next() {
        SWITCHES.fetch_add(1, Relaxed);
        this_cpu().slice_left.store(TIME_SLICE, Relaxed);
        // SAFETY: `prev` runs, `next` does not; the run queue and `previous` keep both
        // alive; interrupts are off.
        unsafe { switch_to(prev, next) };
        schedule_tail();
    } else {
        // Whoever waits for something that another CPU has to do comes by here again and again.
        yield_kernel();
    }
    local_irq_restore(flags);
}

/// Chooses, and does all of the switch but the stacks. `None`: the task goes on.
fn pick_next() -> Option<(*mut ThreadStruct, *mut ThreadStruct)> {
    let cpu = this_cpu();
    let mut queue = this_queue().lock();
    let idle = queue.idle.clone()?;
    let prev = queue.running.clone()?;
    let was_idle = Arc::ptr_eq(&prev, &idle);
    let runs_on = prev.state() == state::RUNNING;
    let may_stay = cpu.kmap_depth.load(Relaxed) != 0 || prev.cpus_allowed.load(Relaxed) & cpu.bit() != 0;
    let leaves = runs_on && !was_idle && !may_stay;
    if smp::num_online_cpus() > 1 {
        // A CPU without work takes what waits elsewhere; a busy one evens the queues out.
        let has_work = !queue.ready.is_empty() || runs_on && !was_idle && may_stay;
        let least = if has_work { queue.ready.len() as u32 + 2 } else { 1 };
        if let Some(task) = steal(least) {
            queue.ready.push_back(task);
        }
    }
    if runs_on && !leaves && queue.ready.is_empty() {
        return None;
    }
    if runs_on && !was_idle {
        prev.on_rq.store(true, Relaxed);
        if !leaves {
            queue.ready.push_back(prev.clone());
        }
    }
    let next = queue.ready.pop_front().unwrap_or(idle);
    queue.note_ready(cpu.number());
    next.on_rq.store(false, Relaxed);
    if Arc::ptr_eq(&prev, &next) {
        return None;
    }
    if cpu.woke_partner.swap(false, Relaxed) && !runs_on {
        prev.sleeps_as_said.store(true, Relaxed);
    }
    let switches = if runs_on { &prev.nivcsw } else { &prev.nvcsw };
    switches.fetch_add(1, Relaxed);
    account(&prev, Mode::System);
    next.accounted.restart();

    let pointers = (prev.thread_ptr(), next.thread_ptr());
    match next.mm_of_task() {
        Some(mm) => mm.activate(),
        None => tlb::enter_lazy(),
    }
    cpu.is_idle.store(queue.idle.as_ref().is_some_and(|idle| Arc::ptr_eq(idle, &next)), Relaxed);
    current::set(cpu, &next);
    books::set_current(next.record().ptr());
    queue.running = Some(next);
    if leaves {
        // Nobody takes it before this CPU has left its stack: that needs the kernel lock.
        queue.previous = Some(prev.clone());
        drop(queue);
        enqueue(prev, Waker::Stays);
    } else {
        queue.previous = Some(prev);
    }
    Some(pointers)
}

/// The running task has another address space now (`execve`), or none (`exit`).
pub fn activate_mm(mm: Option<&MmRef>) {
    match mm {
        Some(mm) => mm.activate(),
        None => tlb::leave_mm(),
    }
}

/// The first act of a task that has got the CPU: lets go of the one that gave it. A task
/// that has ended is freed here, on another stack than its own.
pub fn schedule_tail() {
    let previous = this_queue().lock().previous.take();
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

/// Counts the time since the last call for `task`, which is the running one, or was. A handler does that only
/// for the idle task, which does it itself with interrupts off.
pub fn account(task: &TaskStruct, mode: Mode) {
    let passed = task.accounted.restart();
    task.record().update(|r| {
        let counter = if mode == Mode::User { &mut r.utime_ns } else { &mut r.stime_ns };
        *counter = U64::new(counter.get() + passed);
    });
    let spent = match mode {
        _ if this_cpu().is_idle.load(Relaxed) && core::ptr::eq(task, &raw const *current()) => Spent::Idle,
        Mode::User => Spent::User,
        Mode::System => Spent::System,
    };
    books::count_time(spent, passed);
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

/// Time that the CPUs had nothing to do, together.
pub fn idle_ns() -> u64 {
    smp::online().map(|number| books::cpu_record(number).idle_ns.get()).sum()
}

/// Tells the host where the counts lie.
pub fn note_places(places: &mut abi::books::SystemPlaces) {
    places.switches = abi::Ptr32::new(SWITCHES.as_ptr() as u32);
    load::note_places(places);
}

/// Context switches since boot.
pub fn switches() -> u64 {
    SWITCHES.load(Relaxed).into()
}

/// Tasks that run or are ready.
pub fn nr_running() -> u32 {
    smp::online().map(|number| books::nr_ready(number) + u32::from(!smp::is_idle(number))).sum()
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

    /// Tells the host where the averages lie.
    pub fn note_places(places: &mut abi::books::SystemPlaces) {
        places.averages = abi::Ptr32::new(&raw const AVERAGES as u32);
    }

    /// The averages, and what else `/proc/loadavg` tells: ready tasks, all tasks, last PID.
    pub fn now() -> ([u32; 3], u32, u32, u32) {
        let (total, last, _) = pid::counts();
        (AVERAGES.each_ref().map(|a| a.load(Relaxed)), super::nr_running(), total, last)
    }
}
