//! System calls for which the standard library has no function.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, OsStr, c_char, c_int},
    io,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicU64, Ordering},
};

/// Number of a process, as `fork` and `wait` give it.
pub type Pid = libc::pid_t;

/// What [`fork`] returns to each of the two processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fork {
    /// In the new process.
    Child,
    /// In the old one, with the number of the new.
    Parent(Pid),
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It called `exit` with this status.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl Ended {
    /// The status as a shell counts it: 128 more than the number of a fatal signal.
    pub fn status(self) -> i32 {
        match self {
            Ended::Exited(status) => status,
            Ended::Signaled(signal) => 128 + signal,
        }
    }
}

/// The error of the last system call as a `Result`.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The reason of an error alone: `No such file or directory`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

/// Duplicates the process. The child of a process with one thread may go on like the parent;
/// whoever has buffered output flushes it first. The child of one with several uses no lock,
/// no memory of the heap, and ends by [`exit_now`].
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the child waits for no lock that a thread holds which it lacks, by the above.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Ends the process at once, without flushing or running destructors: for the child of
/// [`fork`].
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` takes any number and does not return.
    unsafe { libc::_exit(status) }
}

/// Waits for a child to end: one process, or any if `pid` is -1.
pub fn wait(pid: Pid) -> io::Result<(Pid, Ended)> {
    loop {
        if let Some(ended) = wait_with(pid, 0)? {
            return Ok(ended);
        }
    }
}

/// A child that has ended already, if any has.
pub fn try_wait(pid: Pid) -> io::Result<Option<(Pid, Ended)>> {
    wait_with(pid, libc::WNOHANG)
}

fn wait_with(pid: Pid, options: c_int) -> io::Result<Option<(Pid, Ended)>> {
    let mut status = 0;
    let child = loop {
        // SAFETY: `status` is a place for the result.
        match check(unsafe { libc::waitpid(pid, &mut status, options) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    Ok(match child {
        0 => None,
        _ if libc::WIFEXITED(status) => Some((child, Ended::Exited(libc::WEXITSTATUS(status)))),
        _ if libc::WIFSIGNALED(status) => Some((child, Ended::Signaled(libc::WTERMSIG(status)))),
        _ => None,
    })
}

/// Replaces the program of this process. Returns only if that failed.
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both lists end in null and point to strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Makes `to` the same open file as `from`, closing what `to` was. It survives `exec`.
pub fn dup2(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: descriptors are plain numbers to the kernel; a bad one gives EBADF.
    check(unsafe { libc::dup2(from, to) }).map(drop)
}

/// Makes an open file be descriptor `to`, which survives `exec`.
pub fn install_fd(file: OwnedFd, to: RawFd) -> io::Result<()> {
    if file.as_raw_fd() != to {
        return dup2(file.as_raw_fd(), to);
    }
    // SAFETY: F_SETFD takes a number; the descriptor is ours until it is given away below.
    check(unsafe { libc::fcntl(to, libc::F_SETFD, 0) })?;
    let _given_away: RawFd = file.into_raw_fd();
    Ok(())
}

/// A copy of a descriptor, numbered 10 or above and closed by `exec`, to put back later;
/// nothing if the descriptor is not open.
pub fn save_fd(fd: RawFd) -> io::Result<Option<OwnedFd>> {
    // SAFETY: as for `dup2`.
    match check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10) }) {
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(copy) => Ok(Some(unsafe { OwnedFd::from_raw_fd(copy) })),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Closes a descriptor that no Rust object owns.
pub fn close(fd: RawFd) {
    // SAFETY: callers pass the numbers of standard streams or of a shell's redirections.
    unsafe { libc::close(fd) };
}

/// A pipe: its reading and its writing end, both closed by `exec`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two numbers.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the kernel has just made both for us alone.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Starts a session with this process as its leader.
pub fn setsid() -> io::Result<()> {
    // SAFETY: takes nothing and changes no memory.
    check(unsafe { libc::setsid() }).map(drop)
}

/// Makes a terminal the controlling one of this session.
pub fn set_controlling_terminal(terminal: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes a number, not a pointer.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY as _, 0) }).map(drop)
}

/// The path of a terminal.
pub fn ttyname(fd: RawFd) -> Option<String> {
    let mut name = [0u8; 64];
    // SAFETY: the length is that of the array.
    let result = unsafe { libc::ttyname_r(fd, name.as_mut_ptr().cast(), name.len()) };
    let name = CStr::from_bytes_until_nul(&name).ok()?;
    (result == 0).then(|| name.to_string_lossy().into_owned())
}

/// Sets the file mode creation mask; the old one.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: takes any number and cannot fail.
    unsafe { libc::umask(mask) }
}

/// Sends a signal.
pub fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: both are plain numbers to the kernel.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// What to do on a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// What the kernel does by itself.
    Default,
    /// Nothing.
    Ignore,
    /// Take note, for [`take_noted_signals`].
    Note,
}

/// Signals that have come and were to be noted: bit N for signal N.
static NOTED: AtomicU64 = AtomicU64::new(0);

extern "C" fn note_signal(signal: c_int) {
    NOTED.fetch_or(1 << (signal & 63), Ordering::Relaxed);
}

/// Chooses what happens on a signal.
pub fn set_signal(signal: i32, disposition: Disposition) {
    let handler = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
        Disposition::Note => note_signal as *const () as usize,
    };
    // SAFETY: the only handler does nothing but change an atomic variable.
    unsafe { libc::signal(signal, handler) };
}

/// The signals noted since the last call, in ascending order.
pub fn take_noted_signals() -> impl Iterator<Item = i32> {
    let noted = NOTED.swap(0, Ordering::Relaxed);
    (1..64).filter(move |signal| noted & (1 << signal) != 0)
}

/// Gives back what the standard library has changed at its start: a closed pipe ends the
/// program, as is usual for commands, and so does a signal that says so.
pub fn default_signals() {
    for signal in [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS] {
        set_signal(signal, Disposition::Default);
    }
}

/// User and group of this process: real uid, effective uid, real gid, effective gid.
pub fn ids() -> [u32; 4] {
    // SAFETY: these calls take nothing and cannot fail.
    unsafe { [libc::getuid(), libc::geteuid(), libc::getgid(), libc::getegid()] }
}

/// The five strings of `uname`: system, node, release, version, machine.
pub fn uname() -> io::Result<[String; 5]> {
    // SAFETY: all-zero bytes are a valid `utsname`, which the call fills.
    let names = unsafe {
        let mut names: libc::utsname = std::mem::zeroed();
        check(libc::uname(&mut names))?;
        names
    };
    let text = |field: &[c_char]| {
        let bytes: Vec<u8> = field.iter().map(|&c| c as u8).take_while(|&byte| byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok([text(&names.sysname), text(&names.nodename), text(&names.release), text(&names.version), text(&names.machine)])
}

/// The kernel's log, as much of it as is kept.
pub fn kernel_log() -> io::Result<Vec<u8>> {
    const READ_ALL: c_int = 3;
    let mut buffer = vec![0u8; 1 << 18];
    // SAFETY: the length is that of the buffer.
    let len = check(unsafe { libc::klogctl(READ_ALL, buffer.as_mut_ptr().cast(), buffer.len() as c_int) })?;
    buffer.truncate(len as usize);
    Ok(buffer)
}

/// `mount`.
pub fn mount(source: &OsStr, target: &OsStr, kind: &OsStr, flags: u32) -> io::Result<()> {
    let [source, target, kind] = [c_string(source)?, c_string(target)?, c_string(kind)?];
    // SAFETY: the three strings outlive the call; no data is passed.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags as libc::c_ulong, ptr::null()) })
        .map(drop)
}

/// `umount`.
pub fn umount(target: &OsStr) -> io::Result<()> {
    let target = c_string(target)?;
    // SAFETY: the string outlives the call.
    check(unsafe { libc::umount(target.as_ptr()) }).map(drop)
}

/// `swapon`.
pub fn swapon(area: &OsStr, flags: c_int) -> io::Result<()> {
    let area = c_string(area)?;
    // SAFETY: the string outlives the call.
    check(unsafe { libc::swapon(area.as_ptr(), flags) }).map(drop)
}

/// `swapoff`.
pub fn swapoff(area: &OsStr) -> io::Result<()> {
    let area = c_string(area)?;
    // SAFETY: the string outlives the call.
    check(unsafe { libc::swapoff(area.as_ptr()) }).map(drop)
}

/// `init_module`: the bytes of a module's file and its parameters.
pub fn init_module(image: &[u8], params: &OsStr) -> io::Result<()> {
    let params = c_string(params)?;
    // SAFETY: the bytes and the string outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_init_module, image.as_ptr(), image.len(), params.as_ptr()) };
    check(result as c_int).map(drop)
}

/// `finit_module`: the same from a file.
pub fn finit_module(file: &impl AsRawFd, params: &OsStr) -> io::Result<()> {
    let params = c_string(params)?;
    // SAFETY: the string outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), params.as_ptr(), 0) };
    check(result as c_int).map(drop)
}

/// `delete_module`, without waiting.
pub fn delete_module(name: &str) -> io::Result<()> {
    let name = c_string(OsStr::new(name))?;
    // SAFETY: the string outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) };
    check(result as c_int).map(drop)
}

/// `sync`.
pub fn sync() {
    // SAFETY: no arguments.
    unsafe { libc::sync() };
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_encoded_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Powers the machine off and gives its host an exit status. Only on our own kernel: a
/// program that is tried on somebody's Linux must not take that down.
pub fn power_off(status: i32) -> io::Error {
    match uname() {
        Ok([_, _, release, ..]) if release.ends_with("-pagewalk") => {}
        Ok(_) => return io::Error::from_raw_os_error(libc::EPERM),
        Err(error) => return error,
    }
    let Ok(command) = CString::new(format!("exit {status}")) else { return io::ErrorKind::InvalidInput.into() };
    // SAFETY: the command is a string that outlives the call.
    unsafe {
        libc::sync();
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            command.as_ptr(),
        );
    }
    io::Error::last_os_error()
}
