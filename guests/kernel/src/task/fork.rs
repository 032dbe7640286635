//! `clone`, `fork`, `vfork`.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use abi::{
    U64,
    books::TaskRecord,
    errno::{EAGAIN, EFAULT, EINVAL, Result},
    wire::u32_at,
};

use super::{
    SignalStruct, TaskStruct, current, pid, sched,
    signal::{self, SigHand, TaskSignals},
    stack::KernelStack,
    task_struct::{TaskParts, state},
    wait::Completion,
};
use crate::{
    arch::{
        PtRegs, THREAD_SIZE, ThreadStruct,
        tls::{UserDesc, set_thread_area},
    },
    mm::{
        PAGE_SIZE,
        page_alloc::totals,
        uaccess::{UserPtr, copy_from_user, put_user},
    },
    sync::SpinLock,
};

/// Flags of `clone`.
pub mod clone {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const CSIGNAL: u32 = 0xff;
    pub const VM: u32 = 0x100;
    pub const FS: u32 = 0x200;
    pub const FILES: u32 = 0x400;
    pub const SIGHAND: u32 = 0x800;
    pub const PTRACE: u32 = 0x2000;
    pub const VFORK: u32 = 0x4000;
    pub const PARENT: u32 = 0x8000;
    pub const THREAD: u32 = 0x1_0000;
    pub const NEWNS: u32 = 0x2_0000;
    pub const SETTLS: u32 = 0x8_0000;
    pub const PARENT_SETTID: u32 = 0x10_0000;
    pub const CHILD_CLEARTID: u32 = 0x20_0000;
    pub const CHILD_SETTID: u32 = 0x100_0000;
    /// Name spaces of any kind.
    pub const NEW_ANY: u32 = NEWNS | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;
}

/// Most tasks at one time, where memory allows so many.
const MAX_THREADS: u32 = 4096;
/// Fewest, however little memory there is.
const MIN_THREADS: u32 = 20;

/// Kernel stacks take an eighth of the memory at most, as in Linux.
fn max_threads() -> u32 {
    let stack_pages = THREAD_SIZE / PAGE_SIZE;
    (totals().managed / (8 * stack_pages)).clamp(MIN_THREADS, MAX_THREADS)
}

/// What `clone` is asked for.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "Linux's names")]
pub struct CloneArgs {
    pub flags: u32,
    pub exit_signal: u32,
    /// Stack pointer of the child; 0 keeps that of the parent.
    pub stack: u32,
    pub parent_tid: u32,
    pub child_tid: u32,
    pub tls: u32,
}

/// Makes a task and lets it run; returns its number.
pub fn kernel_clone(args: CloneArgs, regs: &PtRegs) -> Result<u32> {
    check(args.flags)?;
    let child = copy_process(args, regs)?;
    let number = child.pid();
    if args.flags & clone::PARENT_SETTID != 0 {
        put_user(UserPtr::new(args.parent_tid), number)?;
    }
    let done = (args.flags & clone::VFORK != 0).then(Arc::<Completion>::default);
    *child.vfork_done.lock() = done.clone();
    pid::insert(&child);
    update_nr_threads(child.tgid());
    sched::make_ready(&child);
    drop(child);
    if let Some(done) = done {
        done.wait_killable();
    }
    Ok(number)
}

fn check(flags: u32) -> Result<()> {
    let has = |flag: u32| flags & flag != 0;
    let thread_without_handlers = has(clone::THREAD) && !has(clone::SIGHAND);
    let handlers_without_memory = has(clone::SIGHAND) && !has(clone::VM);
    if thread_without_handlers || handlers_without_memory || has(clone::NEW_ANY) {
        return Err(EINVAL);
    }
    if has(clone::PARENT) && current().tgid() == 1 {
        return Err(EINVAL);
    }
    Ok(())
}

fn copy_process(args: CloneArgs, regs: &PtRegs) -> Result<Arc<TaskStruct>> {
    let parent = current();
    let has = |flag: u32| args.flags & flag != 0;
    if pid::counts().0 >= max_threads() {
        return Err(EAGAIN);
    }
    let stack = KernelStack::new()?;
    let mm = match parent.mm() {
        Some(mm) if !has(clone::VM) => Some(mm.dup()?),
        mm => mm,
    };
    let files = parent.files();
    let files = if has(clone::FILES) { files } else { Arc::new(SpinLock::new(files.lock().clone())) };
    let fs = parent.fs();
    let fs = if has(clone::FS) { fs } else { Arc::new(SpinLock::new(fs.lock().clone())) };
    let sighand = parent.sighand();
    let sighand = if has(clone::SIGHAND) { sighand } else { SigHand::copy_of(&sighand) };

    let child_regs = PtRegs { esp: if args.stack != 0 { args.stack } else { regs.esp }, ..*regs };
    // SAFETY: the stack is new, and the running task copies itself.
    let mut thread = parent.with_thread(|own| unsafe { own.fork(stack.base(), &child_regs) });
    if has(clone::SETTLS) {
        set_tls(&mut thread, args.tls)?;
    }
    let number = pid::alloc()?;
    let signal = if has(clone::THREAD) { parent.signal().clone() } else { new_signal(number) };
    let (blocked, altstack) = {
        let signals = parent.signals.lock();
        (signals.blocked, signals.altstack)
    };
    // A new stack makes the old alternative one useless, except for vfork.
    let keeps_altstack = !has(clone::VM) || has(clone::VFORK);
    let altstack = if keeps_altstack { altstack } else { signal::AltStack::default() };
    let parts = TaskParts {
        record: child_record(args.flags, number),
        thread,
        stack,
        signal,
        mm,
        fs,
        files,
        sighand,
        signals: TaskSignals { blocked, altstack, ..TaskSignals::default() },
        cred: parent.cred.lock().clone(),
        cpus_allowed: parent.cpus_allowed.load(Relaxed),
    };
    let child = TaskStruct::new(parts);
    *child.exe.lock() = parent.exe.lock().clone();
    child.nice.store(parent.nice.load(Relaxed), Relaxed);
    if has(clone::CHILD_CLEARTID) {
        child.clear_child_tid.store(args.child_tid, Relaxed);
    }
    if has(clone::CHILD_SETTID) {
        child.set_child_tid.store(args.child_tid, Relaxed);
    }
    let exit_signal = if has(clone::THREAD) { 0 } else { args.exit_signal };
    child.exit_signal.store(exit_signal, Relaxed);
    Ok(child)
}

/// The descriptor of `CLONE_SETTLS`, in the entry that it names.
fn set_tls(thread: &mut ThreadStruct, addr: u32) -> Result<()> {
    let mut bytes = [0; 16];
    copy_from_user(&mut bytes, UserPtr::new(addr)).map_err(|_| EFAULT)?;
    let word = |n: usize| u32_at(&bytes, n * 4);
    let desc = UserDesc { entry_number: word(0), base_addr: word(1), limit: word(2), flags: word(3) };
    if desc.entry_number == !0 {
        return Err(EINVAL);
    }
    set_thread_area(&mut thread.tls, desc).map(drop)
}

fn new_signal(tgid: u32) -> Arc<SignalStruct> {
    let parent = current();
    let tty = parent.signal().tty.lock().clone();
    let limits = *parent.signal().rlimits.lock();
    SignalStruct::new(tgid, tty, limits)
}

fn child_record(flags: u32, number: u32) -> TaskRecord {
    let own = current().record().get();
    let is_thread = flags & clone::THREAD != 0;
    let parent = if flags & (clone::PARENT | clone::THREAD) != 0 { own.ppid } else { own.tgid };
    TaskRecord {
        next: abi::Ptr32::NULL,
        pid: number,
        tgid: if is_thread { own.tgid } else { number },
        ppid: parent,
        state: state::UNINTERRUPTIBLE,
        exit_code: 0,
        min_flt: 0,
        maj_flt: 0,
        utime_ns: U64::new(0),
        stime_ns: U64::new(0),
        nr_threads: 1,
        ..own
    }
}

/// Notes in every thread of a process how many there are.
pub fn update_nr_threads(tgid: u32) {
    let threads = pid::threads(tgid);
    let count = threads.iter().filter(|t| t.state() != state::ZOMBIE || t.is_leader()).count() as u32;
    threads.iter().for_each(|t| t.record().update(|r| r.nr_threads = count));
}
