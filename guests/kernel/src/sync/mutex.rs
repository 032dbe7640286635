//! A lock whose waiters give the CPU away.
#![allow(unsafe_code)]

use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicBool, Ordering},
};

use abi::Ptr32;

/// Data under a sleeping lock. Never taken in interrupt handlers.
pub struct Mutex<T: ?Sized> {
    locked: AtomicBool,
    data: UnsafeCell<T>,
}

// SAFETY: the lock gives the data to one holder at a time.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: as for the data itself.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    /// An open lock.
    pub const fn new(data: T) -> Self {
        Mutex { locked: AtomicBool::new(false), data: UnsafeCell::new(data) }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock. While another thread has it, this one lets others run.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        super::might_sleep();
        while self.locked.swap(true, Ordering::Acquire) {
            crate::task::sched::schedule();
        }
        MutexGuard { lock: self }
    }

    /// Where the host sees whether somebody holds the lock.
    pub fn flag(&self) -> Ptr32<u8> {
        Ptr32::new(&raw const self.locked as u32)
    }

    /// Takes the lock if it is open.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        (!self.locked.swap(true, Ordering::Acquire)).then_some(MutexGuard { lock: self })
    }

    /// Where the data lies. Whoever looks there without the lock must know why he may.
    pub fn data_ptr(&self) -> *mut T {
        self.data.get()
    }

    /// The data, when nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

/// Access to the data; dropping it opens the lock.
pub struct MutexGuard<'a, T: ?Sized> {
    lock: &'a Mutex<T>,
}

impl<T: ?Sized> MutexGuard<'_, T> {
    /// Opens the lock for as long as `f` takes. What was known of the data before may be
    /// false afterwards.
    pub fn unlocked<R>(&mut self, f: impl FnOnce() -> R) -> R {
        self.lock.locked.store(false, Ordering::Release);
        let result = f();
        core::mem::forget(self.lock.lock());
        result
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard is the only holder.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only holder.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
    }
}
