//! Bytes as a kernel's file, a ROM, or a snapshot: they boot or are refused in words.

use std::{io::Write, path::Path, sync::OnceLock};

use machine::{Boot, Detached, EngineConfig, Image, Machine, MachineConfig, RunLimit, boot::is_multiboot_kernel};
use xxhash_rust::xxh3::xxh3_64;

/// A small kernel with a Multiboot header, to be damaged.
pub fn good_kernel() -> Vec<u8> {
    let mut elf = vec![0; 0x2000];
    elf[..24].copy_from_slice(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0");
    elf[24..52]
        .copy_from_slice(&[0, 0, 16, 0, 52, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 52, 0, 32, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    for (i, word) in [1_u32, 0x1000, 0x10_0000, 0x10_0000, 0x1000, 0x2000, 7, 0x1000].into_iter().enumerate() {
        elf[52 + 4 * i..56 + 4 * i].copy_from_slice(&word.to_le_bytes());
    }
    let magic = 0x1bad_b002_u32;
    for (i, word) in [magic, 0, magic.wrapping_neg()].into_iter().enumerate() {
        elf[0x200 + 4 * i..0x204 + 4 * i].copy_from_slice(&word.to_le_bytes());
    }
    elf
}

/// Boots a good kernel's file of which some bytes were changed: three bytes a change, a place and a value.
pub fn changed_kernel(changes: &[u8]) {
    let mut elf = good_kernel();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let len = elf.len();
        elf[place % len] = change[2];
    }
    kernel(&elf);
}

/// Boots `bytes` as a Multiboot kernel and runs some instructions.
pub fn kernel(bytes: &[u8]) {
    is_multiboot_kernel(bytes);
    let image = || Image { name: "fuzz".to_owned(), bytes: bytes.to_vec() };
    let multiboot =
        Boot::Multiboot { kernel: image(), command_line: "a b=c".to_owned(), modules: vec![(image(), String::new())] };
    for boot in [multiboot, Boot::Bios { rom: image() }] {
        if let Ok(mut machine) = Machine::new(config(), boot, EngineConfig::default()) {
            machine.run(RunLimit { retired: Some(1000), ..RunLimit::default() }, &mut Detached);
        }
    }
}

/// Restores `bytes` as a snapshot, and runs what comes out.
///
/// # Panics
/// When the host can't write to its temporary folder.
pub fn snapshot(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    if let Ok(mut machine) = Machine::restore(file.path(), EngineConfig::default()) {
        let limit = machine.retired() + 1000;
        machine.run(RunLimit { retired: Some(limit), ..RunLimit::default() }, &mut Detached);
    }
}

/// Restores a good snapshot of which some of the contents were changed, under checksums that are right: five bytes a
/// change, a place and a value.
///
/// # Panics
/// When the host can't write to its temporary folder, or the good snapshot is none.
pub fn changed_snapshot(changes: &[u8]) {
    static GOOD: OnceLock<([u8; HEADER_BYTES], Vec<u8>)> = OnceLock::new();
    let (header, contents) = GOOD.get_or_init(|| {
        let file = good_snapshot();
        let (header, body) = file.split_at(HEADER_BYTES);
        (header.try_into().expect("as many"), zstd::decode_all(body).expect("a good body"))
    });
    let mut contents = contents.clone();
    for change in changes.chunks_exact(5) {
        let place = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize;
        let len = contents.len();
        contents[place % len] = change[4];
    }
    snapshot(&wrapped(*header, &contents));
}

/// Magic, version, zero, length and checksum of the body, checksum of all that.
const HEADER_BYTES: usize = 40;

/// A snapshot's file of these contents.
fn wrapped(mut header: [u8; HEADER_BYTES], contents: &[u8]) -> Vec<u8> {
    let body = zstd::encode_all(contents, 1).expect("memory for it");
    header[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
    header[24..32].copy_from_slice(&xxh3_64(&body).to_le_bytes());
    let checksum = xxh3_64(&header[..32]);
    header[32..].copy_from_slice(&checksum.to_le_bytes());
    [&header[..], &body].concat()
}

/// A machine that runs an endless loop from its ROM.
///
/// # Panics
/// Never: the ROM is good.
pub fn machine() -> Machine {
    let mut rom = vec![0x90; 1 << 16];
    rom[0xfff0..0xfff2].copy_from_slice(&[0xeb, 0xfe]);
    let boot = Boot::Bios { rom: Image { name: "loop".to_owned(), bytes: rom } };
    Machine::new(config(), boot, EngineConfig::default()).expect("a good ROM")
}

/// A whole snapshot, to be damaged.
///
/// # Panics
/// When the host can't write to its temporary folder.
pub fn good_snapshot() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path: &Path = &folder.path().join("snapshot");
    machine().save(path).expect("room for it");
    std::fs::read(path).expect("what was just written")
}

fn config() -> MachineConfig {
    MachineConfig { memory_bytes: 16 << 20, ..MachineConfig::default() }
}
