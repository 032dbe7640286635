use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::CHARACTER_NS;

/// The receiving half of the line: what the host has sent and the receiver not yet taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    waiting: VecDeque<u8>,
    ended: bool,
    /// The earliest time of the next burst: a character's time after the receiver was emptied,
    /// so that the interrupt output falls in between.
    next_burst_ns: u64,
}

impl Line {
    pub fn push(&mut self, bytes: &[u8], now_ns: u64) {
        if self.waiting.is_empty() {
            self.next_burst_ns = self.next_burst_ns.max(now_ns);
        }
        self.waiting.extend(bytes);
    }

    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The far end may still send.
    pub fn is_open(&self) -> bool {
        !self.ended
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn receiver_empty(&mut self, now_ns: u64) {
        self.next_burst_ns = now_ns + CHARACTER_NS;
    }

    /// When the next burst arrives at a receiver that is empty.
    pub fn deadline_ns(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(self.next_burst_ns)
    }

    /// Whether a line could be like this at `now_ns`.
    pub fn fits(&self, now_ns: u64) -> bool {
        self.next_burst_ns <= now_ns.saturating_add(CHARACTER_NS)
    }

    /// Up to `room` bytes, if their time has come.
    pub fn take_burst(&mut self, room: usize, now_ns: u64) -> impl ExactSizeIterator<Item = u8> {
        let bytes = if now_ns >= self.next_burst_ns { room.min(self.waiting.len()) } else { 0 };
        self.waiting.drain(..bytes)
    }
}
