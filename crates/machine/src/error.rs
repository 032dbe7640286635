use crate::{boot::BootError, disk::DiskError, snapshot::SnapshotError};

/// Why a machine cannot be built, saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A size of RAM that no machine has.
    #[error("memory of {bytes} bytes: must be 16 MiB to 3584 MiB, in whole 4 KiB pages")]
    Memory {
        /// The size asked for.
        bytes: u64,
    },
    /// No CPU, or too many.
    #[error("{cpus} CPUs: must be 1 to {max}", max = crate::config::MAX_CPUS)]
    Cpus {
        /// The number asked for.
        cpus: u32,
    },
    /// Guest memory cannot be set up.
    #[error(transparent)]
    Physical(#[from] memory::Error),
    /// An image cannot be booted.
    #[error("{image}: {source}")]
    Boot {
        /// Name of the image.
        image: String,
        /// What is wrong with it.
        source: BootError,
    },
    /// A disk cannot be had.
    #[error("{disk}: {source}")]
    Disk {
        /// Its image file, or what else it is.
        disk: String,
        /// What is wrong with it.
        source: DiskError,
    },
    /// More disks than drives fit.
    #[error("{disks} disks: a machine takes {max}, the swap disk among them", max = crate::disk::MAX_DISKS)]
    TooManyDisks {
        /// The number asked for.
        disks: usize,
    },
    /// A snapshot cannot be read or written.
    #[error("{path}: {source}")]
    Snapshot {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: SnapshotError,
    },
}
