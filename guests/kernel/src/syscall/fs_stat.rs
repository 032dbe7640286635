//! Asking about files.

use alloc::{sync::Arc, vec::Vec};

use abi::{
    errno::{EACCES, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, ERANGE, Result},
    stat::{Kstat, Kstatfs},
};

use super::user::{AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, dirfd, file, path, store};
use crate::{
    fs::{
        Dentry, DirContext, DirentFormat,
        namei::{self, Last},
    },
    mm::page_alloc::totals,
    task::current,
};

/// The file that a descriptor, a path and `AT_` flags name.
pub fn resolve(fd: u32, path_addr: u32, flags: u32) -> Result<Arc<Dentry>> {
    let path = path(path_addr)?;
    if path.is_empty() {
        if flags & AT_EMPTY_PATH == 0 {
            return Err(ENOENT);
        }
        return match fd {
            AT_FDCWD => Ok(current().fs().lock().pwd.clone()),
            fd => Ok(file(fd)?.dentry().clone()),
        };
    }
    let last = if flags & AT_SYMLINK_NOFOLLOW != 0 { Last::NoFollow } else { Last::Follow };
    namei::lookup_from(dirfd(fd, &path)?.as_ref(), &path, last)
}

fn getattr(fd: u32, path_addr: u32, flags: u32) -> Result<Kstat> {
    Ok(resolve(fd, path_addr, flags)?.inode().getattr())
}

/// `stat64`, `lstat64`, `fstatat64`
pub fn fstatat64(fd: u32, path_addr: u32, buf: u32, flags: u32) -> Result<u32> {
    const AT_NO_AUTOMOUNT: u32 = 0x800;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT) != 0 {
        return Err(EINVAL);
    }
    store(buf, &getattr(fd, path_addr, flags)?.stat64()).map(|()| 0)
}

/// `fstat64`
pub fn fstat64(fd: u32, buf: u32) -> Result<u32> {
    store(buf, &file(fd)?.inode().getattr().stat64()).map(|()| 0)
}

/// `stat`, `lstat` (calls 106, 107)
pub fn newstat(path_addr: u32, buf: u32, flags: u32) -> Result<u32> {
    store(buf, &getattr(AT_FDCWD, path_addr, flags)?.stat()).map(|()| 0)
}

/// `fstat` (call 108)
pub fn newfstat(fd: u32, buf: u32) -> Result<u32> {
    store(buf, &file(fd)?.inode().getattr().stat()).map(|()| 0)
}

/// `statx`
pub fn statx(fd: u32, path_addr: u32, flags: u32, mask: u32, buf: u32) -> Result<u32> {
    const STATX_RESERVED: u32 = 0x8000_0000;
    const AT_STATX_SYNC_TYPE: u32 = 0x6000;
    if mask & STATX_RESERVED != 0 || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE {
        return Err(EINVAL);
    }
    store(buf, &getattr(fd, path_addr, flags)?.statx()).map(|()| 0)
}

/// `access`, `faccessat`, `faccessat2`
pub fn faccessat2(fd: u32, path_addr: u32, mode: u32, flags: u32) -> Result<u32> {
    if mode & !7 != 0 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    let dentry = resolve(fd, path_addr, flags)?;
    let ids = {
        let task = current();
        let cred = task.cred.lock();
        if flags & AT_EACCESS != 0 { (cred.euid, cred.egid) } else { (cred.uid, cred.gid) }
    };
    dentry.inode().permission(mode, ids).map(|()| 0).map_err(|_| EACCES)
}

/// `readlink`, `readlinkat`
pub fn readlinkat(fd: u32, path_addr: u32, buf: u32, size: u32) -> Result<u32> {
    if size as i32 <= 0 {
        return Err(EINVAL);
    }
    let path = path(path_addr)?;
    let dentry = match (path.is_empty(), dirfd(fd, &path)?) {
        (true, Some(dentry)) => dentry,
        (_, start) => namei::lookup_from(start.as_ref(), &path, Last::NoFollow)?,
    };
    let target = dentry.inode().ops().readlink()?;
    let count = target.len().min(size as usize);
    store(buf, &target[..count])?;
    Ok(count as u32)
}

/// `getcwd`
pub fn getcwd(buf: u32, size: u32) -> Result<u32> {
    let pwd = current().fs().lock().pwd.clone();
    if pwd.is_unlinked() {
        return Err(ENOENT);
    }
    let mut path = pwd.path();
    path.push(0);
    if path.len() > namei::PATH_MAX {
        return Err(ENAMETOOLONG);
    }
    if path.len() > size as usize {
        return Err(ERANGE);
    }
    store(buf, &path)?;
    Ok(path.len() as u32)
}

fn statfs_of(dentry: &Dentry) -> Kstatfs {
    let sb = dentry.inode().sb();
    if let Some(ops) = sb.ops() {
        return ops.statfs();
    }
    let t = totals();
    // Memory that the file systems could take; `/proc` and `/sys` take none.
    let (blocks, bfree) = match &sb.room {
        Some(room) => room.blocks(),
        None if matches!(sb.fs_type, "proc" | "sysfs") => (0, 0),
        None => (t.managed / 2, t.free.min(t.managed / 2)),
    };
    let (blocks, bfree) = (blocks.into(), bfree.into());
    Kstatfs { magic: sb.magic, bsize: 4096, blocks, bfree, bavail: bfree, files: 0, ffree: 0 }
}

fn check_statfs_size(size: u32) -> Result<()> {
    if size == 84 || size == 88 { Ok(()) } else { Err(EINVAL) }
}

/// `statfs64`
pub fn statfs64(path_addr: u32, size: u32, buf: u32) -> Result<u32> {
    check_statfs_size(size)?;
    let dentry = namei::lookup(&path(path_addr)?, Last::Follow)?;
    store(buf, &statfs_of(&dentry).statfs64()).map(|()| 0)
}

/// `fstatfs64`
pub fn fstatfs64(fd: u32, size: u32, buf: u32) -> Result<u32> {
    check_statfs_size(size)?;
    store(buf, &statfs_of(file(fd)?.dentry()).statfs64()).map(|()| 0)
}

/// `statfs`
pub fn statfs(path_addr: u32, buf: u32) -> Result<u32> {
    let dentry = namei::lookup(&path(path_addr)?, Last::Follow)?;
    store(buf, &statfs_of(&dentry).statfs()).map(|()| 0)
}

/// `fstatfs`
pub fn fstatfs(fd: u32, buf: u32) -> Result<u32> {
    store(buf, &statfs_of(file(fd)?.dentry()).statfs()).map(|()| 0)
}

/// `getdents`, `getdents64`
pub fn getdents(fd: u32, buf: u32, size: u32, format: DirentFormat) -> Result<u32> {
    let file = file(fd)?;
    if !file.inode().is_dir() {
        return Err(ENOTDIR);
    }
    if file.dentry().is_unlinked() {
        return Err(ENOENT);
    }
    let mut bytes = Vec::new();
    let mut ctx = DirContext::new(format, (size as usize).min(1 << 16), &mut bytes, file.pos());
    file.ops().readdir(&file, &mut ctx)?;
    let (pos, full) = (ctx.pos(), ctx.full());
    if bytes.is_empty() && full {
        return Err(EINVAL);
    }
    store(buf, &bytes)?;
    file.set_pos(pos);
    Ok(bytes.len() as u32)
}
