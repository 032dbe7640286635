//! `--check-tlb`: tells of each use of a stale translation when it happens.

use inspect::describe_finding;
use machine::Machine;

use crate::{error::status, lens::Known};

/// What was found in a run.
pub struct TlbCheck {
    known: Known,
    found: u64,
}

impl TlbCheck {
    /// Checks the machine from now on.
    pub fn begin(machine: &mut Machine) -> Self {
        machine.check_tlb();
        TlbCheck { known: Known::of(machine), found: 0 }
    }

    /// Prints what was found since the last call.
    pub fn tell(&mut self, machine: &mut Machine) {
        for finding in machine.take_findings() {
            self.found += 1;
            let text = self.known.look(machine, |target| describe_finding(target, &finding, machine.timeline()));
            crate::say(&format!("--check-tlb: {}", text.trim_end()));
        }
    }

    /// The exit status of a run that else has this one.
    pub fn status(&self, otherwise: u8) -> u8 {
        match self.found {
            0 => otherwise,
            found => {
                let uses = if found == 1 { "use" } else { "uses" };
                crate::say(&format!("--check-tlb: {found} {uses} of stale translations, a page and CPU counted once"));
                status::STALE_USE
            }
        }
    }
}
