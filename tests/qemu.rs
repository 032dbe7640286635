//! The guest kernel is a kernel for PCs: it boots in QEMU as it does here, and says the same.

use libtest_mimic::Trial;

use crate::support::{
    boot::{Boot, Ended, QEMU},
    trial,
};

/// Lines of a boot that may tell of the machine that was found.
const MAX_HARDWARE_LINES: usize = 25;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("qemu::boots_the_kernel_which_runs_the_tour_and_powers_off", &QEMU, tour),
        trial("qemu::gives_the_kernel_16_mib_and_3_gib", &QEMU, memory_sizes),
        trial("qemu::programs_compute_and_map_memory_as_on_linux", &QEMU, programs),
        trial("qemu::prints_the_same_boot_log_as_pagewalk", &QEMU, same_log),
    ]
}

fn tour() {
    let Ended { log, status } = Boot::of_the_tour().in_qemu(256);
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("\n10000000-"), "no map of the tour in {log}");
    assert!(log.contains("] Run /.pagewalk/init as init process\n"), "{log}");
    assert!(log.contains("\nmprotect: one mapping becomes three\n"), "{log}");
    assert!(hardware_lines(&log) <= MAX_HARDWARE_LINES, "{} lines tagged hw: in {log}", hardware_lines(&log));
}

fn memory_sizes() {
    let boot = Boot::of_script("free | head -n 2 | tail -n 1; cat /proc/iomem | grep -c 'System RAM'");
    for memory_mib in [16, 3072] {
        let Ended { log, status } = boot.in_qemu(memory_mib);
        assert_eq!(status, Some(0), "{memory_mib} MiB: {log}");
        let row = log.lines().find(|line| line.starts_with("Mem:")).unwrap_or_else(|| panic!("{log}"));
        let total_kib: u32 = row.split_whitespace().nth(1).and_then(|total| total.parse().ok()).expect("a number");
        let given_kib = memory_mib * 1024;
        assert!((given_kib * 3 / 4..given_kib).contains(&total_kib), "{total_kib} of {given_kib} KiB");
    }
}

fn programs() {
    let ended = Boot::of_script("workload; mmprobe; exit 42").in_qemu(256);
    assert_eq!(ended.status, Some(42), "{}", ended.log);
    let expected = [include_str!("programs/workload.txt"), include_str!("programs/mmprobe.txt")].concat();
    assert_eq!(ended.printed(), expected);
}

fn same_log() {
    let boot = Boot::of_the_tour();
    let Ended { log: theirs, status: their_status } = boot.in_qemu(256);
    let Ended { log: ours, status: our_status } = boot.in_pagewalk(256);
    assert_eq!((their_status, our_status), (Some(0), Some(0)), "theirs:\n{theirs}\nours:\n{ours}");
    for log in [&theirs, &ours] {
        assert!(hardware_lines(log) <= MAX_HARDWARE_LINES, "{} lines tagged hw: in {log}", hardware_lines(log));
    }
    let (theirs, ours) = (comparable(&theirs), comparable(&ours));
    assert!(theirs.len() > 50, "only {} lines", theirs.len());
    for (their_line, our_line) in theirs.iter().zip(&ours) {
        assert_eq!(our_line, their_line, "the first difference");
    }
    assert_eq!(ours.len(), theirs.len(), "lines");
}

fn hardware_lines(log: &str) -> usize {
    log.lines().filter(|line| without_time_stamp(line).starts_with("hw: ")).count()
}

/// The lines of a log that do not depend on the machine, without the time.
fn comparable(log: &str) -> Vec<&str> {
    log.lines().map(without_time_stamp).filter(|line| !line.starts_with("hw: ")).collect()
}

/// A line of the kernel's log without `[    0.000000] ` before it.
fn without_time_stamp(line: &str) -> &str {
    let stamp = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match stamp {
        Some((time, text)) if time.trim_start().bytes().all(|b| b.is_ascii_digit() || b == b'.') => text,
        _ => line,
    }
}
