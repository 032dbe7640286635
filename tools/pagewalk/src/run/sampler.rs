//! `--sample N`: counters every N instructions, kept with the machine.

use machine::Machine;

use crate::lens::Known;

/// Takes samples when they are due.
pub struct Sampler {
    every: u64,
    known: Known,
    due: u64,
}

impl Sampler {
    /// Every so many instructions from now on.
    pub fn new(every: u64, machine: &mut Machine) -> Self {
        let mut sampler = Sampler { every, known: Known::of(machine), due: 0 };
        sampler.begin(machine);
        sampler
    }

    /// Another machine has come in the place of the one before.
    pub fn begin(&mut self, machine: &mut Machine) {
        machine.sample_every(self.every);
        self.known = Known::of(machine);
        self.set_due(machine);
    }

    /// The count of instructions at which the next is due.
    pub fn due(&self) -> u64 {
        self.due
    }

    /// Takes one if it is due.
    pub fn attend(&mut self, machine: &mut Machine) {
        if machine.retired() >= self.due {
            self.take(machine);
        }
    }

    /// Takes the last one, at the end of a run.
    pub fn finish(&mut self, machine: &mut Machine) {
        if machine.samples().all().last().is_none_or(|last| last.retired < machine.retired()) {
            self.take(machine);
        }
    }

    fn take(&mut self, machine: &mut Machine) {
        let sample = self.known.look(machine, inspect::sample);
        machine.keep_sample(sample);
        self.set_due(machine);
    }

    fn set_due(&mut self, machine: &Machine) {
        self.due = machine.samples().due(machine.retired()).unwrap_or(u64::MAX);
    }
}
