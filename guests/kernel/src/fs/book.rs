//! Records that the host reads, inside structures that the kernel shares by reference.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;

use abi::Ptr32;

/// A record at a fixed address whose fields change under a shared reference.
///
/// Only one CPU runs and kernel code is not preempted; interrupt handlers read and write
/// single fields of a task's record only. So no two closures on one record overlap, as long
/// as a closure neither sleeps nor touches the same record, which those in this crate obey.
#[repr(transparent)]
pub struct Book<T>(UnsafeCell<T>);

// SAFETY: see the type.
unsafe impl<T: Send> Sync for Book<T> {}

impl<T: Copy> Book<T> {
    /// A record with its first contents.
    pub const fn new(record: T) -> Self {
        Book(UnsafeCell::new(record))
    }

    /// A copy of the record.
    pub fn get(&self) -> T {
        // SAFETY: no closure of `update` is active (see the type).
        unsafe { *self.0.get() }
    }

    /// One value out of the record.
    pub fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        // SAFETY: no closure of `update` is active (see the type).
        read(unsafe { &*self.0.get() })
    }

    /// Changes the record.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: no other closure on this record is active (see the type).
        change(unsafe { &mut *self.0.get() })
    }

    /// Where the host finds the record.
    pub fn ptr(&self) -> Ptr32<T> {
        Ptr32::new(self.0.get() as usize as u32)
    }
}
