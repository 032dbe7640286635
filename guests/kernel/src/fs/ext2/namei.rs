//! What ext2 does with names.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::sync::atomic::Ordering::Relaxed;

use abi::{
    errno::{EEXIST, EINVAL, EIO, EMLINK, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, Result},
    stat::mode,
};

use super::{
    Dentry, Inode, Known, Space,
    file::{Directory, Regular},
    ialloc::Kind,
    inode::Node,
};
use crate::fs::{
    FileOps,
    inode::{Attr, InodeOps},
    now,
};

/// Most names of a file (`EXT2_LINK_MAX`).
const LINK_MAX: u32 = 32_000;
/// Longest target that fits where an inode's pointers are, with its final zero.
const INLINE_TARGET: usize = 60;

/// The operations of an inode.
pub(super) struct Ops {
    pub node: Arc<Node>,
    /// What opens a special file.
    pub special: Option<Box<dyn InodeOps>>,
}

impl Drop for Ops {
    fn drop(&mut self) {
        // Freeing it would sleep: the next who changes the file system does it.
        if self.node.unlinked.load(Relaxed) {
            self.node.fs.orphans.lock().push(self.node.clone());
            self.node.fs.unlinked.fetch_sub(1, Relaxed);
        }
    }
}

impl Ops {
    /// The node of an inode of this file system that is in use.
    fn node_of(&self, inode: &Inode) -> Result<Arc<Node>> {
        let inodes = self.node.fs.inodes.lock();
        inodes.get(&inode.ino()).map(|(_, node)| node.clone()).ok_or(EIO)
    }

    fn check_dir(&self) -> Result<()> {
        if self.node.kind == mode::S_IFDIR { Ok(()) } else { Err(ENOTDIR) }
    }

    /// A name for an inode that was just made or linked.
    fn attach(dir: &Arc<Dentry>, name: &[u8], inode: Arc<Inode>) -> Arc<Dentry> {
        let dentry = Dentry::new(Some(dir), name, inode);
        dir.children().lock().insert(name.into(), dentry.clone());
        dir.inode().touch_mtime();
        dentry
    }

    /// Gives out an inode, fills it and enters its name; undone if one of these fails.
    fn make(
        &self,
        dir: &Arc<Dentry>,
        name: &[u8],
        (mode, rdev): (u32, (u32, u32)),
        fill: impl FnOnce(&Node, &mut Space) -> Result<()>,
    ) -> Result<Arc<Dentry>> {
        self.check_dir()?;
        let fs = &self.node.fs;
        let mut space = fs.lock_for_change()?;
        match self.node.find(name) {
            Err(ENOENT) => {}
            Ok(_) => return Err(EEXIST),
            Err(error) => return Err(error),
        }
        let is_dir = mode & mode::S_IFMT == mode::S_IFDIR;
        if is_dir && dir.inode().attr().nlink >= LINK_MAX {
            return Err(EMLINK);
        }
        let kind = if is_dir { Kind::Directory } else { Kind::Other };
        let now = now();
        let nlink = if is_dir { 2 } else { 1 };
        let attr = Attr { mode, nlink, rdev, atime: now, mtime: now, ctime: now, ..Attr::default() };
        let ino = fs.new_ino(&mut space, self.node.ino, kind)?;
        let made = fs.new_inode(dir.inode().sb(), ino, attr).and_then(|(inode, node): Known| {
            let filled = fill(&node, &mut space)
                .and_then(|()| self.node.add_entry(&mut space, name, ino, mode))
                .and_then(|()| node.write_inode(&inode));
            if filled.is_err() {
                inode.update(|a| a.nlink = 0);
                fs.forget(&node);
            }
            filled.map(|()| inode)
        });
        let inode = made?;
        if is_dir {
            dir.inode().update(|a| a.nlink += 1);
        }
        let dentry = Self::attach(dir, name, inode);
        self.node.write_inode(dir.inode())?;
        Ok(dentry)
    }

    /// Takes a name out and a link off its inode.
    fn remove(&self, dir: &Arc<Dentry>, victim: &Arc<Dentry>) -> Result<()> {
        let name = victim.name();
        let entry = self.node.find(&name)?;
        self.node.remove_entry(&entry)?;
        dir.children().lock().remove(&*name);
        victim.set_unlinked();
        self.drop_link(victim.inode())?;
        dir.inode().touch_mtime();
        self.node.write_inode(dir.inode())
    }

    /// One name less; a directory loses its own `.` too.
    fn drop_link(&self, inode: &Arc<Inode>) -> Result<()> {
        let node = self.node_of(inode)?;
        let left = inode.update(|a| {
            a.nlink = if a.mode & mode::S_IFMT == mode::S_IFDIR { 0 } else { a.nlink.saturating_sub(1) };
            a.ctime = now();
            a.nlink
        });
        if left == 0 {
            self.node.fs.forget(&node);
        }
        node.write_inode(inode)
    }

    fn rmdir_locked(&self, dir: &Arc<Dentry>, victim: &Arc<Dentry>) -> Result<()> {
        if !self.node_of(victim.inode())?.is_empty_dir()? {
            return Err(ENOTEMPTY);
        }
        self.remove(dir, victim)?;
        dir.inode().update(|a| a.nlink = a.nlink.saturating_sub(1));
        self.node.write_inode(dir.inode())
    }
}

impl InodeOps for Ops {
    fn lookup(&self, dir: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
        self.check_dir()?;
        if let Some(known) = dir.children().lock().get(name) {
            return Ok(known.clone());
        }
        if name.len() > 255 {
            return Err(ENAMETOOLONG);
        }
        let entry = self.node.find(name)?;
        let inode = self.node.fs.iget(dir.inode().sb(), entry.ino)?;
        let dentry = Dentry::new(Some(dir), name, inode);
        // Another may have been faster.
        let mut children = dir.children().lock();
        let known = children.entry(name.into()).or_insert_with(|| dentry.clone()).clone();
        drop(children);
        Ok(known)
    }

    fn mknod(&self, dir: &Arc<Dentry>, name: &[u8], mode: u32, rdev: (u32, u32)) -> Result<Arc<Dentry>> {
        let parent = self.node.ino;
        self.make(dir, name, (mode, rdev), |node, space| {
            if mode & mode::S_IFMT == mode::S_IFDIR { node.make_empty(space, parent) } else { Ok(()) }
        })
    }

    fn symlink(&self, dir: &Arc<Dentry>, name: &[u8], target: &[u8]) -> Result<()> {
        let block_size = self.node.fs.layout.block_size as usize;
        if target.len() >= block_size {
            return Err(ENAMETOOLONG);
        }
        let made = self.make(dir, name, (mode::S_IFLNK | 0o777, (0, 0)), |node, space| {
            node.set_size(target.len() as u64);
            if target.len() < INLINE_TARGET {
                node.set_inline_target(target);
                return Ok(());
            }
            let block = node.get_block(space, 0)?;
            node.fresh.lock().remove(&0);
            node.fs.zero_block(block)?;
            node.fs.write(node.fs.block_pos(block), target)
        });
        made.map(drop)
    }

    fn link(&self, dir: &Arc<Dentry>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        self.check_dir()?;
        if inode.is_dir() {
            return Err(EPERM);
        }
        let mut space = self.node.fs.lock_for_change()?;
        let attr = inode.attr();
        match attr.nlink {
            0 => return Err(ENOENT),
            LINK_MAX.. => return Err(EMLINK),
            _ => {}
        }
        let node = self.node_of(inode)?;
        self.node.add_entry(&mut space, name, inode.ino(), attr.mode)?;
        inode.update(|a| (a.nlink, a.ctime) = (a.nlink + 1, now()));
        Self::attach(dir, name, inode.clone());
        node.write_inode(inode)?;
        self.node.write_inode(dir.inode())
    }

    fn unlink(&self, dir: &Arc<Dentry>, victim: &Arc<Dentry>) -> Result<()> {
        let _space = self.node.fs.lock_for_change()?;
        self.remove(dir, victim)
    }

    fn rmdir(&self, dir: &Arc<Dentry>, victim: &Arc<Dentry>) -> Result<()> {
        let _space = self.node.fs.lock_for_change()?;
        self.rmdir_locked(dir, victim)
    }

    fn rename(
        &self,
        old_dir: &Arc<Dentry>,
        old: &Arc<Dentry>,
        new_dir: &Arc<Dentry>,
        new_name: &[u8],
        target: Option<&Arc<Dentry>>,
    ) -> Result<()> {
        let fs = &self.node.fs;
        let mut space = fs.lock_for_change()?;
        let new_parent = self.node_of(new_dir.inode())?;
        let moved = self.node_of(old.inode())?;
        let old_name = old.name();
        let (is_dir, changes_dir) = (old.inode().is_dir(), !Arc::ptr_eq(old_dir, new_dir));
        match target {
            Some(target) => {
                if target.inode().is_dir() && !self.node_of(target.inode())?.is_empty_dir()? {
                    return Err(ENOTEMPTY);
                }
                let entry = new_parent.find(new_name)?;
                new_parent.set_entry(&entry, moved.ino, moved.kind)?;
                new_dir.children().lock().remove(new_name);
                target.set_unlinked();
                if target.inode().is_dir() {
                    new_dir.inode().update(|a| a.nlink = a.nlink.saturating_sub(1));
                }
                self.drop_link(target.inode())?;
            }
            None => new_parent.add_entry(&mut space, new_name, moved.ino, moved.kind)?,
        }
        // Looked up again: adding may have split its record.
        let entry = self.node.find(&old_name)?;
        self.node.remove_entry(&entry)?;
        if is_dir && changes_dir {
            let up = moved.find(b"..")?;
            moved.set_entry(&up, new_parent.ino, mode::S_IFDIR)?;
            old_dir.inode().update(|a| a.nlink = a.nlink.saturating_sub(1));
            new_dir.inode().update(|a| a.nlink += 1);
        }
        old_dir.children().lock().remove(&*old_name);
        old.move_to(Some(new_dir), new_name);
        new_dir.children().lock().insert(new_name.into(), old.clone());
        old_dir.inode().touch_mtime();
        new_dir.inode().touch_mtime();
        old.inode().update(|a| a.ctime = now());
        self.node.write_inode(old_dir.inode())?;
        new_parent.write_inode(new_dir.inode())?;
        moved.write_inode(old.inode())
    }

    fn readlink(&self) -> Result<Vec<u8>> {
        let node = &self.node;
        if node.kind != mode::S_IFLNK {
            return Err(EINVAL);
        }
        let len = node.size() as usize;
        if node.has_inline_target() {
            return Ok(node.inline_target(len));
        }
        let block = node.bmap(0)?.ok_or(EIO)?;
        let mut target = alloc::vec![0; len.min(node.fs.layout.block_size as usize)];
        node.fs.read(node.fs.block_pos(block), &mut target)?;
        Ok(target)
    }

    fn open(&self, inode: &Arc<Inode>, flags: u32) -> Result<Arc<dyn FileOps>> {
        match (&self.special, self.node.kind) {
            (Some(special), _) => special.open(inode, flags),
            (None, mode::S_IFREG) => {
                if flags & crate::fs::file::o::ACCMODE != crate::fs::file::o::RDONLY {
                    self.node.fs.check_writable()?;
                }
                Ok(Arc::new(Regular(self.node.clone())))
            }
            (None, mode::S_IFDIR) => Ok(Arc::new(Directory(self.node.clone()))),
            _ => Err(abi::errno::ENXIO),
        }
    }

    fn truncate(&self, inode: &Arc<Inode>, size: u64) -> Result<()> {
        self.node.truncate(inode, size)
    }

    fn size(&self) -> u64 {
        self.node.size()
    }

    fn sectors(&self) -> Option<u64> {
        Some(self.node.sectors())
    }
}
