//! What is asked about another process's memory: `process_vm_readv` and `_writev`, and
//! `/proc/PID/mem`.

use std::{
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
};

use libc::{MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_EXEC, PROT_NONE, PROT_READ};
use pagewalk_programs::sys::{self, Ended, Fork, Pid};

use crate::{
    calls::{self, Answer, PAGE, errno_name, memory_file, peek, poke},
    target::{Direction, Mem, Piece, Target, become_user, byte_of, process_vm, set_dumpable},
    window::{RW, Window, zero},
};

/// The pages of the window, as they are in both processes.
const WRITTEN: isize = 0;
const SECOND: isize = 1;
const CLOSED: isize = 2;
const HOLE: isize = 3;
const PRIVATE: isize = 4;
const SHARED: isize = 5;
const UNTOUCHED: isize = 6;
const READ_ONLY: isize = 7;
const SHARED_READ_ONLY: isize = 8;
const CLOSED_UNTOUCHED: isize = 9;
const CODE: isize = 10;
/// A page that only the probe itself has, read-only.
const OWN_READ_ONLY: isize = 20;

/// First address of the kernel in a 3 G / 1 G split.
const KERNEL: usize = 0xc000_0000;
/// A user of no account.
const NOBODY: libc::uid_t = 65534;

/// Asks everything.
pub fn run_all() -> io::Result<()> {
    let window = Window::find()?;
    let file = prepare(&window).map_err(io::Error::other)?;
    let mut target = Target::new(|| ())?;
    poke(window.at(WRITTEN), b'p');
    window.map(OWN_READ_ONLY, 1, PROT_READ).map_err(io::Error::other)?;
    reads(&window, &target)?;
    writes(&window, &mut target, &file)?;
    let mem = target.mem()?;
    mem_reads(&window, mem)?;
    mem_writes(&window, &mut target, &file)?;
    users(&window, &target)?;
    ends(&window, target)
}

/// Maps the pages, and gives the file that some of them are of: every byte of it is the number
/// of its page, from 1 on.
fn prepare(w: &Window) -> Result<OwnedFd, String> {
    let file = memory_file(c"probe", 8 * PAGE).map_err(|error| errno_name(&error))?;
    w.map(WRITTEN, 3, RW)?;
    for page in [WRITTEN, SECOND, CLOSED] {
        (0..PAGE).for_each(|at| poke(w.at(page) + at, b'a' + page as u8));
    }
    calls::mprotect(w.at(CLOSED), PAGE, PROT_NONE)?;
    w.map(UNTOUCHED, 1, RW)?;
    w.map(READ_ONLY, 1, RW)?;
    poke(w.at(READ_ONLY), b'r');
    calls::mprotect(w.at(READ_ONLY), PAGE, PROT_READ)?;
    w.map(CLOSED_UNTOUCHED, 1, PROT_NONE)?;
    let map =
        |page, prot, flags, index| calls::mmap(w.at(page), PAGE, prot, flags | MAP_FIXED, file.as_raw_fd(), index);
    map(PRIVATE, RW, MAP_PRIVATE, 1)?;
    map(SHARED, RW, MAP_SHARED, 2)?;
    map(SHARED_READ_ONLY, PROT_READ, MAP_SHARED, 3)?;
    map(CODE, PROT_READ | PROT_EXEC, MAP_PRIVATE, 4)?;
    Ok(file)
}

/// `count: bytes` with the bytes as text, equal ones in a row once with their number.
fn shown(answer: &Answer, bytes: &[u8]) -> String {
    let count = match answer {
        Ok(count) => *count,
        Err(error) => return error.clone(),
    };
    let mut runs: Vec<(u8, usize)> = Vec::new();
    for &byte in bytes.get(..count).unwrap_or_default() {
        match runs.last_mut() {
            Some((last, len)) if *last == byte => *len += 1,
            _ => runs.push((byte, 1)),
        }
    }
    let name = |byte: u8| if byte.is_ascii_graphic() { char::from(byte).to_string() } else { format!("{byte:#x}") };
    let runs: Vec<_> = runs.iter().map(|&(byte, len)| format!("{len} x {}", name(byte))).collect();
    if runs.is_empty() { count.to_string() } else { format!("{count}: {}", runs.join(", ")) }
}

/// Reads pieces of the other process into one buffer.
fn read(pid: Pid, pieces: &[Piece]) -> String {
    let mut buffer = vec![0u8; pieces.iter().map(|piece| piece.1).sum::<usize>().min(1 << 20)];
    let local = (buffer.as_mut_ptr() as usize, buffer.len());
    let answer = process_vm(Direction::Read, pid, &[local], pieces, 0);
    shown(&answer, &buffer)
}

fn reads(w: &Window, target: &Target) -> io::Result<()> {
    println!("-- process_vm_readv");
    let pid = target.pid;
    let page = |n: isize| (w.at(n), PAGE);
    println!("what both had before: {}", read(pid, &[page(WRITTEN)]));
    println!("two pieces: {}", read(pid, &[(w.at(SECOND), 10), (w.at(WRITTEN), 5)]));
    println!("across pages: {}", read(pid, &[(w.at(SECOND) - 3, 5)]));
    println!("up to a closed page: {}", read(pid, &[(w.at(WRITTEN) + 5, 3 * PAGE)]));
    println!("a closed page: {}", read(pid, &[page(CLOSED)]));
    println!("a hole: {}", read(pid, &[page(HOLE)]));
    println!("good, bad, good: {}", read(pid, &[(w.at(SECOND), 7), page(HOLE), page(WRITTEN)]));
    println!("untouched: {}", read(pid, &[page(UNTOUCHED)]));
    println!("read-only: {}", read(pid, &[(w.at(READ_ONLY), 2)]));
    println!("of files: {}", read(pid, &[page(PRIVATE), page(SHARED), page(SHARED_READ_ONLY)]));
    println!("the kernel: {}", read(pid, &[(KERNEL, 4)]));
    println!("over its end: {}", read(pid, &[(usize::MAX - 3, 16)]));
    println!("nothing: {}", read(pid, &[(w.at(HOLE), 0)]));
    println!("no pieces: {}", read(pid, &[]));
    let mut buffer = vec![0u8; 2 * PAGE];
    let at = buffer.as_mut_ptr() as usize;
    let call = |local: &[Piece], remote: &[Piece], flags| process_vm(Direction::Read, pid, local, remote, flags);
    println!("scattered: {}", zero(call(&[(at, 3), (at + 100, 0), (at + 10, 4)], &[page(SECOND)], 0)));
    println!("they are: {}", shown(&Ok(16), &buffer[..16]));
    println!("to a bad place: {}", zero(call(&[(w.at(HOLE), 10)], &[page(SECOND)], 0)));
    println!("to a read-only place: {}", zero(call(&[(w.at(OWN_READ_ONLY), 10)], &[page(SECOND)], 0)));
    println!("to a good and a bad place: {}", zero(call(&[(at, 9), (w.at(HOLE), 10)], &[page(SECOND)], 0)));
    println!("to the kernel: {}", zero(call(&[(at, 9), (KERNEL, 10)], &[page(SECOND)], 0)));
    println!("flags: {}", zero(call(&[(at, 9)], &[page(SECOND)], 1)));
    println!("a negative length: {}", zero(call(&[(at, 9)], &[(w.at(SECOND), 1 << 31)], 0)));
    println!("a negative length here: {}", zero(call(&[(at, 1 << 31)], &[page(SECOND)], 0)));
    println!("1024 pieces: {}", zero(call(&[(at, 2048)], &[(w.at(SECOND), 1); 1024], 0)));
    println!("1025 pieces: {}", zero(call(&[(at, 2048)], &[(w.at(SECOND), 1); 1025], 0)));
    println!(
        "own memory: {}",
        zero(process_vm(Direction::Read, std::process::id() as Pid, &[(at, 9)], &[page(WRITTEN)], 0))
    );
    println!("it begins with: {}", char::from(buffer[0]));
    Ok(())
}

fn writes(w: &Window, target: &mut Target, file: &OwnedFd) -> io::Result<()> {
    println!("-- process_vm_writev");
    let bytes = [b'w'; PAGE];
    let pid = target.pid;
    let write = |at: usize, len: usize| {
        zero(process_vm(Direction::Write, pid, &[(bytes.as_ptr() as usize, len)], &[(at, len)], 0))
    };
    println!("a page that both have: {}", write(w.at(SECOND), 8));
    println!("there: {}, here: {}", target.sees(w.at(SECOND))?, peek(w.at(SECOND)));
    println!("untouched: {}, there: {}", write(w.at(UNTOUCHED) + 1, 3), target.sees(w.at(UNTOUCHED) + 3)?);
    println!("up to a closed page: {}", write(w.at(CLOSED) - 6, 100));
    println!("a closed page: {}", write(w.at(CLOSED), 1));
    println!("read-only: {}, there: {}", write(w.at(READ_ONLY), 1), target.sees(w.at(READ_ONLY))?);
    println!("a hole: {}", write(w.at(HOLE), 1));
    println!("code: {}", write(w.at(CODE), 1));
    let in_file = |page: usize| byte_of(file, page * PAGE).map_err(io::Error::other);
    println!("private, of a file: {}, there: {}", write(w.at(PRIVATE), 5), target.sees(w.at(PRIVATE) + 4)?);
    println!("here: {}, in the file: {}", peek(w.at(PRIVATE)), in_file(1)?);
    println!("shared, of a file: {}, there: {}", write(w.at(SHARED), 5), target.sees(w.at(SHARED) + 4)?);
    println!("here: {}, in the file: {}", peek(w.at(SHARED)), in_file(2)?);
    println!("shared, read-only: {}", write(w.at(SHARED_READ_ONLY), 5));
    let from = |pieces: &[Piece]| zero(process_vm(Direction::Write, pid, pieces, &[(w.at(WRITTEN), PAGE)], 0));
    println!("from a bad place: {}", from(&[(w.at(HOLE), 10)]));
    println!("from a good and a bad place: {}", from(&[(bytes.as_ptr() as usize, 9), (w.at(HOLE), 10)]));
    Ok(())
}

fn mem_reads(w: &Window, mut mem: Mem) -> io::Result<()> {
    println!("-- /proc/PID/mem, read");
    let read = |at: usize, len: usize| {
        let mut buffer = vec![0; len];
        shown(&mem.read(at, &mut buffer), &buffer)
    };
    println!("across pages: {}", read(w.at(SECOND) - 3, 16));
    println!("a closed page: {}", read(w.at(CLOSED), 9));
    println!("a closed page, untouched: {}", read(w.at(CLOSED_UNTOUCHED), 9));
    println!("up to a hole: {}", read(w.at(CLOSED) + 1, 2 * PAGE));
    println!("a hole: {}", read(w.at(HOLE), 9));
    println!("of files: {}", read(w.at(PRIVATE), 2 * PAGE));
    println!("the kernel: {}", read(KERNEL, 4));
    println!("address 0: {}", read(0, 4));
    println!("nothing: {}", read(w.at(HOLE), 0));
    println!("to a bad place: {}", zero(mem.read_to(w.at(SECOND), w.at(HOLE), 9)));
    let mut inside = vec![0; 8];
    mem.seek(w.at(WRITTEN) as i64, libc::SEEK_SET).map_err(io::Error::other)?;
    println!("by an offset: {}", shown(&mem.read_on(&mut inside), &inside));
    println!("which moves: {}", w.page(mem.seek(0x1000 - 8, libc::SEEK_CUR)));
    println!("and goes on: {}", shown(&mem.read_on(&mut inside), &inside));
    println!("from the end: {}", zero(mem.seek(0, libc::SEEK_END)));
    println!("high: {:x}", mem.seek(0xffff_f000, libc::SEEK_SET).unwrap_or(0));
    println!("nothing is there: {}", shown(&mem.read_on(&mut inside), &inside));
    Ok(())
}

fn mem_writes(w: &Window, target: &mut Target, file: &OwnedFd) -> io::Result<()> {
    println!("-- /proc/PID/mem, write");
    let mem = target.mem()?;
    let bytes = [b'm'; 3 * PAGE];
    let write = |at: usize, len: usize| zero(mem.write(at, &bytes[..len]));
    println!("written: {}, there: {}", write(w.at(SECOND), 8), target.sees(w.at(SECOND) + 7)?);
    println!(
        "read-only: {}, there: {}, here: {}",
        write(w.at(READ_ONLY), 1),
        target.sees(w.at(READ_ONLY))?,
        peek(w.at(READ_ONLY))
    );
    println!("a closed page: {}", write(w.at(CLOSED), 5));
    println!("a closed page, untouched: {}", write(w.at(CLOSED_UNTOUCHED), 5));
    let mut buffer = [0; 7];
    println!("they are: {}", shown(&mem.read(w.at(CLOSED), &mut buffer), &buffer));
    println!("and: {}", shown(&mem.read(w.at(CLOSED_UNTOUCHED), &mut buffer), &buffer));
    println!("several pages up to a hole: {}", write(w.at(SECOND) + 1, 3 * PAGE));
    println!("a hole: {}", write(w.at(HOLE), 5));
    let in_file = |page: usize| byte_of(file, page * PAGE).map_err(io::Error::other);
    println!("code: {}, there: {}", write(w.at(CODE), 5), target.sees(w.at(CODE))?);
    println!("here: {}, in the file: {}", peek(w.at(CODE)), in_file(4)?);
    println!("shared, of a file: {}, in the file: {}", write(w.at(SHARED), 5), in_file(2)?);
    println!("shared, read-only: {}, in the file: {}", write(w.at(SHARED_READ_ONLY), 5), in_file(3)?);
    println!("the kernel: {}", write(KERNEL, 4));
    Ok(())
}

/// Prints what a user of no account gets.
fn as_nobody(tell: impl FnOnce() -> String) -> io::Result<()> {
    io::stdout().flush()?;
    match sys::fork()? {
        Fork::Child => {
            println!("{}", if become_user(NOBODY).is_ok() { tell() } else { "not the superuser".into() });
            let flushed = io::stdout().flush();
            sys::exit_now(i32::from(flushed.is_err()))
        }
        Fork::Parent(pid) => match sys::wait(pid)?.1 {
            Ended::Exited(0) => Ok(()),
            ended => Err(io::Error::other(format!("a child ended with {ended:?}"))),
        },
    }
}

fn users(w: &Window, target: &Target) -> io::Result<()> {
    println!("-- users");
    let open = |target: &Target| target.mem().map_or_else(|error| errno_name(&error), |_| "open".into());
    print!("another's memory: ");
    as_nobody(|| read(target.pid, &[(w.at(SECOND), 4)]))?;
    print!("another's file: ");
    as_nobody(|| open(target))?;
    let closed = Target::new(|| drop(become_user(NOBODY)))?;
    print!("of the same user, who was another: ");
    as_nobody(|| read(closed.pid, &[(w.at(READ_ONLY), 1)]))?;
    let own = Target::new(|| drop((become_user(NOBODY), set_dumpable(true))))?;
    print!("of the same user: ");
    as_nobody(|| read(own.pid, &[(w.at(READ_ONLY), 1)]))?;
    print!("its file: ");
    as_nobody(|| open(&own))
}

fn ends(w: &Window, mut target: Target) -> io::Result<()> {
    println!("-- its end");
    let mem = target.mem()?;
    target.end()?;
    println!("a zombie: {}", read(target.pid, &[(w.at(SECOND), 4)]));
    let mut buffer = [0; 4];
    println!("its memory: {}", shown(&mem.read(w.at(SECOND), &mut buffer), &buffer));
    println!("written: {}", zero(mem.write(w.at(SECOND), &buffer)));
    let pid = target.pid;
    drop(target);
    println!("nobody: {}", read(pid, &[(w.at(SECOND), 4)]));
    println!("nobody, and nothing to do: {}", read(pid, &[]));
    Ok(())
}
