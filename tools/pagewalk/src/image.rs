//! `pagewalk image`: the embedded guest as files for other machines.

use std::path::Path;

use images::Initramfs;

use crate::{
    cli::{ImageArgs, ImageCommand},
    error::Error,
    run::cannot_start,
};

/// Writes the kernel or an initramfs.
pub fn write(command: &ImageCommand) -> Result<u8, Error> {
    let (args, bytes) = match command {
        ImageCommand::Kernel(args) => (args, images::KERNEL.to_vec()),
        ImageCommand::Initrd(args) => (args, initrd(args)?),
    };
    save(&args.output, &bytes)?;
    Ok(0)
}

fn initrd(args: &ImageArgs) -> Result<Vec<u8>, Error> {
    let mut tree = Initramfs::new();
    match &args.root {
        Some(root) => tree.add_root(root).map_err(cannot_start)?,
        None => tree.link_userland_into_bin(),
    }
    tree.build().map_err(cannot_start)
}

/// Writes a file beside its place and renames it, so that no half file is ever seen. A device or
/// a pipe takes the bytes as they come.
fn save(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if path.metadata().is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return std::fs::write(path, bytes).map_err(Error::file(path));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::file(path))?;
    std::io::Write::write_all(&mut file, bytes).map_err(Error::file(path))?;
    let file = file.persist(path).map_err(|e| Error::File { path: path.into(), source: e.error })?;
    file.sync_all().map_err(Error::file(path))
}
