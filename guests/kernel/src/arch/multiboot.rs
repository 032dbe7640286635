//! The Multiboot 1 information, copied to a place of our own before anything overwrites it.
#![allow(unsafe_code)]

use super::PAGE_OFFSET;

/// A row of the memory map.
#[derive(Clone, Copy, Debug)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
    /// 1 usable, 2 reserved, 3 ACPI tables, 4 ACPI NVS, 5 bad.
    pub kind: u32,
}

/// A file that the loader put into memory.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Physical address of the first byte.
    pub start: u32,
    /// Physical address after the last byte.
    pub end: u32,
}

const MAX_RANGES: usize = 64;
const MAX_MODULES: usize = 16;
const MAX_COMMAND_LINE: usize = 2048;

/// What the loader told.
pub struct BootInfo {
    ranges: [MemoryRange; MAX_RANGES],
    nr_ranges: usize,
    modules: [Module; MAX_MODULES],
    nr_modules: usize,
    command_line: [u8; MAX_COMMAND_LINE],
    command_line_len: usize,
}

/// Only the first 16 MiB are mapped when this is read.
const READABLE: u32 = 16 << 20;

fn read_u8(phys: u32) -> u8 {
    if phys >= READABLE {
        return 0;
    }
    // SAFETY: the boot tables map the first 16 MiB.
    unsafe { ((PAGE_OFFSET + phys) as *const u8).read_volatile() }
}

fn read_u32(phys: u32) -> u32 {
    u32::from_le_bytes([read_u8(phys), read_u8(phys + 1), read_u8(phys + 2), read_u8(phys + 3)])
}

fn read_u64(phys: u32) -> u64 {
    u64::from(read_u32(phys)) | u64::from(read_u32(phys + 4)) << 32
}

mod flag {
    pub const MEM: u32 = 1 << 0;
    pub const CMDLINE: u32 = 1 << 2;
    pub const MODS: u32 = 1 << 3;
    pub const MMAP: u32 = 1 << 6;
    pub const BOOT_LOADER_NAME: u32 = 1 << 9;
}

/// Whether the loader with the name at `loader` begins the command line with the kernel's
/// file name.
fn puts_file_name_first(loader: u32) -> bool {
    let begins_with = |name: &[u8]| name.iter().enumerate().all(|(n, &byte)| read_u8(loader + n as u32) == byte);
    loader != 0 && (begins_with(b"qemu") || begins_with(b"GNU GRUB 0."))
}

impl BootInfo {
    /// Nothing known.
    pub const EMPTY: BootInfo = BootInfo {
        ranges: [MemoryRange { start: 0, len: 0, kind: 0 }; MAX_RANGES],
        nr_ranges: 0,
        modules: [Module { start: 0, end: 0 }; MAX_MODULES],
        nr_modules: 0,
        command_line: [0; MAX_COMMAND_LINE],
        command_line_len: 0,
    };

    /// Copies the information at physical address `info`.
    pub fn read(&mut self, info: u32) {
        let flags = read_u32(info);
        if flags & flag::MMAP != 0 {
            let (mut at, end) = (read_u32(info + 48), read_u32(info + 48) + read_u32(info + 44));
            while at + 24 <= end {
                let (start, len, kind) = (read_u64(at + 4), read_u64(at + 12), read_u32(at + 20));
                self.add_range(MemoryRange { start, len, kind });
                at += read_u32(at).max(20) + 4;
            }
        } else if flags & flag::MEM != 0 {
            let (lower, upper) = (u64::from(read_u32(info + 4)), u64::from(read_u32(info + 8)));
            self.add_range(MemoryRange { start: 0, len: lower << 10, kind: 1 });
            self.add_range(MemoryRange { start: 1 << 20, len: upper << 10, kind: 1 });
        }
        if flags & flag::MODS != 0 {
            let (count, at) = (read_u32(info + 20), read_u32(info + 24));
            for n in 0..count.min(MAX_MODULES as u32) {
                self.modules[n as usize] = Module { start: read_u32(at + n * 16), end: read_u32(at + n * 16 + 4) };
                self.nr_modules = n as usize + 1;
            }
        }
        if flags & flag::CMDLINE != 0 {
            let loader = if flags & flag::BOOT_LOADER_NAME != 0 { read_u32(info + 64) } else { 0 };
            self.copy_command_line(read_u32(info + 16), puts_file_name_first(loader));
        }
    }

    fn add_range(&mut self, range: MemoryRange) {
        if self.nr_ranges < MAX_RANGES && range.len != 0 {
            self.ranges[self.nr_ranges] = range;
            self.nr_ranges += 1;
        }
    }

    /// Copies the line without the kernel's file name, which some loaders put before the
    /// parameters.
    fn copy_command_line(&mut self, at: u32, file_name_first: bool) {
        let mut len = 0;
        while len < MAX_COMMAND_LINE {
            match read_u8(at + len as u32) {
                0 => break,
                byte => self.command_line[len] = byte,
            }
            len += 1;
        }
        let line = &self.command_line[..len];
        let first = line.iter().position(|&b| b == b' ').unwrap_or(len);
        let is_path = line[..first].contains(&b'/') && !line[..first].contains(&b'=');
        if file_name_first || is_path {
            let skip = (first + 1).min(len);
            self.command_line.copy_within(skip..len, 0);
            len -= skip;
        }
        while len > 0 && self.command_line[len - 1] == b' ' {
            len -= 1;
        }
        self.command_line_len = len;
    }

    /// The memory map, in the loader's order.
    pub fn ranges(&self) -> &[MemoryRange] {
        &self.ranges[..self.nr_ranges]
    }

    /// The modules, in the loader's order.
    pub fn modules(&self) -> &[Module] {
        &self.modules[..self.nr_modules]
    }

    /// The kernel's parameters.
    pub fn command_line(&self) -> &str {
        core::str::from_utf8(&self.command_line[..self.command_line_len]).unwrap_or("")
    }
}
