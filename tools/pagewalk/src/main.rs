//! The `pagewalk` command.

mod cli;
mod disk_error;
mod error;
mod explore;
mod guest;
mod help;
mod helpers;
mod image;
mod lens;
mod report;
mod run;
mod size;
mod top;

use std::{io::Write, process::ExitCode};

use clap::{FromArgMatches, error::ErrorKind};

use cli::{Cli, Command, RunArgs};
use error::{Error, status};

fn main() -> ExitCode {
    let cli = match help::definition().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    start_log(cli.verbose);
    let outcome = match cli.command {
        None => run::tour(cli.verbose),
        Some(Command::Run(args)) => run::run(&args, cli.verbose),
        Some(Command::Image(command)) => image::write(&command),
        Some(Command::Gdb(args)) => run::gdb(&args, cli.verbose),
        Some(Command::Explore(args)) => explore::explore(&args),
        Some(Command::Report(args)) => report::report(&args).map(|()| 0),
        Some(Command::Top(args)) => top::top(&args),
        Some(Command::Lens(command)) => command.execute().map(|()| 0).map_err(|e| Error::Lens(e.to_string())),
        Some(Command::Control(command)) => match command.to_run() {
            Some(file) => run::run(&RunArgs::of_saved(file), cli.verbose),
            None => command.execute().map(|()| 0).map_err(|e| Error::Lens(e.to_string())),
        },
        Some(Command::Help(command)) => command.execute(),
        Some(Command::Other(words)) => Err(unknown(&words)),
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(e) => {
            say(&e.to_string());
            ExitCode::from(e.status())
        }
    }
}

/// One line on standard error; a closed standard error is nobody's fault.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "pagewalk: {line}");
}

fn unknown(words: &[std::ffi::OsString]) -> Error {
    let name = words.first().map(|w| w.to_string_lossy().into_owned()).unwrap_or_default();
    help::unknown_command(&name)
}

/// Help and version as clap prints them; an error as one line and a hint.
fn usage(e: &clap::Error) -> ExitCode {
    if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = e.print();
        return ExitCode::SUCCESS;
    }
    say(&help::words(e));
    ExitCode::from(status::USAGE)
}

/// `-v` once shows the guest's console, so our own log starts at the second.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "warn",
        2 => "debug",
        _ => "trace",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level)).format_timestamp(None).init();
}
