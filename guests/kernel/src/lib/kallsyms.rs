//! The kernel's own symbols, and those of modules. The build step that makes the image writes the table into a
//! reserved place; an image without it prints bare addresses.
#![allow(unsafe_code)]

use core::fmt;

use crate::{arch::boot::sections, module};

/// Bytes that the image reserves for the table.
const CAPACITY: usize = 320 << 10;

/// Layout: the magic, the count of rows, then the rows by ascending address (address,
/// offset of the name from the table's start), then the names, each ended by a zero.
#[repr(C, align(4))]
struct Table {
    magic: [u8; 8],
    count: u32,
    rest: [u8; CAPACITY - 12],
}

const MAGIC: [u8; 8] = *b"KALLSYMS";

#[used]
#[unsafe(link_section = ".kallsyms")]
static TABLE: Table = Table { magic: MAGIC, count: 0, rest: [0; CAPACITY - 12] };

fn table() -> &'static [u8; CAPACITY] {
    // The bytes differ from what the compiler saw: read them through a pointer that it
    // cannot see through.
    let at = core::hint::black_box(&raw const TABLE).cast::<[u8; CAPACITY]>();
    // SAFETY: the same size, no padding, never written.
    unsafe { &*at }
}

fn word(at: usize) -> u32 {
    match table().get(at..at + 4) {
        Some(bytes) => u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        None => 0,
    }
}

/// The function that holds `addr`, the offset in it and its length up to the next one.
pub fn lookup(addr: u32) -> Option<(&'static str, u32, u32)> {
    if addr > sections::etext() {
        return None;
    }
    let count = word(8) as usize;
    let row = |n: usize| word(12 + n * 8);
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = (low + high) / 2;
        if row(middle) <= addr { low = middle + 1 } else { high = middle }
    }
    let n = low.checked_sub(1)?;
    let name = table().get(word(12 + n * 8 + 4) as usize..)?;
    let len = name.iter().position(|&b| b == 0)?;
    let next = if low < count { row(low) } else { sections::etext() };
    Some((core::str::from_utf8(&name[..len]).ok()?, addr - row(n), next.saturating_sub(row(n))))
}

/// A function that holds an address.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes from its beginning.
    pub offset: u32,
    /// Its length.
    pub size: u32,
    /// The module that it is of; `None` for the kernel's own.
    pub module: Option<&'a str>,
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}/{:#x}", self.name, self.offset, self.size)?;
        self.module.map_or(Ok(()), |module| write!(f, " [{module}]"))
    }
}

/// As [`lookup`], with the modules. What is found of a module lasts as long as that.
pub fn lookup_any<'a>(addr: u32) -> Option<Found<'a>> {
    match lookup(addr) {
        Some((name, offset, size)) => Some(Found { name, offset, size, module: None }),
        None => module::kallsyms::lookup(addr),
    }
}

/// An address as oopses print it: `name+0xoff/0xlength`, or the bare number.
pub struct Symbol(pub u32);

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match lookup_any(self.0) {
            Some(found) => write!(f, "{found}"),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

/// Where a call returns to (`%pB`): in the function that called, even if the call was its
/// last instruction.
pub struct ReturnAddress(pub u32);

impl fmt::Display for ReturnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match lookup_any(self.0.wrapping_sub(1)) {
            Some(found) => write!(f, "{}", Found { offset: found.offset + 1, ..found }),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}
