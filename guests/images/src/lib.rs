//! The guest kernel and the guest's programs, built from source and embedded; and the
//! initramfs that is made of them in memory.
#![forbid(unsafe_code)]

mod host_tree;
mod initramfs;

pub use initramfs::{Initramfs, InitramfsError};

/// The guest kernel: a Multiboot ELF image with symbols.
pub const KERNEL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel"));

/// The folder of the guest that holds the embedded programs. Its name begins with a dot, so
/// that `ls /` shows the user's own tree.
pub const USERLAND: &str = "/.pagewalk";

/// The programs of the guest by name: static i386 Linux executables.
pub const fn programs() -> &'static [(&'static str, &'static [u8])] {
    include!(concat!(env!("OUT_DIR"), "/programs.rs"))
}

/// The static ELF of this name, if it is one of [`programs`].
pub fn program(name: &str) -> Option<&'static [u8]> {
    programs().iter().find(|(known, _)| *known == name).map(|&(_, bytes)| bytes)
}

/// The sample modules of the guest kernel by name: i386 objects (`ET_REL`).
pub const fn modules() -> &'static [(&'static str, &'static [u8])] {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"))
}

/// A program with 8 MiB of code, for tests of what happens to code when memory is short. It is no
/// part of the userland, because it would fill a small machine.
pub const BIGTEXT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bigtext"));

/// The names under which the program `toolbox` runs, each one a command.
pub const APPLETS: &[&str] = &[
    "[", "cat", "cp", "cut", "date", "dmesg", "echo", "env", "false", "free", "grep", "head", "hexdump", "id",
    "insmod", "kill", "ln", "ls", "lsmod", "mkdir", "mount", "mv", "pmap", "poweroff", "printf", "ps", "pwd", "rm",
    "rmmod", "seq", "sh", "sleep", "sort", "swapoff", "swapon", "sync", "tail", "tee", "test", "touch", "tr", "true",
    "tty", "umount", "uname", "wc",
];

/// The names under which the program `stress` runs: loads for several CPUs at once.
pub const LOADS: &[&str] = &["preempt", "shootdown", "smp-storm"];

/// The commands that are links, each with the program that it leads to.
fn links() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = |names: &'static [&'static str], program| names.iter().map(move |&name| (name, program));
    of(APPLETS, "toolbox").chain(of(LOADS, "stress"))
}
