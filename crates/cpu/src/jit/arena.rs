//! Memory for host code: written through one mapping and run through another, so that none is both.

use std::{io, ptr::NonNull};

/// Room for code, filled from the start and emptied all at once.
pub(super) struct Arena {
    writable: NonNull<u8>,
    executable: NonNull<u8>,
    used: usize,
}

// SAFETY: both mappings are the arena's own.
unsafe impl Send for Arena {}

impl Arena {
    /// Bytes of room. Pages that were never written cost nothing.
    pub(super) const SIZE: usize = 64 << 20;

    /// Memory without a file: a limit on the size of files, which a shell may set, does not concern it.
    ///
    /// # Errors
    /// Where the host gives no such memory, or forbids to run it.
    pub(super) fn new() -> io::Result<Self> {
        let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, wherever there is room.
        let writable =
            unsafe { libc::mmap(std::ptr::null_mut(), Self::SIZE, rights, kind | libc::MAP_NORESERVE, -1, 0) };
        let writable = mapped(writable)?;
        // SAFETY: a length of 0 asks for a second mapping of the same shared memory; the first one stays.
        let executable = unsafe { libc::mremap(writable.as_ptr().cast(), 0, Self::SIZE, libc::MREMAP_MAYMOVE) };
        let executable = mapped(executable).inspect_err(|_| unmap(writable))?;
        let arena = Arena { writable, executable, used: 0 };
        // SAFETY: the second mapping, which nobody uses yet.
        match unsafe { libc::mprotect(executable.as_ptr().cast(), Self::SIZE, libc::PROT_READ | libc::PROT_EXEC) } {
            0 => Ok(arena),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Where the next code will run.
    pub(super) fn next(&self) -> *const u8 {
        self.executable.as_ptr().cast_const().wrapping_add(self.used)
    }

    /// Whether `bytes` more would still fit.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.used + bytes <= Self::SIZE
    }

    /// Puts code, for which there is room, at [`Arena::next`], which then moves on behind it.
    pub(super) fn put(&mut self, code: &[u8]) {
        assert!(self.has_room(code.len()), "{} bytes of code, and {} are used", code.len(), self.used);
        // SAFETY: so many bytes are left in the mapping, and code that runs lies before them.
        unsafe { self.writable.add(self.used).copy_from_nonoverlapping(NonNull::from(code).cast(), code.len()) };
        self.used = (self.used + code.len()).next_multiple_of(16);
    }

    /// Drops all code but the first `kept` bytes. None of it may run again.
    pub(super) fn truncate(&mut self, kept: usize) {
        self.used = kept.next_multiple_of(16);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        unmap(self.writable);
        unmap(self.executable);
    }
}

/// What `mmap` or `mremap` gave.
fn mapped(address: *mut libc::c_void) -> io::Result<NonNull<u8>> {
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

/// Gives one of the mappings back.
fn unmap(mapping: NonNull<u8>) {
    // SAFETY: one of an arena's, which is not used any more.
    unsafe { libc::munmap(mapping.as_ptr().cast(), Arena::SIZE) };
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
