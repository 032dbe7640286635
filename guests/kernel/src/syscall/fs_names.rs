//! Making, removing and changing names and files.

use alloc::sync::Arc;

use abi::{
    errno::{EBUSY, EEXIST, EINVAL, EISDIR, ENODEV, ENOENT, ENOTBLK, ENOTDIR, ENOTEMPTY, ENXIO, EPERM, EXDEV, Result},
    stat::{Timespec, decode_dev, mode},
    wire::u32_at,
};

use super::{
    fs_stat::resolve,
    user::{AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, TimeFormat, bytes, dirfd, file, path, timespec},
};
use crate::{
    block::{self, BlockDevice},
    fs::{
        Dentry, Inode, SuperBlock,
        dentry::is_below,
        ext2::{self, Access},
        namei::{self, Last, Parent},
        now, procfs,
        ramfs::{self, TMPFS_MAGIC},
        super_block,
    },
    mm::uaccess::{UserPtr, strncpy_from_user},
    task::{current, pid},
};

fn parent_of(fd: u32, path_addr: u32, on_dots: abi::Errno) -> Result<Parent> {
    let path = path(path_addr)?;
    namei::lookup_parent(dirfd(fd, &path)?.as_ref(), &path, on_dots)
}

/// `mkdir`, `mkdirat`
pub fn mkdirat(fd: u32, path_addr: u32, mode_bits: u32) -> Result<u32> {
    let parent = parent_of(fd, path_addr, EEXIST)?;
    parent.must_not_exist()?;
    let umask = current().fs().lock().umask;
    namei::create(&parent, mode::S_IFDIR | mode_bits & 0o1777 & !umask, (0, 0)).map(|_| 0)
}

/// `mknod`, `mknodat`
pub fn mknodat(fd: u32, path_addr: u32, mode_bits: u32, dev: u32) -> Result<u32> {
    let kind = match mode_bits & mode::S_IFMT {
        0 => mode::S_IFREG,
        mode::S_IFDIR => return Err(EPERM),
        kind @ (mode::S_IFREG | mode::S_IFCHR | mode::S_IFBLK | mode::S_IFIFO | mode::S_IFSOCK) => kind,
        _ => return Err(EINVAL),
    };
    let parent = parent_of(fd, path_addr, EEXIST)?;
    parent.must_not_exist()?;
    if parent.wants_dir {
        return Err(ENOENT);
    }
    let umask = current().fs().lock().umask;
    namei::create(&parent, kind | mode_bits & 0o7777 & !umask, decode_dev(dev)).map(|_| 0)
}

/// `symlink`, `symlinkat`
pub fn symlinkat(target: u32, fd: u32, path_addr: u32) -> Result<u32> {
    let target = path(target)?;
    if target.is_empty() {
        return Err(ENOENT);
    }
    let parent = parent_of(fd, path_addr, EEXIST)?;
    parent.must_not_exist()?;
    let dir = &parent.dir;
    dir.inode().permission(3, current().fsuid_gid())?;
    dir.inode().ops().symlink(dir, &parent.name, &target).map(|()| 0)
}

/// `link`, `linkat`
pub fn linkat(old_fd: u32, old: u32, new_fd: u32, new: u32, flags: u32) -> Result<u32> {
    let flags_for_old =
        if flags & AT_SYMLINK_FOLLOW != 0 { flags & !AT_SYMLINK_FOLLOW } else { flags | AT_SYMLINK_NOFOLLOW };
    let dentry = resolve(old_fd, old, flags_for_old)?;
    let parent = parent_of(new_fd, new, EEXIST)?;
    parent.must_not_exist()?;
    let dir = &parent.dir;
    if !Arc::ptr_eq(dir.inode().sb(), dentry.inode().sb()) {
        return Err(EXDEV);
    }
    dir.inode().permission(3, current().fsuid_gid())?;
    dir.inode().ops().link(dir, &parent.name, dentry.inode()).map(|()| 0)
}

/// `unlink`, `rmdir`, `unlinkat`
pub fn unlinkat(fd: u32, path_addr: u32, flags: u32) -> Result<u32> {
    if flags & !AT_REMOVEDIR != 0 {
        return Err(EINVAL);
    }
    let removes_dir = flags & AT_REMOVEDIR != 0;
    let parent = parent_of(fd, path_addr, if removes_dir { ENOTEMPTY } else { EISDIR })?;
    let dir = &parent.dir;
    dir.inode().permission(3, current().fsuid_gid())?;
    let victim = parent.find()?;
    if removes_dir {
        if !victim.inode().is_dir() {
            return Err(ENOTDIR);
        }
        check_not_mounted(dir, &parent)?;
        return dir.inode().ops().rmdir(dir, &victim).map(|()| 0);
    }
    if victim.inode().is_dir() {
        return Err(EISDIR);
    }
    if parent.wants_dir {
        return Err(ENOTDIR);
    }
    dir.inode().ops().unlink(dir, &victim).map(|()| 0)
}

/// EBUSY if something is mounted on the name.
fn check_not_mounted(dir: &Arc<Dentry>, parent: &Parent) -> Result<()> {
    let below = dir.inode().ops().lookup(dir, &parent.name)?;
    if below.is_mount_point() { Err(EBUSY) } else { Ok(()) }
}

/// `rename`, `renameat`, `renameat2`
pub fn renameat2(old_fd: u32, old: u32, new_fd: u32, new: u32, flags: u32) -> Result<u32> {
    const RENAME_NOREPLACE: u32 = 1;
    if flags & !RENAME_NOREPLACE != 0 {
        return Err(EINVAL);
    }
    let (from, to) = (parent_of(old_fd, old, EBUSY)?, parent_of(new_fd, new, EBUSY)?);
    if !Arc::ptr_eq(from.dir.inode().sb(), to.dir.inode().sb()) {
        return Err(EXDEV);
    }
    let ids = current().fsuid_gid();
    from.dir.inode().permission(3, ids)?;
    to.dir.inode().permission(3, ids)?;
    let moved = from.find()?;
    check_not_mounted(&from.dir, &from)?;
    let is_dir = moved.inode().is_dir();
    if !is_dir && (from.wants_dir || to.wants_dir) {
        return Err(ENOTDIR);
    }
    if is_dir && is_below(&to.dir, &moved) {
        return Err(EINVAL);
    }
    let target = match to.find() {
        Ok(target) => Some(target),
        Err(ENOENT) => None,
        Err(error) => return Err(error),
    };
    if let Some(target) = &target {
        if flags & RENAME_NOREPLACE != 0 {
            return Err(EEXIST);
        }
        if Arc::ptr_eq(target.inode(), moved.inode()) {
            return Ok(0);
        }
        check_not_mounted(&to.dir, &to)?;
        match (is_dir, target.inode().is_dir()) {
            (true, false) => return Err(ENOTDIR),
            (false, true) => return Err(EISDIR),
            _ => {}
        }
    }
    from.dir.inode().ops().rename(&from.dir, &moved, &to.dir, &to.name, target.as_ref()).map(|()| 0)
}

/// EPERM unless the caller owns the file.
fn check_owner(inode: &Inode) -> Result<()> {
    let (uid, _) = current().fsuid_gid();
    if uid == 0 || uid == inode.attr().uid { Ok(()) } else { Err(EPERM) }
}

fn chmod(inode: &Inode, mode_bits: u32) -> Result<u32> {
    check_owner(inode)?;
    inode.update(|a| (a.mode, a.ctime) = (a.mode & mode::S_IFMT | mode_bits & 0o7777, now()));
    Ok(0)
}

/// `chmod`, `fchmodat`
pub fn fchmodat(fd: u32, path_addr: u32, mode_bits: u32) -> Result<u32> {
    chmod(resolve(fd, path_addr, 0)?.inode(), mode_bits)
}

/// `fchmod`
pub fn fchmod(fd: u32, mode_bits: u32) -> Result<u32> {
    chmod(file(fd)?.inode(), mode_bits)
}

fn chown(inode: &Inode, uid: u32, gid: u32) -> Result<u32> {
    check_owner(inode)?;
    let (caller, _) = current().fsuid_gid();
    if caller != 0 && uid != !0 && uid != inode.attr().uid {
        return Err(EPERM);
    }
    inode.update(|a| {
        a.uid = if uid == !0 { a.uid } else { uid };
        a.gid = if gid == !0 { a.gid } else { gid };
        a.ctime = now();
    });
    Ok(0)
}

/// `chown32`, `lchown32`, `fchownat`
pub fn fchownat(fd: u32, path_addr: u32, uid: u32, gid: u32, flags: u32) -> Result<u32> {
    chown(resolve(fd, path_addr, flags)?.inode(), uid, gid)
}

/// `fchown32`
pub fn fchown(fd: u32, uid: u32, gid: u32) -> Result<u32> {
    chown(file(fd)?.inode(), uid, gid)
}

/// A size of 64 bits in two words.
fn size(low: u32, high: u32) -> Result<u64> {
    let size = u64::from(low) | u64::from(high) << 32;
    if size as i64 >= 0 { Ok(size) } else { Err(EINVAL) }
}

/// `truncate`, `truncate64`
pub fn truncate64(path_addr: u32, low: u32, high: u32) -> Result<u32> {
    let size = size(low, high)?;
    let dentry = namei::lookup(&path(path_addr)?, Last::Follow)?;
    let inode = dentry.inode();
    match inode.kind() {
        mode::S_IFREG => {}
        mode::S_IFDIR => return Err(EISDIR),
        _ => return Err(EINVAL),
    }
    inode.permission(2, current().fsuid_gid())?;
    if *inode.write_count.lock() < 0 {
        return Err(abi::errno::ETXTBSY);
    }
    inode.ops().truncate(inode, size).map(|()| 0)
}

/// `ftruncate`, `ftruncate64`
pub fn ftruncate64(fd: u32, low: u32, high: u32) -> Result<u32> {
    let file = file(fd)?;
    if !file.writable() || file.inode().kind() != mode::S_IFREG {
        return Err(EINVAL);
    }
    file.ops().truncate(&file, size(low, high)?).map(|()| 0)
}

/// `fallocate`: room is never short beforehand, so only the size matters.
pub fn fallocate(fd: u32, mode_bits: u32, range: [u32; 4]) -> Result<u32> {
    const FALLOC_FL_KEEP_SIZE: u32 = 1;
    let file = file(fd)?;
    let (offset, len) = (size(range[0], range[1])?, size(range[2], range[3])?);
    if len == 0 {
        return Err(EINVAL);
    }
    if !file.writable() {
        return Err(abi::errno::EBADF);
    }
    if mode_bits & !FALLOC_FL_KEEP_SIZE != 0 {
        return Err(abi::errno::EOPNOTSUPP);
    }
    let mapping = file.inode().mapping().ok_or(ENODEV)?;
    if mapping.ops().is_some() {
        return Err(abi::errno::EOPNOTSUPP);
    }
    let end = offset.checked_add(len).ok_or(abi::errno::EFBIG)?;
    if mode_bits & FALLOC_FL_KEEP_SIZE == 0 && end > mapping.size() {
        file.inode().ops().truncate(file.inode(), end)?;
    }
    Ok(0)
}

/// `chdir`
pub fn chdir(path_addr: u32) -> Result<u32> {
    set_pwd(namei::lookup(&path(path_addr)?, Last::Follow)?)
}

/// `fchdir`
pub fn fchdir(fd: u32) -> Result<u32> {
    set_pwd(file(fd)?.dentry().clone())
}

fn set_pwd(dentry: Arc<Dentry>) -> Result<u32> {
    if !dentry.inode().is_dir() {
        return Err(ENOTDIR);
    }
    dentry.inode().permission(1, current().fsuid_gid())?;
    let fs = current().fs();
    let old = core::mem::replace(&mut fs.lock().pwd, dentry);
    drop(old);
    Ok(0)
}

/// `chroot`
pub fn chroot(path_addr: u32) -> Result<u32> {
    let dentry = namei::lookup(&path(path_addr)?, Last::Follow)?;
    if !dentry.inode().is_dir() {
        return Err(ENOTDIR);
    }
    if current().fsuid_gid().0 != 0 {
        return Err(EPERM);
    }
    let fs = current().fs();
    let old = core::mem::replace(&mut fs.lock().root, dentry);
    drop(old);
    Ok(0)
}

/// `umask`
pub fn umask(bits: u32) -> Result<u32> {
    let fs = current().fs();
    Ok(core::mem::replace(&mut fs.lock().umask, bits & 0o777))
}

/// `utimensat`: with a null path the file of the descriptor.
pub fn utimensat(fd: u32, path_addr: u32, times: u32, flags: u32, format: TimeFormat) -> Result<u32> {
    let inode = match path_addr {
        0 => file(fd)?.inode().clone(),
        _ => resolve(fd, path_addr, flags)?.inode().clone(),
    };
    let stride = if format == TimeFormat::Time32 { 8 } else { 16 };
    let (atime, mtime) = match times {
        0 => (Some(now()), Some(now())),
        _ => (one_time(timespec(times, format)?)?, one_time(timespec(times + stride, format)?)?),
    };
    set_times(&inode, atime, mtime)
}

/// A time, now, or no change.
fn one_time(t: Timespec) -> Result<Option<Timespec>> {
    const UTIME_NOW: u32 = 0x3fff_ffff;
    const UTIME_OMIT: u32 = 0x3fff_fffe;
    match t.nsec {
        UTIME_NOW => Ok(Some(now())),
        UTIME_OMIT => Ok(None),
        0..1_000_000_000 => Ok(Some(t)),
        _ => Err(EINVAL),
    }
}

fn set_times(inode: &Inode, atime: Option<Timespec>, mtime: Option<Timespec>) -> Result<u32> {
    check_owner(inode)?;
    inode.update(|a| {
        a.atime = atime.unwrap_or(a.atime);
        a.mtime = mtime.unwrap_or(a.mtime);
        a.ctime = now();
    });
    Ok(0)
}

/// `utime` (two words of seconds) and `utimes` (two pairs of seconds and microseconds)
pub fn utimes(path_addr: u32, times: u32, has_usec: bool) -> Result<u32> {
    let dentry = namei::lookup(&path(path_addr)?, Last::Follow)?;
    let (atime, mtime) = match (times, has_usec) {
        (0, _) => (now(), now()),
        (addr, false) => {
            let b: [u8; 8] = bytes(addr)?;
            let at = |n| Timespec { sec: (u32_at(&b, n) as i32).into(), nsec: 0 };
            (at(0), at(4))
        }
        (addr, true) => {
            let b: [u8; 16] = bytes(addr)?;
            let at = |n| Timespec { sec: (u32_at(&b, n) as i32).into(), nsec: u32_at(&b, n + 4).wrapping_mul(1000) };
            (at(0), at(8))
        }
    };
    set_times(dentry.inode(), Some(atime), Some(mtime))
}

/// `mount`: the file systems in memory, and ext2 on a block device.
pub fn mount(source: u32, target: u32, fs_type: u32, flags: u32) -> Result<u32> {
    const MS_RDONLY: u32 = 1;
    const MS_REMOUNT: u32 = 32;
    const MS_BIND: u32 = 4096;
    const MS_MOVE: u32 = 8192;
    if flags & (MS_REMOUNT | MS_BIND | MS_MOVE) != 0 {
        return Err(EINVAL);
    }
    let access = if flags & MS_RDONLY != 0 { Access::ReadOnly } else { Access::ReadWrite };
    let word = |addr: u32| match addr {
        0 => Ok(alloc::vec::Vec::new()),
        addr => strncpy_from_user(UserPtr::new(addr), 4096),
    };
    let (source, fs_type) = (word(source)?, word(fs_type)?);
    if current().fsuid_gid().0 != 0 {
        return Err(EPERM);
    }
    let point = namei::lookup(&path(target)?, Last::Follow)?;
    if !point.inode().is_dir() {
        return Err(ENOTDIR);
    }
    let root = match &*fs_type {
        b"tmpfs" | b"ramfs" => ramfs::new_fs("tmpfs", TMPFS_MAGIC, super_block::next_anon_minor()),
        b"proc" => procfs::new_fs(),
        b"sysfs" => crate::fs::sysfs::new_fs(),
        b"devtmpfs" => crate::fs::chrdev::new_devtmpfs()?,
        b"ext2" => ext2::mount(&block_device(&source)?, access)?,
        _ => return Err(ENODEV),
    };
    let source = alloc::string::String::from_utf8_lossy(&source).into_owned();
    let options = if access == Access::ReadOnly { "ro,relatime" } else { "rw,relatime" };
    super_block::mount(if source.is_empty() { "none" } else { &source }, &root, Some(&point), options);
    Ok(0)
}

/// The block device that a path names.
fn block_device(path: &[u8]) -> Result<Arc<BlockDevice>> {
    let node = namei::lookup(path, Last::Follow)?;
    if node.inode().kind() != mode::S_IFBLK {
        return Err(ENOTBLK);
    }
    block::lookup_bdev(node.inode().attr().rdev).ok_or(ENXIO)
}

/// `umount`, `umount2`
pub fn umount(path_addr: u32) -> Result<u32> {
    let root = namei::lookup(&path(path_addr)?, Last::Follow)?;
    if current().fsuid_gid().0 != 0 {
        return Err(EPERM);
    }
    if is_busy(root.inode().sb()) {
        return Err(EBUSY);
    }
    super_block::umount(&root).map(|()| 0)
}

/// Whether a process stands in a file system or has a file of it open.
fn is_busy(sb: &Arc<SuperBlock>) -> bool {
    let uses = |dentry: &Dentry| Arc::ptr_eq(dentry.inode().sb(), sb);
    pid::all().iter().any(|task| {
        let fs = task.fs();
        let fs = fs.lock();
        let files = task.files();
        let files = files.lock();
        let has_open = files.open_fds().into_iter().any(|fd| files.get(fd).is_ok_and(|file| uses(file.dentry())));
        let runs = task.exe.lock().as_ref().is_some_and(|exe| uses(exe.file().dentry()));
        uses(&fs.pwd) || uses(&fs.root) || has_open || runs
    })
}
