//! Pages that belong to the tour alone, so that it may do to them what it likes.
#![allow(unsafe_code)]

use std::{io, ops::Range, ptr};

use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE, c_int};

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;

/// What a page may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    None,
    Read,
    ReadWrite,
}

impl Access {
    fn prot(self) -> c_int {
        match self {
            Access::None => PROT_NONE,
            Access::Read => PROT_READ,
            Access::ReadWrite => PROT_READ | PROT_WRITE,
        }
    }
}

/// Anonymous pages from `mmap`, or the part of the heap that `brk` has just added. Nothing
/// else points into them. A page that has been given back is never touched again.
pub struct Region {
    base: usize,
    pages: usize,
    given_back: Range<usize>,
}

impl Region {
    /// Maps `pages` new pages, readable and writable.
    pub fn map(pages: usize) -> io::Result<Self> {
        let (prot, flags) = (Access::ReadWrite.prot(), MAP_PRIVATE | MAP_ANONYMOUS);
        // SAFETY: without MAP_FIXED the kernel chooses addresses that nobody uses.
        let base = unsafe { libc::mmap(ptr::null_mut(), pages * PAGE_SIZE, prot, flags, -1, 0) };
        if base == MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Region { base: base as usize, pages, given_back: 0..0 })
    }

    /// Moves the program break up by `pages`.
    pub fn grow_heap(pages: usize) -> io::Result<Self> {
        // SAFETY: growing the heap takes nothing away from the allocator.
        let old_break = unsafe { libc::syscall(libc::SYS_brk, 0) } as usize;
        let base = old_break.next_multiple_of(PAGE_SIZE);
        let wanted = base + pages * PAGE_SIZE;
        // SAFETY: as above.
        let new_break = unsafe { libc::syscall(libc::SYS_brk, wanted) } as usize;
        if new_break != wanted {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Region { base, pages, given_back: 0..0 })
    }

    /// Moves the program break back to where the region begins.
    pub fn shrink_heap(self) {
        // SAFETY: the pages above belonged to this region, which is gone now.
        unsafe { libc::syscall(libc::SYS_brk, self.base) };
    }

    /// Addresses of a run of pages.
    pub fn addresses(&self, pages: Range<usize>) -> Range<usize> {
        self.address(pages.start)..self.address(pages.end)
    }

    /// Addresses of the whole region.
    pub fn all(&self) -> Range<usize> {
        self.addresses(0..self.pages)
    }

    /// First address of a page.
    pub fn address(&self, page: usize) -> usize {
        assert!(page <= self.pages, "page {page} of {}", self.pages);
        self.base + page * PAGE_SIZE
    }

    /// Changes what a run of pages may be used for.
    pub fn protect(&mut self, pages: Range<usize>, access: Access) -> io::Result<()> {
        let range = self.addresses(pages);
        // SAFETY: nothing but this region points to the pages.
        zero_or_error(unsafe { libc::mprotect(range.start as *mut _, range.len(), access.prot()) })
    }

    /// Gives a run of pages back.
    pub fn unmap(&mut self, pages: Range<usize>) -> io::Result<()> {
        assert!(self.given_back.is_empty(), "one hole at most");
        let range = self.addresses(pages.clone());
        // SAFETY: nothing but this region points to the pages, and it remembers that they are gone.
        zero_or_error(unsafe { libc::munmap(range.start as *mut _, range.len()) })?;
        self.given_back = pages;
        Ok(())
    }

    /// The first word of a page. May fault, as the tour wants it to.
    pub fn read(&self, page: usize) -> u32 {
        // SAFETY: the page belongs to the region (checked); if it may not be read, the
        // processor faults and a signal says so.
        unsafe { ptr::read_volatile(self.word(page)) }
    }

    /// Writes the first word of a page. May fault, as the tour wants it to.
    pub fn write(&mut self, page: usize, value: u32) {
        // SAFETY: as for `read`.
        unsafe { ptr::write_volatile(self.word(page), value) }
    }

    fn word(&self, page: usize) -> *mut u32 {
        assert!(page < self.pages && !self.given_back.contains(&page), "page {page} is not ours");
        self.address(page) as *mut u32
    }
}

fn zero_or_error(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
