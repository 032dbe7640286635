//! Counters over time, for pictures: no state, in no hash, but kept by a snapshot.

use serde::{Deserialize, Serialize};

/// Free blocks by order, 0 to 10.
pub type FreeBlocks = [u32; 11];

/// Most samples that a machine keeps.
const MOST: usize = 4096;
/// Most rows of free blocks in one sample.
const MOST_ZONES: usize = 16;

/// Counters at one instant. Those of events are running totals from power-on; those that come from the
/// guest kernel's books are 0 where it keeps none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Instructions retired by all CPUs.
    pub retired: u64,
    /// Page faults that waited for no device, as the guest kernel counts them. Without its books: all page
    /// faults that CPUs have delivered.
    pub minor_faults: u64,
    /// Page faults that waited for a device, as the guest kernel counts them.
    pub major_faults: u64,
    /// Translations filled after a walk, by all CPUs.
    pub tlb_misses: u64,
    /// Loads of CR3 and changes of mode that removed many translations.
    pub tlb_flushes: u64,
    /// INVLPG instructions.
    pub invlpg: u64,
    /// Interrupts taken for a shootdown, as the guest kernel counts them.
    pub shootdowns: u64,
    /// Free blocks, a row a zone, the lowest zone first.
    pub free: Vec<FreeBlocks>,
    /// Free pages of all zones, those in the lists of single CPUs left out.
    pub free_pages: u32,
    /// Pages in use of all swap areas.
    pub swap_used: u32,
    /// Pages of files' caches, those of tmpfs and shared memory among them.
    pub page_cache: u32,
    /// Anonymous pages that are mapped.
    pub anonymous: u32,
}

/// The samples of a machine, oldest first, at equal distances as far as it was asked to take them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// Instructions between two; 0: none are taken.
    every: u64,
    kept: Vec<Sample>,
}

impl Samples {
    /// The samples, oldest first.
    pub fn all(&self) -> &[Sample] {
        &self.kept
    }

    /// Instructions between two samples, if any are taken. It doubles each time that there were too many.
    pub fn every(&self) -> Option<u64> {
        Some(self.every).filter(|&every| every != 0)
    }

    /// The count of retired instructions at which the next one is due, if any is.
    pub fn due(&self, retired: u64) -> Option<u64> {
        let last = self.kept.last().map_or(0, |last| last.retired);
        // A machine that was replaced may have come less far.
        Some(last.saturating_add(self.every()?)).map(|due| due.min(retired.saturating_add(self.every)))
    }

    pub(crate) fn set_every(&mut self, instructions: u64) {
        self.every = instructions;
    }

    /// Takes one in. Where there are too many, every second one goes, and from then on they are taken half as often.
    pub(crate) fn push(&mut self, sample: Sample) {
        if self.kept.len() >= MOST {
            let mut is_odd = true;
            self.kept.retain(|_| {
                is_odd = !is_odd;
                is_odd
            });
            self.every = self.every.saturating_mul(2);
        }
        self.kept.push(sample);
    }

    /// Whether a saved machine can have these.
    pub(crate) fn fits(&self) -> bool {
        self.kept.len() <= MOST
            && self.kept.iter().all(|sample| sample.free.len() <= MOST_ZONES)
            && self.kept.is_sorted_by_key(|sample| sample.retired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(retired: u64) -> Sample {
        Sample { retired, ..Sample::default() }
    }

    #[test]
    fn too_many_samples_are_thinned_out_and_taken_half_as_often() {
        let mut samples = Samples::default();
        assert_eq!((samples.every(), samples.due(5)), (None, None));
        samples.set_every(10);
        assert_eq!(samples.due(3), Some(10));
        while samples.every() == Some(10) {
            let due = samples.due(samples.all().last().map_or(0, |last| last.retired)).unwrap();
            samples.push(at(due));
        }
        assert_eq!(samples.all().len(), MOST / 2 + 1);
        assert_eq!(samples.every(), Some(20));
        let retired: Vec<u64> = samples.all().iter().map(|sample| sample.retired).collect();
        assert_eq!((retired[0], retired[1]), (20, 40));
        assert_eq!(*retired.last().unwrap(), 10 * (MOST as u64 + 1), "the newest stays");
        assert!(samples.fits());
    }

    #[test]
    fn what_no_machine_has_sampled_is_told_apart() {
        assert!(!Samples { every: 1, kept: vec![at(2), at(1)] }.fits());
        assert!(!Samples { every: 1, kept: vec![Sample { free: vec![[0; 11]; 17], ..at(1) }] }.fits());
        assert!(!Samples { every: 1, kept: vec![at(1); MOST + 1] }.fits());
    }
}
