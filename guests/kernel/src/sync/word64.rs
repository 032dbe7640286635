//! A word of 64 bits on a processor of 32.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// 64 bits that one CPU at a time changes, and nobody reads meanwhile: a lock, or whose they are, sees to that.
/// (An `AtomicU64` that needs neither goes through the FPU, or through CMPXCHG8B.)
pub struct Word64([AtomicU32; 2]);

impl Word64 {
    /// With a value.
    pub const fn new(value: u64) -> Self {
        Word64([AtomicU32::new(value as u32), AtomicU32::new((value >> 32) as u32)])
    }

    /// The value.
    pub fn get(&self) -> u64 {
        let [low, high] = [&self.0[0], &self.0[1]].map(|half| u64::from(half.load(Relaxed)));
        high << 32 | low
    }

    /// Gives it another value.
    pub fn set(&self, value: u64) {
        self.0[0].store(value as u32, Relaxed);
        self.0[1].store((value >> 32) as u32, Relaxed);
    }

    /// Where the low half lies; the high one follows.
    pub fn as_ptr(&self) -> *const AtomicU32 {
        self.0.as_ptr()
    }
}
