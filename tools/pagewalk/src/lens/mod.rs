//! The lenses as commands: where the machine is, what to show, how to print it.

mod command;
pub mod control;
mod view;

use std::io::Write;

use inspect::{Answer, Request};
use machine::Machine;

pub use command::Command;
pub use view::{Known, gdb_setup, guest_file, look, note_points};

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
    let note = answer.note.map(|note| format!("note: {note}\n")).unwrap_or_default();
    Ok(note + &String::from_utf8_lossy(&answer.text))
}

/// What a lens shows, as it is printed, and the note that goes to standard error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    text: Vec<u8>,
    note: Option<String>,
}

impl Shown {
    fn of(answer: Answer, json: bool) -> Self {
        let text = if json { format!("{:#}\n", answer.json).into_bytes() } else { answer.text };
        Shown { text, note: answer.note }
    }
}

/// Writes an answer; a reader that went away is no error.
fn print(shown: &Shown) -> Result<(), LensError> {
    if let Some(note) = &shown.note {
        eprintln!("pagewalk: note: {note}");
    }
    let bytes = &shown.text;
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(LensError::Output(e)),
        _ => Ok(()),
    }
}
