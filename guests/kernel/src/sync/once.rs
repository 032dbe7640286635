//! A value that boot sets once and everyone reads.
#![allow(unsafe_code)]

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::atomic::{AtomicBool, Ordering},
};

/// Set once, read often.
pub struct Once<T> {
    set: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written before `set`, and only shared afterwards.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Once<T> {
    /// Not set yet.
    pub const fn new() -> Self {
        Once { set: AtomicBool::new(false), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Sets the value. Called by boot code, on one CPU, once.
    pub fn set(&self, value: T) -> &T {
        assert!(!self.set.load(Ordering::Relaxed), "set twice");
        // SAFETY: nobody reads before `set` is stored, and boot runs on one CPU.
        unsafe { (*self.value.get()).write(value) };
        self.set.store(true, Ordering::Release);
        self.get()
    }

    /// The value; boot must have set it.
    pub fn get(&self) -> &T {
        self.try_get().expect("read before boot set it")
    }

    /// The value, if it is set.
    pub fn try_get(&self) -> Option<&T> {
        // SAFETY: `set` says that it is there.
        self.set.load(Ordering::Acquire).then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }
}
