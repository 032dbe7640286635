/// Counts that say how a run went. No state: a restored machine begins at zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineStats {
    /// Interrupts acknowledged, by vector.
    pub interrupts_by_vector: Vec<u64>,
    /// The same by CPU.
    pub interrupts_by_cpu: Vec<u64>,
    /// Turns that each CPU had.
    pub turns_by_cpu: Vec<u64>,
    /// Port reads.
    pub port_reads: u64,
    /// Port writes.
    pub port_writes: u64,
    /// Accesses to physical addresses without memory.
    pub mmio_accesses: u64,
    /// Times that the run loop entered the engine.
    pub entries: u64,
    /// Virtual time skipped while every CPU rested.
    pub skipped_ns: u64,
}

impl MachineStats {
    pub(crate) fn new(cpus: u8) -> Self {
        let by_cpu = vec![0; cpus.into()];
        MachineStats {
            interrupts_by_vector: vec![0; 256],
            interrupts_by_cpu: by_cpu.clone(),
            turns_by_cpu: by_cpu,
            ..MachineStats::default()
        }
    }

    pub(crate) fn note_interrupt(&mut self, cpu: usize, vector: u8) {
        self.interrupts_by_vector[usize::from(vector)] += 1;
        self.interrupts_by_cpu[cpu] += 1;
    }

    /// Interrupts acknowledged.
    pub fn interrupts(&self) -> u64 {
        self.interrupts_by_vector.iter().sum()
    }
}
