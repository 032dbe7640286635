//! What the firmware of a PC has done before a boot loader runs: the map of memory, and the
//! chips as it leaves them.

use devices::Board;
use memory::PhysMem;
use x86::PhysAddr;

use crate::{
    chipset::Chipset,
    config::MachineConfig,
    resource::{Resource, SERIAL_PORTS},
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Conventional memory ends where the extended BIOS data area begins.
const CONVENTIONAL_END: u64 = 639 * KIB;
const VIDEO_START: u64 = 640 * KIB;
const DATA_AREA: u64 = 0x400;
const BIOS_START: u64 = 960 * KIB;

const TABLES_BYTES: u64 = 128 * KIB;
/// Where firmware's ROM lies below 4 GiB.
const ROM_START: u64 = 0xfffc_0000;
const SPACE_END: u64 = 1 << 32;

/// What a region of physical addresses is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// Memory for the kernel.
    Ram,
    /// Not for the kernel.
    Reserved,
}

/// A region of physical addresses, as firmware tells the boot loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// What it is for.
    pub kind: RegionKind,
}

/// The regions, ascending.
pub(crate) fn memory_map(config: &MachineConfig) -> Vec<MemoryRegion> {
    let region = |start, end, kind| MemoryRegion { start, len: end - start, kind };
    vec![
        region(0, CONVENTIONAL_END, RegionKind::Ram),
        region(CONVENTIONAL_END, VIDEO_START, RegionKind::Reserved),
        region(BIOS_START, MIB, RegionKind::Reserved),
        region(MIB, tables_start(config), RegionKind::Ram),
        region(tables_start(config), config.memory_bytes, RegionKind::Reserved),
        region(ROM_START, SPACE_END, RegionKind::Reserved),
    ]
}

/// Firmware keeps the end of memory for its tables.
fn tables_start(config: &MachineConfig) -> u64 {
    config.memory_bytes - TABLES_BYTES
}

/// The same as the tree of resources that dumps show.
pub(crate) fn memory_resources(config: &MachineConfig) -> Vec<Resource> {
    memory_map(config)
        .into_iter()
        .map(|region| {
            let name = match region.kind {
                RegionKind::Ram => "System RAM",
                RegionKind::Reserved => "Reserved",
            };
            Resource::new(region.start, region.start + region.len - 1, name)
        })
        .collect()
}

/// The first entries of the BIOS data area: the serial ports that there are, the place of the
/// extended area, the number of disks and the size of conventional memory (IBM PC AT Technical Reference, "BIOS").
pub(crate) fn write_data_area(mem: &mut PhysMem, config: &MachineConfig) {
    let ports = SERIAL_PORTS.iter().zip(&config.serial).filter(|(_, input)| input.is_some()).map(|(port, _)| *port);
    for (address, port) in (DATA_AREA..).step_by(2).zip(ports) {
        mem.write(PhysAddr(address), &port.to_le_bytes());
    }
    let extended_segment = (CONVENTIONAL_END / 16) as u16;
    mem.write(PhysAddr(DATA_AREA + 0x0e), &extended_segment.to_le_bytes());
    mem.write(PhysAddr(DATA_AREA + 0x75), &[config.disks.len() as u8]);
    mem.write(PhysAddr(DATA_AREA + 0x13), &((CONVENTIONAL_END / KIB) as u16).to_le_bytes());
}

/// Chips as firmware leaves them: interrupts at vectors 0x08 and 0x70 with all but the cascade
/// masked, the timer at 18.2 Hz, refresh running.
pub(crate) fn set_up_chips(chips: &mut Chipset, board: &mut impl Board) {
    for (offset, master, slave) in [(0, 0x11, 0x11), (1, 0x08, 0x70), (1, 0x04, 0x02), (1, 0x01, 0x01), (1, 0xfb, 0xff)]
    {
        chips.pic.write_master(offset, master);
        chips.pic.write_slave(offset, slave);
    }
    for (offset, value) in [(3, 0x36), (0, 0x00), (0, 0x00), (3, 0x54), (1, 0x12)] {
        chips.pit.write(offset, value, board);
    }
    chips.port61.write(0, &mut chips.pit, board);
    chips.port92.write(2, board);
    chips.drive_irqs();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_map_leaves_out_the_hole_below_1_mib_and_what_firmware_keeps() {
        let config = MachineConfig { memory_bytes: 64 * MIB, ..MachineConfig::default() };
        let shown: Vec<String> =
            memory_resources(&config).iter().map(|r| format!("{:08x}-{:08x} : {}", r.start, r.end, r.name)).collect();
        assert_eq!(
            shown,
            [
                "00000000-0009fbff : System RAM",
                "0009fc00-0009ffff : Reserved",
                "000f0000-000fffff : Reserved",
                "00100000-03fdffff : System RAM",
                "03fe0000-03ffffff : Reserved",
                "fffc0000-ffffffff : Reserved"
            ]
        );
    }
}
