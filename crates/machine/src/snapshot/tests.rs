use std::fs;

use super::*;
use crate::{Image, InputEvent, board::BoardView};

/// A machine with a ROM, a few written pages and moved chips.
fn machine() -> Machine {
    let config = MachineConfig { memory_bytes: 16 << 20, ..MachineConfig::default() };
    let mut bytes = vec![0x90; 4096];
    bytes[0xff0] = 0xf4;
    let boot = Boot::Bios { rom: Image { name: "rom".into(), bytes } };
    let mut machine = Machine::new(config, boot, EngineConfig::default()).unwrap();
    machine.change_memory(PhysAddr(0x1000), b"hello");
    machine.change_memory(PhysAddr(0xff_fff0), &[7; 16]);
    machine.change_memory(PhysAddr(0x5000), &[0; 16]);
    machine.change_cpu(0, |cpu| cpu.gpr[0] = 0xdead_beef);
    machine.chipset.pic.write_master(1, 0x5a);
    machine.push_input(InputEvent::Serial { port: 0, bytes: b"waiting".to_vec() });
    machine.now_ns = 12_345;
    machine
}

fn saved() -> (tempfile::TempDir, std::path::PathBuf, Machine) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vm");
    let machine = machine();
    machine.save(&path).unwrap();
    (folder, path, machine)
}

fn failure(path: &Path) -> String {
    match Machine::restore(path, EngineConfig::default()) {
        Ok(_) => "restored".into(),
        Err(error) => error.to_string().replace(&path.display().to_string(), "vm"),
    }
}

#[test]
fn a_restored_machine_is_in_the_same_state() {
    let (folder, path, machine) = saved();
    let restored = Machine::restore(&path, EngineConfig::default()).unwrap();
    assert_eq!(restored.state_hash(), machine.state_hash());
    assert_eq!((restored.config(), restored.boot_images()), (machine.config(), machine.boot_images()));
    assert_eq!((restored.chipset(), restored.now_ns()), (machine.chipset(), 12_345));
    assert_eq!(restored.input, machine.input);
    assert_eq!(restored.cpu(0).gpr[0], 0xdead_beef);
    assert_eq!(restored.memory().kind(0xfffff), FrameKind::Rom);
    let frames: Vec<u32> = restored.memory().touched_frames().collect();
    assert_eq!(frames, [1, 0xff, 0xfff, 0xf_ffff], "a page of zeros is not kept");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}

#[test]
fn saving_twice_gives_the_same_file() {
    let (folder, path, machine) = saved();
    let again = folder.path().join("again");
    machine.save(&again).unwrap();
    assert_eq!(fs::read(path).unwrap(), fs::read(again).unwrap());
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let (_folder, path, _) = saved();
    let whole = fs::read(&path).unwrap();
    for len in (0..whole.len()).step_by(7).chain([39, 40, whole.len() - 1]) {
        fs::write(&path, &whole[..len]).unwrap();
        let expected = match len {
            0..8 => "vm: not a snapshot".to_owned(),
            8..40 => format!("vm: cut short: {len} bytes of 40"),
            _ => format!("vm: cut short: {len} bytes of {}", whole.len()),
        };
        assert_eq!(failure(&path), expected);
    }
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let (_folder, path, _) = saved();
    let whole = fs::read(&path).unwrap();
    for at in (0..48).chain((48..whole.len()).step_by(5)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let error = failure(&path);
        let expected = match at {
            0..8 => "vm: not a snapshot",
            8..12 => "vm: a snapshot of format version",
            12..40 => "vm: corrupt: the checksum of its header is wrong",
            _ => "vm: corrupt: its checksum is wrong",
        };
        assert!(error.starts_with(expected), "byte {at}: {error}");
    }
}

#[test]
fn bytes_behind_the_end_other_files_and_missing_ones_are_refused() {
    let (folder, path, _) = saved();
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(b"more");
    fs::write(&path, &bytes).unwrap();
    assert_eq!(failure(&path), "vm: corrupt: 4 bytes behind its end");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    assert_eq!(failure(&path), "vm: not a snapshot");
    assert!(failure(&folder.path().join("absent")).contains("No such file"));
    assert!(failure(folder.path()).contains("directory"));
}

#[test]
fn chips_that_could_not_be_so_are_refused() {
    let (_folder, path, mut machine) = saved();
    let mut signals = Signals::default();
    machine.chipset.rtc.wake(&mut BoardView { now_ns: 20_000, signals: &mut signals });
    machine.save(&path).unwrap();
    assert_eq!(failure(&path), "vm: corrupt: its chips are in a state that they cannot come to", "ahead of time");
    machine.now_ns = 20_000;
    machine.save(&path).unwrap();
    assert_eq!(failure(&path), "restored");
    machine.now_ns = u64::MAX;
    machine.save(&path).unwrap();
    assert_eq!(failure(&path), "vm: corrupt: its chips are in a state that they cannot come to", "at the end of time");
}

#[test]
fn a_snapshot_that_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine();
    assert!(machine.save(&folder.path().join("no/such/folder")).is_err());
    let path = folder.path().join("taken");
    fs::create_dir(&path).unwrap();
    assert!(machine.save(&path).is_err(), "a folder is in the way");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_a_killed_writer_left_goes_with_the_next_save_of_that_name() {
    let (folder, path, machine) = saved();
    let file = |name: &str| folder.path().join(name);
    let others = [".vm2aB3dE9.part", ".vmaB3dE.part", ".vmaB3dE9.par", "vmaB3dE9.part"];
    for name in others.into_iter().chain([".vmaB3dE9.part", ".vmzzzzz0.part"]) {
        fs::write(file(name), "a part").unwrap();
    }
    // One that is being written.
    let writer = fs::File::open(file(".vmzzzzz0.part")).unwrap();
    writer.lock().unwrap();
    machine.save(&path).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    let mut expected = [&others[..], &[".vmzzzzz0.part", "vm"]].concat();
    expected.sort_unstable();
    assert_eq!(left, expected);
    drop(writer);
    machine.save(&path).unwrap();
    assert!(!file(".vmzzzzz0.part").exists());
}
