use std::path::{Path, PathBuf};

use devices::SECTOR_BYTES;
use serde::{Deserialize, Serialize};

use super::{DiskError, file};
use crate::Error;

/// Drives that the two IDE channels take.
pub const MAX_DISKS: usize = 4;

/// Sizes of a swap disk: the ten pages that Linux wants at least, to 64 GiB.
const SWAP_BYTES: std::ops::RangeInclusive<u64> = 10 * PAGE_BYTES..=64 << 30;
const PAGE_BYTES: u64 = x86::PAGE_SIZE as u64;

/// What becomes of the guest's writes to an image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskAccess {
    /// They go to the file.
    Write,
    /// They stay in the machine; the file is only read.
    Keep,
}

/// Where a disk's contents come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskSource {
    /// A raw image, a file of the host.
    Image {
        /// The file.
        path: PathBuf,
        /// What becomes of writes.
        access: DiskAccess,
    },
    /// Memory, with the header of a swap area and otherwise zero.
    Swap,
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum DiskOperation {
    Read,
    Write,
    Both,
}

/// Sectors that fail by request, as those of a worn disk do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultySectors {
    /// First sector.
    pub first: u64,
    /// Last sector.
    pub last: u64,
    /// What fails there.
    pub operation: DiskOperation,
}

/// A disk of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskConfig {
    /// Where its contents come from.
    pub source: DiskSource,
    /// Its size in sectors of 512 bytes.
    pub sectors: u64,
    /// Sectors that fail.
    pub faulty: Vec<FaultySectors>,
}

impl DiskConfig {
    /// A disk with the contents of an image file, whose path is made absolute: a saved machine
    /// may be restored elsewhere.
    ///
    /// # Errors
    /// [`Error::Disk`] when the file is missing, cannot be opened so, or is no disk image.
    pub fn image(path: &Path, access: DiskAccess) -> Result<Self, Error> {
        let named = |error| Error::Disk { disk: path.display().to_string(), source: error };
        let (_, sectors) = file::open(path, access).map_err(named)?;
        let path = std::fs::canonicalize(path).map_err(|error| named(error.into()))?;
        Ok(DiskConfig { source: DiskSource::Image { path, access }, sectors, faulty: Vec::new() })
    }

    /// A disk in memory that is a swap area of `bytes`.
    ///
    /// # Errors
    /// [`Error::Disk`] for a size of less than ten pages, more than 64 GiB, or with part of a page.
    pub fn swap(bytes: u64) -> Result<Self, Error> {
        if !SWAP_BYTES.contains(&bytes) || !bytes.is_multiple_of(PAGE_BYTES) {
            return Err(Error::Disk { disk: "swap".into(), source: DiskError::SwapSize { bytes } });
        }
        Ok(DiskConfig { source: DiskSource::Swap, sectors: bytes / SECTOR_BYTES as u64, faulty: Vec::new() })
    }

    /// An error with the name of this disk.
    pub(crate) fn error(&self, source: DiskError) -> Error {
        Error::Disk { disk: self.name(), source }
    }

    /// The name for messages.
    pub(crate) fn name(&self) -> String {
        match &self.source {
            DiskSource::Image { path, .. } => path.display().to_string(),
            DiskSource::Swap => "swap".into(),
        }
    }
}
