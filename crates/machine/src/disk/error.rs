use std::io;

/// What is wrong with a disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The host cannot read or write its image.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The image is not a file.
    #[error("is not a file or a block device; a raw disk image is wanted")]
    NotAFile,
    /// There is nothing in the image.
    #[error("is empty; a disk image has at least one sector of 512 bytes")]
    Empty,
    /// The image ends within a sector.
    #[error("has {bytes} bytes, which is no whole number of 512-byte sectors")]
    PartOfASector {
        /// Size of the image.
        bytes: u64,
    },
    /// The image is read-only on the host.
    #[error("cannot be written ({0}); with --snapshot-disk it is only read")]
    ReadOnly(io::Error),
    /// Somebody else has the image open.
    #[error("is in use: another machine has it, or it is named twice")]
    InUse,
    /// The image is not what it was when it was looked at or saved with.
    #[error(
        "is not as the machine left it; a saved machine needs the very image (machines with --snapshot-disk leave it alone)"
    )]
    Changed,
    /// A swap area cannot have this size.
    #[error("a swap disk of {bytes} bytes: must be 40K to 64G, in whole 4 KiB pages")]
    SwapSize {
        /// The size asked for.
        bytes: u64,
    },
}
