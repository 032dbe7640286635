//! What can go wrong in the tool.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why the tool stops, or a run failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--only` names something else.
    #[error("no workload or family `{0}`; `bench --list` names them")]
    UnknownWorkload(String),
    /// `--platforms` names something else.
    #[error("no platform `{0}`; `bench --list` names them")]
    UnknownPlatform(String),
    /// None of the platforms is there.
    #[error("none of the platforms is installed: nothing to measure")]
    NoPlatform,
    /// No place for what the platforms need.
    #[error("cannot make a temporary folder: {0}")]
    TemporaryFolder(io::Error),
    /// A file can't be used.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// What was to be done.
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A program can't be started or waited for.
    #[error("cannot run {program}: {source}")]
    Start {
        /// Which.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The build of `pagewalk` failed; cargo has said why.
    #[error("cannot build pagewalk: cargo failed")]
    Build,
    /// A run took too long.
    #[error("no end after {0} seconds")]
    Timeout(f64),
    /// A run ended otherwise than with success.
    #[error("it ended with {status}; its last line: {last_line}")]
    Status {
        /// How it ended.
        status: String,
        /// Of what it printed.
        last_line: String,
    },
    /// A run printed no checksum.
    #[error("it printed no checksum; its last line: {0}")]
    NoAnswer(String),
    /// A run printed another checksum than the first platform.
    #[error("it printed the checksum {found}, the first platform {expected}")]
    WrongAnswer {
        /// What it printed.
        found: String,
        /// What the first platform printed.
        expected: String,
    },
    /// The ROM can't be made.
    #[error("cannot make a ROM: {0}")]
    Rom(String),
    /// The initramfs can't be made.
    #[error(transparent)]
    Initramfs(#[from] images::InitramfsError),
}

impl Error {
    /// An error of a file.
    pub fn file(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { verb, path: path.into(), source }
    }
}
