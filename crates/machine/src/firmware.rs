//! What the firmware of a PC has done before a boot loader runs: the map of memory, the tables
//! that describe the machine, and the chips as it leaves them.

mod acpi;
mod aml;
mod checksum;
mod mp;
mod tables;
#[cfg(test)]
mod tests;

use devices::{Board, VGA_TEXT_BYTES};
use memory::PhysMem;
use x86::PhysAddr;

use crate::{
    chipset::Chipset,
    config::MachineConfig,
    interrupts::{IOAPIC_BASE, IOAPIC_ID, LAPIC_BASE},
    resource::{Resource, SERIAL_PORTS},
};

pub(crate) use tables::write_tables;

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

/// Video memory in text mode.
pub(crate) const TEXT_START: u64 = 0xb_8000;
/// A blank, light grey on black.
const BLANK: [u8; 2] = [b' ', 0x07];
/// Characters on the screen.
const TEXT_COLUMNS: u8 = 80;
const TEXT_ROWS: u8 = 25;

/// Interrupt lines that firmware makes level triggered, as that of the power-management chip is.
const LEVEL_IRQS: [u8; 4] = [5, SCI_IRQ, 10, 11];
/// The line of the power-management chip.
const SCI_IRQ: u8 = 9;

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

/// The same as the tree of resources that dumps show, with what is no memory of the kernel's.
pub(crate) fn memory_resources(config: &MachineConfig) -> Vec<Resource> {
    let regions = memory_map(config).into_iter().map(|region| {
        let name = match region.kind {
            RegionKind::Ram => "System RAM",
            RegionKind::Reserved => "Reserved",
        };
        Resource::new(region.start, region.start + region.len - 1, name)
    });
    let devices = [
        (TEXT_START, u64::from(VGA_TEXT_BYTES), "Video RAM"),
        (IOAPIC_BASE, 0x1000, "IOAPIC 0"),
        (LAPIC_BASE, 0x1000, "Local APIC"),
    ];
    let devices = devices.map(|(start, len, name)| Resource::new(start, start + len - 1, name));
    let mut resources: Vec<Resource> = regions.chain(devices).collect();
    resources.sort_by_key(|resource| resource.start);
    resources
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
    // The screen: mode 3, its columns, the bytes of a page; the CRTC's port; the last row, and the
    // lines of a character.
    mem.write(PhysAddr(DATA_AREA + 0x49), &[3, TEXT_COLUMNS, 0, 0x00, 0x10]);
    mem.write(PhysAddr(DATA_AREA + 0x60), &[0x0e, 0x0d]);
    mem.write(PhysAddr(DATA_AREA + 0x63), &0x3d4_u16.to_le_bytes());
    mem.write(PhysAddr(DATA_AREA + 0x84), &[TEXT_ROWS - 1, 16]);
    let screen = BLANK.repeat(usize::from(TEXT_COLUMNS) * usize::from(TEXT_ROWS));
    mem.write(PhysAddr(TEXT_START), &screen);
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
