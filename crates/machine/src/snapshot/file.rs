//! The file around a snapshot's contents.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

use tempfile::NamedTempFile;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::{SnapshotError, corrupt};

const MAGIC: &[u8; 8] = b"PAGEWALK";
/// Version of everything behind the header.
pub(super) const VERSION: u32 = 14;
/// Magic, version, four bytes of zero, length and checksum of the body, checksum of these 32 bytes.
const HEADER_BYTES: usize = 40;
const COMPRESSION: i32 = 1;

/// Writes a file whose body `contents` gives: beside `path` first, then renamed. What is
/// there and no regular file (a device) is left alone and refused.
pub(super) fn write(
    path: &Path,
    contents: impl FnOnce(&mut dyn Write) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return Err(SnapshotError::NotAFile);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = part(folder, path.file_name().unwrap_or_default())?;
    file.write_all(&[0; HEADER_BYTES])?;
    let body = Checksummed::new(BufWriter::new(file.as_file_mut()));
    let mut stream = zstd::Encoder::new(body, COMPRESSION)?;
    contents(&mut stream)?;
    let mut body = stream.finish()?;
    body.flush()?;
    let header = header(VERSION, body.bytes, body.hash.digest());
    drop(body);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header)?;
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder);
    Ok(())
}

/// What the name of a file ends in that is being written, behind letters that are drawn.
const PART: &str = ".part";

/// A new file `.NAME…part`, locked for as long as it is written. Those of NAME that nobody writes any
/// more, for their writers were killed, are removed.
fn part(folder: &Path, name: &OsStr) -> io::Result<NamedTempFile> {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    remove_abandoned(folder, &prefix);
    loop {
        let file = tempfile::Builder::new().prefix(&prefix).suffix(PART).rand_bytes(DRAWN).tempfile_in(folder)?;
        // A file system without locks has no other writer who would respect them.
        if let Err(error) = file.as_file().try_lock() {
            log::debug!("{}: {error}", file.path().display());
        }
        // Whoever cleaned up between the two has taken it for abandoned.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// How many letters are drawn.
const DRAWN: usize = 6;

/// Removes what killed writers left. Who can't, leaves it: the new file does not depend on it.
fn remove_abandoned(folder: &Path, prefix: &OsStr) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let drawn = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let is_part = drawn.and_then(|rest| rest.strip_suffix(PART.as_bytes())).is_some_and(is_drawn);
        let is_free = || {
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            is_file && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
        };
        if is_part
            && is_free()
            && let Err(error) = fs::remove_file(entry.path())
        {
            log::debug!("{}: {error}", entry.path().display());
        }
    }
}

fn is_drawn(letters: &[u8]) -> bool {
    letters.len() == DRAWN && letters.iter().all(u8::is_ascii_alphanumeric)
}

/// Makes the new name as lasting as the contents. Not every file system can: then it lasts as others do.
fn sync_folder(folder: &Path) {
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        log::debug!("{}: {error}", folder.display());
    }
}

/// Checks a file and gives its body to `contents`.
pub(super) fn read<T>(
    path: &Path,
    contents: impl FnOnce(&mut dyn Read) -> Result<T, SnapshotError>,
) -> Result<T, SnapshotError> {
    let mut file = BufReader::new(File::open(path)?);
    let (bytes, hash) = read_header(&mut file)?;
    let have = file.get_ref().metadata()?.len();
    let need = HEADER_BYTES as u64 + bytes;
    if have < need {
        return Err(SnapshotError::CutShort { have, need });
    }
    if have > need {
        return Err(corrupt(format!("{} bytes behind its end", have - need)));
    }
    let mut body = Checksummed::new(io::sink());
    io::copy(&mut file, &mut body)?;
    if body.hash.digest() != hash {
        return Err(corrupt("its checksum is wrong".into()));
    }
    file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
    contents(&mut zstd::Decoder::new(file)?)
}

fn header(version: u32, body_bytes: u64, body_hash: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[16..24].copy_from_slice(&body_bytes.to_le_bytes());
    header[24..32].copy_from_slice(&body_hash.to_le_bytes());
    let checksum = xxh3_64(&header[..32]);
    header[32..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Length and checksum of the body. The version is looked at first, for a later one may have
/// another header behind it.
fn read_header(file: &mut impl Read) -> Result<(u64, u64), SnapshotError> {
    let mut bytes = Vec::new();
    file.take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    if !bytes.starts_with(MAGIC) {
        return Err(SnapshotError::NotASnapshot);
    }
    let cut_short = SnapshotError::CutShort { have: bytes.len() as u64, need: HEADER_BYTES as u64 };
    let Some(version) = bytes.get(8..12) else { return Err(cut_short) };
    let found = u32::from_le_bytes(version.try_into().expect("four bytes"));
    if found != VERSION {
        return Err(SnapshotError::Version { found, readable: VERSION });
    }
    let Ok(header) = <[u8; HEADER_BYTES]>::try_from(bytes) else { return Err(cut_short) };
    let field = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if field(32) != xxh3_64(&header[..32]) {
        return Err(corrupt("the checksum of its header is wrong".into()));
    }
    Ok((field(16), field(24)))
}

/// Counts and hashes what passes through.
struct Checksummed<W> {
    inner: W,
    bytes: u64,
    hash: Xxh3Default,
}

impl<W> Checksummed<W> {
    fn new(inner: W) -> Self {
        Checksummed { inner, bytes: 0, hash: Xxh3Default::new() }
    }
}

impl<W: Write> Write for Checksummed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
