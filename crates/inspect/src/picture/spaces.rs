//! Address spaces as their tables have them: every entry that is not zero, of every level.

use std::ops::Range;

use cpu::mmu::Paging;
use memory::{FrameKind, PhysMem};
use serde::{Deserialize, Serialize};
use x86::{Cr4, Pde, PhysAddr, Pte};

use super::column::{Column, Room};

/// Entries of page tables that one picture holds, of all address spaces together.
pub(super) const MAX_ENTRIES: usize = 3_000_000;
/// In [`Tables::bits`]: XD, which lies in bit 63 of an entry of PAE paging.
const BIT_XD: u32 = 1 << 12;

/// An address space, packed. An entry's value is `frame << 12 | bits`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Space {
    /// What CR3 holds while it is in use.
    pub cr3: u32,
    /// Three levels and entries of eight bytes.
    pub pae: bool,
    /// Whether PS in an entry of a directory makes a large page.
    pub pse: bool,
    /// Whether G in an entry with P clear says that the page is there, but for nobody to touch (`PROT_NONE`).
    pub prot_none: bool,
    /// The four page-directory pointers in hexadecimal, with PAE alone.
    pub pdpte: Vec<String>,
    /// The part of the linear addresses whose page tables are here; directories are whole.
    pub start: u64,
    /// Its end.
    pub end: u64,
    /// Entries of directories: their numbers, counted through all directories (address bits 31:22, with PAE 31:21).
    pub upper: Column,
    /// Bits 12 and up of those entries.
    pub upper_frame: Column,
    /// Bits 11:0 of those entries; XD in bit 12.
    pub upper_bits: Column,
    /// Entries of page tables: their page numbers.
    pub page: Column,
    /// Bits 12 and up of those entries.
    pub frame: Column,
    /// Bits 11:0 of those entries; XD in bit 12.
    pub bits: Column,
}

/// The same, unpacked.
#[derive(Default)]
pub(super) struct Tables {
    pub upper: Vec<u32>,
    pub upper_frame: Vec<u32>,
    pub upper_bits: Vec<u32>,
    pub page: Vec<u32>,
    pub frame: Vec<u32>,
    pub bits: Vec<u32>,
    /// Frames of directories.
    pub directories: Vec<u32>,
    /// Frames of page tables.
    pub tables: Vec<u32>,
    /// What could not be followed.
    pub damage: Vec<String>,
    /// As [`Space::prot_none`].
    pub prot_none: bool,
    /// The linear addresses whose page tables were read.
    range: Range<u64>,
}

impl Tables {
    /// Reads the tables of `paging` for the linear addresses in `range`, no more than `limit` entries of page tables.
    pub fn read(mem: &PhysMem, paging: &Paging, range: Range<u64>, prot_none: bool, limit: usize) -> Tables {
        let mut tables = Tables { prot_none, range, ..Tables::default() };
        let directories: Vec<Option<u64>> = match paging.pae() {
            true => paging.pdpte.iter().map(|entry| (entry & 1 != 0).then_some(entry & 0xf_ffff_f000)).collect(),
            false => vec![Some(paging.table().0)],
        };
        let per_directory = if paging.pae() { 512 } else { 1024 };
        for (nth, directory) in (0u32..).zip(directories) {
            let Some(directory) = directory else { continue };
            let Some(entries) = words(mem, paging, directory) else {
                tables.damage.push(format!("the page directory at {directory:#010x} is not in memory"));
                continue;
            };
            tables.directories.push((directory >> 12) as u32);
            for (index, value) in (nth * per_directory..).zip(entries) {
                if value != 0 {
                    tables.add_upper(mem, paging, index, value, limit);
                }
            }
        }
        tables
    }

    fn add_upper(&mut self, mem: &PhysMem, paging: &Paging, index: u32, value: u64, limit: usize) {
        let (frame, bits) = split(value);
        self.upper.push(index);
        self.upper_frame.push(frame);
        self.upper_bits.push(bits);
        let is_inside = self.range.contains(&(u64::from(index) * u64::from(paging.table_bytes())));
        if bits & Pde::P == 0 || is_large(paging, bits) || !is_inside {
            return;
        }
        let table = u64::from(frame) << 12;
        let Some(entries) = words(mem, paging, table) else {
            self.damage.push(format!("the page table at {table:#010x} is not in memory"));
            return;
        };
        self.tables.push(frame);
        let first = index * (paging.table_bytes() >> 12);
        for (page, value) in (first..).zip(entries).filter(|(_, value)| *value != 0) {
            if self.page.len() == limit {
                self.damage.push(format!("tables from {:#010x} on are left out: they are too many", page << 12));
                return;
            }
            let (frame, bits) = split(value);
            self.page.push(page);
            self.frame.push(frame);
            self.bits.push(bits);
        }
    }

    /// The frames that are mapped for use, and for which pages: `(page, frame, frames, bits)`.
    pub fn mapped(&self, paging: &Paging) -> impl Iterator<Item = (u32, u32, u32, u32)> {
        let per_table = paging.table_bytes() >> 12;
        let span = u64::from(paging.table_bytes());
        let large = self.upper.iter().zip(&self.upper_frame).zip(&self.upper_bits);
        let large = large
            .filter(|(_, bits)| self.is_there(**bits) && is_large(paging, **bits))
            .filter(move |((index, _), _)| self.range.contains(&(u64::from(**index) * span)))
            .map(move |((index, frame), bits)| (index * per_table, frame & !(per_table - 1), per_table, *bits));
        let small = self.page.iter().zip(&self.frame).zip(&self.bits);
        let small =
            small.filter(|(_, bits)| self.is_there(**bits)).map(|((page, frame), bits)| (*page, *frame, 1, *bits));
        large.chain(small)
    }

    /// Whether ring 3 may touch a page that is mapped with these bits: every level has to allow it.
    pub fn is_user(&self, paging: &Paging, page: u32, bits: u32) -> bool {
        let at = self.upper.binary_search(&(page / (paging.table_bytes() >> 12)));
        bits & Pte::US != 0 && at.is_ok_and(|at| self.upper_bits[at] & Pde::US != 0)
    }

    /// The frame of a page of 4 KiB.
    pub fn frame_of(&self, page: u32) -> Option<u32> {
        let at = self.page.binary_search(&page).ok()?;
        self.is_there(self.bits[at]).then(|| self.frame[at])
    }

    /// Whether an entry leads to a frame.
    fn is_there(&self, bits: u32) -> bool {
        bits & Pte::P != 0 || self.prot_none && bits & Pte::G != 0
    }

    /// Packs it.
    pub fn pack(&self, paging: &Paging, name: &str, room: &mut Room) -> Space {
        let mut column = |what: &str, values: &[u32]| room.column(|| format!("{what} of {name}"), values);
        Space {
            cr3: paging.cr3,
            pae: paging.pae(),
            pse: has_large(paging),
            prot_none: self.prot_none,
            pdpte: if paging.pae() { paging.pdpte.map(|entry| format!("{entry:x}")).to_vec() } else { Vec::new() },
            start: self.range.start,
            end: self.range.end,
            upper: column("the directory", &self.upper),
            upper_frame: column("the directory's frames", &self.upper_frame),
            upper_bits: column("the directory's bits", &self.upper_bits),
            page: column("the page tables", &self.page),
            frame: column("the page tables' frames", &self.frame),
            bits: column("the page tables' bits", &self.bits),
        }
    }
}

fn has_large(paging: &Paging) -> bool {
    paging.pae() || paging.cr4.contains(Cr4::PSE)
}

fn is_large(paging: &Paging, bits: u32) -> bool {
    bits & Pde::PS != 0 && has_large(paging)
}

fn split(value: u64) -> (u32, u32) {
    let xd = if value >> 63 != 0 { BIT_XD } else { 0 };
    ((value >> 12) as u32 & 0xff_ffff, value as u32 & 0xfff | xd)
}

/// The entries of a table; `None` where no memory is.
fn words(mem: &PhysMem, paging: &Paging, phys: u64) -> Option<Vec<u64>> {
    let at = paging.gate(PhysAddr(phys & !0xfff));
    if at.0 >= 1 << 32 || mem.kind(at.frame()) == FrameKind::Bus {
        return None;
    }
    let mut bytes = vec![0; 4096];
    mem.read(at, &mut bytes);
    Some(match paging.pae() {
        true => bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect(),
        false => bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word).into()).collect(),
    })
}
