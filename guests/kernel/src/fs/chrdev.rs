//! Character devices: their numbers, their nodes in `/dev`, and those of memory. Drivers of
//! modules come and go (`module::chrdev`).

use alloc::sync::Arc;

use abi::{
    errno::{EFAULT, EINVAL, ENOENT, ENOSPC, Result},
    stat::mode,
};

use super::{Dentry, Dest, File, FileOps, Source, Whence, ramfs, super_block::minor};
use crate::{
    drivers::{random, tty},
    module,
    sync::Once,
};

/// The majors that the kernel's own drivers have, with their names.
pub const OWN_MAJORS: [(u32, &str); 5] =
    [(1, "mem"), (tty::TTY_MAJOR, "ttyS"), (5, "/dev/tty"), (5, "/dev/console"), (tty::raw::MAJOR, "rawS")];

/// The root of the devtmpfs of boot, where nodes of modules' devices appear.
static DEVTMPFS: Once<Arc<Dentry>> = Once::new();

/// Calls `visit` with the major and the name of each driver, by major.
pub fn for_each(mut visit: impl FnMut(u32, &str)) {
    let mut own = OWN_MAJORS.iter().peekable();
    module::chrdev::for_each(|major, name| {
        while let Some((number, own)) = own.next_if(|(number, _)| *number < major) {
            visit(*number, own);
        }
        visit(major, name);
    });
    own.for_each(|(number, name)| visit(*number, name));
}

/// Makes a node in `/dev` for a device that came after boot: EEXIST for a name that is taken.
pub fn add_node(name: &[u8], rdev: (u32, u32)) -> Result<()> {
    ramfs::add(DEVTMPFS.try_get().ok_or(ENOENT)?, name, mode::S_IFCHR | 0o600, rdev).map(drop)
}

/// Removes the node of a device, unless somebody has put another thing there.
pub fn remove_node(name: &[u8], rdev: (u32, u32)) -> Result<()> {
    let root = DEVTMPFS.try_get().ok_or(ENOENT)?;
    let node = root.inode().ops().lookup(root, name)?;
    let attr = node.inode().attr();
    if attr.mode & mode::S_IFMT != mode::S_IFCHR || attr.rdev != rdev {
        return Err(ENOENT);
    }
    root.inode().ops().unlink(root, &node)
}

/// Finds the driver of a device number.
pub fn open(rdev: (u32, u32), flags: u32) -> Result<Arc<dyn FileOps>> {
    match rdev {
        (1, 3) => Ok(Arc::new(Null)),
        (1, 5) => Ok(Arc::new(Zero)),
        (1, 7) => Ok(Arc::new(Full)),
        (1, 8 | 9) => Ok(Arc::new(Random)),
        (1, 11) => Ok(Arc::new(Kmsg)),
        (tty::TTYAUX_MAJOR | tty::TTY_MAJOR, _) => tty::open(rdev, flags),
        (tty::raw::MAJOR, line) => tty::raw::open(line),
        _ => module::chrdev::open(rdev, flags),
    }
}

/// A devtmpfs with the nodes of all devices; returns its root.
pub fn new_devtmpfs() -> Result<Arc<Dentry>> {
    let root = ramfs::new_fs("devtmpfs", ramfs::TMPFS_MAGIC, minor::DEVTMPFS);
    for (name, mode_bits, rdev) in [
        ("null", 0o666, (1, 3)),
        ("zero", 0o666, (1, 5)),
        ("full", 0o666, (1, 7)),
        ("random", 0o666, (1, 8)),
        ("urandom", 0o666, (1, 9)),
        ("kmsg", 0o644, (1, 11)),
        ("tty", 0o666, (tty::TTYAUX_MAJOR, 0)),
        ("console", 0o600, (tty::TTYAUX_MAJOR, 1)),
        ("ttyS0", 0o660, (tty::TTY_MAJOR, 64)),
        ("rawS0", 0o660, (tty::raw::MAJOR, 0)),
        ("rawS1", 0o660, (tty::raw::MAJOR, 1)),
        ("rawS2", 0o660, (tty::raw::MAJOR, 2)),
        ("rawS3", 0o660, (tty::raw::MAJOR, 3)),
    ] {
        ramfs::add(&root, name.as_bytes(), mode::S_IFCHR | mode_bits, rdev)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        root.inode().ops().symlink(&root, name.as_bytes(), target.as_bytes())?;
    }
    for device in crate::block::devices() {
        ramfs::add(&root, device.name.as_bytes(), mode::S_IFBLK | 0o660, device.rdev)?;
    }
    ramfs::add(&root, b"shm", mode::S_IFDIR | 0o1777, (0, 0))?;
    if DEVTMPFS.try_get().is_none() {
        DEVTMPFS.set(root.clone());
    }
    Ok(root)
}

/// Takes all that a source has, and counts it.
fn swallow(source: &mut Source<'_>) -> Result<usize> {
    let mut count = 0;
    match source {
        Source::User(list) => {
            for (_, len) in list.iter_mut() {
                count += *len as usize;
                *len = 0;
            }
        }
        Source::Kernel(bytes) => {
            count = bytes.len();
            *bytes = &[];
        }
    }
    Ok(count)
}

/// Fills a destination with what `fill` makes, page by page.
fn produce(dest: &mut Dest<'_>, mut fill: impl FnMut(&mut [u8])) -> Result<usize> {
    let mut chunk = alloc::vec![0; dest.remaining().min(4096)];
    let mut done = 0;
    while dest.remaining() > 0 {
        let want = chunk.len().min(dest.remaining());
        fill(&mut chunk[..want]);
        match dest.put(&chunk[..want]) {
            Ok(count) => {
                done += count;
                if count < want {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// `lseek` of the memory devices: any offset will do.
fn seek_anywhere(file: &File, offset: i64, whence: Whence) -> Result<u64> {
    let base = match whence {
        Whence::Cur => file.pos() as i64,
        _ => 0,
    };
    file.set_pos(base.wrapping_add(offset) as u64);
    Ok(file.pos())
}

struct Null;

impl FileOps for Null {
    fn read(&self, _: &File, _: &mut Dest<'_>, _: &mut u64) -> Result<usize> {
        Ok(0)
    }
    fn write(&self, _: &File, source: &mut Source<'_>, _: &mut u64) -> Result<usize> {
        swallow(source)
    }
    fn llseek(&self, file: &File, _: i64, _: Whence) -> Result<u64> {
        file.set_pos(0);
        Ok(0)
    }
}

struct Zero;

impl FileOps for Zero {
    fn read(&self, _: &File, dest: &mut Dest<'_>, _: &mut u64) -> Result<usize> {
        produce(dest, |_| {})
    }
    fn write(&self, _: &File, source: &mut Source<'_>, _: &mut u64) -> Result<usize> {
        swallow(source)
    }
    fn llseek(&self, file: &File, offset: i64, whence: Whence) -> Result<u64> {
        seek_anywhere(file, offset, whence)
    }
}

struct Full;

impl FileOps for Full {
    fn read(&self, _: &File, dest: &mut Dest<'_>, _: &mut u64) -> Result<usize> {
        produce(dest, |_| {})
    }
    fn write(&self, _: &File, _: &mut Source<'_>, _: &mut u64) -> Result<usize> {
        Err(ENOSPC)
    }
    fn llseek(&self, file: &File, offset: i64, whence: Whence) -> Result<u64> {
        seek_anywhere(file, offset, whence)
    }
}

struct Random;

impl FileOps for Random {
    fn read(&self, _: &File, dest: &mut Dest<'_>, _: &mut u64) -> Result<usize> {
        produce(dest, random::fill)
    }
    fn write(&self, _: &File, source: &mut Source<'_>, _: &mut u64) -> Result<usize> {
        swallow(source)
    }
    fn llseek(&self, file: &File, offset: i64, whence: Whence) -> Result<u64> {
        seek_anywhere(file, offset, whence)
    }
}

/// `/dev/kmsg`: what is written goes to the kernel's log.
struct Kmsg;

impl FileOps for Kmsg {
    fn write(&self, _: &File, source: &mut Source<'_>, _: &mut u64) -> Result<usize> {
        let mut line = alloc::vec![0; source.remaining().min(992)];
        if source.remaining() > line.len() {
            return Err(EINVAL);
        }
        let count = source.take(&mut line)?;
        if count < line.len() {
            return Err(EFAULT);
        }
        let text = alloc::string::String::from_utf8_lossy(&line);
        // A level in angle brackets may stand before the text.
        let text = match text.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            Some((level, rest)) if level.bytes().all(|b| b.is_ascii_digit()) => rest,
            _ => &text,
        };
        crate::pr_info!("{}", text.trim_end_matches('\n'));
        Ok(count)
    }
}
