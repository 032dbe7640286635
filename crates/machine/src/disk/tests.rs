use std::{
    fs,
    path::{Path, PathBuf},
};

use devices::SECTOR_BYTES;

use super::*;
use crate::{Boot, EngineConfig, Image, Machine};

/// A folder with an image whose sectors are filled with their numbers.
fn image(sectors: u8) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    let bytes: Vec<u8> = (0..sectors).flat_map(|n| [n; SECTOR_BYTES]).collect();
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn config(disks: Vec<DiskConfig>) -> MachineConfig {
    MachineConfig { memory_bytes: 16 << 20, disks, ..MachineConfig::default() }
}

fn bank(disks: Vec<DiskConfig>) -> DiskBank {
    DiskBank::open(&config(disks)).unwrap()
}

fn machine(disks: Vec<DiskConfig>) -> Machine {
    let rom = Image { name: "rom".into(), bytes: vec![0xf4; 4096] };
    Machine::new(config(disks), Boot::Bios { rom }, EngineConfig::default()).unwrap()
}

fn sector(bank: &mut DiskBank, disk: u8, number: u64) -> Result<u8, DiskFault> {
    let mut data = [0; SECTOR_BYTES];
    bank.read(disk, number, &mut data)?;
    assert!(data.iter().all(|&byte| byte == data[0]), "sector {number} is of one kind");
    Ok(data[0])
}

#[test]
fn writes_go_to_the_image_or_stay_beside_it() {
    for (access, in_file) in [(DiskAccess::Write, 0xaa), (DiskAccess::Keep, 9)] {
        let (_folder, path) = image(20);
        let mut bank = bank(vec![DiskConfig::image(&path, access).unwrap()]);
        bank.write(0, 9, &[0xaa; SECTOR_BYTES]).unwrap();
        bank.write(0, 19, &[0xbb; SECTOR_BYTES]).unwrap();
        bank.flush(0).unwrap();
        for (number, byte) in [(0, 0), (8, 8), (9, 0xaa), (10, 10), (18, 18), (19, 0xbb)] {
            assert_eq!(sector(&mut bank, 0, number), Ok(byte));
        }
        assert_eq!(sector(&mut bank, 0, 20), Err(DiskFault));
        assert_eq!(fs::read(&path).unwrap()[9 * SECTOR_BYTES], in_file);
        assert_eq!(fs::metadata(&path).unwrap().len(), 20 * 512);
    }
}

#[test]
fn the_hash_says_what_was_written_wherever_it_went() {
    let hash = |access, writes: &[(u64, u8)]| {
        let (_folder, path) = image(20);
        let mut bank = bank(vec![DiskConfig::image(&path, access).unwrap()]);
        writes.iter().for_each(|&(number, byte)| bank.write(0, number, &[byte; SECTOR_BYTES]).unwrap());
        bank.hash()
    };
    let [a, b] = [(1, 7), (12, 8)];
    let both = hash(DiskAccess::Write, &[a, b]);
    assert_eq!(both, hash(DiskAccess::Keep, &[b, a]), "neither order nor place matters");
    assert_ne!(both, hash(DiskAccess::Keep, &[a]));
    assert_ne!(both, hash(DiskAccess::Keep, &[a, (12, 9)]));
    assert_eq!(hash(DiskAccess::Keep, &[]), 0);
}

#[test]
fn an_image_that_is_none_is_refused_with_the_reason() {
    let (folder, path) = image(2);
    let refusal = |path: &Path| {
        let error = DiskConfig::image(path, DiskAccess::Write).unwrap_err().to_string();
        error.replace(&folder.path().display().to_string(), "")
    };
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    assert_eq!(refusal(&folder.path().join("none")), "/none: No such file or directory (os error 2)");
    assert_eq!(refusal(folder.path()), ": is not a file or a block device; a raw disk image is wanted");
    assert_eq!(refusal(&file("empty", b"")), "/empty: is empty; a disk image has at least one sector of 512 bytes");
    assert_eq!(refusal(&file("odd", &[0; 1000])), "/odd: has 1000 bytes, which is no whole number of 512-byte sectors");
    let busy = bank(vec![DiskConfig::image(&path, DiskAccess::Write).unwrap()]);
    assert_eq!(refusal(&path), "/disk.img: is in use: another machine has it, or it is named twice");
    drop(busy);
    let kept = DiskConfig::image(&path, DiskAccess::Keep).unwrap();
    let _both = bank(vec![kept.clone(), kept]);
    assert!(refusal(&path).contains("is in use"), "what others read is not written");
}

#[test]
fn requested_sectors_fail_for_the_requested_operation() {
    let mut disk = DiskConfig::swap(1 << 20).unwrap();
    let faulty = |first, last, operation| FaultySectors { first, last, operation };
    disk.faulty = vec![
        faulty(16, 17, DiskOperation::Read),
        faulty(20, 20, DiskOperation::Write),
        faulty(24, 24, DiskOperation::Both),
    ];
    let mut bank = bank(vec![disk]);
    for (number, reads, writes) in [
        (15, true, true),
        (16, false, true),
        (17, false, true),
        (18, true, true),
        (20, true, false),
        (24, false, false),
    ] {
        assert_eq!(sector(&mut bank, 0, number).is_ok(), reads, "read {number}");
        assert_eq!(bank.write(0, number, &[1; SECTOR_BYTES]).is_ok(), writes, "write {number}");
    }
}

#[test]
fn a_swap_disk_begins_with_the_header_that_mkswap_writes() {
    let mut bank = bank(vec![DiskConfig::swap(64 << 20).unwrap()]);
    let mut page = vec![0; 4096];
    for (n, data) in (0..).zip(page.chunks_mut(SECTOR_BYTES)) {
        bank.read(0, n, data).unwrap();
    }
    assert_eq!(page[1024..1028], 1u32.to_le_bytes());
    assert_eq!(page[1028..1032], (64 * 256 - 1u32).to_le_bytes());
    assert_eq!(page[1032..1036], [0; 4], "no bad pages");
    assert_eq!(&page[4086..], b"SWAPSPACE2");
    assert_eq!(sector(&mut bank, 0, 8), Ok(0));
    for (bytes, good) in [(0, false), (36 << 10, false), (40 << 10, true), (4097 << 10, false), (65 << 30, false)] {
        assert_eq!(DiskConfig::swap(bytes).is_ok(), good, "{bytes}");
    }
}

#[test]
fn a_saved_machine_brings_what_lies_over_its_images() {
    let (folder, path) = image(20);
    let vm = folder.path().join("vm");
    let disks = vec![DiskConfig::image(&path, DiskAccess::Keep).unwrap(), DiskConfig::swap(1 << 20).unwrap()];
    let mut before = machine(disks);
    before.disks.write(0, 3, &[0x33; SECTOR_BYTES]).unwrap();
    before.disks.write(1, 100, &[0x44; SECTOR_BYTES]).unwrap();
    before.save(&vm).unwrap();
    let mut after = Machine::restore(&vm, EngineConfig::default()).unwrap();
    assert_eq!(sector(&mut after.disks, 0, 14), Err(DiskFault), "the image is not there yet");
    after.attach_disks(DiskPurpose::Run).unwrap();
    assert_eq!(after.state_hash(), before.state_hash());
    assert_eq!([3, 4, 14].map(|number| sector(&mut after.disks, 0, number)), [Ok(0x33), Ok(4), Ok(14)]);
    assert_eq!(sector(&mut after.disks, 1, 100), Ok(0x44));
}

#[test]
fn a_saved_machine_wants_its_image_as_it_was_but_can_be_looked_at_without() {
    let (folder, path) = image(20);
    let vm = folder.path().join("vm");
    let mut before = machine(vec![DiskConfig::image(&path, DiskAccess::Write).unwrap()]);
    before.disks.write(0, 3, &[0x33; SECTOR_BYTES]).unwrap();
    before.save(&vm).unwrap();
    let hash = before.state_hash();
    drop(before);
    let mut after = Machine::restore(&vm, EngineConfig::default()).unwrap();
    after.attach_disks(DiskPurpose::Run).unwrap();
    assert_eq!(after.state_hash(), hash);
    after.disks.write(0, 4, &[0x55; SECTOR_BYTES]).unwrap();
    drop(after);
    let mut late = Machine::restore(&vm, EngineConfig::default()).unwrap();
    let refusal = late.attach_disks(DiskPurpose::Run).unwrap_err().to_string();
    assert!(refusal.contains("disk.img: is not as the machine left it"), "{refusal}");
    late.attach_disks(DiskPurpose::Look).unwrap();
    late.disks.write(0, 5, &[0x66; SECTOR_BYTES]).unwrap();
    assert_eq!(fs::read(&path).unwrap()[5 * SECTOR_BYTES], 5, "a look writes nothing");
    fs::remove_file(&path).unwrap();
    let mut alone = Machine::restore(&vm, EngineConfig::default()).unwrap();
    assert!(alone.attach_disks(DiskPurpose::Run).is_err());
    alone.attach_disks(DiskPurpose::Look).unwrap();
}

#[test]
fn a_duplicate_writes_to_nobodys_image() {
    let (_folder, path) = image(20);
    let mut machine = machine(vec![DiskConfig::image(&path, DiskAccess::Write).unwrap()]);
    machine.disks.write(0, 1, &[0x11; SECTOR_BYTES]).unwrap();
    let mut copy = machine.duplicate().unwrap();
    assert_eq!(copy.state_hash(), machine.state_hash());
    copy.disks.write(0, 2, &[0x22; SECTOR_BYTES]).unwrap();
    assert_eq!(sector(&mut copy.disks, 0, 2), Ok(0x22));
    assert_eq!(sector(&mut machine.disks, 0, 2), Ok(2));
    assert_ne!(copy.state_hash(), machine.state_hash());
}

#[test]
fn five_disks_are_one_too_many() {
    let disks = vec![DiskConfig::swap(1 << 20).unwrap(); 5];
    let error = config(disks).check().unwrap_err().to_string();
    assert_eq!(error, "5 disks: a machine takes 4, the swap disk among them");
}
