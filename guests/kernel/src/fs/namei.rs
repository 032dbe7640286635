//! From a path to a dentry.

use alloc::{sync::Arc, vec::Vec};

use abi::{
    errno::{EEXIST, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, Result},
    stat::mode,
};

use super::{Dentry, File, Inode, file::o};
use crate::{
    sync::{Once, SpinLock},
    task::current,
};

/// Longest name of one file.
pub const NAME_MAX: usize = 255;
/// Longest path, with its final zero.
pub const PATH_MAX: usize = 4096;
const MAX_SYMLINKS: u32 = 40;

/// The root of all.
pub static ROOT: Once<Arc<Dentry>> = Once::new();

/// `fs_struct`: where paths begin. Threads share one.
#[derive(Clone)]
pub struct FsStruct {
    /// Where absolute paths begin.
    pub root: Arc<Dentry>,
    /// Where relative paths begin.
    pub pwd: Arc<Dentry>,
    /// Bits that a new file does not get.
    pub umask: u32,
}

impl FsStruct {
    /// At the root of all.
    pub fn initial() -> SpinLock<FsStruct> {
        let root = ROOT.get().clone();
        SpinLock::new(FsStruct { pwd: root.clone(), root, umask: 0o022 })
    }
}

/// What to do with a symbolic link in the last place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Last {
    /// Go where it leads.
    Follow,
    /// Take the link itself.
    NoFollow,
}

/// Finds what `path` names, from the working directory on.
pub fn lookup(path: &[u8], last: Last) -> Result<Arc<Dentry>> {
    lookup_from(None, path, last)
}

/// Finds what `path` names, from `start` on (`None`: the working directory).
pub fn lookup_from(start: Option<&Arc<Dentry>>, path: &[u8], last: Last) -> Result<Arc<Dentry>> {
    if path.is_empty() {
        return Err(ENOENT);
    }
    let mut walk = Walk::new(start, path)?;
    walk.run(path, last)?;
    Ok(walk.at)
}

/// The directory that holds the last part of a path, and that part.
pub struct Parent {
    /// The directory.
    pub dir: Arc<Dentry>,
    /// The name, which is neither empty nor `.` nor `..`.
    pub name: Vec<u8>,
    /// The path ended in a slash: only a directory will do.
    pub wants_dir: bool,
}

impl Parent {
    /// What bears the name now.
    pub fn find(&self) -> Result<Arc<Dentry>> {
        lookup_one(&self.dir, &self.name)
    }

    /// EEXIST if something bears the name.
    pub fn must_not_exist(&self) -> Result<()> {
        match self.find() {
            Ok(_) => Err(EEXIST),
            Err(ENOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Finds the directory for the last part of `path`. `on_dots` is the error when that part
/// is `.`, `..` or the root.
pub fn lookup_parent(start: Option<&Arc<Dentry>>, path: &[u8], on_dots: abi::Errno) -> Result<Parent> {
    if path.is_empty() {
        return Err(ENOENT);
    }
    let trimmed_len = path.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
    let (trimmed, wants_dir) = (&path[..trimmed_len], trimmed_len < path.len());
    let split = trimmed.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    let (head, name) = trimmed.split_at(split);
    if matches!(name, b"" | b"." | b"..") {
        // The directories before must exist all the same.
        lookup_from(start, path, Last::Follow)?;
        return Err(on_dots);
    }
    if name.len() > NAME_MAX {
        return Err(ENAMETOOLONG);
    }
    let mut walk = Walk::new(start, path)?;
    walk.run(head, Last::Follow)?;
    if !walk.at.inode().is_dir() {
        return Err(ENOTDIR);
    }
    Ok(Parent { dir: walk.at, name: name.to_vec(), wants_dir })
}

/// Finds one name in a directory, through a mount.
pub fn lookup_one(dir: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
    let inode = dir.inode();
    inode.permission(1, current().fsuid_gid())?;
    Ok(inode.ops().lookup(dir, name)?.follow_mount())
}

struct Walk {
    at: Arc<Dentry>,
    /// Where the last name was looked up.
    dir: Arc<Dentry>,
    root: Arc<Dentry>,
    links: u32,
}

impl Walk {
    fn new(start: Option<&Arc<Dentry>>, path: &[u8]) -> Result<Walk> {
        if path.len() >= PATH_MAX {
            return Err(ENAMETOOLONG);
        }
        let task = current();
        let fs = task.fs();
        let fs = fs.lock();
        let root = fs.root.clone();
        let at = match start {
            _ if path.starts_with(b"/") => root.clone(),
            Some(start) => start.clone(),
            None => fs.pwd.clone(),
        };
        Ok(Walk { dir: at.clone(), at, root, links: 0 })
    }

    /// Goes along `path`. The target of a symbolic link takes the link's place in the text,
    /// so that a chain of links needs no stack.
    fn run(&mut self, path: &[u8], last: Last) -> Result<()> {
        let mut text = path.to_vec();
        let mut at = 0;
        loop {
            at += text[at..].iter().take_while(|&&b| b == b'/').count();
            let rest = &text[at..];
            if rest.is_empty() {
                break;
            }
            let (part, after) = rest.split_at(rest.iter().position(|&b| b == b'/').unwrap_or(rest.len()));
            if part.len() > NAME_MAX {
                return Err(ENAMETOOLONG);
            }
            let follows = !after.is_empty() || last == Last::Follow;
            let Some(link) = self.step(part)?.filter(|_| follows) else {
                at += part.len();
                continue;
            };
            let after = after.to_vec();
            match self.target(&link)? {
                Some(mut target) => {
                    target.extend_from_slice(&after);
                    text = target;
                }
                None => text = after,
            }
            at = 0;
        }
        if text.ends_with(b"/") && !self.at.inode().is_dir() {
            return Err(ENOTDIR);
        }
        Ok(())
    }

    /// Goes on by one name. A symbolic link is returned, and `at` is the link, while `dir`
    /// remembers where it was found.
    fn step(&mut self, part: &[u8]) -> Result<Option<Arc<Dentry>>> {
        if !self.at.inode().is_dir() {
            return Err(ENOTDIR);
        }
        match part {
            b"." => return Ok(None),
            b".." => {
                if !Arc::ptr_eq(&self.at, &self.root)
                    && let Some(parent) = self.at.parent()
                {
                    self.at = parent.follow_mount();
                }
                return Ok(None);
            }
            _ => {}
        }
        let found = lookup_one(&self.at, part)?;
        let is_link = found.inode().kind() == mode::S_IFLNK;
        self.dir = core::mem::replace(&mut self.at, found.clone());
        Ok(is_link.then_some(found))
    }

    /// Where a link leads: a path from `at`, or `None` when `at` is the target itself.
    fn target(&mut self, link: &Arc<Dentry>) -> Result<Option<Vec<u8>>> {
        self.links += 1;
        if self.links > MAX_SYMLINKS {
            return Err(ELOOP);
        }
        if let Some(target) = link.inode().ops().magic_target() {
            self.at = target?;
            return Ok(None);
        }
        let target = link.inode().ops().readlink()?;
        if target.is_empty() {
            return Err(ENOENT);
        }
        self.at = if target.starts_with(b"/") { self.root.clone() } else { self.dir.clone() };
        Ok(Some(target))
    }
}

/// `open`: finds or makes the file and opens it.
pub fn open(start: Option<&Arc<Dentry>>, path: &[u8], flags: u32, mode: u32) -> Result<Arc<File>> {
    let dentry = find_or_create(start, path, flags, mode)?;
    let inode = dentry.inode().clone();
    let writing = flags & o::ACCMODE != o::RDONLY;
    if flags & o::PATH == 0 {
        check_open(&inode, flags, writing)?;
    }
    if flags & o::DIRECTORY != 0 && !inode.is_dir() {
        return Err(ENOTDIR);
    }
    let file = File::open(dentry, flags)?;
    if flags & o::TRUNC != 0 && inode.kind() == mode::S_IFREG && flags & o::PATH == 0 {
        file.ops().truncate(&file, 0)?;
    }
    Ok(file)
}

fn check_open(inode: &Arc<Inode>, flags: u32, writing: bool) -> Result<()> {
    if inode.kind() == mode::S_IFLNK {
        return Err(ELOOP);
    }
    if inode.is_dir() && (writing || flags & o::CREAT != 0) {
        return Err(EISDIR);
    }
    let read = if flags & o::ACCMODE != o::WRONLY { 4 } else { 0 };
    inode.permission(read | if writing { 2 } else { 0 }, current().fsuid_gid())
}

fn find_or_create(start: Option<&Arc<Dentry>>, path: &[u8], flags: u32, mode_bits: u32) -> Result<Arc<Dentry>> {
    let last = if flags & o::NOFOLLOW != 0 { Last::NoFollow } else { Last::Follow };
    if flags & o::CREAT == 0 || flags & o::PATH != 0 {
        return lookup_from(start, path, last);
    }
    let exclusive = flags & o::EXCL != 0;
    match lookup_from(start, path, if exclusive { Last::NoFollow } else { last }) {
        Ok(_) if exclusive => return Err(EEXIST),
        Ok(found) => return Ok(found),
        Err(ENOENT) => {}
        Err(error) => return Err(error),
    }
    let mut parent = lookup_parent(start, path, EISDIR)?;
    if parent.wants_dir {
        return Err(EISDIR);
    }
    // A symbolic link that leads nowhere: the file is made where it leads.
    let mut links = 0;
    while let Ok(link) = parent.find() {
        links += 1;
        if link.inode().kind() != mode::S_IFLNK || links > MAX_SYMLINKS {
            return Err(ELOOP);
        }
        let target = link.inode().ops().readlink()?;
        parent = lookup_parent(Some(&parent.dir), &target, EISDIR)?;
    }
    let umask = current().fs().lock().umask;
    create(&parent, mode::S_IFREG | mode_bits & 0o7777 & !umask, (0, 0))
}

/// Makes a file, directory or special file.
pub fn create(parent: &Parent, mode: u32, rdev: (u32, u32)) -> Result<Arc<Dentry>> {
    let dir = parent.dir.inode();
    if parent.dir.is_unlinked() {
        return Err(ENOENT);
    }
    dir.permission(3, current().fsuid_gid())?;
    let made = dir.ops().mknod(&parent.dir, &parent.name, mode, rdev)?;
    let (uid, gid) = current().fsuid_gid();
    made.inode().update(|a| (a.uid, a.gid) = (uid, gid));
    Ok(made)
}
