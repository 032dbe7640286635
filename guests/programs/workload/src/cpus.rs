//! What several CPUs do at once.
#![allow(unsafe_code)]

use std::{
    io, ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use crate::{EMPTY_SUM, Round, integer, mix};

const PAGE_BYTES: usize = 4096;
/// Threads of [`crowd`].
const CROWD: u32 = 4;

/// Pages that one thread reads without end, until this is dropped.
struct Watched {
    at: *mut u32,
    pages: usize,
    is_over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Watched {
    fn new(pages: u32) -> io::Result<Watched> {
        let pages = pages as usize;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping.
        let at = unsafe { libc::mmap(ptr::null_mut(), pages * PAGE_BYTES, rights, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let (place, stop) = (at as usize, is_over.clone());
        let reader = thread::Builder::new().spawn(move || {
            while !stop.load(Relaxed) {
                for page in 0..pages {
                    // SAFETY: the mapping is there, and can be read, until this thread has been joined.
                    unsafe { ((place + page * PAGE_BYTES) as *const u32).read_volatile() };
                }
            }
        })?;
        Ok(Watched { at: at.cast(), pages, is_over, reader: Some(reader) })
    }

    fn protect(&self, page: usize, rights: i32) -> io::Result<()> {
        // SAFETY: a page of the mapping, which stays readable.
        let result = unsafe { libc::mprotect(self.page(page).cast(), PAGE_BYTES, rights) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn page(&self, page: usize) -> *mut u32 {
        assert!(page < self.pages);
        // SAFETY: within the mapping.
        unsafe { self.at.add(page * PAGE_BYTES / 4) }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        if let Some(reader) = self.reader.take() {
            // It does nothing that could fail.
            let _ = reader.join();
        }
        // SAFETY: nobody reads the mapping any more.
        unsafe { libc::munmap(self.at.cast(), self.pages * PAGE_BYTES) };
    }
}

/// Takes the right to write from each of `pages` pages, which another thread reads all the time:
/// each time the other CPU has to be told. Gives it back: of that it need not hear.
pub fn shootdown(pages: u32) -> io::Result<Round> {
    let watched = Watched::new(pages)?;
    Ok(Box::new(move || {
        let mut sum = EMPTY_SUM;
        for page in 0..watched.pages {
            watched.protect(page, libc::PROT_READ)?;
            watched.protect(page, libc::PROT_READ | libc::PROT_WRITE)?;
            // SAFETY: the page can be written; the other thread only reads it.
            unsafe { watched.page(page).write_volatile(page as u32) };
            sum = mix(sum, page as u32);
        }
        Ok(sum)
    }))
}

/// The same computation in four threads.
pub fn crowd(size: u32) -> io::Result<Round> {
    Ok(Box::new(move || {
        let threads: io::Result<Vec<_>> = (0..CROWD)
            .map(|_| thread::Builder::new().spawn(move || integer::sha256(std::hint::black_box(size))))
            .collect();
        let mut sum = EMPTY_SUM;
        for thread in threads? {
            sum = mix(sum, thread.join().map_err(|_| io::Error::other("a thread has panicked"))?);
        }
        Ok(sum)
    }))
}
