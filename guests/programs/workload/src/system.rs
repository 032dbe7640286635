//! What the kernel does for a program.
#![allow(unsafe_code)]

use std::{
    arch::asm,
    env,
    ffi::CString,
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    ptr,
};

use pagewalk_programs::sys::{self, Ended, Fork};

use crate::{EMPTY_SUM, Round, mix};

const PAGE_BYTES: usize = 4096;

/// Calls `getppid` by `int 0x80`, `count` times.
pub fn syscall(count: u32) -> io::Result<Round> {
    Ok(Box::new(move || {
        let parent = getppid();
        let same = (0..count).filter(|_| getppid() == parent).count();
        Ok(same as u32)
    }))
}

fn getppid() -> u32 {
    let result;
    // SAFETY: the call takes nothing and changes EAX alone.
    unsafe { asm!("int 0x80", inlateout("eax") libc::SYS_getppid => result, options(nostack, preserves_flags)) };
    result
}

/// Maps `pages` pages, touches each and gives them back.
pub fn faults(pages: u32) -> io::Result<Round> {
    let bytes = pages as usize * PAGE_BYTES;
    Ok(Box::new(move || {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, used within its bounds and given back.
        unsafe {
            let at = libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if at == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            let mut sum = EMPTY_SUM;
            for page in 0..pages as usize {
                let word = at.cast::<u32>().add(page * PAGE_BYTES / 4);
                sum = mix(sum, word.read_volatile() + page as u32);
                word.write_volatile(sum);
            }
            if libc::munmap(at, bytes) == -1 { Err(io::Error::last_os_error()) } else { Ok(sum) }
        }
    }))
}

/// A process that sends back each byte; ends with its pipe.
struct Echo {
    to: File,
    from: File,
}

impl Echo {
    fn start() -> io::Result<Echo> {
        let ((their_input, our_output), (our_input, their_output)) = (sys::pipe()?, sys::pipe()?);
        match sys::fork()? {
            Fork::Child => {
                drop((our_output, our_input));
                let (mut input, mut output) = (File::from(their_input), File::from(their_output));
                let mut byte = [0];
                while input.read_exact(&mut byte).and_then(|()| output.write_all(&[!byte[0]])).is_ok() {}
                sys::exit_now(0)
            }
            Fork::Parent(_) => {
                let open = |end: OwnedFd| File::from(end);
                Ok(Echo { to: open(our_output), from: open(our_input) })
            }
        }
    }
}

/// Sends a byte to another process and waits for the answer, `count` times.
pub fn switch(count: u32) -> io::Result<Round> {
    let mut echo = Echo::start()?;
    Ok(Box::new(move || {
        let mut sum = EMPTY_SUM;
        for turn in 0..count {
            let mut byte = [turn as u8];
            echo.to.write_all(&byte)?;
            echo.from.read_exact(&mut byte)?;
            sum = mix(sum, byte[0].into());
        }
        Ok(sum)
    }))
}

/// Forks a process that has written to `kib` KiB, and waits for the child, which writes to
/// a page and ends.
pub fn fork(kib: u32) -> io::Result<Round> {
    const STATUS: i32 = 42;
    let mut memory = vec![1u8; kib as usize * 1024];
    Ok(Box::new(move || match sys::fork()? {
        Fork::Child => {
            if let Some(byte) = memory.first_mut() {
                *byte += 1;
            }
            sys::exit_now(if memory.first().is_none_or(|byte| *byte == 2) { STATUS } else { 1 })
        }
        Fork::Parent(pid) => match sys::wait(pid)?.1 {
            Ended::Exited(STATUS) if memory.iter().all(|byte| *byte == 1) => Ok(mix(EMPTY_SUM, kib)),
            ended => Err(io::Error::other(format!("the child ended with {ended:?}"))),
        },
    }))
}

/// A program in front of every one that is started, for a machine that runs programs of
/// this kind by such a program alone.
const RUNNER: &str = "WORKLOAD_RUNNER";

/// Starts this program `count` times, to do nothing, and waits for it.
pub fn exec(count: u32) -> io::Result<Round> {
    let own_path = env::current_exe()?.to_string_lossy().into_owned();
    let mut args: Vec<CString> = Vec::new();
    for arg in env::var(RUNNER).ok().into_iter().chain([own_path, "nothing".into(), "0".into(), "0".into()]) {
        args.push(CString::new(arg)?);
    }
    Ok(Box::new(move || {
        let mut sum = EMPTY_SUM;
        for _ in 0..count {
            match sys::fork()? {
                Fork::Child => {
                    let quiet = File::options().write(true).open("/dev/null").map(OwnedFd::from);
                    if quiet.and_then(|file| sys::install_fd(file, 1)).is_ok() {
                        sys::execve(&args[0], &args, &[]);
                    }
                    sys::exit_now(127)
                }
                Fork::Parent(pid) => match sys::wait(pid)?.1 {
                    Ended::Exited(0) => sum = mix(sum, 0),
                    ended => return Err(io::Error::other(format!("the program ended with {ended:?}"))),
                },
            }
        }
        Ok(sum)
    }))
}
