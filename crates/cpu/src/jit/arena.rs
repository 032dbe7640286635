//! Memory for host code: written through one mapping and run through another, so that none is both.

use std::{fs::File, io, os::fd::FromRawFd};

use memmap2::{Mmap, MmapMut, MmapOptions};

/// Room for code, filled from the start and emptied all at once.
pub(super) struct Arena {
    writable: MmapMut,
    executable: Mmap,
    used: usize,
}

impl Arena {
    /// Bytes of room. Pages that were never written cost nothing.
    pub(super) const SIZE: usize = 64 << 20;

    /// # Errors
    /// Where the host gives no such memory, or forbids to run it.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the name is a string of C; the descriptor is checked before it is used.
        let descriptor = unsafe { libc::memfd_create(c"pagewalk-code".as_ptr(), libc::MFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let file = unsafe { File::from_raw_fd(descriptor) };
        file.set_len(Self::SIZE as u64)?;
        // SAFETY: the file has no name, so nobody else changes or shortens it.
        let (writable, executable) = unsafe { (MmapMut::map_mut(&file)?, MmapOptions::new().map_exec(&file)?) };
        Ok(Arena { writable, executable, used: 0 })
    }

    /// Where the next code will run.
    pub(super) fn next(&self) -> *const u8 {
        self.executable.as_ptr().wrapping_add(self.used)
    }

    /// Whether `bytes` more would still fit.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.used + bytes <= Self::SIZE
    }

    /// Puts code at [`Arena::next`], which then moves on behind it.
    pub(super) fn put(&mut self, code: &[u8]) {
        self.writable[self.used..self.used + code.len()].copy_from_slice(code);
        self.used = (self.used + code.len()).next_multiple_of(16);
    }

    /// Drops all code but the first `kept` bytes. None of it may run again.
    pub(super) fn truncate(&mut self, kept: usize) {
        self.used = kept.next_multiple_of(16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_there_runs() {
        let mut arena = Arena::new().unwrap();
        let place = arena.next();
        arena.put(&[0xb8, 42, 0, 0, 0, 0xc3]); // mov eax, 42; ret
        // SAFETY: a function of this convention was put there.
        let function = unsafe { std::mem::transmute::<*const u8, extern "sysv64" fn() -> u32>(place) };
        assert_eq!(function(), 42);
        assert_eq!(arena.next().addr() - place.addr(), 16, "code begins where the host fetches");
        arena.truncate(0);
        assert_eq!(arena.next(), place);
        assert!(arena.has_room(Arena::SIZE) && !arena.has_room(Arena::SIZE + 1));
    }
}
