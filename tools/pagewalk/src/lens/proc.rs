//! `proc -o DIR`: the archive of the lens as files.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Component, Path, PathBuf},
};

use abi::cpio::{Archive, Entry, kind};
use inspect::{RUN_BYTES, SPARSE};

use super::LensError;

/// Writes the archive's files into a folder that is new or empty.
pub fn write(folder: &Path, archive: &[u8]) -> Result<(), LensError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| LensError::Folder { path, why: error.to_string() }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    if fs::read_dir(folder).map_err(failed(folder))?.next().is_some() {
        return Err(LensError::Folder { path: folder.to_owned(), why: "not empty: give a new folder".into() });
    }
    for entry in Archive::new(archive) {
        let entry = entry.map_err(|error| LensError::Folder { path: folder.to_owned(), why: error.to_string() })?;
        if let Some(path) = place(folder, entry.name) {
            write_entry(&path, &entry).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// Where a file goes; `None` for a name that would lead out of the folder.
fn place(folder: &Path, name: &[u8]) -> Option<PathBuf> {
    let name = Path::new(std::ffi::OsStr::from_bytes(name));
    let is_plain = name.components().all(|part| matches!(part, Component::Normal(_)));
    (is_plain && name.components().next().is_some()).then(|| folder.join(name))
}

fn write_entry(path: &Path, entry: &Entry<'_>) -> std::io::Result<()> {
    match entry.mode & 0o170_000 {
        kind::DIRECTORY => fs::create_dir(path),
        kind::SYMLINK => symlink(std::ffi::OsStr::from_bytes(entry.data), path),
        _ => match path.extension().is_some_and(|ending| ending == SPARSE) {
            true => write_sparse(&path.with_extension(""), entry.data),
            false => fs::write(path, entry.data),
        },
    }
}

/// Runs with their offsets, then the length.
fn write_sparse(path: &Path, mut runs: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    while let Some((offset, rest)) = runs.split_first_chunk() {
        let offset = u64::from_le_bytes(*offset);
        match rest.split_at_checked(RUN_BYTES) {
            Some((run, rest)) => {
                file.seek(SeekFrom::Start(offset))?;
                file.write_all(run)?;
                runs = rest;
            }
            None => {
                file.set_len(offset)?;
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_of_the_folder_have_no_place() {
        let folder = Path::new("/f");
        assert_eq!(place(folder, b"1/maps"), Some("/f/1/maps".into()));
        for name in [&b"/etc/passwd"[..], b"../x", b"1/../../x", b""] {
            assert_eq!(place(folder, name), None);
        }
    }

    #[test]
    fn runs_are_put_at_their_offsets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pagemap");
        let runs = [&8192u64.to_le_bytes()[..], &[7; RUN_BYTES], &20_000u64.to_le_bytes()].concat();
        write_sparse(&path, &runs).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!((bytes.len(), bytes[8191], bytes[8192], bytes[8192 + RUN_BYTES]), (20_000, 0, 7, 0));
    }
}
