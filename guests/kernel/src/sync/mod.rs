//! Locks.
//!
//! Order, outermost first: the kernel lock → `mmap_lock` → page cache of a file → vmalloc's space → slab
//! cache → zone →
//! run queue → printk. In ext2: the writer of a file → the file system's space → its buffers,
//! and pages behind the space; write-back, which comes with a page locked, only tries the space.
//! No allocation under a lock that an interrupt handler takes.

mod kernel_lock;
mod mutex;
mod once;
mod preempt;
mod spinlock;
mod word64;

pub use kernel_lock::{holds_kernel, lock_kernel, unlock_kernel, yield_kernel};
pub use mutex::{Mutex, MutexGuard};
pub use once::Once;
pub use preempt::{
    PreemptGuard, cond_resched, enter_handler, in_atomic, leave_handler, might_sleep, preempt_count, preempt_disable,
    preemptible, schedule_debug,
};
pub use spinlock::{SpinLock, SpinLockGuard, SpinLockIrqGuard};
pub use word64::Word64;
