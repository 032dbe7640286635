//! What the platforms that boot our kernel have in common.

use std::{fs, path::PathBuf};

use abi::runfile::RunFile;
use images::{Initramfs, USERLAND};

use super::{Job, Runner};
use crate::error::Error;

/// Memory of the guest, for the largest workload.
pub const MEMORY_MIB: u32 = 1024;
/// The kernel's parameters.
pub const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1";

/// The program that is measured.
pub fn workload() -> &'static [u8] {
    embedded("workload")
}

fn embedded(name: &str) -> &'static [u8] {
    images::program(name).expect("the program is embedded")
}

/// Writes the kernel to a file.
pub fn write_kernel(runner: &Runner) -> Result<PathBuf, Error> {
    let path = runner.file("kernel");
    fs::write(&path, images::KERNEL).map_err(|error| Error::file("write", &path, error))?;
    Ok(path)
}

/// An initramfs with no more than it takes: an `init` that runs a job and powers off.
pub fn initramfs(job: Job) -> Result<Vec<u8>, Error> {
    const EXE: &str = "/bin/workload";
    let mut tree = Initramfs::default();
    for folder in ["/dev", "/proc", "/tmp"] {
        tree.add_directory(folder, 0o755)?;
    }
    tree.add_file(format!("{USERLAND}/init"), 0o755, embedded("init"))?;
    tree.add_file(EXE, 0o755, workload())?;
    let args = [EXE.into()].into_iter().chain(job.args()).map(String::into_bytes);
    tree.set_run_file(&RunFile { args: args.collect(), ..RunFile::new(EXE) })?;
    Ok(tree.build()?)
}

/// Writes the initramfs of a job to a file.
pub fn write_initramfs(runner: &Runner, job: Job) -> Result<PathBuf, Error> {
    let path = runner.file("initrd");
    fs::write(&path, initramfs(job)?).map_err(|error| Error::file("write", &path, error))?;
    Ok(path)
}
