//! The initramfs of a run: a file tree in memory that becomes a cpio archive.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use abi::{
    cpio::{WriteError, Writer, kind},
    runfile::{self, RunFile, RunFileError},
};

use crate::{USERLAND, host_tree, links, modules, programs};

/// Symbolic links that are followed to find where a file is put, as in Linux.
const MAX_LINKS: usize = 40;

/// What can go wrong while an initramfs is made.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// A file or folder of the host can't be read.
    #[error("{}: {source}", path.display())]
    Host {
        /// The file of the host.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something that is not a file was given for a file.
    #[error("{}: not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Something that is not a folder was given as the root.
    #[error("{}: not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// A path of the guest leads through a file, or its links never end.
    #[error("{0}: no place for it in the guest's file tree")]
    NoPlace(String),
    /// The archive format has no room for it.
    #[error("{path}: {source}")]
    Format {
        /// Where it would be in the guest.
        path: String,
        /// Why.
        source: WriteError,
    },
    /// The run file can't hold what was asked.
    #[error(transparent)]
    RunFile(#[from] RunFileError),
}

/// A member of the tree.
#[derive(Debug)]
enum Node {
    Directory { mode: u32 },
    File { mode: u32, data: Vec<u8> },
    Symlink { target: Vec<u8> },
}

/// The guest's file tree before boot. Members are kept by path, without a leading slash:
/// sorted, a folder comes before what is in it.
#[derive(Debug, Default)]
pub struct Initramfs {
    nodes: BTreeMap<Vec<u8>, Node>,
}

impl Initramfs {
    /// A tree with the embedded userland under [`USERLAND`] and the folders on which the
    /// kernel mounts its own file systems.
    pub fn new() -> Self {
        let mut tree = Self::default();
        for (path, mode) in [("dev", 0o755), ("proc", 0o555), ("tmp", 0o1777)] {
            tree.put(path.into(), Node::Directory { mode });
        }
        let base = USERLAND.trim_start_matches('/');
        tree.put(base.into(), Node::Directory { mode: 0o755 });
        tree.put(format!("{base}/bin").into(), Node::Directory { mode: 0o755 });
        for (name, bytes) in programs() {
            let place = if *name == "init" { format!("{base}/init") } else { format!("{base}/bin/{name}") };
            tree.put(place.into(), Node::File { mode: 0o755, data: bytes.to_vec() });
        }
        for folder in ["lib", "lib/modules"] {
            tree.put(format!("{base}/{folder}").into(), Node::Directory { mode: 0o755 });
        }
        for (name, bytes) in modules() {
            tree.put(format!("{base}/lib/modules/{name}.ko").into(), Node::File { mode: 0o644, data: bytes.to_vec() });
        }
        for (name, program) in links() {
            tree.put(format!("{base}/bin/{name}").into(), Node::Symlink { target: program.into() });
        }
        tree
    }

    /// Makes `/bin` and fills it with links to the embedded programs, and a link to the modules
    /// where Linux has them, for a guest without a file tree of its own.
    pub fn link_userland_into_bin(&mut self) {
        self.put(b"bin".into(), Node::Directory { mode: 0o755 });
        let names = programs().iter().map(|(name, _)| *name).filter(|name| *name != "init");
        for name in names.chain(links().map(|(name, _)| name)) {
            let target = format!("{USERLAND}/bin/{name}").into();
            self.put(format!("bin/{name}").into(), Node::Symlink { target });
        }
        for folder in ["lib", "lib/modules"] {
            self.put(folder.into(), Node::Directory { mode: 0o755 });
        }
        let release = abi::module::VERMAGIC.split(' ').next().unwrap_or_default();
        let target = format!("{USERLAND}/lib/modules").into();
        self.put(format!("lib/modules/{release}").into(), Node::Symlink { target });
    }

    /// Adds the tree below a folder of the host (`--root`). Symbolic links stay links, so
    /// nothing outside is read; devices, sockets and pipes are left out with a log line. The
    /// embedded userland keeps its place.
    pub fn add_root(&mut self, root: &Path) -> Result<(), InitramfsError> {
        for member in host_tree::read(root)? {
            let node = match member.content {
                host_tree::Content::Directory => Node::Directory { mode: member.mode },
                host_tree::Content::File(data) => Node::File { mode: member.mode, data },
                host_tree::Content::Symlink(target) => Node::Symlink { target },
            };
            let userland = &USERLAND.as_bytes()[1..];
            if member.path.split(|&byte| byte == b'/').next() != Some(userland) {
                self.put(member.path, node);
            }
        }
        Ok(())
    }

    /// Copies a file of the host, with its permissions, to a path of the guest.
    pub fn add_host_file(&mut self, host: &Path, guest: impl AsRef<[u8]>) -> Result<(), InitramfsError> {
        let failed = |source| InitramfsError::Host { path: host.into(), source };
        let metadata = fs::metadata(host).map_err(failed)?;
        if !metadata.is_file() {
            return Err(InitramfsError::NotAFile(host.into()));
        }
        let data = fs::read(host).map_err(failed)?;
        self.add_file(guest, host_tree::permissions(&metadata), data)
    }

    /// Puts a file at a path of the guest. Folders on the way are made; symbolic links on the
    /// way are followed, so that `/bin/x` lands in `/usr/bin` where `/bin` is a link to it.
    pub fn add_file(
        &mut self,
        guest: impl AsRef<[u8]>,
        permissions: u32,
        data: impl Into<Vec<u8>>,
    ) -> Result<(), InitramfsError> {
        let path = self.place(guest.as_ref())?;
        self.put(path, Node::File { mode: permissions & 0o7777, data: data.into() });
        Ok(())
    }

    /// Makes a folder of the guest, with those on the way.
    pub fn add_directory(&mut self, guest: impl AsRef<[u8]>, permissions: u32) -> Result<(), InitramfsError> {
        let path = self.place(guest.as_ref())?;
        self.put(path, Node::Directory { mode: permissions & 0o7777 });
        Ok(())
    }

    /// Puts a symbolic link at a path of the guest.
    pub fn add_symlink(&mut self, guest: impl AsRef<[u8]>, target: impl Into<Vec<u8>>) -> Result<(), InitramfsError> {
        let path = self.place(guest.as_ref())?;
        self.put(path, Node::Symlink { target: target.into() });
        Ok(())
    }

    /// Says what `init` is to run; without it, it runs the tour.
    pub fn set_run_file(&mut self, run: &RunFile) -> Result<(), InitramfsError> {
        self.add_file(runfile::PATH, 0o600, run.encode()?)
    }

    /// Whether the guest has a file, folder or link at a path, links on the way followed.
    pub fn contains(&self, guest: impl AsRef<[u8]>) -> bool {
        self.resolve(guest.as_ref()).is_ok_and(|path| self.nodes.contains_key(&path))
    }

    /// The archive, the same bytes for the same tree.
    pub fn build(&self) -> Result<Vec<u8>, InitramfsError> {
        let mut archive = Writer::new();
        for (path, node) in &self.nodes {
            let (mode, data) = match node {
                Node::Directory { mode } => (kind::DIRECTORY | mode, &[][..]),
                Node::File { mode, data } => (kind::REGULAR | mode, &data[..]),
                Node::Symlink { target } => (kind::SYMLINK | 0o777, &target[..]),
            };
            let failed = |source| InitramfsError::Format { path: String::from_utf8_lossy(path).into_owned(), source };
            archive.push(path, mode, data).map_err(failed)?;
        }
        Ok(archive.finish())
    }

    /// Where a path leads, and the folders that are missing on the way there made.
    fn place(&mut self, guest: &[u8]) -> Result<Vec<u8>, InitramfsError> {
        let path = self.resolve(guest)?;
        for (end, _) in path.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
            self.nodes.entry(path[..end].to_vec()).or_insert(Node::Directory { mode: 0o755 });
        }
        Ok(path)
    }

    /// Follows the links on the way to the last component, which is not followed itself.
    fn resolve(&self, guest: &[u8]) -> Result<Vec<u8>, InitramfsError> {
        let no_place = || InitramfsError::NoPlace(String::from_utf8_lossy(guest).into_owned());
        let mut links = 0;
        let mut todo: Vec<Vec<u8>> = components(guest);
        let mut done: Vec<Vec<u8>> = Vec::new();
        while let Some(component) = todo.pop() {
            match component.as_slice() {
                b"." => continue,
                b".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(component),
            }
            if todo.is_empty() {
                break;
            }
            match self.nodes.get(&done.join(&b'/')) {
                Some(Node::File { .. }) => return Err(no_place()),
                Some(Node::Symlink { target }) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(no_place());
                    }
                    if target.starts_with(b"/") {
                        done.clear();
                    } else {
                        done.pop();
                    }
                    todo.extend(components(target));
                }
                Some(Node::Directory { .. }) | None => {}
            }
        }
        if done.is_empty() { Err(no_place()) } else { Ok(done.join(&b'/')) }
    }

    /// Puts a node at a path; a folder replaced by anything else takes its contents along.
    fn put(&mut self, path: Vec<u8>, node: Node) {
        let was_directory = matches!(self.nodes.get(&path), Some(Node::Directory { .. }));
        if was_directory && !matches!(node, Node::Directory { .. }) {
            let below = [path.as_slice(), b"/"].concat();
            self.nodes.retain(|other, _| !other.starts_with(&below));
        }
        self.nodes.insert(path, node);
    }
}

/// The components of a path, last first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).rev().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(tree: &Initramfs) -> Vec<String> {
        tree.nodes.keys().map(|path| String::from_utf8(path.clone()).unwrap()).collect()
    }

    #[test]
    fn the_root_shows_only_the_mount_points_and_the_dot_folder() {
        let top: Vec<_> = paths(&Initramfs::new()).into_iter().filter(|path| !path.contains('/')).collect();
        assert_eq!(top, [".pagewalk", "dev", "proc", "tmp"]);
    }

    #[test]
    fn a_file_below_a_linked_folder_lands_in_the_folder() {
        let mut tree = Initramfs::default();
        tree.add_symlink("/bin", "usr/bin").unwrap();
        tree.add_symlink("/usr/bin", "/deep/./er/../er").unwrap();
        tree.add_file("/bin/prog", 0o755, "x").unwrap();
        assert_eq!(paths(&tree), ["bin", "deep", "deep/er", "deep/er/prog", "usr", "usr/bin"]);
        assert!(tree.contains("/bin/prog"));
        assert!(!tree.contains("/bin/other"));
    }

    #[test]
    fn a_path_cannot_climb_above_the_root() {
        let mut tree = Initramfs::default();
        tree.add_file("/../../etc/passwd", 0o644, "x").unwrap();
        assert_eq!(paths(&tree), ["etc", "etc/passwd"]);
    }

    #[test]
    fn paths_that_lead_nowhere_are_refused() {
        let mut tree = Initramfs::default();
        tree.add_symlink("/loop", "loop").unwrap();
        tree.add_file("/file", 0o644, "x").unwrap();
        for path in ["/loop/x", "/file/x", "/", "", "/a/.."] {
            assert!(matches!(tree.add_file(path, 0o644, "x"), Err(InitramfsError::NoPlace(_))), "{path}");
        }
    }

    #[test]
    fn a_file_in_place_of_a_folder_removes_what_was_in_it() {
        let mut tree = Initramfs::default();
        tree.add_file("/a/b/c", 0o644, "x").unwrap();
        tree.add_file("/a-b", 0o644, "x").unwrap();
        tree.add_file("/a", 0o644, "x").unwrap();
        assert_eq!(paths(&tree), ["a", "a-b"]);
    }

    #[test]
    fn the_same_tree_makes_the_same_archive_whatever_the_order() {
        let make = |names: [&str; 3]| {
            let mut tree = Initramfs::default();
            names.iter().for_each(|name| tree.add_file(name, 0o644, name.as_bytes()).unwrap());
            tree.build().unwrap()
        };
        assert_eq!(make(["/x/1", "/x/2", "/y"]), make(["/y", "/x/2", "/x/1"]));
    }

    #[test]
    fn the_run_file_in_the_archive_says_what_to_run() {
        let run = RunFile::new("/bin/true");
        let mut tree = Initramfs::default();
        tree.set_run_file(&run).unwrap();
        let Some(Node::File { data, .. }) = tree.nodes.get(&b".pagewalk/run"[..]) else { panic!("no run file") };
        assert_eq!(RunFile::parse(data), Ok(run));
    }
}
