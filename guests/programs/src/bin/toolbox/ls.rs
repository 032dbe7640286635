//! `ls`.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, Metadata},
    io::{self, IsTerminal, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    time::SystemTime,
};

use crate::{
    Error, Outcome, about,
    args::{Args, Parsed},
    calendar::DateTime,
};

/// Columns of a terminal that has not told its width.
const TERMINAL_WIDTH: usize = 80;

struct Entry {
    name: OsString,
    metadata: Metadata,
    /// Where a symbolic link leads.
    target: Option<OsString>,
}

/// `ls [-1AFRadil] [PATH…]`
pub fn ls(args: Args) -> Outcome {
    let parsed = args.parse("1AFRadil")?;
    let paths = if parsed.operands.is_empty() { vec![".".into()] } else { parsed.operands.clone() };
    let mut status = 0;
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for path in paths {
        // A link to a folder is listed as the folder, but not in a long listing.
        let follow = !parsed.has('l') && !parsed.has('d');
        let linked = fs::metadata(&path).ok().filter(|metadata| follow && metadata.is_dir());
        match linked.map_or_else(|| Entry::read(Path::new(&path), path.clone()), |_| Entry::followed(&path)) {
            Ok(entry) if entry.metadata.is_dir() && !parsed.has('d') => folders.push(path),
            Ok(entry) => files.push(entry),
            Err(error) => {
                eprintln!("ls: {}", about(path.display(), &error));
                status = 2;
            }
        }
    }
    let titles = parsed.has('R') || folders.len() + files.len() > 1 || status != 0;
    let mut out = Vec::new();
    list(&mut files, &parsed, &mut out);
    folders.sort();
    let mut first = files.is_empty();
    while !folders.is_empty() {
        let folder = folders.remove(0);
        let mut entries = match read_folder(Path::new(&folder), &parsed) {
            Ok(entries) => entries,
            Err(error) => {
                eprintln!("ls: {}", about(folder.display(), &error));
                status = 2;
                continue;
            }
        };
        if titles {
            let gap = if first { "" } else { "\n" };
            out.extend(format!("{gap}{}:\n", folder.display()).bytes());
        }
        first = false;
        list(&mut entries, &parsed, &mut out);
        if parsed.has('R') {
            let below = entries.iter().filter(|e| e.metadata.is_dir() && e.name != "." && e.name != "..");
            let below: Vec<_> = below.map(|e| Path::new(&folder).join(&e.name).into_os_string()).collect();
            folders.splice(0..0, below);
        }
    }
    io::stdout().write_all(&out).map_err(|error| about("standard output", &error))?;
    Ok(status)
}

impl Entry {
    fn read(path: &Path, name: OsString) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        let target = if metadata.is_symlink() { fs::read_link(path).ok().map(Into::into) } else { None };
        Ok(Entry { name, metadata, target })
    }

    fn followed(path: &OsStr) -> io::Result<Self> {
        Ok(Entry { name: path.into(), metadata: fs::metadata(path)?, target: None })
    }

    /// What `-F` puts after the name.
    fn mark(&self) -> &'static str {
        let kind = self.metadata.file_type();
        match () {
            () if kind.is_dir() => "/",
            () if kind.is_symlink() => "@",
            () if kind.is_fifo() => "|",
            () if kind.is_socket() => "=",
            () if kind.is_file() && self.metadata.mode() & 0o111 != 0 => "*",
            () => "",
        }
    }

    /// Size, or the numbers of a device.
    fn size(&self) -> String {
        let kind = self.metadata.file_type();
        if kind.is_char_device() || kind.is_block_device() {
            let device = self.metadata.rdev();
            format!("{}, {}", libc::major(device), libc::minor(device))
        } else {
            self.metadata.len().to_string()
        }
    }
}

fn read_folder(folder: &Path, options: &Parsed) -> io::Result<Vec<Entry>> {
    let mut names: Vec<OsString> = Vec::new();
    if options.has('a') {
        names.extend([".".into(), "..".into()]);
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden || options.has('a') || options.has('A') {
            names.push(name);
        }
    }
    // What vanishes between the two looks is left out.
    Ok(names.into_iter().filter_map(|name| Entry::read(&folder.join(&name), name).ok()).collect())
}

fn list(entries: &mut [Entry], options: &Parsed, out: &mut Vec<u8>) {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<Vec<u8>> = entries
        .iter()
        .map(|entry| {
            let inode = if options.has('i') { format!("{} ", entry.metadata.ino()) } else { String::new() };
            let mark = if options.has('F') && !options.has('l') { entry.mark() } else { "" };
            [inode.as_bytes(), entry.name.as_encoded_bytes(), mark.as_bytes()].concat()
        })
        .collect();
    if options.has('l') {
        long_listing(entries, &names, out);
    } else if options.has('1') || !io::stdout().is_terminal() {
        names.iter().for_each(|name| out.extend([name.as_slice(), b"\n"].concat()));
    } else {
        in_columns(&names, out);
    }
}

fn long_listing(entries: &[Entry], names: &[Vec<u8>], out: &mut Vec<u8>) {
    let width = |of: &dyn Fn(&Entry) -> String| entries.iter().map(|entry| of(entry).len()).max().unwrap_or(0);
    let links = |entry: &Entry| entry.metadata.nlink().to_string();
    let (link_width, size_width) = (width(&links), width(&Entry::size));
    let owner_width = width(&|entry| user_name(entry.metadata.uid())).max(width(&|e| user_name(e.metadata.gid())));
    for (entry, name) in entries.iter().zip(names) {
        let metadata = &entry.metadata;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let columns = format!(
            "{} {:>link_width$} {:owner_width$} {:owner_width$} {:>size_width$} {} ",
            mode_string(metadata),
            links(entry),
            user_name(metadata.uid()),
            user_name(metadata.gid()),
            entry.size(),
            DateTime::from_system(modified).format("%Y-%m-%d %H:%M"),
        );
        out.extend(columns.bytes());
        out.extend(name);
        if let Some(target) = &entry.target {
            out.extend([b" -> ", target.as_encoded_bytes()].concat());
        }
        out.push(b'\n');
    }
}

/// As many columns as a terminal has room for, filled downwards.
fn in_columns(names: &[Vec<u8>], out: &mut Vec<u8>) {
    let width = names.iter().map(Vec::len).max().unwrap_or(0) + 2;
    let columns = (TERMINAL_WIDTH / width).max(1);
    let rows = names.len().div_ceil(columns);
    for row in 0..rows {
        let mut line = Vec::new();
        for name in names.iter().skip(row).step_by(rows) {
            line.resize(line.len().next_multiple_of(width), b' ');
            line.extend(name);
        }
        line.push(b'\n');
        out.extend(line);
    }
}

/// The ten letters of a long listing.
fn mode_string(metadata: &Metadata) -> String {
    let (kind, mode) = (metadata.file_type(), metadata.mode());
    let letter = match () {
        () if kind.is_dir() => 'd',
        () if kind.is_symlink() => 'l',
        () if kind.is_char_device() => 'c',
        () if kind.is_block_device() => 'b',
        () if kind.is_fifo() => 'p',
        () if kind.is_socket() => 's',
        () => '-',
    };
    let mut text = String::from(letter);
    for (shift, special, letters) in [(6, 0o4000, ('s', 'S')), (3, 0o2000, ('s', 'S')), (0, 0o1000, ('t', 'T'))] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letters.0,
            (true, false) => letters.1,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// The name of a user or group; only root has one without a list of users.
fn user_name(id: u32) -> String {
    if id == 0 { "root".into() } else { id.to_string() }
}

/// Reads a folder's names, for those who want them without a listing.
pub fn names(folder: &Path) -> Result<Vec<OsString>, Error> {
    let entries = fs::read_dir(folder).map_err(|error| about(folder.display(), &error))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
}
