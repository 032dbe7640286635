//! Commands that change the file tree: `cp`, `ln`, `mkdir`, `mv`, `rm`, `touch`.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, FileTimes},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{Error, Outcome, about, args::Args};

/// Runs `each` on every operand; one that fails is named and makes the status 1.
fn for_each<'a>(
    name: &str,
    operands: impl IntoIterator<Item = &'a OsString>,
    mut each: impl FnMut(&'a Path) -> Result<(), Error>,
) -> u8 {
    let mut status = 0;
    for operand in operands {
        if let Err(error) = each(Path::new(operand)) {
            eprintln!("{name}: {error}");
            status = 1;
        }
    }
    status
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| about(path.display(), &error)
}

/// `mkdir [-p] [-m MODE] DIR…`
pub fn mkdir(args: Args) -> Outcome {
    let parsed = args.parse("pm:")?;
    let mode = match parsed.value('m') {
        Some(mode) => Some(u32::from_str_radix(&mode.to_string_lossy(), 8).map_err(|_| "the mode is not octal")?),
        None => None,
    };
    Ok(for_each("mkdir", parsed.at_least(1, "DIR")?, |dir| {
        let made = if parsed.has('p') { fs::create_dir_all(dir) } else { fs::create_dir(dir) };
        made.map_err(failed(dir))?;
        match mode {
            Some(mode) => fs::set_permissions(dir, fs::Permissions::from_mode(mode)).map_err(failed(dir)),
            None => Ok(()),
        }
    }))
}

/// `rm [-f] [-r] FILE…`
pub fn rm(args: Args) -> Outcome {
    let parsed = args.parse("frR")?;
    let least = usize::from(!parsed.has('f'));
    let recursive = parsed.has('r') || parsed.has('R');
    Ok(for_each("rm", parsed.at_least(least, "FILE")?, |path| {
        let removed = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() && recursive => fs::remove_dir_all(path),
            Ok(metadata) if metadata.is_dir() => Err(io::Error::from_raw_os_error(libc::EISDIR)),
            Ok(_) => fs::remove_file(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound && parsed.has('f') => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(failed(path))
    }))
}

/// `touch [-c] FILE…`
pub fn touch(args: Args) -> Outcome {
    let parsed = args.parse("c")?;
    Ok(for_each("touch", parsed.at_least(1, "FILE")?, |path| {
        if parsed.has('c') && !path.exists() {
            return Ok(());
        }
        let file = match File::options().append(true).create(true).open(path) {
            // A folder can be opened for reading only, which is enough for this.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => File::open(path),
            result => result,
        };
        let now = SystemTime::now();
        let times = FileTimes::new().set_accessed(now).set_modified(now);
        file.and_then(|file| file.set_times(times)).map_err(failed(path))
    }))
}

/// `ln [-s] [-f] TARGET… PLACE`
pub fn ln(args: Args) -> Outcome {
    let parsed = args.parse("sfn")?;
    let mut operands = parsed.at_least(1, "TARGET")?.to_vec();
    if operands.len() == 1 {
        operands.push(".".into());
    }
    onto_last("ln", &operands, |target, place| {
        if parsed.has('f') && fs::symlink_metadata(place).is_ok() {
            fs::remove_file(place).map_err(failed(place))?;
        }
        let linked = if parsed.has('s') { symlink(target, place) } else { fs::hard_link(target, place) };
        linked.map_err(failed(place))
    })
}

/// `mv FILE… PLACE`
pub fn mv(args: Args) -> Outcome {
    let parsed = args.parse("f")?;
    onto_last("mv", parsed.at_least(2, "FILE PLACE")?, |from, to| match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy(from, to, Folders::Copy)?;
            let is_dir = fs::symlink_metadata(from).is_ok_and(|metadata| metadata.is_dir());
            if is_dir { fs::remove_dir_all(from) } else { fs::remove_file(from) }.map_err(failed(from))
        }
        result => result.map_err(failed(from)),
    })
}

/// `cp [-r] [-p] FILE… PLACE`
pub fn cp(args: Args) -> Outcome {
    let parsed = args.parse("rRap")?;
    let recursive = ['r', 'R', 'a'].into_iter().any(|letter| parsed.has(letter));
    let folders = if recursive { Folders::Copy } else { Folders::Refuse };
    onto_last("cp", parsed.at_least(2, "FILE PLACE")?, |from, to| copy(from, to, folders))
}

/// Runs `each` on every operand but the last, with its place: the last operand, or a name in
/// it if that is a folder.
fn onto_last(name: &str, operands: &[OsString], each: impl Fn(&Path, &Path) -> Result<(), Error>) -> Outcome {
    let Some((place, sources)) = operands.split_last() else { return Err("missing operand".into()) };
    let place = Path::new(place);
    if sources.len() > 1 && !place.is_dir() {
        return Err(format!("{}: Not a directory", place.display()));
    }
    let in_place = |source: &Path| -> PathBuf {
        let name = source.file_name().unwrap_or(OsStr::new(""));
        if place.is_dir() { place.join(name) } else { place.into() }
    };
    Ok(for_each(name, sources, |source| each(source, &in_place(source))))
}

/// What to do with a folder that is to be copied.
#[derive(Clone, Copy)]
enum Folders {
    Copy,
    Refuse,
}

fn copy(from: &Path, to: &Path, folders: Folders) -> Result<(), Error> {
    let metadata = match folders {
        Folders::Copy => fs::symlink_metadata(from),
        Folders::Refuse => fs::metadata(from),
    };
    let metadata = metadata.map_err(failed(from))?;
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(failed(from))?;
        return symlink(target, to).map_err(failed(to));
    }
    if !metadata.is_dir() {
        let (mut source, mut copy) = (File::open(from).map_err(failed(from))?, File::create(to).map_err(failed(to))?);
        io::copy(&mut source, &mut copy).map_err(failed(to))?;
        return fs::set_permissions(to, metadata.permissions()).map_err(failed(to));
    }
    if matches!(folders, Folders::Refuse) {
        return Err(format!("{}: Is a directory", from.display()));
    }
    if !to.is_dir() {
        fs::create_dir(to).map_err(failed(to))?;
    }
    // The names are read first: the copy may lie in the folder.
    let names: Vec<_> = fs::read_dir(from)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>())
        .map_err(failed(from))?;
    names.iter().try_for_each(|name| copy(&from.join(name), &to.join(name), folders))
}
