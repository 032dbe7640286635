//! The partition table of a PC's disk (MBR), with logical partitions.

use alloc::vec::Vec;

use abi::{
    errno::{ENOMEM, Result},
    wire::u32_at,
};

use super::{BlockDevice, DISK_MINORS, SECTOR_SIZE};
use crate::mm::{alloc_page, gfp::GFP_KERNEL, highmem::kmap_local, put_page};

const TABLE: usize = 446;
const ENTRY_BYTES: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// Types of a partition that holds others.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
const FIRST_LOGICAL: u32 = 5;

/// A partition as the table has it.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    /// 1 to 4 for those of the first sector, then the logical ones.
    pub number: u32,
    /// First sector.
    pub start: u64,
    /// Sectors.
    pub sectors: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    kind: u8,
    start: u64,
    sectors: u64,
}

/// The partitions of a disk; those that lie beyond its end are cut or left out.
pub fn scan(disk: &BlockDevice) -> Result<Vec<Partition>> {
    let mut found = Vec::new();
    let Some(table) = read_table(disk, 0)? else { return Ok(found) };
    for (number, entry) in (1..).zip(table) {
        add(disk, &mut found, number, entry);
        if EXTENDED.contains(&entry.kind) {
            // A damaged chain loses what lies behind the damage, nothing more.
            let _ = scan_extended(disk, &mut found, entry.start);
        }
    }
    Ok(found)
}

/// Follows the chain of tables of logical partitions: each has one of them, and the next table,
/// counted from the first.
fn scan_extended(disk: &BlockDevice, found: &mut Vec<Partition>, first: u64) -> Result<()> {
    let mut at = first;
    let mut number = found.iter().map(|partition| partition.number + 1).max().unwrap_or(0).max(FIRST_LOGICAL);
    // A chain that loops ends with the minor numbers.
    for _ in 0..DISK_MINORS {
        let Some(table) = read_table(disk, at)? else { return Ok(()) };
        let mut next = None;
        for entry in table.iter().filter(|entry| entry.sectors != 0) {
            if EXTENDED.contains(&entry.kind) {
                next = next.or(Some(first + entry.start));
            } else if number < DISK_MINORS {
                add(disk, found, number, Entry { start: at + entry.start, ..*entry });
                number += 1;
            }
        }
        match next {
            Some(next) => at = next,
            None => return Ok(()),
        }
    }
    Ok(())
}

fn add(disk: &BlockDevice, found: &mut Vec<Partition>, number: u32, entry: Entry) {
    if entry.kind == 0 || entry.sectors == 0 || entry.start >= disk.capacity() {
        return;
    }
    // Of an extended partition only the first sectors are a device, for boot loaders.
    let sectors = if EXTENDED.contains(&entry.kind) { entry.sectors.min(2) } else { entry.sectors };
    let partition = Partition { number, start: entry.start, sectors: sectors.min(disk.capacity() - entry.start) };
    found.insert(found.partition_point(|before| before.number < number), partition);
}

/// The four entries of the table in a sector; `None` if there is none. A boot sector of a file
/// system bears the same signature, but not the boot indicators.
fn read_table(disk: &BlockDevice, sector: u64) -> Result<Option<[Entry; 4]>> {
    if sector >= disk.capacity() {
        return Ok(None);
    }
    let page = alloc_page(GFP_KERNEL).ok_or(ENOMEM)?;
    let table = disk.read_part(sector, page, 0, 1).map(|()| {
        let mapped = kmap_local(page);
        let bytes = &mapped.as_slice()[..SECTOR_SIZE as usize];
        let entries = core::array::from_fn(|n| {
            let entry = &bytes[TABLE + n * ENTRY_BYTES..][..ENTRY_BYTES];
            let valid = entry[0] & 0x7f == 0;
            let word = |at| u64::from(u32_at(entry, at));
            valid.then(|| Entry { kind: entry[4], start: word(8), sectors: word(12) })
        });
        let [Some(a), Some(b), Some(c), Some(d)] = entries else { return None };
        (bytes[510..512] == SIGNATURE).then_some([a, b, c, d])
    });
    put_page(page);
    table
}
