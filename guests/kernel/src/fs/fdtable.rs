//! The descriptors of a process.

use alloc::{sync::Arc, vec::Vec};

use abi::{
    errno::{EBADF, EMFILE, Result},
    proc::status,
};

use super::File;

#[derive(Clone)]
struct Slot {
    file: Arc<File>,
    cloexec: bool,
}

/// `files_struct`: what each descriptor means. Threads share one.
#[derive(Clone, Default)]
pub struct FdTable {
    slots: Vec<Option<Slot>>,
    /// How many slots there are, where the host can read it.
    pub nr_fds: u32,
}

/// Whether a descriptor is closed by `execve`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnExec {
    /// It stays open.
    Keep,
    /// `FD_CLOEXEC`.
    Close,
}

impl OnExec {
    /// By the flag `O_CLOEXEC` of an `open`.
    pub fn from_open_flags(flags: u32) -> Self {
        if flags & super::file::o::CLOEXEC != 0 { OnExec::Close } else { OnExec::Keep }
    }
}

impl FdTable {
    /// The file of a descriptor.
    pub fn get(&self, fd: u32) -> Result<Arc<File>> {
        self.slot(fd).map(|slot| slot.file.clone())
    }

    fn slot(&self, fd: u32) -> Result<&Slot> {
        self.slots.get(fd as usize).and_then(Option::as_ref).ok_or(EBADF)
    }

    /// Gives `file` the lowest free descriptor from `min` on and below `limit`.
    pub fn install(&mut self, file: Arc<File>, on_exec: OnExec, min: u32, limit: u32) -> Result<u32> {
        let mut fd = min as usize;
        while self.slots.get(fd).is_some_and(Option::is_some) {
            fd += 1;
        }
        if fd >= limit as usize {
            return Err(EMFILE);
        }
        self.set(fd as u32, file, on_exec);
        Ok(fd as u32)
    }

    /// Gives `file` the descriptor `fd`, and returns the file that had it.
    pub fn set(&mut self, fd: u32, file: Arc<File>, on_exec: OnExec) -> Option<Arc<File>> {
        let fd = fd as usize;
        if fd >= self.slots.len() {
            self.slots.resize(fd + 1, None);
            self.nr_fds = fd as u32 + 1;
        }
        let slot = Slot { file, cloexec: on_exec == OnExec::Close };
        self.slots[fd].replace(slot).map(|old| old.file)
    }

    /// Frees a descriptor. The caller drops the file after the table's lock.
    pub fn remove(&mut self, fd: u32) -> Result<Arc<File>> {
        let slot = self.slots.get_mut(fd as usize).and_then(Option::take).ok_or(EBADF)?;
        Ok(slot.file)
    }

    /// Whether `execve` closes the descriptor.
    pub fn on_exec(&self, fd: u32) -> Result<OnExec> {
        Ok(if self.slot(fd)?.cloexec { OnExec::Close } else { OnExec::Keep })
    }

    /// Decides whether `execve` closes the descriptor.
    pub fn set_on_exec(&mut self, fd: u32, on_exec: OnExec) -> Result<()> {
        let slot = self.slots.get_mut(fd as usize).and_then(Option::as_mut).ok_or(EBADF)?;
        slot.cloexec = on_exec == OnExec::Close;
        Ok(())
    }

    /// Takes out what `execve` closes.
    pub fn take_cloexec(&mut self) -> Vec<Arc<File>> {
        let closing = self.slots.iter_mut().filter(|slot| slot.as_ref().is_some_and(|s| s.cloexec));
        closing.filter_map(|slot| slot.take().map(|s| s.file)).collect()
    }

    /// Takes everything out.
    pub fn take_all(&mut self) -> Vec<Arc<File>> {
        self.nr_fds = 0;
        core::mem::take(&mut self.slots).into_iter().flatten().map(|s| s.file).collect()
    }

    /// The open descriptors in ascending order.
    pub fn open_fds(&self) -> Vec<u32> {
        (0..self.slots.len() as u32).filter(|&fd| self.slots[fd as usize].is_some()).collect()
    }

    /// Descriptors that there is room for, as Linux counts `FDSize`.
    pub fn capacity(&self) -> u32 {
        status::fd_size(self.nr_fds)
    }
}
