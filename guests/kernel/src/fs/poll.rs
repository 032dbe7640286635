//! Waiting for several files.

use alloc::{sync::Arc, vec::Vec};

use crate::task::wait::WaitQueue;

/// Bits of `pollfd.events`.
pub mod events {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const IN: u32 = 1;
    pub const PRI: u32 = 2;
    pub const OUT: u32 = 4;
    pub const ERR: u32 = 8;
    pub const HUP: u32 = 0x10;
    pub const NVAL: u32 = 0x20;
    pub const RDNORM: u32 = 0x40;
    pub const RDBAND: u32 = 0x80;
    pub const WRNORM: u32 = 0x100;
    pub const WRBAND: u32 = 0x200;
    pub const RDHUP: u32 = 0x2000;
}

/// What a file without a `poll` of its own is: always ready.
pub const DEFAULT_POLLMASK: u32 = events::IN | events::OUT | events::RDNORM | events::WRNORM;

/// The wait queues that a caller of `poll` sleeps in, and what it waits for.
#[derive(Default)]
pub struct PollTable {
    queues: Vec<Arc<WaitQueue>>,
    wanted: u32,
}

impl PollTable {
    /// The file that is asked next is asked for these events.
    pub fn ask_for(&mut self, wanted: u32) {
        self.wanted = wanted;
    }

    /// Whether the caller waits for one of these events of the file.
    pub fn wants(&self, events: u32) -> bool {
        self.wanted & events != 0
    }

    /// A file whose state changes with a wake-up of `queue` was asked.
    pub fn wait_on(&mut self, queue: &Arc<WaitQueue>) {
        queue.enter();
        self.queues.push(queue.clone());
    }
}

impl Drop for PollTable {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.leave();
        }
    }
}
