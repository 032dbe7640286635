//! `inode` and what each file system does with its own.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::{
    books::InodeRecord,
    errno::{EACCES, EINVAL, ENOTDIR, ENXIO, EPERM, Result},
    stat::{Kstat, Timespec, mode},
};

use super::{Dentry, FileOps, SuperBlock, book::Book};
use crate::{mm::filemap::AddressSpace, sync::SpinLock};

/// What may change in an inode.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "Linux's names")]
pub struct Attr {
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: (u32, u32),
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
}

/// `inode`: a file, apart from its names.
#[repr(C)]
pub struct Inode {
    record: Book<InodeRecord>,
    sb: Arc<SuperBlock>,
    attr: SpinLock<Attr>,
    ops: Box<dyn InodeOps>,
    mapping: Option<Arc<AddressSpace>>,
    /// Users of a running program's file and writers of it exclude each other: negative
    /// while it is executed, positive while it is open for writing.
    pub write_count: SpinLock<i32>,
}

impl Inode {
    /// A new inode of `sb`. Regular files bring their page cache in `mapping`.
    pub fn new(
        sb: &Arc<SuperBlock>,
        attr: Attr,
        mapping: Option<Arc<AddressSpace>>,
        ops: Box<dyn InodeOps>,
    ) -> Arc<Self> {
        Self::with_ino(sb, sb.next_ino(), attr, mapping, ops)
    }

    /// The same with a given number.
    pub fn with_ino(
        sb: &Arc<SuperBlock>,
        ino: u32,
        attr: Attr,
        mapping: Option<Arc<AddressSpace>>,
        ops: Box<dyn InodeOps>,
    ) -> Arc<Self> {
        let record = Book::new(InodeRecord { ino, major: sb.dev.0, minor: sb.dev.1 });
        Arc::new(Inode {
            record,
            sb: sb.clone(),
            attr: SpinLock::new(attr),
            ops,
            mapping,
            write_count: SpinLock::new(0),
        })
    }

    /// The record that the host reads.
    pub fn record(&self) -> &Book<InodeRecord> {
        &self.record
    }

    /// Inode number.
    pub fn ino(&self) -> u32 {
        self.record.with(|r| r.ino)
    }

    /// The file system.
    pub fn sb(&self) -> &Arc<SuperBlock> {
        &self.sb
    }

    /// What the file system does.
    pub fn ops(&self) -> &dyn InodeOps {
        &*self.ops
    }

    /// The page cache of a regular file.
    pub fn mapping(&self) -> Option<&Arc<AddressSpace>> {
        self.mapping.as_ref()
    }

    /// A copy of the attributes.
    pub fn attr(&self) -> Attr {
        *self.attr.lock()
    }

    /// Changes attributes.
    pub fn update<R>(&self, change: impl FnOnce(&mut Attr) -> R) -> R {
        change(&mut self.attr.lock())
    }

    /// The type bits of the mode.
    pub fn kind(&self) -> u32 {
        self.attr.lock().mode & mode::S_IFMT
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == mode::S_IFDIR
    }

    /// Bytes in the file.
    pub fn size(&self) -> u64 {
        match &self.mapping {
            Some(mapping) => mapping.size(),
            None => self.ops.size(),
        }
    }

    /// Notes a change of the contents.
    pub fn touch_mtime(&self) {
        let now = super::now();
        self.update(|a| (a.mtime, a.ctime) = (now, now));
    }

    /// Everything that `stat` tells.
    pub fn getattr(&self) -> Kstat {
        let a = self.attr();
        let size = self.size();
        Kstat {
            dev: self.sb.dev,
            ino: self.ino().into(),
            mode: a.mode,
            nlink: a.nlink,
            uid: a.uid,
            gid: a.gid,
            rdev: a.rdev,
            size,
            blksize: if self.mapping.is_some() || self.is_dir() { 4096 } else { 1024 },
            blocks: self.ops.sectors().unwrap_or_else(|| self.pages_in_memory() * 8),
            atime: a.atime,
            mtime: a.mtime,
            ctime: a.ctime,
        }
    }

    fn pages_in_memory(&self) -> u64 {
        self.mapping.as_ref().map_or(0, |mapping| mapping.nr_pages().into())
    }

    /// Checks the rights `mask` (read 4, write 2, execute 1) for a user.
    pub fn permission(&self, mask: u32, (uid, gid): (u32, u32)) -> Result<()> {
        let a = self.attr();
        if uid == 0 {
            // The superuser may all, but executes a file only if somebody may.
            let refused = mask & 1 != 0 && a.mode & mode::S_IFMT != mode::S_IFDIR && a.mode & 0o111 == 0;
            return if refused { Err(EACCES) } else { Ok(()) };
        }
        let shift = if uid == a.uid {
            6
        } else if gid == a.gid {
            3
        } else {
            0
        };
        if mask & !(a.mode >> shift) & 7 == 0 { Ok(()) } else { Err(EACCES) }
    }
}

/// What a file system does with an inode. The defaults are those of an inode that cannot.
pub trait InodeOps: Send + Sync {
    /// Finds `name` in the directory `dir`.
    fn lookup(&self, _dir: &Arc<Dentry>, _name: &[u8]) -> Result<Arc<Dentry>> {
        Err(ENOTDIR)
    }

    /// Makes a file, directory or special file, by the type bits of `mode`.
    fn mknod(&self, _dir: &Arc<Dentry>, _name: &[u8], _mode: u32, _rdev: (u32, u32)) -> Result<Arc<Dentry>> {
        Err(EPERM)
    }

    /// Makes a symbolic link.
    fn symlink(&self, _dir: &Arc<Dentry>, _name: &[u8], _target: &[u8]) -> Result<()> {
        Err(EPERM)
    }

    /// Makes another name for `inode`.
    fn link(&self, _dir: &Arc<Dentry>, _name: &[u8], _inode: &Arc<Inode>) -> Result<()> {
        Err(EPERM)
    }

    /// Removes the name of a file.
    fn unlink(&self, _dir: &Arc<Dentry>, _victim: &Arc<Dentry>) -> Result<()> {
        Err(EPERM)
    }

    /// Removes an empty directory.
    fn rmdir(&self, _dir: &Arc<Dentry>, _victim: &Arc<Dentry>) -> Result<()> {
        Err(EPERM)
    }

    /// Moves `old` from `old_dir` to `new_dir`, over `target` if there is one; both
    /// directories are of this file system.
    fn rename(
        &self,
        _old_dir: &Arc<Dentry>,
        _old: &Arc<Dentry>,
        _new_dir: &Arc<Dentry>,
        _new_name: &[u8],
        _target: Option<&Arc<Dentry>>,
    ) -> Result<()> {
        Err(EPERM)
    }

    /// The target of a symbolic link.
    fn readlink(&self) -> Result<Vec<u8>> {
        Err(EINVAL)
    }

    /// Where a magic link (`/proc/PID/exe`) leads, which needs no path.
    fn magic_target(&self) -> Option<Result<Arc<Dentry>>> {
        None
    }

    /// What `open` gives; ENXIO for what cannot be opened.
    fn open(&self, _inode: &Arc<Inode>, _flags: u32) -> Result<Arc<dyn FileOps>> {
        Err(ENXIO)
    }

    /// Cuts or extends a regular file.
    fn truncate(&self, _inode: &Arc<Inode>, _size: u64) -> Result<()> {
        Err(EINVAL)
    }

    /// Sectors that the file takes on its device; `None` where it has none.
    fn sectors(&self) -> Option<u64> {
        None
    }

    /// The size that `stat` tells, of what has no page cache.
    fn size(&self) -> u64 {
        0
    }
}

/// Counts up inode numbers.
#[derive(Debug, Default)]
pub struct InoCounter(AtomicU32);

impl InoCounter {
    /// The first number given will be `first`.
    pub const fn new(first: u32) -> Self {
        InoCounter(AtomicU32::new(first))
    }

    /// The next number.
    pub fn next(&self) -> u32 {
        self.0.fetch_add(1, Relaxed)
    }
}
