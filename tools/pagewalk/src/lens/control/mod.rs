//! The control socket: how a lens reaches a machine that runs in another process.
//!
//! `run --name NAME` opens `NAME.sock` in a folder of the user's own. A connection carries lines of JSON:
//! the server says who it is, then each [`Ask`] of the client gets one [`Reply`]. The machine stands between
//! two instructions for each, and a look changes nothing in it.

mod client;
mod command;
mod protocol;
mod server;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

pub use client::{Client, ask};
pub use command::{Command, status};
pub use protocol::{Ask, Hello, PROTOCOL, Reply, State, Status};
pub use server::{Asked, Server};

/// Longest name of a machine.
const MAX_NAME: usize = 64;

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
    /// One that had this name was killed.
    #[error(
        "no machine named `{name}` runs: {} is left over from one that was killed, and the next `pagewalk run --name {name}` replaces it",
        path.display()
    )]
    Stale {
        /// The name.
        name: String,
        /// The socket.
        path: PathBuf,
    },
    /// None runs at all.
    #[error("no machine runs; start one with `pagewalk run --name NAME …`, or name a saved one with --snapshot FILE")]
    NoMachine,
    /// Several run.
    #[error("several machines run ({0}); choose one with --vm NAME")]
    Several(String),
    /// The folder of the sockets is somebody else's.
    #[error("{}: not a folder of this user's alone (mode 0700); set XDG_RUNTIME_DIR to one that is", .0.display())]
    ForeignFolder(PathBuf),
    /// A socket in it is.
    #[error("{}: the socket of another user; only he can look at that machine", .0.display())]
    ForeignSocket(PathBuf),
    /// Something else has the name of a socket.
    #[error("{}: not a socket; remove it, or choose another name", .0.display())]
    NotASocket(PathBuf),
    /// The machine did not last.
    #[error("the machine `{0}` ended before it answered")]
    Ended(String),
    /// Somebody has the socket, and says nothing.
    #[error("the machine `{0}` does not answer: its process may be stopped")]
    Silent(String),
    /// Client and server are of different versions.
    #[error(
        "the machine `{}` speaks control protocol {} (pagewalk {}), this program {PROTOCOL}: use the program that runs it",
        hello.name, hello.protocol, hello.version
    )]
    OtherProtocol {
        /// Who answered.
        hello: Hello,
    },
    /// A file's name that no line of JSON can carry.
    #[error("{}: the name of a file for a running machine must be Unicode", .0.display())]
    NotUnicode(PathBuf),
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
    if !meta.is_dir() || meta.uid() != user() || meta.mode() & 0o077 != 0 {
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
}
