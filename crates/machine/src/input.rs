use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Something that comes into the machine from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputEvent {
    /// Bytes for the serial port of this number (COM1 is 0).
    Serial {
        /// The port.
        port: u8,
        /// What arrives.
        bytes: Vec<u8>,
    },
    /// The input of a serial port has ended.
    SerialEnd {
        /// The port.
        port: u8,
    },
    /// A key goes down or up: its bytes in scan code set 2.
    Key {
        /// The bytes.
        codes: Vec<u8>,
    },
}

/// An event with its place in the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamped {
    pub now_ns: u64,
    pub sequence: u64,
    pub event: InputEvent,
}

/// The one way in. What waits here is delivered before the next instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputQueue {
    next_sequence: u64,
    waiting: VecDeque<Stamped>,
}

impl InputQueue {
    pub fn push(&mut self, now_ns: u64, event: InputEvent) {
        self.waiting.push_back(Stamped { now_ns, sequence: self.next_sequence, event });
        self.next_sequence += 1;
    }

    pub fn pop(&mut self) -> Option<Stamped> {
        self.waiting.pop_front()
    }
}
