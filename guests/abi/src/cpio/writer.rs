//! Writer of `newc` cpio archives (magic 070701).

use alloc::{format, vec::Vec};
use core::fmt;

/// Longest path in an archive, the terminating NUL included: `PATH_MAX`.
const PATH_MAX: usize = 4096;

/// `S_IFDIR`, `S_IFREG` and `S_IFLNK`: the kind of file in a mode.
pub mod kind {
    #![allow(missing_docs, reason = "as above")]
    pub const DIRECTORY: u32 = 0o040_000;
    pub const REGULAR: u32 = 0o100_000;
    pub const SYMLINK: u32 = 0o120_000;
}

/// What does not fit the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// 4 GiB or more: the field of the size has 32 bits.
    TooLarge,
    /// Longer than `PATH_MAX`: nobody could open it.
    PathTooLong,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteError::TooLarge => "too large for a cpio archive (4 GiB or more)",
            WriteError::PathTooLong => "path too long for a cpio archive",
        })
    }
}

impl core::error::Error for WriteError {}

/// An archive in the making. Members get inode numbers in the order in which they are
/// added, owner 0:0 and time 0, so that equal input makes equal bytes.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    last_ino: u32,
}

impl Writer {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member. `path` has no leading slash; a parent must come before its children.
    /// `mode` is `st_mode`, kind and permissions; the data of a symbolic link is its target.
    ///
    /// # Errors
    /// What does not fit.
    pub fn push(&mut self, path: &[u8], mode: u32, data: &[u8]) -> Result<(), WriteError> {
        let size = u32::try_from(data.len()).map_err(|_| WriteError::TooLarge)?;
        if path.len() >= PATH_MAX {
            return Err(WriteError::PathTooLong);
        }
        self.last_ino += 1;
        let links = if mode & 0o170_000 == kind::DIRECTORY { 2 } else { 1 };
        self.member(self.last_ino, mode, links, path, size, data);
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.member(0, 0, 1, b"TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn member(&mut self, ino: u32, mode: u32, links: u32, path: &[u8], size: u32, data: &[u8]) {
        let name_size = path.len() as u32 + 1;
        let fields = [
            ino, mode, /* uid, gid */ 0, 0, links, /* mtime */ 0, size, /* device */ 0, 0,
            /* rdevice */ 0, 0, name_size, /* checksum */ 0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path);
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(data);
        self.align();
    }

    /// Headers and data begin at multiples of 4.
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn an_archive_has_the_bytes_that_the_format_asks_for() {
        let mut archive = Writer::new();
        archive.push(b"d", kind::DIRECTORY | 0o755, b"").unwrap();
        archive.push(b"d/f", kind::REGULAR | 0o644, b"hello").unwrap();
        let zero = "00000000";
        let expected = [
            // ino, mode, uid, gid, nlink, mtime, filesize, dev, rdev, namesize, check
            format!("07070100000001000041ed{zero}{zero}00000002{zero}{zero}{zero}{zero}{zero}{zero}00000002{zero}d\0"),
            format!(
                "07070100000002000081a4{zero}{zero}00000001{zero}00000005{zero}{zero}{zero}{zero}00000004{zero}d/f\0\0\0"
            ),
            "hello\0\0\0".into(),
            format!(
                "070701{zero}{zero}{zero}{zero}00000001{zero}{zero}{zero}{zero}{zero}{zero}0000000b{zero}TRAILER!!!\0\0\0\0"
            ),
        ];
        assert_eq!(String::from_utf8(archive.finish()).unwrap(), expected.concat());
    }

    #[test]
    fn a_path_as_long_as_path_max_is_refused() {
        let mut archive = Writer::new();
        assert!(archive.push(&[b'a'; PATH_MAX - 1], kind::REGULAR, b"").is_ok());
        assert!(archive.push(&[b'a'; PATH_MAX], kind::REGULAR, b"") == Err(WriteError::PathTooLong));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let members = [(&b"1"[..], kind::DIRECTORY | 0o555, &b""[..]), (b"1/comm", kind::REGULAR | 0o444, b"init\n")];
        let mut archive = Writer::new();
        members.iter().for_each(|(path, mode, data)| archive.push(path, *mode, data).unwrap());
        let bytes = archive.finish();
        let read: Vec<_> = super::super::Archive::new(&bytes).map(|entry| entry.unwrap()).collect();
        assert_eq!(read.iter().map(|entry| (entry.name, entry.mode, entry.data)).collect::<Vec<_>>(), members);
    }
}
