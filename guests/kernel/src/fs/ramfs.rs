//! Files in memory: the root, tmpfs and devtmpfs. The dentries are the directories, the
//! page cache is the contents.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use abi::{
    errno::{EEXIST, EFBIG, EINVAL, ENOENT, ENOTEMPTY, EPERM, Result},
    stat::mode,
};

use super::{
    Dentry, Dest, File, FileOps, Inode, InodeOps, Source, SuperBlock, block_dev, chrdev, file::DirFile, inode::Attr,
    now,
};
use crate::mm::filemap::{AddressSpace, Backing};

/// `f_type` of tmpfs.
pub const TMPFS_MAGIC: u32 = 0x0102_1994;
/// `f_type` of ramfs.
pub const RAMFS_MAGIC: u32 = 0x8584_58f6;
/// Longest file, as Linux limits them on i386.
pub const MAX_LFS_FILESIZE: u64 = 0x7ff_ffff_ffff;

/// A new, empty file system; returns its root.
pub fn new_fs(fs_type: &'static str, magic: u32, minor: u32) -> Arc<Dentry> {
    let sb = SuperBlock::new(fs_type, magic, minor, 1);
    let root = new_inode(&sb, mode::S_IFDIR | 0o755, (0, 0));
    Dentry::new(None, b"", root)
}

/// A new inode of the type in `mode`.
pub fn new_inode(sb: &Arc<SuperBlock>, mode: u32, rdev: (u32, u32)) -> Arc<Inode> {
    let now = now();
    let is_dir = mode & mode::S_IFMT == mode::S_IFDIR;
    let mapping = || match sb.magic {
        TMPFS_MAGIC => AddressSpace::in_tmpfs(sb.room.clone()),
        _ => AddressSpace::new(Backing::Ram),
    };
    let attr =
        Attr { mode, nlink: if is_dir { 2 } else { 1 }, rdev, atime: now, mtime: now, ctime: now, ..Attr::default() };
    match mode & mode::S_IFMT {
        mode::S_IFDIR => Inode::new(sb, attr, None, Box::new(Dir)),
        mode::S_IFREG => Inode::new(sb, attr, Some(Arc::new(mapping())), Box::new(Regular)),
        mode::S_IFIFO => Inode::new(sb, attr, None, Box::new(super::pipe::Fifo::default())),
        _ => Inode::new(sb, attr, None, Box::new(Special)),
    }
}

/// Adds a file to a directory without asking for rights; for boot.
pub fn add(dir: &Arc<Dentry>, name: &[u8], mode: u32, rdev: (u32, u32)) -> Result<Arc<Dentry>> {
    dir.inode().ops().mknod(dir, name, mode, rdev)
}

/// A directory.
struct Dir;

impl Dir {
    /// Enters a name, which must be new.
    fn enter(dir: &Arc<Dentry>, name: &[u8], inode: Arc<Inode>) -> Result<Arc<Dentry>> {
        if dir.children().lock().contains_key(name) {
            return Err(EEXIST);
        }
        let dentry = Dentry::new(Some(dir), name, inode);
        dir.children().lock().insert(name.into(), dentry.clone());
        dir.inode().touch_mtime();
        Ok(dentry)
    }

    /// Takes a name out.
    fn remove(dir: &Arc<Dentry>, victim: &Arc<Dentry>) -> Result<()> {
        let removed = dir.children().lock().remove(&*victim.name()).ok_or(ENOENT)?;
        removed.set_unlinked();
        removed.inode().update(|a| (a.nlink, a.ctime) = (a.nlink.saturating_sub(1), now()));
        dir.inode().touch_mtime();
        Ok(())
    }
}

impl InodeOps for Dir {
    fn lookup(&self, dir: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
        dir.children().lock().get(name).cloned().ok_or(ENOENT)
    }

    fn mknod(&self, dir: &Arc<Dentry>, name: &[u8], mode: u32, rdev: (u32, u32)) -> Result<Arc<Dentry>> {
        let made = Self::enter(dir, name, new_inode(dir.inode().sb(), mode, rdev))?;
        if mode & mode::S_IFMT == mode::S_IFDIR {
            dir.inode().update(|a| a.nlink += 1);
        }
        Ok(made)
    }

    fn symlink(&self, dir: &Arc<Dentry>, name: &[u8], target: &[u8]) -> Result<()> {
        let now = now();
        let mode = mode::S_IFLNK | 0o777;
        let attr = Attr { mode, nlink: 1, atime: now, mtime: now, ctime: now, ..Attr::default() };
        let inode = Inode::new(dir.inode().sb(), attr, None, Box::new(Symlink(target.into())));
        Self::enter(dir, name, inode).map(drop)
    }

    fn link(&self, dir: &Arc<Dentry>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        if inode.is_dir() {
            return Err(EPERM);
        }
        Self::enter(dir, name, inode.clone())?;
        inode.update(|a| (a.nlink, a.ctime) = (a.nlink + 1, now()));
        Ok(())
    }

    fn unlink(&self, dir: &Arc<Dentry>, victim: &Arc<Dentry>) -> Result<()> {
        Self::remove(dir, victim)
    }

    fn rmdir(&self, dir: &Arc<Dentry>, victim: &Arc<Dentry>) -> Result<()> {
        if !victim.children().lock().is_empty() {
            return Err(ENOTEMPTY);
        }
        Self::remove(dir, victim)?;
        victim.inode().update(|a| a.nlink = 0);
        dir.inode().update(|a| a.nlink = a.nlink.saturating_sub(1));
        Ok(())
    }

    fn rename(
        &self,
        old_dir: &Arc<Dentry>,
        old: &Arc<Dentry>,
        new_dir: &Arc<Dentry>,
        new_name: &[u8],
        target: Option<&Arc<Dentry>>,
    ) -> Result<()> {
        if let Some(target) = target {
            if target.inode().is_dir() { self.rmdir(new_dir, target)? } else { self.unlink(new_dir, target)? }
        }
        let moved = old_dir.children().lock().remove(&*old.name()).ok_or(ENOENT)?;
        moved.move_to(Some(new_dir), new_name);
        new_dir.children().lock().insert(new_name.into(), moved);
        if old.inode().is_dir() && !Arc::ptr_eq(old_dir, new_dir) {
            old_dir.inode().update(|a| a.nlink = a.nlink.saturating_sub(1));
            new_dir.inode().update(|a| a.nlink += 1);
        }
        old_dir.inode().touch_mtime();
        new_dir.inode().touch_mtime();
        old.inode().update(|a| a.ctime = now());
        Ok(())
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: u32) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(DirFile))
    }
}

/// A regular file.
struct Regular;

impl InodeOps for Regular {
    fn open(&self, _inode: &Arc<Inode>, _flags: u32) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(RegularFile))
    }

    fn truncate(&self, inode: &Arc<Inode>, size: u64) -> Result<()> {
        truncate(inode, size)
    }
}

/// A symbolic link with its target.
struct Symlink(Box<[u8]>);

impl InodeOps for Symlink {
    fn readlink(&self) -> Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }
}

/// A device node; the driver is found at each `open`.
pub struct Special;

impl InodeOps for Special {
    fn open(&self, inode: &Arc<Inode>, flags: u32) -> Result<Arc<dyn FileOps>> {
        let attr = inode.attr();
        match attr.mode & mode::S_IFMT {
            mode::S_IFCHR => chrdev::open(attr.rdev, flags),
            mode::S_IFBLK => block_dev::open(attr.rdev),
            _ => Err(abi::errno::ENXIO),
        }
    }
}

/// An open regular file.
pub struct RegularFile;

/// Bytes moved at a time between user memory and the page cache.
const CHUNK: usize = 4096;

impl RegularFile {
    /// Copies from a page cache to where a read goes.
    pub fn read_mapping(mapping: &Arc<AddressSpace>, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        let mut chunk = alloc::vec![0; CHUNK.min(dest.remaining())];
        let mut done = 0;
        while dest.remaining() > 0 {
            let in_page = CHUNK - *pos as usize % CHUNK;
            let want = in_page.min(chunk.len()).min(dest.remaining());
            let count = match mapping.read(*pos, &mut chunk[..want]) {
                Ok(count) => count,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            if count == 0 {
                break;
            }
            let stored = match dest.put(&chunk[..count]) {
                Ok(stored) => stored,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            *pos += stored as u64;
            done += stored;
            if stored < count {
                break;
            }
        }
        Ok(done)
    }
}

impl FileOps for RegularFile {
    fn read(&self, file: &File, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        Self::read_mapping(file.inode().mapping().ok_or(EINVAL)?, dest, pos)
    }

    fn write(&self, file: &File, source: &mut Source<'_>, pos: &mut u64) -> Result<usize> {
        let mapping = file.inode().mapping().ok_or(EINVAL)?;
        if *pos >= MAX_LFS_FILESIZE && source.remaining() > 0 {
            return Err(EFBIG);
        }
        let mut chunk = alloc::vec![0; CHUNK.min(source.remaining())];
        let mut done = 0;
        while source.remaining() > 0 {
            let in_page = CHUNK - *pos as usize % CHUNK;
            let want = in_page.min(chunk.len()).min(source.remaining());
            let step = source.take(&mut chunk[..want]).and_then(|count| mapping.write(*pos, &chunk[..count]));
            match step {
                Ok(count) => {
                    *pos += count as u64;
                    done += count;
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        if done > 0 {
            file.inode().touch_mtime();
        }
        Ok(done)
    }

    fn mapping(&self, file: &File) -> Option<Arc<AddressSpace>> {
        file.inode().mapping().cloned()
    }

    fn truncate(&self, file: &File, size: u64) -> Result<()> {
        truncate(file.inode(), size)
    }
}

/// Cuts or extends a regular file.
pub fn truncate(inode: &Arc<Inode>, size: u64) -> Result<()> {
    let mapping = inode.mapping().ok_or(EINVAL)?;
    if size > MAX_LFS_FILESIZE {
        return Err(EFBIG);
    }
    mapping.set_size(size)?;
    inode.touch_mtime();
    Ok(())
}
