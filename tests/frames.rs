//! The kernel's own checks of its frames, caches and areas (`selftest=` on its command
//! line), in our machine and in QEMU, and what it says of broken uses of them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use images::Initramfs;
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::support::{Need, pagewalk, trial};

/// Seconds after which a boot has failed.
const TIME_LIMIT: &str = "120";

/// The checks that every machine passes.
const SELFTESTS: &str = "reclaim,vmalloc";

pub fn trials() -> Vec<Trial> {
    let qemu = [Need::Program("qemu-system-i386"), Need::Program("timeout")];
    vec![
        trial("frames::the_kernels_own_checks_pass", &[], || passes(&Boot::new().in_pagewalk(256, SELFTESTS))),
        trial("frames::the_kernels_own_checks_pass_in_qemu", &qemu, || passes(&Boot::new().in_qemu(256, SELFTESTS))),
    ]
}

/// A kernel and its userland as files.
struct Boot(TempDir);

impl Boot {
    fn new() -> Self {
        let boot = Boot(tempfile::tempdir().expect("a temporary folder"));
        fs::write(boot.0.path().join("kernel"), images::KERNEL).expect("write the kernel");
        let mut initramfs = Initramfs::new();
        initramfs.link_userland_into_bin();
        fs::write(boot.0.path().join("initrd"), initramfs.build().expect("an initramfs")).expect("write it");
        boot
    }

    /// The log of a boot in our machine with `selftest=NAMES` and the rest of `options`.
    fn in_pagewalk(&self, memory_mib: u32, options: &str) -> String {
        let mut command = pagewalk();
        command
            .args(["run", "--timeout", TIME_LIMIT, "--memory", &format!("{memory_mib}M"), "--append", &append(options)])
            .args([Path::new("--initrd"), &self.0.path().join("initrd"), &self.0.path().join("kernel")]);
        log(command)
    }

    /// The same in QEMU.
    fn in_qemu(&self, memory_mib: u32, options: &str) -> String {
        let mut command = Command::new("timeout");
        command
            .args([TIME_LIMIT, "qemu-system-i386", "-accel", "tcg", "-m", &memory_mib.to_string()])
            .args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-append", &append(options)])
            .args([Path::new("-kernel"), &self.0.path().join("kernel")])
            .args([Path::new("-initrd"), &self.0.path().join("initrd")]);
        log(command)
    }
}

fn append(options: &str) -> String {
    format!("console=ttyS0 panic=-1 selftest={options}")
}

fn log(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}

/// Every check that was asked for has said that all is well, and the first program ran.
fn passes(log: &str) {
    for name in SELFTESTS.split(',') {
        assert!(log.contains(&format!("] selftest: {name}: ok\n")), "{name}: {log}");
    }
    assert!(log.contains(" as init process\n"), "{log}");
}
