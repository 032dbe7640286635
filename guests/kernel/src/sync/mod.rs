//! Locks.
//!
//! Order, outermost first: `mmap_lock` → page cache of a file → zone → slab cache →
//! run queue → printk. No allocation under a lock that an interrupt handler takes.

mod mutex;
mod once;
mod spinlock;

pub use mutex::{Mutex, MutexGuard};
pub use once::Once;
pub use spinlock::{SpinLock, SpinLockGuard, SpinLockIrqGuard};
