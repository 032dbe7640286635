//! What is told of within a run.

use inspect::EventTrace;
use machine::{Judge, Machine, Occurrence, Stop};

use crate::lens::Known;

/// The most events of one instruction that `--trace exec` has in its line.
const MAX_OCCURRENCES: usize = 8;

/// Tells of events, and lets the machine go on; only breakpoints stop it.
pub struct Watcher<'a> {
    known: &'a Known,
    events: Option<&'a mut EventTrace>,
    occurrences: Vec<Occurrence>,
}

impl<'a> Watcher<'a> {
    /// For one run.
    pub fn new(known: &'a Known, events: Option<&'a mut EventTrace>) -> Self {
        Watcher { known, events, occurrences: Vec::new() }
    }

    /// The first events of the run.
    pub fn occurrences(self) -> Vec<Occurrence> {
        self.occurrences
    }
}

impl Judge for Watcher<'_> {
    fn stops(&mut self, machine: &Machine, stop: &Stop) -> bool {
        let beside = match stop {
            Stop::Caught(occurrence) => Some(*occurrence),
            Stop::Watchpoint { .. } => machine.caught_beside_hits(),
            _ => return true,
        };
        self.occurrences.extend(beside.filter(|_| self.occurrences.len() < MAX_OCCURRENCES));
        if let Some(events) = &mut self.events {
            let hits = if matches!(stop, Stop::Watchpoint { .. }) { machine.watch_hits() } else { &[] };
            self.known.glance(machine, |target| events.stopped(target, machine.now_ns(), stop, hits, beside));
        }
        false
    }
}
