//! Open files and directories of ext2.

use alloc::sync::Arc;

use abi::{
    errno::{EFBIG, EINVAL, EISDIR, Result},
    stat::mode,
};

use super::{Inode, inode::Node, map::max_bytes};
use crate::{
    fs::{Dest, DirContext, File, FileOps, Source, ramfs::RegularFile},
    mm::filemap::AddressSpace,
};

/// Bytes that a write gives blocks to at a time.
const CHUNK: usize = 4096;

impl Node {
    /// Cuts or extends a regular file.
    pub(super) fn truncate(&self, inode: &Arc<Inode>, size: u64) -> Result<()> {
        let fs = &self.fs;
        fs.check_writable()?;
        let mapping = inode.mapping().ok_or(EINVAL)?;
        if size > max_bytes(fs.layout.block_size) {
            return Err(EFBIG);
        }
        let _writing = self.write_lock.lock();
        let shrinks = size < mapping.size();
        mapping.set_size(size)?;
        if shrinks {
            let mut space = fs.lock_for_change()?;
            self.free_from(&mut space, size.div_ceil(fs.layout.block_size.into()))?;
        }
        inode.touch_mtime();
        self.write_inode(inode)
    }
}

/// An open regular file.
pub(super) struct Regular(pub Arc<Node>);

impl FileOps for Regular {
    fn read(&self, file: &File, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        RegularFile.read(file, dest, pos)
    }

    fn write(&self, file: &File, source: &mut Source<'_>, pos: &mut u64) -> Result<usize> {
        let node = &self.0;
        node.fs.check_writable()?;
        let mapping = file.inode().mapping().ok_or(EINVAL)?;
        let limit = max_bytes(node.fs.layout.block_size);
        let mut chunk = alloc::vec![0; CHUNK.min(source.remaining())];
        let mut done = 0;
        while source.remaining() > 0 {
            let in_page = CHUNK - *pos as usize % CHUNK;
            let want = in_page.min(chunk.len()).min(source.remaining());
            if *pos + want as u64 > limit {
                return if done > 0 { Ok(done) } else { Err(EFBIG) };
            }
            // A program's memory may be a mapping of this very file: it is read before the lock.
            let step = source.take(&mut chunk[..want]).and_then(|count| {
                let _writing = node.write_lock.lock();
                // What lies between the old end and this, in the same page, is written with it.
                let page = *pos - *pos % CHUNK as u64;
                let from = mapping.size().clamp(page, (*pos).max(page));
                node.allocate(from, *pos + count as u64)?;
                mapping.write(*pos, &chunk[..count])
            });
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
            node.write_inode(file.inode())?;
        }
        Ok(done)
    }

    fn mapping(&self, file: &File) -> Option<Arc<AddressSpace>> {
        file.inode().mapping().cloned()
    }

    fn truncate(&self, file: &File, size: u64) -> Result<()> {
        self.0.truncate(file.inode(), size)
    }

    fn fsync(&self, file: &File) -> Result<()> {
        let fs = &self.0.fs;
        let mapping = file.inode().mapping().ok_or(EINVAL)?;
        mapping.sync()?;
        self.0.zero_fresh()?;
        self.0.write_inode(file.inode())?;
        fs.buffers.sync()?;
        fs.device.flush()
    }
}

/// An open directory.
pub(super) struct Directory(pub Arc<Node>);

/// Offsets in a listing begin behind those of `.` and `..`.
const FIRST_OFFSET: u64 = 2;

impl FileOps for Directory {
    fn read(&self, _: &File, _: &mut Dest<'_>, _: &mut u64) -> Result<usize> {
        Err(EISDIR)
    }

    fn readdir(&self, file: &File, ctx: &mut DirContext<'_>) -> Result<()> {
        let node = &self.0;
        if !ctx.dots(file.dentry()) {
            return Ok(());
        }
        let size = u64::from(node.fs.layout.block_size);
        let start = ctx.pos().saturating_sub(FIRST_OFFSET);
        for logical in start / size..node.size() / size {
            for entry in node.entries(logical)? {
                let hidden = entry.ino == 0 || matches!(&*entry.name, b"." | b"..");
                if hidden || entry.pos < start {
                    continue;
                }
                let kind = match entry.kind {
                    0 => node.fs.kind_on_device(entry.ino)?,
                    kind => kind,
                };
                let next = entry.pos + u64::from(entry.len) + FIRST_OFFSET;
                if !ctx.emit_before(&entry.name, entry.ino, kind & mode::S_IFMT, next) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn fsync(&self, file: &File) -> Result<()> {
        self.0.write_inode(file.inode())?;
        self.0.fs.buffers.sync()?;
        self.0.fs.device.flush()
    }
}
