//! `pagewalk run`, the tour, and `pagewalk gdb`.

mod build;
mod check;
mod debugger;
mod display;
mod finish;
mod host;
mod input;
mod keeper;
mod keys;
mod monitor;
mod orders;
mod prepare;
mod sampler;
mod session;
mod signals;
pub mod stats;
mod terminal;
mod trace;
mod why;

use crate::{cli::RunArgs, error::Error};

pub use debugger::gdb;
pub use prepare::cannot_start;
use prepare::{Stream, Streams};
use session::Session;

/// `pagewalk` without a command: the tour, and on a terminal a shell after it.
pub fn tour(verbose: u8) -> Result<u8, Error> {
    let args = RunArgs::defaults();
    let streams = Streams::of_host();
    let interactive = streams.stdin == Stream::Terminal && streams.stdout == Stream::Terminal;
    Session::new(&args, prepare::tour(interactive)?, streams, verbose)?.run()
}

/// `pagewalk run`.
pub fn run(args: &RunArgs, verbose: u8) -> Result<u8, Error> {
    refuse_later(args)?;
    let shifted = with_gdb_address(args);
    let args = shifted.as_ref().unwrap_or(args);
    let streams = Streams::of_host();
    if let Some(file) = &args.snapshot {
        return Session::restore(args, file, streams, verbose)?.run();
    }
    Session::new(args, prepare::run(args, streams)?, streams, verbose)?.run()
}

/// `run --gdb PROGRAM`: what was taken for an address is none, but the program.
fn with_gdb_address(args: &RunArgs) -> Option<RunArgs> {
    let word = args.gdb.as_ref().filter(|word| gdb::ListenAddr::parse(word).is_err())?;
    let is_file = !word.starts_with("unix:") && std::path::Path::new(word).exists();
    is_file.then(|| RunArgs {
        gdb: Some(String::new()),
        words: [word.into()].into_iter().chain(args.words.clone()).collect(),
        ..args.clone()
    })
}

fn refuse_later(args: &RunArgs) -> Result<(), Error> {
    if let Some(option) = args.later.first() {
        return Err(Error::Later(option.into()));
    }
    match args.machine.cpus {
        1..=8 => Ok(()),
        n => Err(Error::Usage(format!("a machine has 1 to 8 CPUs, not {n}"))),
    }
}
