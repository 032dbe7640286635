//! The guest's kernel with its userland as files, booted as any PC boots it: in QEMU, and in our
//! own machine by the same options.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use abi::runfile::RunFile;
use images::Initramfs;
use tempfile::TempDir;

use super::{Need, asked, pagewalk_run};

/// What a boot in QEMU needs.
pub const QEMU: [Need; 2] = [Need::Program("qemu-system-i386"), Need::Program("timeout")];

/// Seconds after which a boot has failed.
const TIME_LIMIT: &str = "600";

/// What every kernel is told.
const APPEND: &str = "console=ttyS0 panic=-1";

/// A kernel, an initramfs and disks.
pub struct Boot {
    folder: TempDir,
    append: String,
    cpus: u8,
    disks: Vec<Disk>,
}

/// An image, and its sectors that cannot be read.
struct Disk {
    image: PathBuf,
    unreadable: Vec<u32>,
}

/// A machine that has powered off.
pub struct Ended {
    /// What came over the serial line, and what the emulator said; without carriage returns.
    pub log: String,
    /// The status that the guest gave.
    pub status: Option<i32>,
}

impl Boot {
    /// The embedded kernel with an initramfs.
    pub fn new(initramfs: &Initramfs) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let boot = Boot { folder, append: APPEND.into(), cpus: asked::cpus(), disks: Vec::new() };
        fs::write(boot.kernel(), images::KERNEL).expect("write the kernel");
        fs::write(boot.initrd(), initramfs.build().expect("an initramfs")).expect("write the initramfs");
        boot
    }

    /// The userland alone: init runs the tour.
    pub fn of_the_tour() -> Self {
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

    /// The kernel is told this, too.
    pub fn append(mut self, options: &str) -> Self {
        self.append = format!("{} {options}", self.append);
        self
    }

    /// The machine has so many CPUs.
    pub fn cpus(mut self, cpus: u8) -> Self {
        self.cpus = cpus;
        self
    }

    /// The next disk has this image.
    pub fn disk(self, image: &Path) -> Self {
        self.disk_that_fails(image, &[])
    }

    /// The next disk has this image, and these sectors of it cannot be read.
    pub fn disk_that_fails(mut self, image: &Path, unreadable: &[u32]) -> Self {
        self.disks.push(Disk { image: image.into(), unreadable: unreadable.into() });
        self
    }

    fn kernel(&self) -> PathBuf {
        self.folder.path().join("kernel")
    }

    fn initrd(&self) -> PathBuf {
        self.folder.path().join("initrd")
    }

    /// Boots in QEMU.
    pub fn in_qemu(&self, memory_mib: u32) -> Ended {
        let mut command = Command::new("timeout");
        command
            .args([TIME_LIMIT, "qemu-system-i386", "-accel", "tcg", "-m", &memory_mib.to_string()])
            .args(["-smp", &self.cpus.to_string()])
            .args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .args([Path::new("-kernel"), &self.kernel(), Path::new("-initrd"), &self.initrd()])
            .args(["-append", &self.append]);
        for disk in &self.disks {
            command.arg("-drive").arg(disk.for_qemu());
        }
        let ended = run(command);
        // The device makes of a value `v` the status `2 v + 1`.
        Ended { status: ended.status.filter(|status| status % 2 == 1).map(|status| status / 2), ..ended }
    }

    /// Boots in our own machine.
    pub fn in_pagewalk(&self, memory_mib: u32) -> Ended {
        let mut command = pagewalk_run(&["--cpus", &self.cpus.to_string()]);
        command.args(["--timeout", TIME_LIMIT, "--memory", &format!("{memory_mib}M"), "--append", &self.append]);
        for (disk, letter) in self.disks.iter().zip('a'..) {
            command.arg("--disk").arg(&disk.image);
            for sector in &disk.unreadable {
                command.args(["--disk-error", &format!("sd{letter}:{sector}:read")]);
            }
        }
        command.args([Path::new("--initrd"), &self.initrd(), &self.kernel()]);
        run(command)
    }
}

impl Disk {
    /// The value of `-drive`: `blkdebug` gives the errors.
    fn for_qemu(&self) -> String {
        let image = self.image.display();
        if self.unreadable.is_empty() {
            return format!("file={image},if=ide,format=raw");
        }
        let mut drive =
            format!("if=ide,driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename={image}");
        for (n, sector) in self.unreadable.iter().enumerate() {
            let rule = format!("file.inject-error.{n}");
            drive += &format!(",{rule}.event=none,{rule}.iotype=read,{rule}.sector={sector},{rule}.errno=5");
        }
        drive
    }
}

impl Ended {
    /// What the programs printed, without the kernel's own lines in between, or in the midst of
    /// theirs.
    pub fn printed(&self) -> String {
        let (_, printed) = self.log.split_once(" as init process\n").unwrap_or_else(|| panic!("{}", self.log));
        let theirs = |line: &str| match time_stamp(line) {
            Some(at) => line[..at].to_owned(),
            None => format!("{line}\n"),
        };
        printed.lines().map(theirs).collect()
    }
}

/// Where a line of the kernel's begins in a line: at `[    0.000000] `.
fn time_stamp(line: &str) -> Option<usize> {
    let is_time = |text: &str| {
        let (seconds, micros) = text.split_once("] ").and_then(|(time, _)| time.split_once('.')).unwrap_or_default();
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits(seconds.trim_start()) && micros.len() == 6 && digits(micros)
    };
    line.match_indices('[').map(|(at, _)| at).find(|at| is_time(&line[at + 1..]))
}

fn run(mut command: Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut log = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    log += &String::from_utf8_lossy(&output.stderr);
    Ended { log, status: output.status.code() }
}
