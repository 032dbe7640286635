//! Where the tables are: what kernels search for in the BIOS area, and the MP configuration, which
//! small kernels map with it; the rest of ACPI at the end of memory, which the map calls reserved.
use memory::PhysMem;
use x86::PhysAddr;

use super::{BIOS_START, acpi, mp, tables_start};
use crate::config::MachineConfig;

/// Places in the BIOS area; the pointers are at multiples of 16, as their searchers expect.
const RSDP: u64 = BIOS_START + 0x5a80;
const MP_POINTER: u64 = BIOS_START + 0x5ab0;
const MP_CONFIGURATION: u64 = BIOS_START + 0x5ac0;

/// Writes the tables of ACPI 1.0 and of the MP specification.
pub(super) fn write_tables(mem: &mut PhysMem, config: &MachineConfig) {
    let base = tables_start(config);
    let (tables, rsdt) = acpi::tables(base as u32, config.cpus);
    // The BIOS area is ROM to the guest: it is loaded, not written.
    for (address, bytes) in [
        (base, tables),
        (RSDP, acpi::root_pointer(rsdt)),
        (MP_POINTER, mp::floating_pointer(MP_CONFIGURATION as u32)),
        (MP_CONFIGURATION, mp::configuration(config.cpu_model, config.cpus)),
    ] {
        mem.load(PhysAddr(address), &bytes);
    }
}
