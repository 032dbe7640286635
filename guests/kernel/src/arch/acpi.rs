//! ACPI's tables (ACPI specification, "System Description Table Header" and "Root System
//! Description Table (RSDT)"), mapped at boot and kept mapped, as Linux does.
#![allow(unsafe_code)]

use alloc::vec::Vec;

use super::mpconfig;
use crate::{
    mm::{PAGE_SIZE, vmalloc::ioremap},
    pr_hw,
};

/// Bytes of the header that every table begins with.
const HEADER: u32 = 36;
/// Longer tables are taken for damaged.
const MAX_LENGTH: u32 = 1 << 20;
/// Entries of the RSDT that are looked at.
const MAX_TABLES: u32 = 64;

/// A table that is mapped.
struct Table {
    addr: *const u8,
    /// Bytes, the header's with them.
    len: u32,
}

/// Whole pages that are mapped: physical address, linear address, bytes.
#[derive(Default)]
struct Maps(Vec<(u32, u32, u32)>);

/// Maps the RSDT and every table that it names, and lists them in the log. `vmalloc`'s space
/// must be there.
pub fn acpi_table_init() {
    let Some(rsdp) = mpconfig::find_rsdp() else { return };
    pr_hw!("ACPI: RSDP {rsdp:#010x} 000014");
    let mut maps = Maps::default();
    let Some(rsdt) = acpi_tb_install_table(&mut maps, mpconfig::read_u32(rsdp + 16)) else { return };
    let entries = (rsdt.len - HEADER) / 4;
    for n in 0..entries.min(MAX_TABLES) {
        // SAFETY: an entry inside the table, whose length the header tells.
        let phys = unsafe { rsdt.addr.add((HEADER + n * 4) as usize).cast::<u32>().read_unaligned() };
        acpi_tb_install_table(&mut maps, phys);
    }
}

/// A table with its header, mapped as a whole; `None` for what is no table.
fn acpi_tb_install_table(maps: &mut Maps, phys: u32) -> Option<Table> {
    let header = acpi_os_map_iomem(maps, phys, HEADER)?;
    // SAFETY: the header is mapped.
    let (signature, len) = unsafe { (*header.cast::<[u8; 4]>(), header.add(4).cast::<u32>().read_unaligned()) };
    if !(HEADER..MAX_LENGTH).contains(&len) {
        return None;
    }
    let addr = acpi_os_map_iomem(maps, phys, len)?;
    // SAFETY: the table is mapped.
    let bytes = unsafe { core::slice::from_raw_parts(addr, len as usize) };
    let name = core::str::from_utf8(&signature).unwrap_or("????");
    if bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
        pr_hw!("ACPI: {name} {phys:#010x} has a wrong checksum");
        return None;
    }
    pr_hw!("ACPI: {name} {phys:#010x} {len:06x} (v{:02})", bytes[8]);
    Some(Table { addr, len })
}

/// Addresses for a part of physical memory: those that it has already, or new ones. By itself: `/proc/vmallocinfo`
/// names whoever asked for them.
#[inline(never)]
fn acpi_os_map_iomem(maps: &mut Maps, phys: u32, len: u32) -> Option<*const u8> {
    let first = phys & !(PAGE_SIZE - 1);
    let size = (phys - first).checked_add(len)?.checked_next_multiple_of(PAGE_SIZE)?;
    let holds = |&&(start, _, bytes): &&(u32, u32, u32)| first >= start && first - start + size <= bytes;
    if let Some((start, addr, _)) = maps.0.iter().find(holds) {
        return Some((addr + (phys - start)) as *const u8);
    }
    let addr = ioremap(first, size) as u32;
    if addr == 0 {
        return None;
    }
    maps.0.push((first, addr, size));
    Some((addr + (phys - first)) as *const u8)
}
