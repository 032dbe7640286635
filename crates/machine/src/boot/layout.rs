use std::ops::Range;

use memory::PhysMem;
use x86::{PAGE_SIZE, PhysAddr};

use super::BootError;
use crate::firmware::{MemoryRegion, RegionKind};

const HIGH_MEMORY_START: u64 = 1 << 20;

/// Puts things into RAM, each checked.
pub(super) struct Layout<'a> {
    mem: &'a mut PhysMem,
    /// RAM that firmware leaves to the kernel.
    ram: Vec<Range<u64>>,
    /// Everything placed so far: first address and the one behind the last.
    placed: Vec<(u64, u64)>,
}

impl<'a> Layout<'a> {
    pub fn new(mem: &'a mut PhysMem, memory_map: &[MemoryRegion]) -> Self {
        let ram = memory_map.iter().filter(|region| region.kind == RegionKind::Ram);
        Layout { mem, ram: ram.map(|region| region.start..region.start + region.len).collect(), placed: Vec::new() }
    }

    /// Puts `bytes`, followed by zeros up to `len`, at `start`.
    pub fn place(&mut self, what: &str, start: u64, bytes: &[u8], len: u64) -> Result<(), BootError> {
        let last = start + len.max(1) - 1;
        if !self.ram.iter().any(|ram| ram.contains(&start) && ram.contains(&last)) {
            let memory_end = self.ram.iter().map(|ram| ram.end).max().unwrap_or(0);
            return Err(BootError::DoesNotFit { what: what.to_owned(), start, last, memory_end });
        }
        self.mem.load(PhysAddr(start), bytes);
        self.clear(start + bytes.len() as u64, start + len);
        self.placed.push((start, last + 1));
        Ok(())
    }

    /// Puts `bytes` at the page behind everything above 1 MiB; gives the address.
    pub fn append(&mut self, what: &str, bytes: &[u8]) -> Result<u64, BootError> {
        let ends = self.placed.iter().map(|&(_, end)| end);
        let start = ends.fold(HIGH_MEMORY_START, u64::max).next_multiple_of(u64::from(PAGE_SIZE));
        self.place(what, start, bytes, bytes.len() as u64)?;
        Ok(start)
    }

    /// The lowest page in `range` from which `len` bytes are free of what was placed.
    pub fn gap(&self, range: Range<u64>, len: u64) -> Option<u64> {
        let mut start = range.start;
        while let Some(&(_, end)) = self.placed.iter().find(|&&(first, end)| first < start + len && start < end) {
            start = end.next_multiple_of(u64::from(PAGE_SIZE));
        }
        (start + len <= range.end).then_some(start)
    }

    /// Zeroes what was ever written; the rest is zero and stays untouched.
    fn clear(&mut self, start: u64, end: u64) {
        let mut at = start;
        while at < end {
            let page_end = (at / u64::from(PAGE_SIZE) + 1) * u64::from(PAGE_SIZE);
            let stop = end.min(page_end);
            if self.mem.is_touched((at >> 12) as u32) {
                self.mem.load(PhysAddr(at), &[0; PAGE_SIZE as usize][..(stop - at) as usize]);
            }
            at = stop;
        }
    }
}
