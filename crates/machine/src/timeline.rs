//! The last interprocessor interrupts and TLB flushes, as the hardware saw them.
//!
//! A ring of facts: which CPU wrote what to its ICR, took which interrupt, ended one, removed which
//! translations, came by a place of its code that somebody wants noted. Nothing in the machine reads it. A
//! saved machine keeps it, so that `timeline` shows the same of it as of the live one; no hash does.

use std::collections::VecDeque;

use cpu::coherence::Flush;
use devices::DeliveryMode;
use serde::{Deserialize, Serialize};

/// Facts that are kept unless somebody asks for more.
const KEPT: usize = 8192;

/// Something that happened on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// Virtual time.
    pub at_ns: u64,
    /// The CPU.
    pub cpu: u8,
    /// What.
    pub fact: Fact,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// It sent an interprocessor interrupt.
    Sent {
        /// How it is delivered.
        mode: Ipi,
        /// The vector; of a start-up IPI the page.
        vector: u8,
        /// The CPUs that it is for, a bit each.
        targets: u8,
    },
    /// It took an interrupt.
    Taken {
        /// The vector.
        vector: u8,
        /// From its local APIC, which has it in service until it is ended.
        is_local: bool,
    },
    /// It ended the interrupt of highest priority (EOI).
    Ended,
    /// It removed translations.
    Flushed(Flush),
    /// It came to an instruction that [`Machine::note_place`](crate::Machine::note_place) named.
    Passed {
        /// The instruction's linear address.
        place: u32,
        /// What was in EAX, ECX and EDX.
        registers: [u32; 3],
    },
}

/// How an interprocessor interrupt is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the manual's")]
pub enum Ipi {
    Fixed,
    LowestPriority,
    Nmi,
    Init,
    Startup,
    Other,
}

impl From<DeliveryMode> for Ipi {
    fn from(mode: DeliveryMode) -> Self {
        match mode {
            DeliveryMode::Fixed => Ipi::Fixed,
            DeliveryMode::LowestPriority => Ipi::LowestPriority,
            DeliveryMode::Nmi => Ipi::Nmi,
            DeliveryMode::Init => Ipi::Init,
            DeliveryMode::Startup => Ipi::Startup,
            DeliveryMode::Smi | DeliveryMode::ExtInt => Ipi::Other,
        }
    }
}

/// The facts that are kept, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    events: VecDeque<TimelineEvent>,
    /// How many came before those.
    forgotten: u64,
    /// The linear addresses that are noted, and since when.
    places: Vec<(u32, u64)>,
    #[serde(skip, default = "kept")]
    kept: usize,
}

fn kept() -> usize {
    KEPT
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline { events: VecDeque::new(), forgotten: 0, places: Vec::new(), kept: KEPT }
    }
}

impl Timeline {
    /// Keeps at least so many facts from now on.
    pub fn keep(&mut self, count: usize) {
        self.kept = self.kept.max(count);
    }

    /// The facts, oldest first.
    pub fn events(&self) -> impl ExactSizeIterator<Item = &TimelineEvent> {
        self.events.iter()
    }

    /// How many facts there were before the first that is kept.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Since when it is noted that a CPU comes to the instruction at this linear address; `None` if it is not.
    pub fn noted_since(&self, place: u32) -> Option<u64> {
        self.places.iter().find(|(noted, _)| *noted == place).map(|&(_, since_ns)| since_ns)
    }

    pub(crate) fn note_place(&mut self, place: u32, now_ns: u64) {
        if self.noted_since(place).is_none() {
            self.places.push((place, now_ns));
        }
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = u32> + '_ {
        self.places.iter().map(|&(place, _)| place)
    }

    /// A CPU stands before this instruction: noted once, however often the machine stops there.
    pub(crate) fn passes(&mut self, at_ns: u64, cpu: usize, place: u32, registers: [u32; 3]) {
        let event = TimelineEvent { at_ns, cpu: cpu as u8, fact: Fact::Passed { place, registers } };
        if self.events.back() != Some(&event) {
            self.note(event.at_ns, cpu, event.fact);
        }
    }

    /// Those of the last facts that are always kept.
    pub(crate) fn last(&self) -> Timeline {
        let skip = self.events.len().saturating_sub(KEPT);
        let events = self.events.iter().skip(skip).copied().collect();
        Timeline { events, forgotten: self.forgotten + skip as u64, places: self.places.clone(), kept: KEPT }
    }

    /// The facts from number `from` on, counted from power-on, as far as they are kept; and the next number.
    pub fn since(&self, from: u64) -> (Vec<TimelineEvent>, u64) {
        let skip = from.saturating_sub(self.forgotten) as usize;
        let next = self.forgotten + self.events.len() as u64;
        (self.events.iter().skip(skip).copied().collect(), next)
    }

    pub(crate) fn note(&mut self, at_ns: u64, cpu: usize, fact: Fact) {
        while self.events.len() >= self.kept {
            self.events.pop_front();
            self.forgotten += 1;
        }
        self.events.push_back(TimelineEvent { at_ns, cpu: cpu as u8, fact });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_passed_once_however_often_the_machine_stops_there() {
        let mut timeline = Timeline::default();
        let place = 0xc010_0000;
        assert_eq!(timeline.noted_since(place), None);
        timeline.note_place(place, 5);
        timeline.note_place(place, 6);
        assert_eq!(timeline.noted_since(place), Some(5));
        [7, 7, 9].into_iter().for_each(|at_ns| timeline.passes(at_ns, 1, place, [1, 2, 3]));
        assert_eq!(timeline.events().map(|event| event.at_ns).collect::<Vec<_>>(), [7, 9]);
    }

    #[test]
    fn the_oldest_facts_go_and_are_counted() {
        let mut timeline = Timeline::default();
        for n in 0..KEPT as u64 + 3 {
            timeline.note(n, 1, Fact::Ended);
        }
        assert_eq!((timeline.events().len(), timeline.forgotten()), (KEPT, 3));
        assert_eq!(timeline.events().next().map(|event| event.at_ns), Some(3));
        let (events, next) = timeline.since(KEPT as u64 + 1);
        assert_eq!((events.len(), next), (2, KEPT as u64 + 3));
        let (events, _) = timeline.since(0);
        assert_eq!(events.len(), KEPT, "what is forgotten is not given");
    }
}
