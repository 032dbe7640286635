//! The running task.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use core::{marker::PhantomData, ops::Deref, sync::atomic::Ordering::Relaxed};

use super::TaskStruct;
use crate::arch::percpu::{PerCpu, current_task};

/// The running task of this CPU, seen by the code that it runs. It is alive as long as it runs, so this
/// holds no reference; it must not outlive the call that it was got in, nor be sent away.
pub struct Current(PhantomData<*const ()>);

/// The running task.
pub fn current() -> Current {
    Current(PhantomData)
}

impl Deref for Current {
    type Target = TaskStruct;

    fn deref(&self) -> &TaskStruct {
        // SAFETY: set at boot before anyone asks; the scheduler owns a reference to the
        // task that runs, and a task that has switched away asks again only when it runs.
        unsafe { &*current_task() }
    }
}

impl Current {
    /// A counted reference.
    pub fn arc(&self) -> Arc<TaskStruct> {
        let at: *const TaskStruct = &raw const **self;
        // SAFETY: every task lives in an `Arc`, and the scheduler has one reference.
        unsafe {
            Arc::increment_strong_count(at);
            Arc::from_raw(at)
        }
    }
}

/// Whether boot has come so far that there is a running task.
pub fn exists() -> bool {
    !current_task().is_null()
}

/// Says which task runs on a CPU from now on. The scheduler keeps a reference to it.
pub(super) fn set(cpu: &PerCpu, task: &Arc<TaskStruct>) {
    cpu.current.store(Arc::as_ptr(task).cast_mut(), Relaxed);
}
