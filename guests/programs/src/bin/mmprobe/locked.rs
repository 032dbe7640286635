//! `locked`: how much memory a user may lock, and what a hole does to it; `locked pages`: how many
//! pages the kernel keeps locked meanwhile.
#![allow(unsafe_code)]

use std::{fs, io};

use libc::{MAP_ANONYMOUS, MAP_FIXED_NOREPLACE, MAP_LOCKED, MAP_PRIVATE, MCL_CURRENT, MCL_FUTURE};
use pagewalk_programs::sys::{self, Fork};

use crate::{
    calls::{self, Answer, PAGE, answer, brk, mlock, munlock, store},
    scarce::{anonymous, show},
    window::RW,
};

/// `locked [pages]`
pub fn run(args: &[String]) -> io::Result<()> {
    match args.first().map(String::as_str) {
        None => {
            hole()?;
            as_a_user()
        }
        Some(_) => kept(),
    }
}

/// Where nothing is put unasked, so that a hole stays one.
const LOW: usize = 0x2000_0000;

/// Pages of an area that are written, one of which is no more.
fn with_a_hole(pages: usize, hole: usize) -> io::Result<usize> {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    let at = calls::mmap(LOW, pages * PAGE, RW, flags, -1, 0).map_err(io::Error::other)?;
    (0..pages).for_each(|page| store(at + page * PAGE, 1));
    mlock(at, pages * PAGE).map_err(io::Error::other)?;
    calls::munmap(at + hole * PAGE, PAGE).map_err(io::Error::other)?;
    Ok(at)
}

fn hole() -> io::Result<()> {
    let at = with_a_hole(4, 1)?;
    println!("with a hole: {}", kb("/proc/self/status", "VmLck:")?);
    println!("munlock: {}, {}", show(munlock(at, 4 * PAGE)), kb("/proc/self/status", "VmLck:")?);
    println!("mlock: {}, {}", show(mlock(at, 4 * PAGE)), kb("/proc/self/status", "VmLck:")?);
    calls::munmap(at, 4 * PAGE).map(drop).map_err(io::Error::other)
}

/// The kernel's own count.
fn kept() -> io::Result<()> {
    let locked = || kb("/proc/meminfo", "Mlocked:");
    let at = with_a_hole(64, 32)?;
    println!("locked: {}", locked()?);
    println!("munlock: {}, {}", show(munlock(at, 64 * PAGE)), locked()?);
    println!("munlock: {}, {}", show(munlock(at + 33 * PAGE, 31 * PAGE)), locked()?);
    Ok(())
}

fn kb(file: &str, row: &str) -> io::Result<String> {
    let text = fs::read_to_string(file)?;
    Ok(text.lines().find_map(|line| line.strip_prefix(row)).unwrap_or("?").trim().into())
}

/// What one may who is not the superuser: 8 pages, then none.
fn as_a_user() -> io::Result<()> {
    match sys::fork()? {
        Fork::Child => {
            // SAFETY: takes a number.
            unsafe { libc::setuid(1000) };
            sys::exit_now(i32::from(limited().is_err()))
        }
        Fork::Parent(pid) => sys::wait(pid).map(drop),
    }
}

fn limited() -> io::Result<()> {
    let at = anonymous(16)?;
    set_limit(8)?;
    println!("9 pages: {}", show(mlock(at, 9 * PAGE)));
    println!("8 pages: {}", show(mlock(at, 8 * PAGE)));
    println!("the same again: {}", show(mlock(at, 8 * PAGE)));
    println!("others of them: {}", show(mlock(at + PAGE, 8 * PAGE)));
    println!("mmap of a locked page: {}", mapped(1));
    println!("mremap to more: {}", show(calls::mremap(at, 8 * PAGE, 9 * PAGE, libc::MREMAP_MAYMOVE, 0)));
    println!("munlock of 2: {}", show(munlock(at, 2 * PAGE)));
    println!("mmap of 2: {}", mapped(2));
    println!("mlockall: {}", show(mlockall(MCL_CURRENT)));
    println!("in the future: {}", show(mlockall(MCL_FUTURE)));
    println!("mmap: {}", show(calls::mmap(0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).map(|_| 0)));
    let end = brk(0);
    println!("brk: {}", if brk(end + PAGE) == end { "stays" } else { "moves" });
    // SAFETY: no arguments.
    println!("munlockall: {}", show(answer(unsafe { libc::syscall(libc::SYS_munlockall) })));
    set_limit(0)?;
    println!("none: mlock {}, mmap {}, mlockall {}", show(mlock(at, PAGE)), mapped(1), show(mlockall(MCL_FUTURE)));
    Ok(())
}

fn set_limit(pages: u32) -> io::Result<()> {
    let bytes = libc::rlim_t::from(pages) * PAGE as libc::rlim_t;
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: plain data; what may not be raised stays as it was.
    let result = unsafe {
        let mut old: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut old);
        libc::setrlimit(libc::RLIMIT_MEMLOCK, &libc::rlimit { rlim_max: old.rlim_max, ..limit })
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn mapped(pages: usize) -> String {
    show(calls::mmap(0, pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0).map(|_| 0))
}

fn mlockall(flags: i32) -> Answer {
    // SAFETY: takes a number.
    answer(unsafe { libc::syscall(libc::SYS_mlockall, flags) })
}
