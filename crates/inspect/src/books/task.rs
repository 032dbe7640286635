//! What other structures of the kernel keep for a task.

use abi::Ptr32;
use abi::books::{
    ChildUsageRecord, CpuTimeRecord, CredRecord, NSIG, PendingRecord, RLIM_NLIMITS, SigActionRecord, TaskPlacesRecord,
    TaskRecord,
};
use x86::LinearAddr;

use super::Books;
use crate::{Error, record::Record};

/// What `stat`, `status` and `limits` show of a task beyond its record. What the kernel does
/// not tell is 0.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "as in `TaskPlacesRecord`")]
pub struct TaskMore {
    pub nr_fds: u32,
    pub umask: u32,
    pub cred: CredRecord,
    /// Signals that are ignored, bit 0 for signal 1.
    pub ignored: u64,
    /// Those that have a handler.
    pub caught: u64,
    pub blocked: u64,
    pub pending: PendingRecord,
    pub shared_pending: PendingRecord,
    pub children: ChildUsageRecord,
    pub dead_threads: CpuTimeRecord,
    /// Soft and hard limits.
    pub rlimits: [[u32; 2]; RLIM_NLIMITS],
    pub exit_signal: u32,
    pub nice: i32,
    pub nvcsw: u32,
    pub nivcsw: u32,
}

impl Books<'_> {
    /// What the books lead to from a task's record.
    pub fn task_more(&self, task: &TaskRecord) -> TaskMore {
        let places: TaskPlacesRecord = self.record_at("task's places", task.places);
        let mut more = TaskMore {
            nr_fds: self.word("count of descriptors", places.nr_fds),
            umask: self.word("umask", places.umask),
            cred: self.record_at("cred", places.cred),
            blocked: self.long("blocked signals", places.blocked),
            pending: self.record_at("pending signals", places.pending),
            shared_pending: self.record_at("pending signals", places.shared_pending),
            children: self.record_at("children's usage", places.children),
            dead_threads: self.record_at("dead threads' time", places.dead_threads),
            exit_signal: self.word("exit signal", places.exit_signal),
            nice: self.word("nice value", places.nice) as i32,
            nvcsw: self.word("context switches", places.nvcsw),
            nivcsw: self.word("context switches", places.nivcsw),
            ..TaskMore::default()
        };
        if !places.sigactions.is_null() {
            for signal in 1..=NSIG {
                let at = places.sigactions.0.wrapping_add((signal - 1) * SigActionRecord::SIZE as u32);
                let action: SigActionRecord = self.record_at("signal's action", Ptr32::new(at));
                match action.handler {
                    0 => {}
                    1 => more.ignored |= 1 << (signal - 1),
                    _ => more.caught |= 1 << (signal - 1),
                }
            }
        }
        if !places.rlimits.is_null() {
            for (n, word) in (0u32..).zip(more.rlimits.as_flattened_mut()) {
                *word = self.word("limit", Ptr32::<u32>::new(places.rlimits.0.wrapping_add(n * 4)));
            }
        }
        more
    }

    /// The foreground process group of a task's terminal; -1 without one.
    pub fn tpgid(&self, task: &TaskRecord) -> i32 {
        let at = self.root().tty_pgrp;
        if task.tty_nr == 0 || at.is_null() { -1 } else { self.word("terminal's process group", at) as i32 }
    }

    /// A record; all zero where the kernel has none.
    fn record_at<T: Record + Default>(&self, what: &'static str, at: Ptr32<T>) -> T {
        if at.is_null() { T::default() } else { self.read_or(what, at, T::default()) }
    }

    /// A word; 0 where the kernel has none.
    pub(crate) fn word<T>(&self, what: &'static str, at: Ptr32<T>) -> u32 {
        if at.is_null() {
            return 0;
        }
        self.reader().u32(LinearAddr(at.0)).unwrap_or_else(|| {
            self.damage().note(Error::Unreadable { what, addr: at.0 });
            0
        })
    }

    /// Two words, the low one first.
    pub(crate) fn long<T>(&self, what: &'static str, at: Ptr32<T>) -> u64 {
        if at.is_null() {
            return 0;
        }
        let high = Ptr32::<u32>::new(at.0.wrapping_add(4));
        u64::from(self.word(what, at)) | u64::from(self.word(what, high)) << 32
    }
}
