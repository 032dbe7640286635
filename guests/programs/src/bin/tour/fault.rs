//! A handler for SIGSEGV that notes what the kernel tells about the fault, makes the page
//! accessible and returns, upon which the processor repeats the instruction.
#![allow(unsafe_code)]

use std::{
    io,
    sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed},
};

use libc::{PROT_READ, PROT_WRITE, c_int, c_void, siginfo_t};

use crate::region::PAGE_SIZE;

static FAULTS: AtomicUsize = AtomicUsize::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);

/// What the handler was told.
pub struct Fault {
    /// `si_addr`: the address that was accessed.
    pub address: usize,
    /// `si_code`.
    pub code: i32,
}

/// Has SIGSEGV handled.
pub fn install_handler() -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `sigaction`; the handler has the signature that
    // SA_SIGINFO asks for and calls only what a handler may.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_segv as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Runs `access`, and tells of the fault that it took, if any.
pub fn caught(access: impl FnOnce()) -> Option<Fault> {
    let before = FAULTS.load(Relaxed);
    access();
    let faulted = FAULTS.load(Relaxed) != before;
    faulted.then(|| Fault { address: ADDRESS.load(Relaxed), code: CODE.load(Relaxed) })
}

extern "C" fn on_segv(_signal: c_int, info: *const siginfo_t, _context: *const c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t`, and for SIGSEGV it has an address.
    let (address, code) = unsafe { ((*info).si_addr() as usize, (*info).si_code) };
    ADDRESS.store(address, Relaxed);
    CODE.store(code, Relaxed);
    FAULTS.fetch_add(1, Relaxed);
    let page = address & !(PAGE_SIZE - 1);
    // SAFETY: the tour faults only in its own region, where it wants to go on. A fault
    // anywhere else is a bug: if the page can't be opened, the next one is fatal.
    unsafe {
        if libc::mprotect(page as *mut _, PAGE_SIZE, PROT_READ | PROT_WRITE) != 0 {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        }
    }
}
