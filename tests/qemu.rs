//! The guest kernel is a kernel for PCs: it boots in QEMU as it does here, and says the same.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use abi::runfile::RunFile;
use images::Initramfs;
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::support::{Need, pagewalk, trial};

/// Lines of a boot that may tell of the machine that was found.
const MAX_HARDWARE_LINES: usize = 25;

/// Seconds after which a boot has failed.
const TIME_LIMIT: &str = "120";

pub fn trials() -> Vec<Trial> {
    let qemu = [Need::Program("qemu-system-i386"), Need::Program("timeout")];
    vec![
        trial("qemu::boots_the_kernel_which_runs_the_tour_and_powers_off", &qemu, tour),
        trial("qemu::gives_the_kernel_16_mib_and_3_gib", &qemu, memory_sizes),
        trial("qemu::programs_compute_and_map_memory_as_on_linux", &qemu, programs),
        trial("qemu::prints_the_same_boot_log_as_pagewalk", &qemu, same_log),
    ]
}

/// A kernel and an initramfs as files.
pub struct Boot {
    dir: TempDir,
}

impl Boot {
    fn new(initramfs: &Initramfs) -> Self {
        let boot = Boot { dir: tempfile::tempdir().expect("a temporary folder") };
        fs::write(boot.kernel(), images::KERNEL).expect("write the kernel");
        fs::write(boot.initrd(), initramfs.build().expect("an initramfs")).expect("write the initramfs");
        boot
    }

    /// The userland alone: init runs the tour.
    fn of_the_tour() -> Self {
        let mut initramfs = Initramfs::new();
        initramfs.link_userland_into_bin();
        Boot::new(&initramfs)
    }

    /// A shell with a script, on the console.
    pub fn of_script(script: &str) -> Self {
        let mut initramfs = Initramfs::new();
        initramfs.link_userland_into_bin();
        let run = RunFile {
            args: vec!["sh".into(), "-c".into(), script.into()],
            env: vec!["PATH=/bin".into(), "HOME=/".into()],
            ..RunFile::new("/bin/sh")
        };
        initramfs.set_run_file(&run).expect("a run file");
        Boot::new(&initramfs)
    }

    fn kernel(&self) -> PathBuf {
        self.dir.path().join("kernel")
    }

    fn initrd(&self) -> PathBuf {
        self.dir.path().join("initrd")
    }

    /// Boots in QEMU; what came over the serial line, and the status that the guest gave.
    pub fn in_qemu(&self, memory_mib: u32) -> (String, Option<i32>) {
        let mut command = Command::new("timeout");
        command
            .args([TIME_LIMIT, "qemu-system-i386", "-accel", "tcg", "-m", &memory_mib.to_string()])
            .args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .args([Path::new("-kernel"), &self.kernel(), Path::new("-initrd"), &self.initrd()])
            .args(["-append", APPEND]);
        let (log, status) = output(command);
        // The device makes of a value `v` the status `2 v + 1`.
        (log, status.filter(|status| status % 2 == 1).map(|status| status / 2))
    }

    /// Boots in our own machine.
    pub fn in_pagewalk(&self, memory_mib: u32) -> (String, Option<i32>) {
        let mut command = pagewalk();
        command
            .args(["run", "--timeout", TIME_LIMIT, "--memory", &format!("{memory_mib}M"), "--append", APPEND])
            .args([Path::new("--initrd"), &self.initrd(), &self.kernel()]);
        output(command)
    }
}

const APPEND: &str = "console=ttyS0 panic=-1";

/// Standard output, without the carriage returns of a serial line, and the exit status.
fn output(mut command: Command) -> (String, Option<i32>) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    text += &String::from_utf8_lossy(&output.stderr);
    (text, output.status.code())
}

fn tour() {
    let (log, status) = Boot::of_the_tour().in_qemu(256);
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("\n10000000-"), "no map of the tour in {log}");
    assert!(log.contains("] Run /.pagewalk/init as init process\n"), "{log}");
    assert!(log.contains("\nmprotect: one mapping becomes three\n"), "{log}");
    assert!(hardware_lines(&log) <= MAX_HARDWARE_LINES, "{} lines tagged hw: in {log}", hardware_lines(&log));
}

fn memory_sizes() {
    let boot = Boot::of_script("free | head -n 2 | tail -n 1; cat /proc/iomem | grep -c 'System RAM'");
    for memory_mib in [16, 3072] {
        let (log, status) = boot.in_qemu(memory_mib);
        assert_eq!(status, Some(0), "{memory_mib} MiB: {log}");
        let row = log.lines().find(|line| line.starts_with("Mem:")).unwrap_or_else(|| panic!("{log}"));
        let total_kib: u32 = row.split_whitespace().nth(1).and_then(|total| total.parse().ok()).expect("a number");
        let given_kib = memory_mib * 1024;
        assert!((given_kib * 3 / 4..given_kib).contains(&total_kib), "{total_kib} of {given_kib} KiB");
    }
}

fn programs() {
    let (log, status) = Boot::of_script("workload; mmprobe; exit 42").in_qemu(256);
    assert_eq!(status, Some(42), "{log}");
    let printed = log.split_once("as init process\n").unwrap_or_else(|| panic!("{log}")).1;
    let expected = [include_str!("programs/workload.txt"), include_str!("programs/mmprobe.txt")].concat();
    // The kernel's own lines, about the faults that it was asked to handle, are in between.
    let printed: Vec<&str> = printed.lines().filter(|line| !line.starts_with('[')).collect();
    assert_eq!(printed, expected.lines().collect::<Vec<_>>());
}

fn same_log() {
    let boot = Boot::of_the_tour();
    let (theirs, their_status) = boot.in_qemu(256);
    let (ours, our_status) = boot.in_pagewalk(256);
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
