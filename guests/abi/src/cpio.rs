//! `newc` cpio archives: an initramfs, and whole folders that travel.

mod writer;

use core::fmt;

pub use writer::{WriteError, Writer, kind};

/// One entry of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields bear the names of the format")]
pub struct Entry<'a> {
    pub ino: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub mtime: u32,
    pub dev: (u32, u32),
    pub rdev: (u32, u32),
    pub name: &'a [u8],
    pub data: &'a [u8],
}

/// Why an archive cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Neither an entry nor padding begins here.
    BadMagic,
    /// A field is no hexadecimal number.
    BadNumber,
    /// The archive ends inside an entry.
    Truncated,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::BadMagic => "no cpio magic",
            Error::BadNumber => "bad number in a cpio header",
            Error::Truncated => "truncated cpio entry",
        })
    }
}

/// Iterates over the entries of one or more archives that follow each other, with zeros in
/// between. After an error the iteration ends.
#[derive(Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    at: usize,
}

const HEADER: usize = 110;

impl<'a> Archive<'a> {
    /// The archive in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Archive { bytes, at: 0 }
    }

    /// The entry at `self.at`; `None` at a trailer.
    fn entry(&mut self) -> Result<Option<Entry<'a>>, Error> {
        let rest = &self.bytes[self.at..];
        if !(rest.starts_with(b"070701") || rest.starts_with(b"070702")) {
            return Err(Error::BadMagic);
        }
        let header = rest.get(..HEADER).ok_or(Error::Truncated)?;
        let mut fields = [0; 13];
        for (field, digits) in fields.iter_mut().zip(header[6..].chunks_exact(8)) {
            *field = hex(digits)?;
        }
        let [ino, mode, uid, gid, nlink, mtime, size, major, minor, rmajor, rminor, name_size, _check] = fields;
        let (size, name_size) = (size as usize, name_size as usize);
        let data_at = align4(HEADER.checked_add(name_size).ok_or(Error::Truncated)?)?;
        let end = data_at.checked_add(size).ok_or(Error::Truncated)?;
        let name = rest.get(HEADER..HEADER + name_size).ok_or(Error::Truncated)?;
        let name = name.split(|&b| b == 0).next().unwrap_or_default();
        let data = rest.get(data_at..end).ok_or(Error::Truncated)?;
        self.at = (self.at + align4(end)?).min(self.bytes.len());
        if name == b"TRAILER!!!" {
            return Ok(None);
        }
        let (dev, rdev) = ((major, minor), (rmajor, rminor));
        Ok(Some(Entry { ino, mode, uid, gid, nlink, mtime, dev, rdev, name, data }))
    }
}

impl<'a> Iterator for Archive<'a> {
    type Item = Result<Entry<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while self.bytes.get(self.at) == Some(&0) {
                self.at += 1;
            }
            if self.at >= self.bytes.len() {
                return None;
            }
            match self.entry() {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(error) => {
                    self.at = self.bytes.len();
                    return Some(Err(error));
                }
            }
        }
    }
}

fn hex(digits: &[u8]) -> Result<u32, Error> {
    let digit = |&b: &u8| char::from(b).to_digit(16).ok_or(Error::BadNumber);
    digits.iter().try_fold(0, |value, b| Ok(value << 4 | digit(b)?))
}

fn align4(at: usize) -> Result<usize, Error> {
    Ok(at.checked_add(3).ok_or(Error::Truncated)? & !3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec::Vec};

    fn entry(name: &str, mode: u32, data: &[u8]) -> Vec<u8> {
        let fields = [5, mode, 0, 0, 1, 9, data.len() as u32, 0, 1, 4, 64, name.len() as u32 + 1, 0];
        let mut bytes = b"070701".to_vec();
        fields.iter().for_each(|f| bytes.extend_from_slice(format!("{f:08x}").as_bytes()));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn entries_of_archives_in_a_row_are_read() {
        let mut bytes = entry("bin", 0o040_755, b"");
        bytes.extend(entry("bin/sh", 0o100_755, b"hello"));
        bytes.extend(entry("TRAILER!!!", 0, b""));
        bytes.resize(bytes.len() + 508, 0);
        bytes.extend(entry("x", 0o100_644, b"y"));
        let found: Result<Vec<_>, _> = Archive::new(&bytes).collect();
        let found = found.unwrap();
        assert_eq!(found.iter().map(|e| e.name).collect::<Vec<_>>(), [&b"bin"[..], b"bin/sh", b"x"]);
        assert_eq!((found[1].data, found[1].mode, found[1].rdev), (&b"hello"[..], 0o100_755, (4, 64)));
    }

    #[test]
    fn damage_is_an_error_and_ends_the_iteration() {
        let good = entry("bin/sh", 0o100_755, b"hello");
        for cut in 1..good.len() - 3 {
            let found: Vec<_> = Archive::new(&good[..cut]).collect();
            let want = if cut < 6 { Error::BadMagic } else { Error::Truncated };
            assert_eq!(found, [Err(want)], "{cut}");
        }
        let mut bad = good.clone();
        bad[20] = b'g';
        assert_eq!(Archive::new(&bad).collect::<Vec<_>>(), [Err(Error::BadNumber)]);
        let mut huge = good;
        huge[6 + 6 * 8..6 + 7 * 8].copy_from_slice(b"ffffffff");
        assert_eq!(Archive::new(&huge).collect::<Vec<_>>(), [Err(Error::Truncated)]);
    }
}
