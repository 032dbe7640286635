//! `pagewalk gdb`: a machine that waits, and gdb on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::Ordering,
    thread::{self, JoinHandle},
};

use inspect::Symbols;
use tempfile::TempDir;

use super::{
    prepare::{self, Stream, Streams, cannot_start},
    session::Session,
};
use crate::{
    cli::{GdbArgs, RunArgs},
    error::Error,
    guest,
};

/// Starts the machine, and gdb on it with the symbols of kernel and program, stopped at the
/// program's `main`, or at its entry point if it has none. The guest's input is empty: the
/// terminal is gdb's.
pub fn gdb(args: &GdbArgs, verbose: u8) -> Result<u8, Error> {
    let folder = tempfile::tempdir().map_err(|e| Error::CannotStart(format!("cannot make a folder for gdb: {e}")))?;
    let socket = folder.path().join("gdb.sock");
    let run = RunArgs {
        words: args.words.clone(),
        root: args.root.clone(),
        memory: args.memory,
        gdb: Some(format!("unix:{}", socket.display())),
        ..RunArgs::defaults()
    };
    let streams = Streams { stdin: Stream::Absent, stdout: Stream::Raw, stderr: Stream::Raw };
    let boot = prepare::run(&run, streams)?;
    let kernel = folder.path().join("vmlinux");
    let image = boot.images.kernel().map_or(&[][..], |image| &image.bytes);
    fs::write(&kernel, image).map_err(Error::file(&kernel))?;
    let session = Session::new(&run, boot, streams, verbose)?;
    let waiter = start(args, folder, socket, kernel, &session)?;
    let outcome = session.run();
    let _ = waiter.join();
    outcome.map(|_| 0)
}

/// Starts gdb; when it ends, so does the machine, and the folder goes.
fn start(
    args: &GdbArgs,
    folder: TempDir,
    socket: PathBuf,
    kernel: PathBuf,
    session: &Session<'_>,
) -> Result<JoinHandle<()>, Error> {
    let path = Path::new(&args.words[0]);
    let (program, _) = guest::load(path)?;
    let stop_at = match Symbols::of_bytes(&program).named("main") {
        Some(_) => "main".to_owned(),
        None => format!("*{:#x}", goblin::elf::Elf::parse(&program).map_err(cannot_start)?.entry),
    };
    let mut gdb = Command::new("gdb")
        .arg("-q")
        .arg(path)
        .args(["-ex", &format!("target remote {}", socket.display())])
        .args(["-ex", &format!("add-symbol-file {}", kernel.display())])
        .args(["-ex", &format!("tbreak {stop_at}"), "-ex", "continue"])
        .spawn()
        .map_err(|e| Error::CannotStart(format!("cannot start gdb: {e}")))?;
    let end = session.signal();
    Ok(thread::spawn(move || {
        let _ = gdb.wait();
        end.store(true, Ordering::Relaxed);
        drop(folder);
    }))
}
