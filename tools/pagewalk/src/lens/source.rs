//! A machine that is looked at again and again: one that runs, or a saved one, read once.

use std::path::Path;

use inspect::Request;
use machine::Machine;
use serde_json::Value;

use super::{
    Form, LensError, Shown,
    command::saved,
    control::{Ask, Client, ControlError, Reply, Status},
    look,
};

/// Where looks go.
pub enum Source {
    /// One that runs.
    Running(Client),
    /// One that was saved.
    Saved {
        /// The machine.
        machine: Box<Machine>,
        /// The file's name.
        name: String,
    },
}

impl Source {
    /// The machine `vm`, the one saved in `snapshot`, or else the only one that runs.
    ///
    /// # Errors
    /// No such machine, or a file that is none.
    pub fn open(vm: Option<&str>, snapshot: Option<&Path>) -> Result<Self, LensError> {
        let Some(file) = snapshot else {
            return Ok(Source::Running(Client::connect(vm)?));
        };
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        Ok(Source::Saved { machine: Box::new(saved(file)?), name })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Source::Running(client) => client.name(),
            Source::Saved { name, .. } => name,
        }
    }

    /// Whether it runs: nothing of a saved machine changes.
    pub fn is_live(&self) -> bool {
        matches!(self, Source::Running(_))
    }

    /// How it is; nothing of a saved one.
    pub fn status(&mut self) -> Result<Option<Status>, LensError> {
        let Source::Running(client) = self else { return Ok(None) };
        match again(client, |client| client.ask(&Ask::Status))? {
            Reply::Status(status) => Ok(Some(status)),
            other => Err(ControlError::Protocol(format!("{other:?} to a status")).into()),
        }
    }

    /// What a lens shows, in one form or the other.
    pub fn shown(&mut self, request: Request, json: bool) -> Result<Shown, LensError> {
        match self {
            Source::Running(client) => {
                let ask = Ask::Look { request, json };
                Ok(again(client, |client| client.look(&ask))?)
            }
            Source::Saved { machine, .. } => Ok(Shown::of(look(machine, &request)?, json)),
        }
    }

    /// A lens's JSON, and its note.
    pub fn json(&mut self, request: Request) -> Result<(Value, Option<String>), LensError> {
        let Shown { form, note } = self.shown(request, true)?;
        match form {
            Form::Json(json) => Ok((json, note)),
            Form::Text(_) => Err(ControlError::Protocol("text where JSON was asked for".into()).into()),
        }
    }

    /// A lens's text, its note first.
    pub fn text(&mut self, request: Request) -> Result<String, LensError> {
        let Shown { form, note } = self.shown(request, false)?;
        let note = note.map(|note| format!("note: {note}\n")).unwrap_or_default();
        match form {
            Form::Text(text) => Ok(note + &String::from_utf8_lossy(&text)),
            Form::Json(_) => Err(ControlError::Protocol("JSON where text was asked for".into()).into()),
        }
    }
}

/// Asks, and once more on a new connection if the old one is closed: the server closes one that was silent for long.
fn again<T>(client: &mut Client, ask: impl Fn(&mut Client) -> Result<T, ControlError>) -> Result<T, ControlError> {
    match ask(client) {
        Err(ControlError::Ended(name)) => {
            *client = Client::connect(Some(&name)).map_err(|_| ControlError::Ended(name))?;
            ask(client)
        }
        outcome => outcome,
    }
}
