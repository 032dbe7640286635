//! Locks.
//!
//! Order, outermost first: `mmap_lock` → page cache of a file → zone → slab cache →
//! run queue → printk. In ext2: the writer of a file → the file system's space → its buffers,
//! and pages behind the space; write-back, which comes with a page locked, only tries the space.
//! No allocation under a lock that an interrupt handler takes.

mod mutex;
mod once;
mod spinlock;

pub use mutex::{Mutex, MutexGuard};
pub use once::Once;
pub use spinlock::{SpinLock, SpinLockGuard, SpinLockIrqGuard};
