//! `file`: an open file, and what can be done with one.

use alloc::{collections::BTreeMap, sync::Arc};

use abi::{
    Ptr32,
    books::FileRecord,
    errno::{EBADF, EINVAL, EISDIR, ENOTDIR, ENOTTY, ESPIPE, Result},
    stat::mode,
};

use super::{Dentry, Dest, DirContext, Inode, PollTable, Source, poll::DEFAULT_POLLMASK};
use crate::{
    mm::{MappedFile, MmGuard, VmArea, filemap::AddressSpace},
    sync::SpinLock,
};

/// Flags of `open`.
pub mod o {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const ACCMODE: u32 = 3;
    pub const RDONLY: u32 = 0;
    pub const WRONLY: u32 = 1;
    pub const RDWR: u32 = 2;
    pub const CREAT: u32 = 0o100;
    pub const EXCL: u32 = 0o200;
    pub const NOCTTY: u32 = 0o400;
    pub const TRUNC: u32 = 0o1000;
    pub const APPEND: u32 = 0o2000;
    pub const NONBLOCK: u32 = 0o4000;
    pub const DIRECTORY: u32 = 0o200_000;
    pub const NOFOLLOW: u32 = 0o400_000;
    pub const LARGEFILE: u32 = 0o100_000;
    pub const CLOEXEC: u32 = 0o2_000_000;
    pub const PATH: u32 = 0o10_000_000;
    pub const TMPFILE: u32 = 0o20_000_000;
    /// What `F_SETFL` may change.
    pub const SETFL_MASK: u32 = APPEND | NONBLOCK;
}

/// An open file.
#[repr(C)]
pub struct File {
    record: FileRecord,
    dentry: Arc<Dentry>,
    ops: Arc<dyn FileOps>,
    flags: SpinLock<u32>,
    pos: SpinLock<u64>,
}

impl File {
    /// An open file. `flags` are those of `open`.
    pub fn new(dentry: Arc<Dentry>, ops: Arc<dyn FileOps>, flags: u32) -> Arc<Self> {
        let record = FileRecord { dentry: dentry.record().ptr(), inode: dentry.inode().record().ptr() };
        let flags = flags & !(o::CREAT | o::EXCL | o::NOCTTY | o::TRUNC | o::CLOEXEC);
        Arc::new(File { record, dentry, ops, flags: SpinLock::new(flags), pos: SpinLock::new(0) })
    }

    /// Opens what `dentry` names.
    pub fn open(dentry: Arc<Dentry>, flags: u32) -> Result<Arc<Self>> {
        let inode = dentry.inode().clone();
        if flags & o::PATH != 0 {
            return Ok(Self::new(dentry, Arc::new(PathOnly), flags));
        }
        if inode.kind() == mode::S_IFREG && flags & o::ACCMODE != o::RDONLY {
            let mut count = inode.write_count.lock();
            if *count < 0 {
                return Err(abi::errno::ETXTBSY);
            }
            *count += 1;
        }
        match inode.ops().open(&inode, flags) {
            Ok(ops) => Ok(Self::new(dentry, ops, flags)),
            Err(error) => {
                if inode.kind() == mode::S_IFREG && flags & o::ACCMODE != o::RDONLY {
                    *inode.write_count.lock() -= 1;
                }
                Err(error)
            }
        }
    }

    /// Where the host finds the record.
    pub fn record_ptr(&self) -> Ptr32<FileRecord> {
        Ptr32::new(&raw const self.record as usize as u32)
    }

    /// The name it was opened by.
    pub fn dentry(&self) -> &Arc<Dentry> {
        &self.dentry
    }

    /// The inode.
    pub fn inode(&self) -> &Arc<Inode> {
        self.dentry.inode()
    }

    /// What the file can do.
    pub fn ops(&self) -> &Arc<dyn FileOps> {
        &self.ops
    }

    /// The flags, as `F_GETFL` gives them.
    pub fn flags(&self) -> u32 {
        *self.flags.lock()
    }

    /// Changes the flags that may change.
    pub fn set_flags(&self, flags: u32) {
        let mut now = self.flags.lock();
        *now = *now & !o::SETFL_MASK | flags & o::SETFL_MASK;
    }

    /// Whether calls must not wait.
    pub fn nonblocking(&self) -> bool {
        self.flags() & o::NONBLOCK != 0
    }

    /// Open for reading.
    pub fn readable(&self) -> bool {
        self.flags() & o::PATH == 0 && matches!(self.flags() & o::ACCMODE, o::RDONLY | o::RDWR)
    }

    /// Open for writing.
    pub fn writable(&self) -> bool {
        self.flags() & o::PATH == 0 && matches!(self.flags() & o::ACCMODE, o::WRONLY | o::RDWR)
    }

    /// Reads at the file's own offset.
    pub fn read(&self, dest: &mut Dest<'_>) -> Result<usize> {
        if !self.readable() {
            return Err(EBADF);
        }
        let mut pos = *self.pos.lock();
        let count = self.ops.read(self, dest, &mut pos)?;
        *self.pos.lock() = pos;
        Ok(count)
    }

    /// Writes at the file's own offset, or at the end in append mode.
    pub fn write(&self, source: &mut Source<'_>) -> Result<usize> {
        if !self.writable() {
            return Err(EBADF);
        }
        let mut pos = if self.flags() & o::APPEND != 0 { self.inode().size() } else { *self.pos.lock() };
        let count = self.ops.write(self, source, &mut pos)?;
        *self.pos.lock() = pos;
        Ok(count)
    }

    /// Reads at `pos`.
    pub fn read_at(&self, dest: &mut Dest<'_>, mut pos: u64) -> Result<usize> {
        if !self.readable() {
            return Err(EBADF);
        }
        self.ops.check_seekable()?;
        self.ops.read(self, dest, &mut pos)
    }

    /// Writes at `pos`; in append mode at the end all the same, as Linux does.
    pub fn write_at(&self, source: &mut Source<'_>, mut pos: u64) -> Result<usize> {
        if !self.writable() {
            return Err(EBADF);
        }
        self.ops.check_seekable()?;
        if self.flags() & o::APPEND != 0 {
            pos = self.inode().size();
        }
        self.ops.write(self, source, &mut pos)
    }

    /// The file's own offset.
    pub fn pos(&self) -> u64 {
        *self.pos.lock()
    }

    /// Sets the file's own offset.
    pub fn set_pos(&self, pos: u64) {
        *self.pos.lock() = pos;
    }

    /// Reads a whole piece of the file into a buffer of the kernel; what lies past the end
    /// is not filled. Says how much there was.
    pub fn kernel_read(&self, pos: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut dest = Dest::Kernel(buffer, 0);
        let mut at = pos;
        let mut total = 0;
        while dest.remaining() > 0 {
            match self.ops.read(self, &mut dest, &mut at)? {
                0 => break,
                count => total += count,
            }
        }
        Ok(total)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.ops.release(self);
        if self.inode().kind() == mode::S_IFREG && self.writable() {
            *self.inode().write_count.lock() -= 1;
        }
    }
}

/// Places that `lseek` counts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "Linux's names")]
pub enum Whence {
    Set,
    Cur,
    End,
    Data,
    Hole,
}

impl Whence {
    /// By its number; EINVAL for another.
    pub fn new(number: u32) -> Result<Self> {
        [Whence::Set, Whence::Cur, Whence::End, Whence::Data, Whence::Hole].get(number as usize).copied().ok_or(EINVAL)
    }
}

/// What an open file can do. The defaults are those of a file that cannot.
pub trait FileOps: Send + Sync {
    /// Reads at `pos` and moves it; 0 is the end of the file.
    fn read(&self, _file: &File, _dest: &mut Dest<'_>, _pos: &mut u64) -> Result<usize> {
        Err(EINVAL)
    }

    /// Writes at `pos` and moves it.
    fn write(&self, _file: &File, _source: &mut Source<'_>, _pos: &mut u64) -> Result<usize> {
        Err(EINVAL)
    }

    /// Moves the file's own offset. This default suits what has a size.
    fn llseek(&self, file: &File, offset: i64, whence: Whence) -> Result<u64> {
        self.check_seekable()?;
        let size = file.inode().size() as i64;
        let base = match whence {
            Whence::Set => 0,
            Whence::Cur => file.pos() as i64,
            Whence::End => size,
            Whence::Data | Whence::Hole => {
                if offset < 0 || offset >= size {
                    return Err(abi::errno::ENXIO);
                }
                let at = if whence == Whence::Data { offset } else { size };
                file.set_pos(at as u64);
                return Ok(at as u64);
            }
        };
        let to = base.checked_add(offset).ok_or(abi::errno::EOVERFLOW)?;
        if to < 0 {
            return Err(EINVAL);
        }
        file.set_pos(to as u64);
        Ok(to as u64)
    }

    /// ESPIPE for what has no offset.
    fn check_seekable(&self) -> Result<()> {
        Ok(())
    }

    /// A command for a device.
    fn ioctl(&self, _file: &File, _cmd: u32, _arg: u32) -> Result<u32> {
        Err(ENOTTY)
    }

    /// Which of reading and writing would not wait; enters the caller in the wait queues
    /// of `table` if it means to sleep.
    fn poll(&self, _file: &File, _table: &mut PollTable) -> u32 {
        DEFAULT_POLLMASK
    }

    /// The page cache behind a mapping.
    fn mapping(&self, _file: &File) -> Option<Arc<AddressSpace>> {
        None
    }

    /// Whether a mapping is filled by [`FileOps::mmap`], not by the page cache.
    fn fills_areas(&self) -> bool {
        false
    }

    /// Fills a new area of a mapping, or refuses it.
    fn mmap(&self, _file: &File, _mm: &mut MmGuard, _area: &mut VmArea) -> Result<()> {
        Ok(())
    }

    /// Lists a directory from the file's offset on.
    fn readdir(&self, _file: &File, _ctx: &mut DirContext<'_>) -> Result<()> {
        Err(ENOTDIR)
    }

    /// Cuts or extends a file that was opened for writing.
    fn truncate(&self, _file: &File, _size: u64) -> Result<()> {
        Err(EINVAL)
    }

    /// Brings what was written to the device. EIO and ENOSPC tell of a failure since the last
    /// call.
    fn fsync(&self, file: &File) -> Result<()> {
        match self.mapping(file) {
            Some(mapping) => mapping.sync(),
            None => Ok(()),
        }
    }

    /// The last reference to the open file went away.
    fn release(&self, _file: &File) {}

    /// The state that only this type's own code can use.
    fn private(&self) -> Option<&(dyn core::any::Any + Send + Sync)> {
        None
    }
}

/// A file opened with `O_PATH`.
struct PathOnly;

impl FileOps for PathOnly {
    fn read(&self, _: &File, _: &mut Dest<'_>, _: &mut u64) -> Result<usize> {
        Err(EBADF)
    }
    fn write(&self, _: &File, _: &mut Source<'_>, _: &mut u64) -> Result<usize> {
        Err(EBADF)
    }
    fn llseek(&self, _: &File, _: i64, _: Whence) -> Result<u64> {
        Err(EBADF)
    }
    fn ioctl(&self, _: &File, _: u32, _: u32) -> Result<u32> {
        Err(EBADF)
    }
    fn readdir(&self, _: &File, _: &mut DirContext<'_>) -> Result<()> {
        Err(EBADF)
    }
}

/// A directory whose entries are the dentry's children.
pub struct DirFile;

impl FileOps for DirFile {
    fn read(&self, _: &File, _: &mut Dest<'_>, _: &mut u64) -> Result<usize> {
        Err(EISDIR)
    }

    fn readdir(&self, file: &File, ctx: &mut DirContext<'_>) -> Result<()> {
        if !ctx.dots(file.dentry()) {
            return Ok(());
        }
        // The offset is the next dentry's cookie: names that come or go while a program lists
        // the directory make it skip none of the others.
        let mut entries = BTreeMap::new();
        for child in file.dentry().children().lock().values().filter(|child| child.cookie() >= ctx.pos()) {
            entries.insert(child.cookie(), child.clone());
        }
        for (cookie, dentry) in entries {
            let name = dentry.name();
            let inode = dentry.follow_mount().inode().clone();
            if !ctx.emit_before(&name, inode.ino(), inode.kind(), cookie + 1) {
                break;
            }
        }
        Ok(())
    }
}

/// ESPIPE, for the `check_seekable` of streams.
pub fn not_seekable() -> Result<()> {
    Err(ESPIPE)
}

impl MappedFile for File {
    fn address_space(&self) -> Option<Arc<AddressSpace>> {
        self.ops.mapping(self)
    }

    fn record(&self) -> Ptr32<FileRecord> {
        self.record_ptr()
    }

    fn readable(&self) -> bool {
        File::readable(self)
    }

    fn writable(&self) -> bool {
        File::writable(self)
    }

    fn fills_areas(&self) -> bool {
        self.ops.fills_areas()
    }

    fn fill_area(&self, mm: &mut MmGuard, area: &mut VmArea) -> Result<()> {
        self.ops.mmap(self, mm, area)
    }

    fn is_zero_device(&self) -> bool {
        self.inode().kind() == mode::S_IFCHR && self.inode().attr().rdev == (1, 5)
    }
}
