//! `pagewalk report`: pictures of a machine, or of two side by side, in one file that needs no network.
//!
//! What is drawn is [`inspect::Picture`]; the page that draws it is in `page/`, and is put into the file with it.

mod page;

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use inspect::Request;
use serde_json::Value;

use crate::{
    error::Error,
    lens::{LensError, Source},
};

/// Bytes of packed rows in a file, of all its machines together: with the page and the rest it stays below 10 MB.
const ROOM: usize = 7_500_000;

/// Options of `pagewalk report`.
#[derive(Args, Debug, Clone)]
pub struct ReportArgs {
    /// A saved machine (`run --save FILE`), as with --snapshot.
    #[arg(value_name = "A", conflicts_with_all = ["vm", "snapshot"])]
    a: Option<PathBuf>,
    /// Another one, to be drawn beside it with what has changed.
    #[arg(value_name = "B", requires = "a")]
    b: Option<PathBuf>,
    /// A machine that runs now (`run --name NAME`). Default: the only one that runs.
    #[arg(long, value_name = "NAME", conflicts_with = "snapshot")]
    vm: Option<String>,
    /// A saved machine (`run --save FILE`).
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// The file to write, for a browser.
    #[arg(short, long, value_name = "FILE.html")]
    output: PathBuf,
}

/// Writes the file.
///
/// # Errors
/// A machine that cannot be looked at, or a file that cannot be written.
pub fn report(args: &ReportArgs) -> Result<(), Error> {
    let saved: Vec<&Path> = [&args.a, &args.b, &args.snapshot].into_iter().flatten().map(PathBuf::as_path).collect();
    let machines = match saved.as_slice() {
        [] => vec![machine(args.vm.as_deref(), None, ROOM)?],
        files => files.iter().map(|file| machine(None, Some(file), ROOM / files.len())).collect::<Result<_, _>>()?,
    };
    write(&args.output, &page::of(&machines))
}

/// A machine as the page gets it: how it is called, and its picture.
struct Drawn {
    label: String,
    picture: Value,
}

fn machine(vm: Option<&str>, snapshot: Option<&Path>, limit: usize) -> Result<Drawn, Error> {
    let failed = |why: LensError| Error::Lens(why.to_string());
    let mut source = Source::open(vm, snapshot).map_err(failed)?;
    let (mut picture, note) = source.json(Request::Picture { limit }).map_err(failed)?;
    if let (Some(note), Some(notes)) = (note, picture["notes"].as_array_mut()) {
        notes.push(note.into());
    }
    Ok(Drawn { label: source.name().to_owned(), picture })
}

/// Writes beside the file and renames, so that a full disk leaves what was there.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    if path.exists() && !path.is_file() {
        // A pipe or /dev/stdout.
        return File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::file(path));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().permissions(permissions()).tempfile_in(folder).map_err(Error::file(path))?;
    file.write_all(text.as_bytes()).map_err(Error::file(path))?;
    file.persist(path).map_err(|why| Error::file(path)(why.error))?;
    Ok(())
}

/// Those of any new file: the umask takes its part.
fn permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}
