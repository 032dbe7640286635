use memory::PhysMem;
use x86::PhysAddr;

use super::*;
use crate::{MachineConfig, firmware, machine::empty_memory};

const MIB: u64 = 1 << 20;
const HEADER: [u32; 3] = [0x1bad_b002, 3, 0x1bad_b002u32.wrapping_add(3).wrapping_neg()];

/// A small Multiboot kernel in ELF: one segment whose file bytes begin with the Multiboot header,
/// linked at 0xc0100000 and loaded at 1 MiB, with a symbol table and its strings.
struct ElfFile {
    bytes: Vec<u8>,
}

const SEGMENT_AT: usize = 0x60;
const SECTIONS_AT: usize = 0xc0;

impl ElfFile {
    fn new() -> Self {
        let mut file = ElfFile { bytes: vec![0; SECTIONS_AT + 3 * 40] };
        file.bytes[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        file.half(16, 2).half(18, 3).word(20, 1); // executable, i386
        file.word(24, 0xc010_000c).word(28, 52).word(32, SECTIONS_AT as u32); // entry, tables
        file.half(40, 52).half(42, 32).half(44, 1).half(46, 40).half(48, 3).half(50, 2);
        let header = [1, SEGMENT_AT as u32, 0xc010_0000, 0x10_0000, 0x20, 0x3000, 7, 0x1000];
        for (field, value) in (0..).zip(header) {
            file.word(52 + 4 * field, value);
        }
        for (field, value) in (0..).zip(HEADER) {
            file.word(SEGMENT_AT + 4 * field, value);
        }
        file.word(SEGMENT_AT + 0x1c, 0x1234_5678);
        // Sections 1 and 2: symbols at 0x80, strings at 0x90 of the file.
        for (section, kind, offset, size) in [(1, 2, 0x80, 16), (2, 3, 0x90, 5)] {
            let at = SECTIONS_AT + section * 40;
            file.word(at + 4, kind).word(at + 16, offset).word(at + 20, size);
        }
        file.bytes[0x80] = 0x11;
        file.bytes[0x90..0x95].copy_from_slice(b"\0main");
        file
    }

    fn byte(&mut self, at: usize, value: u8) -> &mut Self {
        self.bytes[at] = value;
        self
    }

    fn cut(&mut self, len: usize) -> &mut Self {
        self.bytes.truncate(len);
        self
    }

    fn half(&mut self, at: usize, value: u16) -> &mut Self {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn word(&mut self, at: usize, value: u32) -> &mut Self {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn program_header(&mut self, field: usize, value: u32) -> &mut Self {
        self.word(52 + 4 * field, value)
    }
}

fn try_boot(bytes: &[u8], modules: &[(&[u8], &str)]) -> Result<(PhysMem, CpuState), Error> {
    let config = MachineConfig { memory_bytes: 16 * MIB, ..MachineConfig::default() };
    let mut mem = empty_memory(&config)?;
    let image = |bytes: &[u8]| Image { name: "image".into(), bytes: bytes.to_vec() };
    let boot = Boot::Multiboot {
        kernel: image(bytes),
        command_line: "console=ttyS0 quiet".into(),
        modules: modules.iter().map(|(bytes, string)| (image(bytes), (*string).to_owned())).collect(),
    };
    let state = load(&boot, &mut mem, &firmware::memory_map(&config), CpuModel::default())?;
    Ok((mem, state.expect("a kernel has an entry")))
}

fn failure(bytes: &[u8]) -> String {
    match try_boot(bytes, &[]) {
        Ok(_) => "booted".into(),
        Err(error) => error.to_string(),
    }
}

fn string_at(mem: &PhysMem, address: u32) -> String {
    let bytes = (address..).map(|at| mem.read_u8(PhysAddr(at.into()))).take_while(|&byte| byte != 0);
    String::from_utf8(bytes.collect()).unwrap()
}

#[test]
fn a_kernel_is_entered_at_its_physical_entry_with_what_the_specification_says() {
    let (mem, state) = try_boot(&ElfFile::new().bytes, &[]).unwrap();
    assert_eq!(state.eip, 0x10_000c);
    assert_eq!(state.gpr[0], 0x2bad_b002);
    assert_eq!(mem.read_u32(PhysAddr(0x10_0000)), 0x1bad_b002);
    assert_eq!(mem.read_u32(PhysAddr(0x10_001c)), 0x1234_5678);
    let info = |offset: u32| mem.read_u32(PhysAddr((state.gpr[3] + offset).into()));
    assert_eq!(info(0), 0b10_0110_1101);
    assert_eq!((info(4), info(8)), (639, 15 * 1024 - 128));
    assert_eq!(string_at(&mem, info(16)), "console=ttyS0 quiet");
    assert_eq!(string_at(&mem, info(64)), "pagewalk");
}

#[test]
fn the_memory_map_has_entries_of_24_bytes_that_say_20() {
    let (mem, state) = try_boot(&ElfFile::new().bytes, &[]).unwrap();
    let info = |offset: u32| mem.read_u32(PhysAddr((state.gpr[3] + offset).into()));
    let entries: Vec<(u32, u64, u64, u32)> = (0..info(44) / 24)
        .map(|entry| u64::from(info(48) + 24 * entry))
        .map(|at| {
            let quad = |offset| mem.read_u64(PhysAddr(at + offset));
            (quad(0) as u32, quad(4), quad(12), quad(20) as u32)
        })
        .collect();
    assert_eq!(
        entries,
        [
            (20, 0, 0x9_fc00, 1),
            (20, 0x9_fc00, 0x400, 2),
            (20, 0xf_0000, 0x1_0000, 2),
            (20, 0x10_0000, 0xee_0000, 1),
            (20, 0xfe_0000, 0x2_0000, 2),
            (20, 0xfffc_0000, 0x4_0000, 2)
        ]
    );
}

#[test]
fn modules_follow_the_kernel_page_by_page_with_their_strings() {
    let (mem, state) = try_boot(&ElfFile::new().bytes, &[(&[1; 5000], "first"), (&[2; 3], "")]).unwrap();
    let info = |offset: u32| mem.read_u32(PhysAddr((state.gpr[3] + offset).into()));
    assert_eq!(info(20), 2);
    let module = |number: u32, field: u32| mem.read_u32(PhysAddr((info(24) + 16 * number + 4 * field).into()));
    let first = module(0, 0);
    assert_eq!((first % 4096, module(0, 1)), (0, first + 5000));
    assert!(first >= 0x10_3000, "behind the kernel's bss");
    assert_eq!(mem.read_u8(PhysAddr((first + 4999).into())), 1);
    assert_eq!(string_at(&mem, module(0, 2)), "first");
    assert_eq!((module(1, 0), module(1, 1)), (first + 0x2000, first + 0x2003));
}

#[test]
fn the_symbol_table_is_loaded_and_its_section_header_says_where() {
    let (mem, state) = try_boot(&ElfFile::new().bytes, &[]).unwrap();
    let info = |offset: u32| mem.read_u32(PhysAddr((state.gpr[3] + offset).into()));
    assert_eq!((info(28), info(32), info(40)), (3, 40, 2));
    let address = |section: u32| mem.read_u32(PhysAddr((info(36) + 40 * section + 12).into()));
    assert_eq!(address(0), 0);
    assert_eq!(mem.read_u8(PhysAddr(address(1).into())), 0x11);
    assert_eq!(string_at(&mem, address(2) + 1), "main");
}

#[test]
fn a_kernel_that_is_no_elf_file_is_loaded_by_its_header_addresses() {
    let mut bytes = vec![0x90; 0x40];
    let flags = 1 << 16 | 3;
    let checksum = 0u32.wrapping_sub(0x1bad_b002 + flags);
    let header = [0x1bad_b002, flags, checksum, 0x20_0010, 0x20_0000, 0x20_0040, 0x20_1000, 0x20_0030];
    for (field, value) in (0..).zip(header) {
        bytes[0x10 + 4 * field..][..4].copy_from_slice(&u32::to_le_bytes(value));
    }
    let (mem, state) = try_boot(&bytes, &[]).unwrap();
    assert_eq!(state.eip, 0x20_0030);
    assert_eq!(mem.read_u32(PhysAddr(0x20_0010)), 0x1bad_b002);
    bytes.truncate(0x30);
    assert_eq!(failure(&bytes), "image: truncated: the kernel ends at byte 0x40, the file at 0x30");
}

#[test]
fn malformed_kernels_are_refused_with_what_and_where() {
    let elf = |change: &dyn Fn(&mut ElfFile) -> &mut ElfFile| {
        let mut file = ElfFile::new();
        change(&mut file);
        failure(&file.bytes)
    };
    for (error, expected) in [
        (failure(b""), "image: not an ELF file"),
        (failure(b"#!/bin/sh\n"), "image: not an ELF file"),
        (failure(b"\x7fELF\x01"), "image: truncated: the ELF header ends at byte 0x34, the file at 0x5"),
        (elf(&|f| f.cut(40)), "image: truncated: the ELF header ends at byte 0x34, the file at 0x28"),
        (elf(&|f| f.byte(4, 2)), "image: a 64-bit ELF file: the machine is 32-bit x86"),
        (elf(&|f| f.byte(5, 2)), "image: a big-endian ELF file: the machine is 32-bit x86"),
        (elf(&|f| f.half(18, 40)), "image: an ELF file for ARM: the machine is 32-bit x86"),
        (elf(&|f| f.half(16, 3)), "image: an ELF file of type 3: not an executable"),
        (
            elf(&|f| f.half(44, 9000)),
            "image: truncated: the program header table ends at byte 0x46534, the file at 0x138",
        ),
        (elf(&|f| f.half(42, 31)), "image: corrupt: program headers of 31 bytes"),
        (elf(&|f| f.program_header(0, 4)), "image: no segment to load"),
        (
            elf(&|f| f.program_header(4, 0x2000)),
            "image: truncated: program header 0's segment ends at byte 0x2060, the file at 0x138",
        ),
        (
            elf(&|f| f.program_header(1, 0xffff_fff0)),
            "image: truncated: program header 0's segment ends at byte 0x100000010, the file at 0x138",
        ),
        (
            elf(&|f| f.program_header(5, 0x10)),
            "image: corrupt: program header 0 has 0x20 bytes in the file, more than its 0x10 in memory",
        ),
        (
            elf(&|f| f.program_header(5, 0x4000_0000)),
            "image: program header 0's segment needs 0x100000-0x400fffff, which is not all RAM (memory ends at 0xfe0000)",
        ),
        (
            elf(&|f| f.program_header(3, 0xa_0000)),
            "image: program header 0's segment needs 0xa0000-0xa2fff, which is not all RAM (memory ends at 0xfe0000)",
        ),
        (
            elf(&|f| f.program_header(3, 0xffff_f000)),
            "image: corrupt: program header 0 wraps round the end of the address space: 0x3000 bytes at 0xfffff000",
        ),
        (
            elf(&|f| f.word(32, 0xffff_ffff)),
            "image: truncated: the section header table ends at byte 0x100000077, the file at 0x138",
        ),
        (elf(&|f| f.word(SEGMENT_AT, 0)), "image: no Multiboot header in the first 312 bytes"),
        (elf(&|f| f.word(SEGMENT_AT + 8, 0)), "image: no Multiboot header in the first 312 bytes"),
        (
            elf(&|f| f.word(SEGMENT_AT + 4, 0x13).word(SEGMENT_AT + 8, HEADER[2].wrapping_sub(0x10))),
            "image: the Multiboot header requires features 0x0010 that are not supported",
        ),
    ] {
        assert_eq!(error, expected);
    }
}

#[test]
fn no_corruption_of_one_byte_panics() {
    let whole = ElfFile::new().bytes;
    for at in 0..whole.len() {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            drop(try_boot(&bytes, &[]));
        }
        drop(try_boot(&whole[..at], &[]));
    }
}

#[test]
fn a_module_or_command_line_that_does_not_fit_is_refused() {
    let error = try_boot(&ElfFile::new().bytes, &[(&vec![0; 16 << 20], "")]).err().unwrap().to_string();
    assert!(error.starts_with("image: the module needs 0x"), "{error}");
    let error = try_boot(&ElfFile::new().bytes, &[(&[], &"x".repeat(700_000))]).err().unwrap().to_string();
    assert!(error.ends_with("more than the 614400 that there are below 1 MiB"), "{error}");
    let error = try_boot(&ElfFile::new().bytes, &[(&[], "a\0b")]).err().unwrap().to_string();
    assert_eq!(error, "image: the command line has a NUL byte in it");
}

#[test]
fn the_boot_information_keeps_clear_of_a_kernel_in_low_memory() {
    let mut file = ElfFile::new();
    file.program_header(3, 0x9000);
    let (mem, state) = try_boot(&file.bytes, &[]).unwrap();
    assert_eq!(mem.read_u32(PhysAddr(0x9000)), 0x1bad_b002);
    assert_eq!(state.gpr[3], 0xc000);
}

#[test]
fn a_rom_ends_at_1_mib_and_at_4_gib() {
    let config = MachineConfig::default();
    let mut mem = empty_memory(&config).unwrap();
    let mut bytes = vec![0; 256 << 10];
    bytes[0] = 0xaa;
    *bytes.last_mut().unwrap() = 0x55;
    let boot = |bytes| Boot::Bios { rom: Image { name: "rom".into(), bytes } };
    let state = load(&boot(bytes), &mut mem, &[], CpuModel::default()).unwrap();
    assert!(state.is_none(), "the CPU begins at reset");
    let at = |address| mem.read_u8(PhysAddr(address));
    assert_eq!([at(0xfffc_0000), at(0xffff_ffff), at(0xf_ffff), at(0xe_0000)], [0xaa, 0x55, 0x55, 0]);
    for bytes in [0, 100, (16 << 20) + 4096] {
        assert!(load(&boot(vec![0; bytes]), &mut mem, &[], CpuModel::default()).is_err(), "{bytes}");
    }
}
