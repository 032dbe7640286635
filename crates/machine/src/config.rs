use cpu::{
    Activity, CpuModel, CpuState,
    mmu::{Tlb, TlbGeometry},
};
use serde::{Deserialize, Serialize};
use x86::{PAGE_SIZE, msr};

use crate::{
    Error,
    disk::{DiskConfig, MAX_DISKS},
};

const MIB: u64 = 1 << 20;
/// Most CPUs.
pub const MAX_CPUS: u8 = 8;
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
    /// The same for a guest that may know nothing of RTS: letting received bytes interrupt it, at the port and
    /// at an interrupt controller, counts as asking, too.
    OnInterest,
}

/// What a machine is made of. A part of its state: a snapshot holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineConfig {
    /// RAM, 16 MiB to 3584 MiB in whole pages.
    pub memory_bytes: u64,
    /// How many CPUs, 1 to [`MAX_CPUS`].
    pub cpus: u8,
    /// From which order and length of the CPUs' turns are drawn; `None`: they take turns of equal length.
    pub schedule_seed: Option<u64>,
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
    /// Whether the test device of QEMU is there, `pc-testdev`, which kvm-unit-tests' programs use.
    pub test_device: bool,
    /// Whether somebody may type at the keyboard.
    pub keyboard: bool,
    /// Disks: primary master, primary slave, secondary master, secondary slave.
    pub disks: Vec<DiskConfig>,
}

impl Default for MachineConfig {
    /// One CPU, 256 MiB, COM1 live and the others silent, 2025-01-01.
    fn default() -> Self {
        MachineConfig {
            memory_bytes: 256 * MIB,
            cpus: 1,
            schedule_seed: None,
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
            test_device: false,
            keyboard: false,
            disks: Vec::new(),
        }
    }
}

impl MachineConfig {
    /// Refuses what cannot be built.
    ///
    /// # Errors
    /// [`Error::Memory`] for an impossible size of RAM, [`Error::Cpus`], [`Error::TooManyDisks`].
    pub fn check(&self) -> Result<(), Error> {
        let whole_pages = self.memory_bytes.is_multiple_of(u64::from(PAGE_SIZE));
        if !whole_pages || !MEMORY_BYTES.contains(&self.memory_bytes) {
            return Err(Error::Memory { bytes: self.memory_bytes });
        }
        if !(1..=MAX_CPUS).contains(&self.cpus) {
            return Err(Error::Cpus { cpus: self.cpus.into() });
        }
        if self.disks.len() > MAX_DISKS {
            return Err(Error::TooManyDisks { disks: self.disks.len() });
        }
        Ok(())
    }

    /// CPU `number` after RESET: CPU 0 is the bootstrap processor, the others wait for it.
    pub(crate) fn cpu_at_reset(&self, number: u8) -> CpuState {
        let mut state = CpuState {
            tlb: Tlb::new(self.tlb),
            // Each draws numbers of its own.
            random: self.seed.wrapping_add(u64::from(number) << 56),
            apic_id: number,
            cpu_count: self.cpus,
            ..CpuState::reset(self.cpu_model)
        };
        if number != 0 {
            state.msr.apic_base &= !msr::APIC_BASE_BSP;
            state.activity = Activity::WaitForSipi;
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_1_to_8_cpus_and_the_first_one_begins() {
        for (cpus, good) in [(0, false), (1, true), (8, true), (9, false), (255, false)] {
            let config = MachineConfig { cpus, ..MachineConfig::default() };
            assert_eq!(config.check().is_ok(), good, "{cpus}");
        }
        let config = MachineConfig { cpus: 4, ..MachineConfig::default() };
        let [first, last] = [0, 3].map(|number| config.cpu_at_reset(number));
        assert_eq!((first.msr.apic_base, first.activity), (0xfee0_0900, Activity::Running));
        assert_eq!((last.msr.apic_base, last.activity), (0xfee0_0800, Activity::WaitForSipi));
        assert_eq!((last.apic_id, last.cpu_count), (3, 4));
    }

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
