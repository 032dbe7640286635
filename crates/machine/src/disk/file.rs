//! Image files.

use std::{
    fs::{File, FileType, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::Path,
};

use devices::SECTOR_BYTES;
use xxhash_rust::xxh3::Xxh3Default;

use super::{DiskAccess, DiskError};

/// Opens an image and tells its sectors. The file is locked: whoever writes is alone.
pub(super) fn open(path: &Path, access: DiskAccess) -> Result<(File, u64), DiskError> {
    // Asked before it is opened: opening a pipe waits for its other end.
    if !has_an_end(std::fs::metadata(path)?.file_type()) {
        return Err(DiskError::NotAFile);
    }
    let write = access == DiskAccess::Write;
    let mut file = OpenOptions::new().read(true).write(write).open(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem if write && File::open(path).is_ok() => {
            DiskError::ReadOnly(error)
        }
        _ => error.into(),
    })?;
    let locked = if write { file.try_lock() } else { file.try_lock_shared() };
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(DiskError::InUse),
        // A file system without locks: it is the user's to keep others away.
        Err(TryLockError::Error(error)) => log::warn!("{}: cannot be locked: {error}", path.display()),
    }
    // Where a block device ends too.
    let bytes = file.seek(SeekFrom::End(0))?;
    match (bytes, bytes % SECTOR_BYTES as u64) {
        (0, _) => Err(DiskError::Empty),
        (_, 0) => Ok((file, bytes / SECTOR_BYTES as u64)),
        _ => Err(DiskError::PartOfASector { bytes }),
    }
}

/// Whether it can be a disk: files and block devices have an end, pipes and terminals have none.
fn has_an_end(kind: FileType) -> bool {
    #[cfg(unix)]
    let is_block = std::os::unix::fs::FileTypeExt::is_block_device(&kind);
    #[cfg(not(unix))]
    let is_block = false;
    kind.is_file() || is_block
}

/// A hash of all that is in the file.
pub(super) fn fingerprint(file: &File) -> io::Result<u64> {
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Xxh3Default::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hash.digest()),
            len => hash.update(&piece[..len]),
        }
    }
}

/// Fills `data` from `at`.
pub(super) fn read_at(file: &File, at: u64, data: &mut [u8]) -> io::Result<()> {
    let mut file = file;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(data)
}

/// Stores `data` at `at`.
pub(super) fn write_at(file: &File, at: u64, data: &[u8]) -> io::Result<()> {
    let mut file = file;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(data)
}
