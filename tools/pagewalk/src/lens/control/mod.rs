//! The control socket: how a lens reaches a machine that runs in another process.
//!
//! `run --name NAME` opens `NAME.sock` in a folder of the user's own. A client sends one
//! line of JSON, an [`Ask`], and gets one line back, a [`Reply`]. The machine is stopped for
//! the look and goes on; nothing in it changes.

mod client;
mod server;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use inspect::Request;
use serde::{Deserialize, Serialize};

pub use client::ask;
pub use server::{After, Server};

/// Longest name of a machine.
const MAX_NAME: usize = 64;

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Ask {
    /// A lens.
    Look {
        /// Which.
        request: Request,
        /// As JSON.
        json: bool,
    },
    /// The machine's end.
    Quit,
}

/// What the server answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply {
    Shown { text: Vec<u8>, note: Option<String> },
    Refused(String),
}

/// Why a running machine can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A name that can't be a file's.
    #[error("a machine's name is 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`, not `{0}`")]
    BadName(String),
    /// Two machines, one name.
    #[error("a machine named `{0}` runs already; choose another --name")]
    NameTaken(String),
    /// None has this name.
    #[error("no machine named `{0}` runs; start one with `pagewalk run --name {0} …`")]
    NoSuchMachine(String),
    /// None runs at all.
    #[error("no machine runs; start one with `pagewalk run --name NAME …`, or name a saved one with --snapshot FILE")]
    NoMachine,
    /// Several run.
    #[error("several machines run ({0}); choose one with --vm NAME")]
    Several(String),
    /// The folder of the sockets is somebody else's.
    #[error("{}: not a folder of this user's; set XDG_RUNTIME_DIR", .0.display())]
    ForeignFolder(PathBuf),
    /// The socket fails.
    #[error("{}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// The other side speaks another language.
    #[error("the machine's answer can't be read: {0}")]
    Protocol(String),
    /// The machine says why not.
    #[error("{0}")]
    Refused(String),
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ControlError {
    let path = path.to_owned();
    move |source| ControlError::Socket { path, source }
}

/// The folder of this user's sockets.
fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("pagewalk"),
        None => std::env::temp_dir().join(format!("pagewalk-{}", user())),
    }
}

/// The user of this process: the owner of a file that it makes.
fn user() -> u32 {
    tempfile::tempfile().and_then(|file| file.metadata()).map_or(0, |meta| meta.uid())
}

/// Makes the folder, and makes sure that it is this user's alone.
fn make_folder() -> Result<PathBuf, ControlError> {
    let folder = folder();
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder) {
        Ok(()) => {}
        Err(e) => return Err(failed(&folder)(e)),
    }
    let meta = fs::symlink_metadata(&folder).map_err(failed(&folder))?;
    if !meta.is_dir() || meta.uid() != user() || meta.mode() & 0o022 != 0 {
        return Err(ControlError::ForeignFolder(folder));
    }
    Ok(folder)
}

fn socket_name(name: &str) -> Result<String, ControlError> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.chars().all(good) {
        return Err(ControlError::BadName(name.to_owned()));
    }
    Ok(format!("{name}.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_word() {
        assert_eq!(socket_name("a-1_b.c").unwrap(), "a-1_b.c.sock");
        for bad in ["", "..", "a/b", ".x", "ä", &"x".repeat(65)] {
            assert!(matches!(socket_name(bad), Err(ControlError::BadName(_))), "{bad}");
        }
    }

    #[test]
    fn asks_travel_as_json() {
        let ask = Ask::Look { request: Request::Maps { pid: 2 }, json: true };
        let line = serde_json::to_string(&ask).unwrap();
        assert_eq!(line, r#"{"ask":"look","request":{"lens":"maps","pid":2},"json":true}"#);
        assert_eq!(serde_json::from_str::<Ask>(&line).unwrap(), ask);
    }
}
