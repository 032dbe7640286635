//! Memory in which every other frame is free: what compaction makes of it, as a program sees it,
//! and as the host sees it before and after.

use std::path::Path;

use inspect::{Books, KernelImage, parse_address, process_of_directory};
use libtest_mimic::Trial;
use machine::{RunLimit, Stop};
use serde_json::Value;

use super::memory::process;
use crate::{
    lenses::{Heard, machine_of, target},
    support::{guest::guest, pagewalk, trial},
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("mm::compaction::fragmented_memory_gives_large_blocks_and_keeps_its_contents", &[], in_the_guest),
        trial("mm::compaction::a_page_is_seen_in_its_frames_before_and_after", &[], from_outside),
    ]
}

/// MiB of the machine: what is not fragmented is used up.
pub const MEMORY_MIB: u32 = 96;
/// Pages of 64 MiB that keep their frames until they are moved: every other one.
const KEPT: u32 = 8192;

/// Large blocks that our machine's run gives at least.
const LEAST: u32 = 12;

/// 64 MiB are fragmented; large blocks are asked for.
pub const SCRIPT: &str = "mmprobe fragment 65536 /tmp/go >/tmp/told & \
    until grep -q fragmented /tmp/told 2>/dev/null; do sleep 0.1; done\n\
    cat /proc/buddyinfo; echo ==; echo 1 >/proc/sys/vm/compact_memory; cat /proc/buddyinfo; echo ==\n\
    : >/tmp/go; wait $!; cat /tmp/told; echo 1 >/proc/sys/vm/verify && echo verified\n";

/// What it has printed, with so many large blocks at least, of sixteen; where the program has its pages.
pub fn is_compacted(text: &str, least: u32) -> u32 {
    let parts: Vec<&str> = text.split("==\n").collect();
    let [before, after, told] = parts[..] else { panic!("{text}") };
    assert_eq!(large_blocks(before), 0, "no block of order 9: {text}");
    assert!(single_frames(before) >= KEPT * 3 / 4, "the free frames lie alone: {text}");
    assert!(large_blocks(after) >= least, "{text}");
    let lines: Vec<&str> = told.lines().collect();
    let [place, moved, "verified"] = lines[..] else { panic!("{text}") };
    let moved = moved.strip_prefix("moved: ").and_then(|rest| rest.strip_suffix(" of 8192, contents right: true"));
    let moved: u32 = moved.and_then(|moved| moved.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    assert!(moved >= 512, "{text}");
    let place = place.strip_prefix("fragmented at ").and_then(|at| u32::from_str_radix(at, 16).ok());
    place.unwrap_or_else(|| panic!("{text}"))
}

/// The free blocks of an order in each zone of a `/proc/buddyinfo`.
fn blocks(buddyinfo: &str) -> Vec<Vec<u32>> {
    let row = |line: &str| line.split_whitespace().skip(4).map(|count| count.parse().expect("a number")).collect();
    buddyinfo.lines().map(row).collect()
}

/// How many blocks of 2^9 frames are free; one of 2^10 is two.
fn large_blocks(buddyinfo: &str) -> u32 {
    blocks(buddyinfo).iter().map(|zone| zone[9] + 2 * zone[10]).sum()
}

fn single_frames(buddyinfo: &str) -> u32 {
    blocks(buddyinfo).iter().map(|zone| zone[0]).sum()
}

fn in_the_guest() {
    is_compacted(&guest(&["--memory", &format!("{MEMORY_MIB}M")], SCRIPT), LEAST);
}

/// What a lens shows of a saved machine.
fn look(file: &Path, words: &[&str]) -> String {
    let output = pagewalk().args(words).arg("--snapshot").arg(file).output().expect("run pagewalk");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The machine is saved where the shell's `cat` gathers `/proc/buddyinfo`.
fn from_outside() {
    let kernel = KernelImage::parse(images::KERNEL);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let saved = ["before", "after"].map(|name| folder.path().join(name));
    let mut machine = machine_of(SCRIPT, u64::from(MEMORY_MIB) << 20);
    let marker = parse_address(&target(&machine, &kernel), 0, "proc_gather_begin").expect("the symbol").linear;
    machine.add_breakpoint(marker);
    let mut host = Heard::default();
    let (mut looks, mut pid) = (0, 0);
    loop {
        let limit = RunLimit { retired: Some(4_000_000_000), pass_breakpoint: true };
        match machine.run(limit, &mut host) {
            Stop::Breakpoint { .. } => {}
            Stop::PowerOff { status: 0 } => break,
            other => panic!("{other}"),
        }
        let seen = target(&machine, &kernel);
        let books = Books::of(&seen).expect("books");
        let running = process_of_directory(&books, machine.cpu(machine.current_cpu()).cr3).expect("tasks");
        // `cat` gathers once more at the file's end.
        let is_first = String::from_utf8_lossy(&host.0).matches("==\n").count() == looks;
        if is_first && looks < saved.len() && running.is_some_and(|(task, _)| task.comm.starts_with(b"cat\0")) {
            pid = process(&seen, "mmprobe").expect("the program").0.pid;
            machine.save(&saved[looks]).expect("saved");
            looks += 1;
        }
    }
    let text = String::from_utf8_lossy(&host.0).into_owned();
    let place = is_compacted(&text, LEAST);
    let printed: Vec<&str> = text.split("==\n").collect();
    for (file, printed) in saved.iter().zip(printed) {
        assert_eq!(look(file, &["buddyinfo"]), printed, "the host's text is the guest's");
    }
    let pid = pid.to_string();
    // Of pages all over the range, some were low in memory.
    let moved = (0..KEPT).step_by(1024).filter(|page| is_seen_to_move(&saved, &pid, place + page * 2 * 4096)).count();
    assert!(moved > 0, "no page of {place:08x} has moved");
}

/// Whether a page has another frame in the second machine than in the first; both frames say so.
fn is_seen_to_move(saved: &[std::path::PathBuf; 2], pid: &str, addr: u32) -> bool {
    let [before, after] = saved.each_ref().map(|file| {
        let walk = look(file, &["walk", &format!("{addr:x}"), "--pid", pid, "--json"]);
        let walk: Value = serde_json::from_str(&walk).expect("JSON");
        walk["physical"].as_u64().unwrap_or_else(|| panic!("{addr:08x} is not mapped: {walk}")) >> 12
    });
    let mapped = format!("process {pid} (mmprobe) at {addr:#010x}  ");
    for (file, pfn) in saved.iter().zip([before, after]) {
        let page = look(file, &["page", &format!("{pfn:#x}")]);
        assert!(page.contains(&mapped), "`{mapped}` is not in {page}");
    }
    if before != after {
        assert!(after > before, "pages move towards the end of memory: {before:#x}, {after:#x}");
        let old = look(&saved[1], &["page", &format!("{before:#x}")]);
        assert!(!old.contains(&mapped), "{old}");
    }
    before != after
}
