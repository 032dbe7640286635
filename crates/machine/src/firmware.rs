//! What the firmware of a PC has done before a boot loader runs: the map of memory, the tables
//! that describe the machine, and the chips as it leaves them.

mod acpi;
mod aml;
mod bios;
mod checksum;
mod mp;
mod tables;
#[cfg(test)]
mod tests;

use devices::{Board, VGA_TEXT_BYTES};
use memory::PhysMem;

use crate::{
    chipset::Chipset,
    config::MachineConfig,
    interrupts::{IOAPIC_BASE, IOAPIC_ID, LAPIC_BASE},
    resource::Resource,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Conventional memory ends where the extended BIOS data area begins.
const CONVENTIONAL_END: u64 = 639 * KIB;
const VIDEO_START: u64 = 640 * KIB;
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

/// What firmware has put into memory `now_ns` after power-on.
pub(crate) fn write_memory(mem: &mut PhysMem, config: &MachineConfig, now_ns: u64) {
    bios::write_bios(mem, config, now_ns);
    tables::write_tables(mem, config);
}

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

/// Chips as firmware leaves them: the timer at 18.2 Hz and its line alone open, with the cascade;
/// interrupts at vectors 0x08 and 0x70; lines that are level triggered declared so; refresh running.
pub(crate) fn set_up_chips(chips: &mut Chipset, board: &mut impl Board) {
    for (offset, value) in [(3, 0x36), (0, 0x00), (0, 0x00), (3, 0x54), (1, 0x12)] {
        chips.pit.write(offset, value, board);
    }
    chips.port61.write(0, &mut chips.pit, board);
    chips.port92.write(2, board);
    // The timer's line is high by now: its first tick comes a whole period later.
    chips.drive_irqs();
    for (offset, master, slave) in [(0, 0x11, 0x11), (1, 0x08, 0x70), (1, 0x04, 0x02), (1, 0x01, 0x01), (1, 0xfa, 0xff)]
    {
        chips.pic.write_master(offset, master);
        chips.pic.write_slave(offset, slave);
    }
    let level = LEVEL_IRQS.iter().fold(0_u16, |level, irq| level | 1 << irq).to_le_bytes();
    chips.pic.write_elcr(0, level[0]);
    chips.pic.write_elcr(1, level[1]);
    chips.drive_irqs();
}
