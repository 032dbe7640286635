//! Another process, whose memory is like ours at the time that it was made, and what a kernel
//! lets us do with it.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::AsRawFd,
};

use pagewalk_programs::sys::{self, Fork, Pid};

use crate::calls::{Answer, answer, errno_name, peek};

/// A piece of memory: address and length.
pub type Piece = (usize, usize);

/// Which way `process_vm` copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// `process_vm_readv`
    Read,
    /// `process_vm_writev`
    Write,
}

/// Moves bytes between pieces of our memory and of another process's.
pub fn process_vm(direction: Direction, pid: Pid, local: &[Piece], remote: &[Piece], flags: usize) -> Answer {
    let number = match direction {
        Direction::Read => libc::SYS_process_vm_readv,
        Direction::Write => libc::SYS_process_vm_writev,
    };
    let array = |pieces: &[Piece]| -> Vec<[usize; 2]> { pieces.iter().map(|&(at, len)| [at, len]).collect() };
    let (local, remote) = (array(local), array(remote));
    // SAFETY: the arrays have the layout of `iovec` and these lengths. Of our memory only what
    // the caller names is written: buffers and the window.
    answer(unsafe { libc::syscall(number, pid, local.as_ptr(), local.len(), remote.as_ptr(), remote.len(), flags) })
}

/// A child that waits, and tells its bytes when asked. It ends when this is dropped.
pub struct Target {
    /// Its number.
    pub pid: Pid,
    ask: Option<File>,
    hear: File,
}

impl Target {
    /// Makes one, after `prepare` in it.
    pub fn new(prepare: impl FnOnce()) -> io::Result<Self> {
        let (asked, ask) = sys::pipe()?;
        let (hear, told) = sys::pipe()?;
        match sys::fork()? {
            Fork::Child => {
                drop((ask, hear));
                prepare();
                let (mut asked, mut told) = (File::from(asked), File::from(told));
                let mut address = [0; size_of::<usize>()];
                // A byte without a question says that it is ready.
                let mut is_well = told.write_all(&[0]).is_ok();
                while is_well && asked.read_exact(&mut address).is_ok() {
                    is_well = told.write_all(&[peek(usize::from_ne_bytes(address))]).is_ok();
                }
                sys::exit_now(0)
            }
            Fork::Parent(pid) => {
                let mut target = Target { pid, ask: Some(ask.into()), hear: hear.into() };
                target.answer()?;
                Ok(target)
            }
        }
    }

    fn answer(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.hear.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// The byte that it finds at an address itself.
    pub fn sees(&mut self, address: usize) -> io::Result<u8> {
        if let Some(ask) = &mut self.ask {
            ask.write_all(&address.to_ne_bytes())?;
        }
        self.answer()
    }

    /// Its memory as a file.
    pub fn mem(&self) -> io::Result<Mem> {
        File::options().read(true).write(true).open(format!("/proc/{}/mem", self.pid)).map(Mem)
    }

    /// Ends it; it is a zombie until this is dropped.
    pub fn end(&mut self) -> io::Result<()> {
        self.ask = None;
        // The pipe's end comes when it is gone.
        match self.hear.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::Error::other("an answer without a question")),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.ask = None;
        // It is our child, and has no reason to stay.
        let _ = sys::wait(self.pid);
    }
}

/// An open `/proc/PID/mem`.
pub struct Mem(File);

impl Mem {
    /// Reads at an address.
    pub fn read(&self, address: usize, buffer: &mut [u8]) -> Answer {
        let (fd, at, len) = (self.0.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
        // SAFETY: the buffer has that length.
        answer(unsafe { libc::syscall(libc::SYS_pread64, fd, at, len, address, 0) })
    }

    /// Has the kernel read to an address of ours that may be bad.
    pub fn read_to(&self, address: usize, to: usize, len: usize) -> Answer {
        // SAFETY: the caller names addresses of the window.
        answer(unsafe { libc::syscall(libc::SYS_pread64, self.0.as_raw_fd(), to, len, address, 0) })
    }

    /// Writes at an address.
    pub fn write(&self, address: usize, bytes: &[u8]) -> Answer {
        let (fd, at, len) = (self.0.as_raw_fd(), bytes.as_ptr(), bytes.len());
        // SAFETY: the bytes have that length.
        answer(unsafe { libc::syscall(libc::SYS_pwrite64, fd, at, len, address, 0) })
    }

    /// `_llseek`; the new offset.
    pub fn seek(&self, offset: i64, whence: i32) -> Answer {
        let (fd, high, low) = (self.0.as_raw_fd(), (offset >> 32) as usize, offset as usize);
        let mut at = 0u64;
        // SAFETY: a place for the result.
        answer(unsafe { libc::syscall(libc::SYS__llseek, fd, high, low, &raw mut at, whence) })?;
        Ok(at as usize)
    }

    /// Reads at the file's own offset.
    pub fn read_on(&mut self, buffer: &mut [u8]) -> Answer {
        self.0.read(buffer).map_err(|error| errno_name(&error))
    }
}

/// Becomes an ordinary user for good. Only the superuser can.
pub fn become_user(number: libc::uid_t) -> Answer {
    // SAFETY: plain numbers.
    answer(unsafe { libc::syscall(libc::SYS_setresgid32, number, number, number) })?;
    // SAFETY: as above.
    answer(unsafe { libc::syscall(libc::SYS_setresuid32, number, number, number) })
}

/// Says whether others of the same user may look into this process.
pub fn set_dumpable(dumpable: bool) -> Answer {
    // SAFETY: plain numbers.
    answer(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, usize::from(dumpable), 0, 0, 0) })
}

/// A byte of a file in memory.
pub fn byte_of(file: &impl AsRawFd, at: usize) -> Result<u8, String> {
    let mut byte = [0];
    // SAFETY: room for one byte.
    answer(unsafe { libc::syscall(libc::SYS_pread64, file.as_raw_fd(), byte.as_mut_ptr(), 1, at, 0) })?;
    Ok(byte[0])
}
