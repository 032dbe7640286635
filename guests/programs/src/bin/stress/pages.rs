//! Anonymous memory by its words, and stores that may fault.
#![allow(unsafe_code)]

use std::{
    arch::asm,
    cell::Cell,
    fs::File,
    io,
    os::fd::AsRawFd,
    ptr::{self, NonNull},
};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Words of a page.
pub const PAGE_WORDS: usize = PAGE_BYTES / 4;

/// A range of pages that belongs to this process. Its words are reached one at a time and may be
/// changed by other threads at any time; they never are a Rust reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pages {
    at: NonNull<u32>,
    count: usize,
}

// SAFETY: the address is a number like any other, and words are reached by volatile accesses alone.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

/// Who sees what is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// This process; a forked one gets a copy.
    Private,
    /// The processes that it forks, too.
    Shared,
}

impl Pages {
    /// New pages, all zero.
    pub fn map(count: usize, sharing: Sharing) -> io::Result<Self> {
        let flags = match sharing {
            Sharing::Private => libc::MAP_PRIVATE,
            Sharing::Shared => libc::MAP_SHARED,
        };
        // SAFETY: the kernel chooses the place, so nothing is overwritten.
        unsafe { Self::mmap(ptr::null_mut(), count, flags) }
    }

    /// Puts new pages, all zero, in the place of these: the old ones are gone for every thread.
    pub fn renew(self) -> io::Result<()> {
        // SAFETY: only pages that are ours are replaced, and no reference into them exists.
        unsafe { Self::mmap(self.at.as_ptr().cast(), self.count, libc::MAP_PRIVATE | libc::MAP_FIXED).map(drop) }
    }

    /// # Safety
    /// With `MAP_FIXED` the range at `place` is the caller's to replace.
    unsafe fn mmap(place: *mut libc::c_void, count: usize, flags: i32) -> io::Result<Self> {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: by the caller.
        let at = unsafe { libc::mmap(place, count * PAGE_BYTES, rights, flags | libc::MAP_ANONYMOUS, -1, 0) };
        match NonNull::new(at.cast::<u32>()) {
            Some(words) if at != libc::MAP_FAILED => Ok(Pages { at: words, count }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Gives the pages back.
    pub fn unmap(self) -> io::Result<()> {
        // SAFETY: they are ours, and no reference into them exists.
        check(unsafe { libc::munmap(self.at.as_ptr().cast(), self.count * PAGE_BYTES) })
    }

    /// Lets the pages be written, or only read.
    pub fn set_writable(self, writable: bool) -> io::Result<()> {
        let rights = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: they are ours; stores into them are made by functions that allow for a fault.
        check(unsafe { libc::mprotect(self.at.as_ptr().cast(), self.count * PAGE_BYTES, rights) })
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.count
    }

    fn word(self, page: usize, word: usize) -> *mut u32 {
        assert!(page < self.count && word < PAGE_WORDS, "page {page}, word {word}");
        self.at.as_ptr().wrapping_add(page * PAGE_WORDS + word)
    }

    /// A word of a page.
    pub fn read(self, page: usize, word: usize) -> u32 {
        // SAFETY: it lies in the range, which stays mapped while the program uses it.
        unsafe { self.word(page, word).read_volatile() }
    }

    /// Sets a word of a page, which can be written.
    pub fn write(self, page: usize, word: usize, value: u32) {
        // SAFETY: as in `read`.
        unsafe { self.word(page, word).write_volatile(value) }
    }

    /// Adds to a word at once for all that share it.
    pub fn add(self, page: usize, word: usize, value: u32) {
        // SAFETY: as in `read`; the word is aligned, and only reached so while others may add.
        unsafe { std::sync::atomic::AtomicU32::from_ptr(self.word(page, word)) }
            .fetch_add(value, std::sync::atomic::Ordering::SeqCst);
    }

    /// Reads from a file into all of them, by one system call; gives how many bytes came.
    pub fn read_from(self, file: &File) -> io::Result<usize> {
        // SAFETY: the range is ours, and no reference into it exists.
        let read = unsafe { libc::read(file.as_raw_fd(), self.at.as_ptr().cast(), self.count * PAGE_BYTES) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }

    /// Tries to set a word of a page; says whether that was allowed. [`catch_faults`] must have
    /// been called.
    pub fn try_write(self, page: usize, word: usize, value: u32) -> bool {
        REFUSED.set(false);
        let place = self.word(page, word);
        // SAFETY: the place lies in our range; where it cannot be written the handler steps over
        // the instruction, whose bytes it knows.
        unsafe {
            asm!("mov dword ptr [ecx], eax", in("ecx") place, in("eax") value, options(nostack, preserves_flags))
        };
        !REFUSED.get()
    }
}

thread_local! {
    /// The last [`Pages::try_write`] of this thread faulted.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// The bytes of `mov [ecx], eax`, the one instruction that may fault.
const STORE: [u8; 2] = [0x89, 0x01];
/// The place of EIP among the words of i386's `ucontext`: flags, link, three of the signal
/// stack, and fourteen registers come before.
const EIP: usize = 1 + 1 + 3 + 14;

/// Has faults of [`Pages::try_write`] noted instead of ending the program.
pub fn catch_faults() -> io::Result<()> {
    // SAFETY: all zero is a valid value, whose fields are then set.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = step_over as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler does nothing but what signal handlers may.
    check(unsafe { libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut()) })
}

extern "C" fn step_over(signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives the interrupted registers in i386's layout.
    let eip = unsafe { context.cast::<u32>().add(EIP) };
    // SAFETY: as above; the bytes at EIP are code that was just fetched.
    let code = unsafe { (*eip as *const [u8; 2]).read_unaligned() };
    if code == STORE {
        REFUSED.set(true);
        // SAFETY: as above.
        unsafe { *eip += STORE.len() as u32 };
        return;
    }
    // Anybody else's fault is fatal: it comes again, without a handler.
    // SAFETY: the default action is valid.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// This thread, and those that it starts from now on, run on one CPU only.
pub fn stay_on_cpu(number: usize) -> io::Result<()> {
    // SAFETY: all zero is the empty set.
    let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: sets a bit of it.
    unsafe { libc::CPU_SET(number, &mut cpus) };
    // SAFETY: the set is as large as it is said to be.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const cpus) })
}

fn check(result: i32) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
