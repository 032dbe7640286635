use cpu::{
    CpuModel, CpuState,
    mmu::{Tlb, TlbGeometry},
};
use serde::{Deserialize, Serialize};
use x86::PAGE_SIZE;

use crate::{
    Error,
    disk::{DiskConfig, MAX_DISKS},
};

const MIB: u64 = 1 << 20;
/// Smallest and largest RAM.
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 16 * MIB..=3584 * MIB;

/// What is at the far end of a serial port's receiving line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SerialInput {
    /// Nothing: the input has ended before it began, DCD is low.
    None,
    /// Something that speaks when it likes, such as a terminal.
    Live,
    /// Something that is read only when the guest asks by raising RTS, with time stopped:
    /// a file or a pipe.
    OnDemand,
}

/// What a machine is made of. A part of its state: a snapshot holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineConfig {
    /// RAM, 16 MiB to 3584 MiB in whole pages.
    pub memory_bytes: u64,
    /// The processor that CPUID describes.
    pub cpu_model: CpuModel,
    /// How many translations the TLB holds.
    pub tlb: TlbGeometry,
    /// COM1 to COM4; `None` where there is no port.
    pub serial: [Option<SerialInput>; 4],
    /// Date of the real-time clock at power-on, in seconds since 1970-01-01 00:00 UTC.
    pub start_unix_s: u64,
    /// From which everything is drawn that a machine leaves to chance.
    pub seed: u64,
    /// A port whose bytes are shown beside their other use.
    pub post_port: Option<u16>,
    /// Disks: primary master, primary slave, secondary master, secondary slave.
    pub disks: Vec<DiskConfig>,
}

impl Default for MachineConfig {
    /// 256 MiB, COM1 live and the others silent, 2025-01-01.
    fn default() -> Self {
        MachineConfig {
            memory_bytes: 256 * MIB,
            cpu_model: CpuModel::default(),
            tlb: TlbGeometry::default(),
            serial: [
                Some(SerialInput::Live),
                Some(SerialInput::None),
                Some(SerialInput::None),
                Some(SerialInput::None),
            ],
            start_unix_s: 1_735_689_600,
            seed: 0,
            post_port: None,
            disks: Vec::new(),
        }
    }
}

impl MachineConfig {
    /// Refuses what cannot be built.
    ///
    /// # Errors
    /// [`Error::Memory`] for an impossible size of RAM, [`Error::TooManyDisks`].
    pub fn check(&self) -> Result<(), Error> {
        let whole_pages = self.memory_bytes.is_multiple_of(u64::from(PAGE_SIZE));
        if !whole_pages || !MEMORY_BYTES.contains(&self.memory_bytes) {
            return Err(Error::Memory { bytes: self.memory_bytes });
        }
        if self.disks.len() > MAX_DISKS {
            return Err(Error::TooManyDisks { disks: self.disks.len() });
        }
        Ok(())
    }

    /// The processor after RESET.
    pub(crate) fn cpu_at_reset(&self) -> CpuState {
        CpuState { tlb: Tlb::new(self.tlb), random: self.seed, ..CpuState::reset(self.cpu_model) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_16_to_3584_mib_in_whole_pages() {
        for (bytes, good) in [
            (3, false),
            (16 * MIB - 4096, false),
            (16 * MIB, true),
            (16 * MIB + 1, false),
            (16 * MIB + 4096, true),
            (3584 * MIB, true),
            (3584 * MIB + 4096, false),
            (1 << 40, false),
        ] {
            let config = MachineConfig { memory_bytes: bytes, ..MachineConfig::default() };
            assert_eq!(config.check().is_ok(), good, "{bytes}");
        }
    }
}
