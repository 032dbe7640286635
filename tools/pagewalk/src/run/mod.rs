//! `pagewalk run`, the tour, and `pagewalk gdb`.

mod build;
mod finish;
mod host;
mod input;
mod monitor;
mod prepare;
mod session;
mod signals;
mod stats;
mod terminal;

use crate::{
    cli::{EngineArg, GdbArgs, RunArgs},
    error::Error,
};

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
    let streams = Streams::of_host();
    if let Some(file) = &args.snapshot {
        return Session::restore(args, file, streams, verbose)?.run();
    }
    Session::new(args, prepare::run(args, streams)?, streams, verbose)?.run()
}

/// `pagewalk gdb`: a machine that waits, and gdb on it.
pub fn gdb(args: &GdbArgs, verbose: u8) -> Result<u8, Error> {
    let _ = (args, verbose);
    Err(Error::Later("`gdb`".into()))
}

fn refuse_later(args: &RunArgs) -> Result<(), Error> {
    if let Some(option) = args.later.first() {
        return Err(Error::Later(option.into()));
    }
    if args.engine == EngineArg::Jit {
        return Err(Error::Later("--engine jit".into()));
    }
    match args.cpus {
        1 => Ok(()),
        2..=8 => Err(Error::Later(format!("a machine with {} CPUs", args.cpus))),
        n => Err(Error::Usage(format!("a machine has 1 to 8 CPUs, not {n}"))),
    }
}
