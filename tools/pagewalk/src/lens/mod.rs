//! The lenses as commands: where the machine is, what to show, how to print it.

mod command;
pub mod control;
mod diff;
mod proc;
mod source;
mod view;
mod watch;

use std::io::Write;

use inspect::{Answer, Request};
use machine::Machine;
use serde_json::Value;

pub use command::Command;
pub use source::Source;
pub use view::{Known, gdb_setup, guest_file, look, note_points};
pub use watch::parse_seconds;

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
    /// What only a process has was asked of a machine.
    #[error("status: name a process, as in `status 1`: without one it tells of a running machine, once")]
    WhichProcess,
    /// The folder of `proc -o` can't be written.
    #[error("{}: {why}", path.display())]
    Folder {
        /// Which file or folder.
        path: std::path::PathBuf,
        /// The host's reason, or ours.
        why: String,
    },
    /// The file that was asked for can't be written.
    #[error("cannot write {}: {why}", file.display())]
    File {
        /// Its path.
        file: std::path::PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
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

/// What a lens shows, and the note that goes to standard error.
#[derive(Clone, PartialEq, Debug)]
pub struct Shown {
    form: Form,
    note: Option<String>,
}

/// For people or for programs.
#[derive(Clone, PartialEq, Debug)]
pub enum Form {
    /// As it is printed.
    Text(Vec<u8>),
    /// With `--json`.
    Json(Value),
}

impl Shown {
    /// The one form or the other of an answer.
    pub fn of(answer: Answer, json: bool) -> Self {
        let form = if json { Form::Json(answer.json) } else { Form::Text(answer.text) };
        Shown { form, note: answer.note }
    }
}

/// Prints an answer.
fn print(shown: Shown) -> Result<(), LensError> {
    tell(shown.note.as_deref());
    match shown.form {
        Form::Text(text) => write_out(&text),
        Form::Json(json) => write_out(format!("{json:#}\n").as_bytes()),
    }
}

/// Says what the reader must know of an answer.
fn tell(note: Option<&str>) {
    note.into_iter().flat_map(str::lines).for_each(|line| eprintln!("pagewalk: note: {line}"));
}

/// Writes to standard output; a reader that went away is no error.
pub fn write_out(bytes: &[u8]) -> Result<(), LensError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(LensError::Output(e)),
        _ => Ok(()),
    }
}
