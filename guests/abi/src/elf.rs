//! What `execve` must know of a 32-bit ELF file, with every number in it distrusted.

use crate::errno::{EINVAL, ENOEXEC, Result};
use crate::wire::{u16_at, u32_at};

/// Bytes of the file header.
pub const EHDR_SIZE: usize = 52;
/// Bytes of a program header.
pub const PHDR_SIZE: usize = 32;
/// More program headers than these do not fit the 64 KiB that Linux reads.
pub const MAX_PHNUM: usize = 65536 / PHDR_SIZE;

/// Types of program headers.
pub mod pt {
    #![allow(missing_docs, reason = "names of the format")]
    pub const LOAD: u32 = 1;
    pub const DYNAMIC: u32 = 2;
    pub const INTERP: u32 = 3;
    pub const PHDR: u32 = 6;
    pub const GNU_STACK: u32 = 0x6474_e551;
}

/// Rights of a segment.
pub mod pf {
    #![allow(missing_docs, reason = "names of the format")]
    pub const X: u32 = 1;
    pub const W: u32 = 2;
    pub const R: u32 = 4;
}

/// How a file wants to be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `ET_EXEC`: at the addresses in its headers.
    Executable,
    /// `ET_DYN`: anywhere.
    Shared,
}

/// The file header, as far as it matters.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "names of the format")]
pub struct Ehdr {
    pub kind: Kind,
    pub entry: u32,
    pub phoff: u32,
    pub phnum: usize,
}

impl Ehdr {
    /// Checks the header at the beginning of a file, which may be shorter than a header.
    /// ENOEXEC for what is no i386 program.
    pub fn parse(head: &[u8]) -> Result<Ehdr> {
        const EM_386: u16 = 3;
        const EM_486: u16 = 6;
        if head.len() < EHDR_SIZE || !head.starts_with(b"\x7fELF") {
            return Err(ENOEXEC);
        }
        let kind = match u16_at(head, 16) {
            2 => Kind::Executable,
            3 => Kind::Shared,
            _ => return Err(ENOEXEC),
        };
        let machine = u16_at(head, 18);
        let (entry, phoff) = (u32_at(head, 24), u32_at(head, 28));
        let (phentsize, phnum) = (usize::from(u16_at(head, 42)), usize::from(u16_at(head, 44)));
        if !matches!(machine, EM_386 | EM_486) || phentsize != PHDR_SIZE || phnum == 0 || phnum > MAX_PHNUM {
            return Err(ENOEXEC);
        }
        Ok(Ehdr { kind, entry, phoff, phnum })
    }
}

/// A program header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "names of the format")]
pub struct Phdr {
    pub kind: u32,
    pub offset: u32,
    pub vaddr: u32,
    pub filesz: u32,
    pub memsz: u32,
    pub flags: u32,
    pub align: u32,
}

impl Phdr {
    /// The header in the `PHDR_SIZE` bytes at the beginning of `bytes`.
    pub fn parse(bytes: &[u8]) -> Phdr {
        let word = |n: usize| u32_at(bytes, n * 4);
        Phdr {
            kind: word(0),
            offset: word(1),
            vaddr: word(2),
            filesz: word(4),
            memsz: word(5),
            flags: word(6),
            align: word(7),
        }
    }

    /// First address of the first page.
    pub fn page_start(&self) -> u32 {
        self.vaddr & !0xfff
    }

    /// Whether the addresses stay in `0..task_size` when moved by `bias`.
    pub fn fits(&self, bias: u32, task_size: u32) -> bool {
        let start = self.vaddr.wrapping_add(bias);
        self.filesz <= self.memsz && self.memsz <= task_size && start <= task_size - self.memsz
    }
}

/// The distance from the first page of the loadable segments to the end of the last; EINVAL
/// without any, or if it wraps.
pub fn total_mapping_size(phdrs: &[Phdr]) -> Result<u32> {
    let loads = || phdrs.iter().filter(|p| p.kind == pt::LOAD);
    let start = loads().map(Phdr::page_start).min().ok_or(EINVAL)?;
    let end = loads().map(|p| u64::from(p.vaddr) + u64::from(p.memsz)).max().ok_or(EINVAL)?;
    match u32::try_from(end - u64::from(start)) {
        Ok(size) if size > 0 => Ok(size),
        _ => Err(EINVAL),
    }
}

/// The largest alignment above a page that a `PT_LOAD` asks for, a power of two; else 0.
pub fn maximum_alignment(phdrs: &[Phdr]) -> u32 {
    let aligns = phdrs.iter().filter(|p| p.kind == pt::LOAD && p.align.is_power_of_two()).map(|p| p.align);
    aligns.max().filter(|&align| align > 4096).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> [u8; EHDR_SIZE] {
        let mut h = [0; EHDR_SIZE];
        h[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        for (at, value) in [(16, 2u16), (18, 3), (42, 32), (44, 4)] {
            h[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        h[24..28].copy_from_slice(&0x0804_9000u32.to_le_bytes());
        h[28..32].copy_from_slice(&52u32.to_le_bytes());
        h
    }

    #[test]
    fn only_i386_programs_are_accepted() {
        let good = Ehdr::parse(&header()).unwrap();
        assert_eq!((good.kind, good.entry, good.phoff, good.phnum), (Kind::Executable, 0x0804_9000, 52, 4));
        assert_eq!(Ehdr::parse(&header()[..51]).unwrap_err(), ENOEXEC);
        // Magic, type, machine, size of a program header, their number.
        for (at, value) in [(0, 0), (16, 1), (16, 4), (18, 40), (18, 62), (42, 56), (44, 0)] {
            let mut bad = header();
            bad[at] = value;
            assert_eq!(Ehdr::parse(&bad).unwrap_err(), ENOEXEC, "{at} {value}");
        }
        let mut many = header();
        many[44..46].copy_from_slice(&0xffffu16.to_le_bytes());
        assert_eq!(Ehdr::parse(&many).unwrap_err(), ENOEXEC);
    }

    #[test]
    fn segments_that_lie_do_not_fit() {
        let task_size = 0xc000_0000;
        let p = Phdr { vaddr: 0x0804_8000, filesz: 0x100, memsz: 0x1000, ..Phdr::default() };
        assert!(p.fits(0, task_size));
        assert!(!Phdr { memsz: 0xffff_f000, ..p }.fits(0, task_size));
        assert!(!Phdr { vaddr: 0xc000_0000, ..p }.fits(0, task_size));
        assert!(!Phdr { filesz: 0x1001, ..p }.fits(0, task_size));
        assert!(!p.fits(0xc000_0000 - 0x0804_8000 - 0xfff, task_size));
        assert!(p.fits(0xc000_0000 - 0x0804_8000 - 0x1000, task_size));
    }

    #[test]
    fn mapping_size_spans_all_loads() {
        let load = |vaddr, memsz| Phdr { kind: pt::LOAD, vaddr, memsz, ..Phdr::default() };
        assert_eq!(total_mapping_size(&[load(0x1234, 0x10), load(0x5000, 0x800)]), Ok(0x4800));
        assert_eq!(total_mapping_size(&[Phdr::default()]), Err(EINVAL));
        assert_eq!(total_mapping_size(&[load(0x1000, 0xffff_ffff), load(0, 1)]), Err(EINVAL));
        assert_eq!(maximum_alignment(&[Phdr { align: 0x1_0000, ..load(0, 1) }]), 0x1_0000);
        assert_eq!(maximum_alignment(&[Phdr { align: 4096, ..load(0, 1) }]), 0);
    }
}
