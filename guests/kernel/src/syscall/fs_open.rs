//! Descriptors: opening, closing, copying, pipes.

use abi::errno::{EBADF, EINVAL, Result};

use super::user::{bytes, dirfd, file, path, store};
use crate::{
    fs::{File, OnExec, eventfd, file::o, namei, pipe, shmem},
    mm::uaccess::{UserPtr, strncpy_from_user},
    task::{current, rlimits::resource},
};
use alloc::sync::Arc;

/// Gives a file the lowest free descriptor.
pub fn install(file: Arc<File>, on_exec: OnExec) -> Result<u32> {
    let limit = current().rlimit(resource::NOFILE);
    current().files().lock().install(file, on_exec, 0, limit)
}

/// `open`, `openat`
pub fn openat(fd: u32, path_addr: u32, flags: u32, mode: u32) -> Result<u32> {
    let path = path(path_addr)?;
    let start = dirfd(fd, &path)?;
    let opened = namei::open(start.as_ref(), &path, flags | o::LARGEFILE, mode)?;
    install(opened, OnExec::from_open_flags(flags))
}

/// `close`
pub fn close(fd: u32) -> Result<u32> {
    let removed = current().files().lock().remove(fd)?;
    drop(removed);
    Ok(0)
}

/// `close_range`
pub fn close_range(first: u32, last: u32, flags: u32) -> Result<u32> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    const CLOSE_RANGE_UNSHARE: u32 = 2;
    if first > last || flags & !(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE) != 0 {
        return Err(EINVAL);
    }
    let files = current().files();
    let fds = files.lock().open_fds();
    for fd in fds.into_iter().filter(|fd| (first..=last).contains(fd)) {
        if flags & CLOSE_RANGE_CLOEXEC != 0 {
            files.lock().set_on_exec(fd, OnExec::Close)?;
        } else {
            let removed = files.lock().remove(fd)?;
            drop(removed);
        }
    }
    Ok(0)
}

/// `dup`
pub fn dup(fd: u32) -> Result<u32> {
    install(file(fd)?, OnExec::Keep)
}

/// `dup2`
pub fn dup2(old: u32, new: u32) -> Result<u32> {
    if old == new {
        return file(old).map(|_| new);
    }
    dup_to(old, new, OnExec::Keep)
}

/// `dup3`
pub fn dup3(old: u32, new: u32, flags: u32) -> Result<u32> {
    if old == new || flags & !o::CLOEXEC != 0 {
        return Err(EINVAL);
    }
    dup_to(old, new, OnExec::from_open_flags(flags))
}

fn dup_to(old: u32, new: u32, on_exec: OnExec) -> Result<u32> {
    if new >= current().rlimit(resource::NOFILE) {
        return Err(EBADF);
    }
    let file = file(old)?;
    let replaced = current().files().lock().set(new, file, on_exec);
    drop(replaced);
    Ok(new)
}

/// `pipe`, `pipe2`
pub fn pipe2(addr: u32, flags: u32) -> Result<u32> {
    const O_DIRECT: u32 = 0o40000;
    if flags & !(o::CLOEXEC | o::NONBLOCK | O_DIRECT) != 0 {
        return Err(EINVAL);
    }
    let (reader, writer) = pipe::create(flags);
    let on_exec = OnExec::from_open_flags(flags);
    let read_fd = install(reader, on_exec)?;
    let stored = install(writer, on_exec).and_then(|write_fd| {
        let stored = store(addr, &[read_fd.to_le_bytes(), write_fd.to_le_bytes()].concat());
        if stored.is_err() {
            close(write_fd)?;
        }
        stored
    });
    if let Err(error) = stored {
        close(read_fd)?;
        return Err(error);
    }
    Ok(0)
}

#[allow(missing_docs, reason = "Linux's names")]
mod f {
    pub const DUPFD: u32 = 0;
    pub const GETFD: u32 = 1;
    pub const SETFD: u32 = 2;
    pub const GETFL: u32 = 3;
    pub const SETFL: u32 = 4;
    pub const GETLK: u32 = 5;
    pub const SETLK: u32 = 6;
    pub const SETLKW: u32 = 7;
    pub const SETOWN: u32 = 8;
    pub const GETOWN: u32 = 9;
    pub const GETLK64: u32 = 12;
    pub const SETLK64: u32 = 13;
    pub const SETLKW64: u32 = 14;
    pub const DUPFD_CLOEXEC: u32 = 1030;
    pub const SETPIPE_SZ: u32 = 1031;
    pub const GETPIPE_SZ: u32 = 1032;
    pub const ADD_SEALS: u32 = 1033;
    pub const GET_SEALS: u32 = 1034;
    pub const FD_CLOEXEC: u32 = 1;
    pub const UNLCK: u16 = 2;
}

/// `fcntl`, `fcntl64`
pub fn fcntl(fd: u32, cmd: u32, arg: u32) -> Result<u32> {
    let file = file(fd)?;
    let files = current().files();
    match cmd {
        f::DUPFD | f::DUPFD_CLOEXEC => {
            let limit = current().rlimit(resource::NOFILE);
            if arg >= limit {
                return Err(EINVAL);
            }
            let on_exec = if cmd == f::DUPFD { OnExec::Keep } else { OnExec::Close };
            files.lock().install(file, on_exec, arg, limit)
        }
        f::GETFD => Ok(u32::from(files.lock().on_exec(fd)? == OnExec::Close)),
        f::SETFD => {
            let on_exec = if arg & f::FD_CLOEXEC != 0 { OnExec::Close } else { OnExec::Keep };
            files.lock().set_on_exec(fd, on_exec).map(|()| 0)
        }
        f::GETFL => Ok(file.flags()),
        f::SETFL => {
            file.set_flags(arg);
            Ok(0)
        }
        // One machine and cooperating programs: a lock is always free.
        f::GETLK | f::GETLK64 => {
            bytes::<2>(arg)?;
            store(arg, &f::UNLCK.to_le_bytes()).map(|()| 0)
        }
        f::SETLK | f::SETLKW | f::SETLK64 | f::SETLKW64 => bytes::<2>(arg).map(|_| 0),
        f::SETOWN | f::GETOWN => Ok(0),
        f::GETPIPE_SZ | f::SETPIPE_SZ if file.inode().kind() == abi::stat::mode::S_IFIFO => Ok(pipe::PIPE_SIZE as u32),
        f::ADD_SEALS | f::GET_SEALS if file.inode().mapping().is_some() => Ok(0),
        _ => Err(EINVAL),
    }
}

/// `ioctl`
pub fn ioctl(fd: u32, cmd: u32, arg: u32) -> Result<u32> {
    const FIONCLEX: u32 = 0x5450;
    const FIOCLEX: u32 = 0x5451;
    const FIONBIO: u32 = 0x5421;
    let file = file(fd)?;
    let files = current().files();
    match cmd {
        FIOCLEX => files.lock().set_on_exec(fd, OnExec::Close).map(|()| 0),
        FIONCLEX => files.lock().set_on_exec(fd, OnExec::Keep).map(|()| 0),
        FIONBIO => {
            let on = u32::from_le_bytes(bytes(arg)?) != 0;
            file.set_flags(file.flags() & !o::NONBLOCK | if on { o::NONBLOCK } else { 0 });
            Ok(0)
        }
        _ => file.ops().ioctl(&file, cmd, arg),
    }
}

/// `eventfd`, `eventfd2`
pub fn eventfd2(initial: u32, flags: u32) -> Result<u32> {
    if flags & !(o::CLOEXEC | o::NONBLOCK | eventfd::EFD_SEMAPHORE) != 0 {
        return Err(EINVAL);
    }
    install(eventfd::create(initial, flags), OnExec::from_open_flags(flags))
}

/// `memfd_create`
pub fn memfd_create(name: u32, flags: u32) -> Result<u32> {
    const MFD_CLOEXEC: u32 = 1;
    const MFD_ALLOW_SEALING: u32 = 2;
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING) != 0 {
        return Err(EINVAL);
    }
    let name = strncpy_from_user(UserPtr::new(name), 250).map_err(|e| match e {
        abi::errno::ENAMETOOLONG => EINVAL,
        other => other,
    })?;
    let name = alloc::format!("memfd:{}", alloc::string::String::from_utf8_lossy(&name));
    let on_exec = if flags & MFD_CLOEXEC != 0 { OnExec::Close } else { OnExec::Keep };
    install(shmem::file_setup(&name, 0)?, on_exec)
}
