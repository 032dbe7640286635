//! The lenses as commands: where the machine is, what to show, how to print it.

mod command;
pub mod control;
mod view;

use std::io::Write;

use inspect::{Answer, Request};
use machine::Machine;

pub use command::Command;
pub use view::{gdb_setup, guest_file};

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
pub enum LensError {
    /// The lens has nothing to show, or was asked wrongly.
    #[error(transparent)]
    Inspect(#[from] inspect::Error),
    /// The saved machine can't be read.
    #[error(transparent)]
    Snapshot(#[from] machine::Error),
    /// The running machine can't be reached, or says no.
    #[error(transparent)]
    Control(#[from] control::ControlError),
    /// The answer can't be written.
    #[error("standard output: {0}")]
    Output(std::io::Error),
}

/// Looks at a stopped machine of this process: the monitor's way.
pub fn on_machine(machine: &Machine, words: &str) -> Result<String, LensError> {
    if words == "help" {
        let width = inspect::HELP.iter().map(|(usage, _)| usage.len()).max().unwrap_or(0);
        return Ok(inspect::HELP.iter().map(|(usage, what)| format!("{usage:width$}  {what}\n")).collect());
    }
    let words: Vec<&str> = words.split_whitespace().collect();
    let answer = look(machine, &Request::from_words(&words)?)?;
    Ok(String::from_utf8_lossy(&answer.text).into_owned())
}

/// Looks at a machine at rest.
pub fn look(machine: &Machine, request: &Request) -> Result<Answer, inspect::Error> {
    view::with_target(machine, |target| inspect::look(target, request))
}

/// Writes an answer; a reader that went away is no error.
fn print(bytes: &[u8]) -> Result<(), LensError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(LensError::Output(e)),
        _ => Ok(()),
    }
}
