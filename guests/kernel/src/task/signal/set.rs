//! Sets of signals, and signals that wait.

use alloc::collections::VecDeque;

use abi::{Ptr32, U64, books::PendingRecord};

use super::{NSIG, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP, SigInfo};

/// A set: bit N-1 is signal N.
pub type SigSet = u64;

/// First real-time signal, of which several can wait.
const SIGRTMIN: u32 = 32;

/// The set of one signal.
pub const fn mask(signal: u32) -> SigSet {
    1 << (signal - 1)
}

/// Signals of an exception are delivered before others.
const SYNCHRONOUS: SigSet = mask(SIGSEGV) | mask(SIGBUS) | mask(SIGILL) | mask(SIGTRAP) | mask(SIGFPE) | mask(SIGSYS);

/// Signals that wait for delivery.
#[derive(Default)]
pub struct Pending {
    /// The signals that are in the queue, and how many.
    record: PendingRecord,
    queue: VecDeque<SigInfo>,
}

impl Pending {
    /// Which ones wait.
    pub fn set(&self) -> SigSet {
        self.record.set.get()
    }

    /// Where the host reads of them.
    pub fn record(&self) -> Ptr32<PendingRecord> {
        Ptr32::new(&raw const self.record as u32)
    }

    fn note(&mut self, set: SigSet) {
        self.record = PendingRecord { set: U64::new(set), count: self.count() };
    }

    /// Number of queued signals.
    pub fn count(&self) -> u32 {
        self.queue.len() as u32
    }

    /// Adds one. A second one of the same number counts only for real-time signals.
    pub fn add(&mut self, info: SigInfo) {
        let bit = mask(info.signo);
        let set = self.set() | bit;
        if info.signo >= SIGRTMIN || self.set() & bit == 0 {
            self.queue.push_back(info);
        }
        self.note(set);
    }

    /// Takes the next one that is not blocked.
    pub fn take(&mut self, blocked: SigSet) -> Option<SigInfo> {
        let ready = self.set() & !blocked;
        if ready == 0 {
            return None;
        }
        let first = if ready & SYNCHRONOUS != 0 { ready & SYNCHRONOUS } else { ready };
        let signal = first.trailing_zeros() + 1;
        debug_assert!(signal <= NSIG);
        let at = self.queue.iter().position(|info| info.signo == signal);
        let info = at.and_then(|at| self.queue.remove(at));
        let more = self.queue.iter().any(|info| info.signo == signal);
        self.note(if more { self.set() } else { self.set() & !mask(signal) });
        Some(info.unwrap_or_else(|| SigInfo::kernel(signal)))
    }

    /// Forgets all signals of a set.
    pub fn discard(&mut self, set: SigSet) {
        self.queue.retain(|info| set & mask(info.signo) == 0);
        self.note(self.set() & !set);
    }
}
