//! `spinlock_t`: for data that is held briefly and never across a sleep.
#![allow(unsafe_code)]

use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicBool, Ordering},
};

use abi::Ptr32;

use crate::arch::{
    irqflags::{IrqFlags, local_irq_restore, local_irq_save},
    percpu::{preempt_count_add, preempt_count_sub},
};

/// Data under a spin lock.
pub struct SpinLock<T: ?Sized> {
    locked: AtomicBool,
    data: UnsafeCell<T>,
}

// SAFETY: the lock gives the data to one holder at a time.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}
// SAFETY: as for the data itself.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An open lock.
    pub const fn new(data: T) -> Self {
        SpinLock { locked: AtomicBool::new(false), data: UnsafeCell::new(data) }
    }
}

impl<T: ?Sized> SpinLock<T> {
    #[inline(always)]
    fn acquire(&self) {
        preempt_count_add();
        if self.locked.swap(true, Ordering::Acquire) {
            self.spin();
        }
    }

    #[cold]
    fn spin(&self) {
        let mut spins = 0u32;
        while self.locked.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
            spins += 1;
            // One CPU at a time is in the kernel (`kernel_lock`), and nobody sleeps with a spin
            // lock: the holder is below us on this very stack.
            assert!(spins < 1 << 24, "spin lock held by its own waiter");
        }
    }

    /// Takes the lock. For data that no interrupt handler touches.
    #[inline(always)]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        self.acquire();
        SpinLockGuard { lock: self }
    }

    /// Takes the lock with interrupts off until it is given back.
    #[inline(always)]
    pub fn lock_irqsave(&self) -> SpinLockIrqGuard<'_, T> {
        let flags = local_irq_save();
        self.acquire();
        SpinLockIrqGuard { guard: Some(SpinLockGuard { lock: self }), flags }
    }

    /// The data, when nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }

    /// Where the data lies, for whoever tells the host of it.
    pub fn data_ptr(&self) -> *const T {
        self.data.get()
    }

    /// Where the host sees whether somebody holds the lock.
    pub fn flag(&self) -> Ptr32<u8> {
        Ptr32::new(&raw const self.locked as u32)
    }

    /// Takes the lock if it is open.
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        if self.locked.swap(true, Ordering::Acquire) {
            return None;
        }
        preempt_count_add();
        Some(SpinLockGuard { lock: self })
    }

    /// Whether somebody holds the lock: for assertions and for the panic path.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }

    /// Opens the lock by force.
    ///
    /// # Safety
    /// Only on the panic path, where its holder will never run again.
    pub unsafe fn force_unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }
}

/// Access to the data; dropping it opens the lock.
pub struct SpinLockGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
}

impl<T: ?Sized> Deref for SpinLockGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard is the only holder.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinLockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only holder.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for SpinLockGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
        preempt_count_sub();
    }
}

/// Access to the data with interrupts off.
pub struct SpinLockIrqGuard<'a, T: ?Sized> {
    guard: Option<SpinLockGuard<'a, T>>,
    flags: IrqFlags,
}

impl<T: ?Sized> Deref for SpinLockIrqGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard is the only holder; it is `Some` until dropped.
        unsafe { &*self.guard.as_ref().unwrap_unchecked().lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinLockIrqGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only holder; it is `Some` until dropped.
        unsafe { &mut *self.guard.as_ref().unwrap_unchecked().lock.data.get() }
    }
}

impl<T: ?Sized> Drop for SpinLockIrqGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.guard = None;
        local_irq_restore(self.flags);
    }
}
