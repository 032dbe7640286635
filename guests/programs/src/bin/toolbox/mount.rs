//! `mount`, `umount`, `swapon`, `swapoff` and `sync`.

use std::{ffi::OsString, fs};

use pagewalk_programs::sys;

use crate::{Error, Outcome, about, args::Args};

const MS_RDONLY: u32 = 1;

/// `mount`, or `mount [-r] [-o OPTIONS] [-t TYPE] DEVICE DIRECTORY`
pub fn mount(args: Args) -> Outcome {
    let mut parsed = args.parse("rwo:t:")?;
    if parsed.operands.is_empty() {
        return list();
    }
    let [source, target] = take_two(&mut parsed.operands)?;
    let mut flags = if parsed.has('r') { MS_RDONLY } else { 0 };
    if let Some(options) = parsed.value('o') {
        for option in options.to_string_lossy().split(',') {
            match option {
                "ro" => flags |= MS_RDONLY,
                "rw" => flags &= !MS_RDONLY,
                "defaults" | "relatime" => {}
                other => return Err(format!("option {other} is not known")),
            }
        }
    }
    let kind = parsed.value('t').cloned().unwrap_or_else(|| "ext2".into());
    sys::mount(&source, &target, &kind, flags).map_err(|error| about(source.to_string_lossy(), &error))?;
    Ok(0)
}

fn take_two(operands: &mut Vec<OsString>) -> Result<[OsString; 2], Error> {
    let given = std::mem::take(operands);
    given.try_into().map_err(|_| "wants a device and a directory".into())
}

/// The mounts, as util-linux prints them.
fn list() -> Outcome {
    let text = fs::read_to_string("/proc/mounts").map_err(|error| about("/proc/mounts", &error))?;
    for line in text.lines() {
        if let [source, target, kind, options, ..] = line.split(' ').collect::<Vec<_>>()[..] {
            println!("{source} on {target} type {kind} ({options})");
        }
    }
    Ok(0)
}

/// `umount DIRECTORY…`
pub fn umount(args: Args) -> Outcome {
    let parsed = args.parse("")?;
    if parsed.operands.is_empty() {
        return Err("wants a directory".into());
    }
    for target in &parsed.operands {
        sys::umount(target).map_err(|error| about(target.to_string_lossy(), &error))?;
    }
    Ok(0)
}

/// `swapon [-p PRIORITY] AREA…`
pub fn swapon(args: Args) -> Outcome {
    const SWAP_FLAG_PREFER: i32 = 0x8000;
    const SWAP_FLAG_PRIO_MASK: i32 = 0x7fff;
    let parsed = args.parse("p:")?;
    let flags = match parsed.value('p').map(|text| text.to_string_lossy().parse::<i32>()) {
        None => 0,
        Some(Ok(priority)) if (0..=SWAP_FLAG_PRIO_MASK).contains(&priority) => SWAP_FLAG_PREFER | priority,
        Some(_) => return Err(format!("a priority is a number from 0 to {SWAP_FLAG_PRIO_MASK}")),
    };
    if parsed.operands.is_empty() {
        return Err("wants a swap area".into());
    }
    for area in &parsed.operands {
        sys::swapon(area, flags).map_err(|error| about(area.to_string_lossy(), &error))?;
    }
    Ok(0)
}

/// `swapoff AREA…`
pub fn swapoff(args: Args) -> Outcome {
    let parsed = args.parse("")?;
    if parsed.operands.is_empty() {
        return Err("wants a swap area".into());
    }
    for area in &parsed.operands {
        sys::swapoff(area).map_err(|error| about(area.to_string_lossy(), &error))?;
    }
    Ok(0)
}

/// `sync [FILE…]`
pub fn sync(args: Args) -> Outcome {
    let parsed = args.parse("df")?;
    for file in &parsed.operands {
        let synced = fs::File::open(file).and_then(|file| file.sync_all());
        synced.map_err(|error| about(file.to_string_lossy(), &error))?;
    }
    if parsed.operands.is_empty() {
        sys::sync();
    }
    Ok(0)
}
