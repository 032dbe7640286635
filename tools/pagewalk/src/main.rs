//! The `pagewalk` command.

mod cli;
mod disk_error;
mod error;
mod explore;
mod guest;
mod helpers;
mod image;
mod lens;
mod run;
mod size;

use std::{io::Write, process::ExitCode};

use clap::{Parser, error::ErrorKind};

use cli::{Cli, Command, LATER_COMMANDS};
use error::{Error, status};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
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
        Some(Command::Lens(command)) => command.execute().map(|()| 0).map_err(|e| Error::Lens(e.to_string())),
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
    if LATER_COMMANDS.contains(&name.as_str()) {
        Error::Later(format!("`{name}`"))
    } else {
        Error::Usage(format!("there is no command `{name}`; `pagewalk --help` lists them"))
    }
}

/// Help and version as clap prints them; an error as one line and a hint.
fn usage(e: &clap::Error) -> ExitCode {
    if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = e.print();
        return ExitCode::SUCCESS;
    }
    let text = e.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    say(line.strip_prefix("error: ").unwrap_or(&line));
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
