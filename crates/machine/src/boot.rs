//! Bringing images into an empty machine.
mod bios;
mod elf;
mod error;
mod layout;
mod multiboot;
#[cfg(test)]
mod tests;

use cpu::{CpuModel, CpuState};
use memory::PhysMem;
use serde::{Deserialize, Serialize};

use crate::{Error, firmware::MemoryRegion};

pub use error::BootError;

/// Bytes with a name for messages.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// File name, or what stands for it.
    pub name: String,
    /// Contents.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.bytes.len())
    }
}

/// What a machine boots. A part of its state: a snapshot holds it, for the kernel's symbols.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Boot {
    /// A Multiboot 1 kernel, entered as the specification says.
    Multiboot {
        /// The kernel.
        kernel: Image,
        /// Its command line.
        command_line: String,
        /// Modules, each with its string for the kernel.
        modules: Vec<(Image, String)>,
    },
    /// A ROM that ends at 1 MiB and again at 4 GiB; the CPU begins at its reset state.
    Bios {
        /// The ROM.
        rom: Image,
    },
}

impl Boot {
    /// The kernel's ELF file, where there is one.
    pub fn kernel(&self) -> Option<&Image> {
        match self {
            Boot::Multiboot { kernel, .. } => Some(kernel),
            Boot::Bios { .. } => None,
        }
    }
}

/// Whether a file announces itself as a Multiboot 1 kernel. Whether it can be booted is told
/// by [`crate::Machine::new`].
pub fn is_multiboot_kernel(bytes: &[u8]) -> bool {
    multiboot::find_header(bytes).is_some()
}

/// Puts back what is ROM in a machine that booted `boot`.
pub(crate) fn map_rom(boot: &Boot, mem: &mut PhysMem) -> Result<(), BootError> {
    match boot {
        Boot::Multiboot { .. } => Ok(()),
        Boot::Bios { rom } => bios::load(mem, &rom.bytes),
    }
}

/// Loads `boot` into memory. Gives the state in which a boot loader enters the kernel, or
/// `None` where the CPU begins at reset.
pub(crate) fn load(
    boot: &Boot,
    mem: &mut PhysMem,
    memory_map: &[MemoryRegion],
    model: CpuModel,
) -> Result<Option<CpuState>, Error> {
    match boot {
        Boot::Multiboot { kernel, command_line, modules } => {
            multiboot::load(mem, memory_map, kernel, command_line, modules)
                .map(|entry| Some(CpuState::multiboot(model, entry.eip, entry.info)))
        }
        Boot::Bios { rom } => {
            bios::load(mem, &rom.bytes).map(|()| None).map_err(|source| Error::Boot { image: rom.name.clone(), source })
        }
    }
}
