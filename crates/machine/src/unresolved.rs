//! The last fault that the guest's kernel did not resolve, kept beside the machine for who asks later.
//!
//! It is no part of any state or hash. A saved machine has the words alone: what they were made from, a
//! process or a stack, may be gone by then.

use cpu::FaultRecord;
use serde::{Deserialize, Serialize};

/// A fault, and what became of it.
#[derive(Clone, Debug)]
pub struct Unresolved {
    /// As the processor saw it; `None` if it is not remembered, or if nothing but a panic is known.
    pub fault: Option<FaultRecord>,
    /// What became of it.
    pub verdict: Verdict,
    /// The CPU.
    pub cpu: usize,
    /// Virtual time, in nanoseconds.
    pub at: u64,
}

/// What became of a fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The kernel sends the program this signal.
    Signal {
        /// Its number.
        number: u32,
        /// The program has a handler for it.
        is_handled: bool,
    },
    /// It happened in the kernel, which cannot go on.
    Oops,
    /// The kernel ends the machine, with these words.
    Panic(String),
    /// The processor could not deliver it, and delivered a double fault.
    DoubleFault,
    /// The processor has shut down.
    TripleFault,
    /// The kernel does not say.
    Unknown,
}

/// A fault explained in words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// For people.
    pub text: String,
    /// For programs: one JSON object.
    pub json: String,
}

/// What a machine keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastUnresolved {
    pub fault: Option<Unresolved>,
    pub explanation: Option<Explanation>,
}
