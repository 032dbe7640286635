//! Runs what may be fatal in a process of its own and tells how it went.
#![allow(unsafe_code)]

use std::io::{self, Write};

use libc::{c_int, siginfo_t};
use pagewalk_programs::sys::{self, Ended, Fork};

/// Where the trap number and the error code are in a `ucontext`, in words: after the flags,
/// link and stack come the general registers, with these as the 13th and 14th.
const TRAPNO: usize = 5 + 12;
const ERR: usize = 5 + 13;

/// Status of a child whose signal was caught.
const CAUGHT: i32 = 9;

/// Runs `act` in a child that prints the signal it gets, if any: number, code, the kind of
/// exception, its error code, and whether the address told is `expected`.
pub fn attempt(name: &str, expected: usize, act: impl FnOnce()) -> io::Result<()> {
    print!("{name}: ");
    io::stdout().flush()?;
    match sys::fork()? {
        Fork::Child => {
            EXPECTED.store(expected, std::sync::atomic::Ordering::Relaxed);
            for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGTRAP, libc::SIGFPE] {
                catch(signal);
            }
            act();
            println!("nothing happened");
            let flushed = io::stdout().flush();
            sys::exit_now(i32::from(flushed.is_err()));
        }
        Fork::Parent(pid) => match sys::wait(pid)?.1 {
            Ended::Exited(0 | CAUGHT) => Ok(()),
            ended => {
                println!("ended as {ended:?}");
                Ok(())
            }
        },
    }
}

/// What `si_addr` should be.
static EXPECTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

fn catch(signal: c_int) {
    // SAFETY: all-zero bytes are a valid `sigaction`; the handler has the signature that
    // SA_SIGINFO asks for. It runs in a child that does nothing else any more.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tell as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

extern "C" fn tell(signal: c_int, info: *const siginfo_t, context: *const u32) {
    // SAFETY: the kernel passes a valid `siginfo_t` and a `ucontext` of i386.
    let (code, address, trap, error) =
        unsafe { ((*info).si_code, (*info).si_addr() as usize, *context.add(TRAPNO), *context.add(ERR)) };
    let expected = EXPECTED.load(std::sync::atomic::Ordering::Relaxed);
    let place = match () {
        () if expected == 0 => "".to_string(),
        () if address == expected => ", at the address".to_string(),
        () => format!(", at {address:#x}"),
    };
    println!("signal {signal} code {code}, trap {trap} error {error:#x}{place}");
    // Nothing is left to be done about output that can't be written.
    let _ = io::stdout().flush();
    sys::exit_now(CAUGHT);
}
