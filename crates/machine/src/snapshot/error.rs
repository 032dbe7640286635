use std::io;

/// What is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The host cannot read or write it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A device, a pipe or a folder, which no snapshot replaces.
    #[error("not a regular file: a snapshot wants one of its own")]
    NotAFile,
    /// What the machine's own disk is on.
    #[error("an image of a disk of this machine: a snapshot wants a file of its own")]
    ADisk,
    /// Another kind of file.
    #[error("not a snapshot")]
    NotASnapshot,
    /// Written by another version of this program.
    #[error("a snapshot of format version {found}: this program reads version {readable}")]
    Version {
        /// The version in the file.
        found: u32,
        /// The one version that can be read.
        readable: u32,
    },
    /// The end of the file is missing.
    #[error("cut short: {have} bytes of {need}")]
    CutShort {
        /// Bytes that there are.
        have: u64,
        /// Bytes that there were.
        need: u64,
    },
    /// Something in it is not what was written.
    #[error("corrupt: {what}")]
    Corrupt {
        /// What and how.
        what: String,
    },
}
