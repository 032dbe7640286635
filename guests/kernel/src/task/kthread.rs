//! Kernel threads: tasks without an address space.
#![allow(unsafe_code)]

use alloc::{boxed::Box, sync::Arc};

use abi::{books::TaskRecord, errno::Result};

use super::{
    SignalStruct, TaskStruct,
    cred::Cred,
    current::{self, current},
    pid,
    rlimits::Rlimits,
    sched,
    signal::{SigHand, TaskSignals},
    stack::KernelStack,
    task_struct::{TaskParts, state},
};
use crate::{
    arch::{ThreadStruct, local_irq_enable},
    fs::{FdTable, namei::FsStruct},
    sync::SpinLock,
};

/// What a kernel thread does; it never comes back.
type Body = fn() -> !;

/// `kthread_run`: makes a kernel thread and lets it run. `ps` shows its name in brackets.
///
/// EAGAIN if there is no free number, ENOMEM without memory for its stack.
pub fn kthread_run(name: &str, body: Body) -> Result<Arc<TaskStruct>> {
    let number = pid::alloc_last()?;
    let body = Box::into_raw(Box::new(body)) as u32;
    let task = new_kernel_task(name, number, begin, body).inspect_err(|_| {
        // SAFETY: made above, and nobody else has it.
        drop(unsafe { Box::from_raw(body as *mut Body) });
    })?;
    pid::insert(&task);
    sched::make_ready(&task);
    Ok(task)
}

/// A task that begins in the kernel, by `entry`, and is on no list yet. ENOMEM without memory
/// for its stack.
pub fn new_kernel_task(name: &str, number: u32, entry: extern "C" fn(u32), argument: u32) -> Result<Arc<TaskStruct>> {
    let stack = KernelStack::new()?;
    // SAFETY: the stack is new.
    let thread = unsafe { ThreadStruct::kernel_thread(stack.base(), entry, argument) };
    let mut comm = [0; 16];
    let len = name.len().min(15);
    comm[..len].copy_from_slice(&name.as_bytes()[..len]);
    let record = TaskRecord {
        pid: number,
        tgid: number,
        state: state::UNINTERRUPTIBLE,
        comm,
        nr_threads: 1,
        ..TaskRecord::default()
    };
    Ok(TaskStruct::new(TaskParts {
        record,
        thread,
        stack,
        signal: SignalStruct::new(number, None, Rlimits::initial()),
        mm: None,
        fs: Arc::new(FsStruct::initial()),
        files: Arc::new(SpinLock::new(FdTable::default())),
        sighand: Arc::new(SpinLock::new(SigHand::default())),
        signals: TaskSignals::default(),
        cred: Cred::default(),
        cpus_allowed: !0,
    }))
}

/// The first function of every kernel thread.
extern "C" fn begin(body: u32) {
    local_irq_enable();
    // SAFETY: `kthread_run` made it, for this call alone.
    let body = *unsafe { Box::from_raw(body as *mut Body) };
    body()
}

/// Whether the running task is one.
pub fn current_is_kthread() -> bool {
    current::exists() && current().mm_of_current().is_none()
}
