/// Counts that say how a run went. No state: a restored machine begins at zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineStats {
    /// Interrupts acknowledged, by vector.
    pub interrupts_by_vector: Vec<u64>,
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
    pub(crate) fn new() -> Self {
        MachineStats { interrupts_by_vector: vec![0; 256], ..MachineStats::default() }
    }

    /// Interrupts acknowledged.
    pub fn interrupts(&self) -> u64 {
        self.interrupts_by_vector.iter().sum()
    }
}
