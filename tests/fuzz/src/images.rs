//! Bytes as a kernel's file, a ROM, or a snapshot: they boot or are refused in words.

use std::{io::Write, path::Path};

use machine::{Boot, Detached, EngineConfig, Image, Machine, MachineConfig, RunLimit, boot::is_multiboot_kernel};

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
