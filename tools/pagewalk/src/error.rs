//! What ends the command without success, and with which exit status.

use std::path::PathBuf;

/// Exit statuses of our own (the guest's are the guest's).
pub mod status {
    /// All is well.
    pub const SUCCESS: u8 = 0;
    /// Wrong usage.
    pub const USAGE: u8 = 2;
    /// With --check-tlb: a stale translation was used.
    pub const STALE_USE: u8 = 120;
    /// A limit was reached.
    pub const LIMIT: u8 = 124;
    /// The emulator can't start, or the image is bad.
    pub const CANNOT_START: u8 = 125;
    /// The guest file is there but can't be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// The guest file isn't there.
    pub const NOT_FOUND: u8 = 127;
    /// Ended by Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
    /// The guest panicked, or the CPU shut down.
    pub const GUEST_PANIC: u8 = 134;
}

/// Everything that the command reports as one line on standard error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is not in this version")]
    Later(String),
    #[error("{0}")]
    Usage(String),
    #[error("{}: no such file", .0.display())]
    NotFound(PathBuf),
    #[error("{}: {why}", path.display())]
    NotExecutable { path: PathBuf, why: String },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    CannotStart(String),
    #[error("{0}")]
    Lens(String),
}

impl Error {
    /// The exit status that says this.
    pub fn status(&self) -> u8 {
        match self {
            Error::Later(_) | Error::Usage(_) => status::USAGE,
            Error::NotFound(_) => status::NOT_FOUND,
            Error::NotExecutable { .. } => status::NOT_EXECUTABLE,
            Error::File { .. } | Error::CannotStart(_) => status::CANNOT_START,
            Error::Lens(_) => 1,
        }
    }

    /// An error of the host about a file.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { path, source }
    }
}
