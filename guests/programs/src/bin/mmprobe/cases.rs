//! What is asked.

use std::{io, os::fd::AsRawFd};

use libc::{
    MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_GROWSDOWN, MAP_PRIVATE, MAP_SHARED, MREMAP_FIXED,
    MREMAP_MAYMOVE, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE,
};

use crate::{
    calls::{self, PAGE, Trap, call, instruction, kernel_reads, kernel_writes, peek, poke},
    child::attempt,
    window::{RW, Window, zero},
};

const PRIVATE_ANONYMOUS: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

/// First address of the kernel in a 3 G / 1 G split.
const KERNEL: usize = 0xc000_0000;

/// Asks everything.
pub fn run_all() -> io::Result<()> {
    let window = Window::find()?;
    for group in [errors, areas, remapping, heap, advice, files] {
        group(&window)?;
        window.clear();
    }
    faults(&window)?;
    exceptions()?;
    stack_like(&window)
}

fn errors(w: &Window) -> io::Result<()> {
    println!("-- errors");
    let anonymous = |address, len, prot, flags| w.page(calls::mmap(address, len, prot, flags, -1, 0));
    println!("length 0: {}", anonymous(0, 0, PROT_READ, PRIVATE_ANONYMOUS));
    println!("neither private nor shared: {}", anonymous(0, PAGE, PROT_READ, MAP_ANONYMOUS));
    println!("fixed at an odd address: {}", anonymous(w.at(0) + 1, PAGE, RW, PRIVATE_ANONYMOUS | MAP_FIXED));
    println!("larger than the address space: {}", anonymous(0, 0xf000_0000, RW, PRIVATE_ANONYMOUS));
    println!("bad descriptor: {}", w.page(calls::mmap(0, PAGE, PROT_READ, MAP_PRIVATE, 99, 0)));
    println!("munmap at an odd address: {}", zero(calls::munmap(w.at(0) + 1, PAGE)));
    println!("munmap of length 0: {}", zero(calls::munmap(w.at(0), 0)));
    println!("munmap of nothing: {}", zero(calls::munmap(w.at(0), PAGE)));
    println!("mprotect of nothing: {}", zero(calls::mprotect(w.at(0), PAGE, PROT_READ)));
    println!("mprotect of length 0: {}", zero(calls::mprotect(w.at(0), 0, PROT_READ)));
    println!("mprotect at an odd address: {}", zero(calls::mprotect(w.at(0) + 1, PAGE, PROT_READ)));
    Ok(())
}

fn areas(w: &Window) -> io::Result<()> {
    println!("-- areas");
    println!("3 pages: {} -> {}", w.page(w.map(0, 3, RW)), w.areas());
    println!("middle read-only: {} -> {}", zero(calls::mprotect(w.at(1), PAGE, PROT_READ)), w.areas());
    println!("and back: {} -> {}", zero(calls::mprotect(w.at(1), PAGE, RW)), w.areas());
    println!("hole: {} -> {}", zero(calls::munmap(w.at(1), PAGE)), w.areas());
    println!("filled: {} -> {}", w.page(w.map(1, 1, RW)), w.areas());
    println!("below: {} -> {}", w.page(w.map(-1, 1, RW)), w.areas());
    println!("above, executable: {} -> {}", w.page(w.map(3, 1, RW | PROT_EXEC)), w.areas());
    println!("without rights over two: {} -> {}", w.page(w.map(2, 2, PROT_NONE)), w.areas());
    println!("mprotect past the end: {} -> {}", zero(calls::mprotect(w.at(2), 4 * PAGE, PROT_READ)), w.areas());
    let no_replace = PRIVATE_ANONYMOUS | MAP_FIXED_NOREPLACE;
    println!("no-replace, in use: {}", w.page(calls::mmap(w.at(0), PAGE, RW, no_replace, -1, 0)));
    println!("no-replace, free: {}", w.page(calls::mmap(w.at(9), PAGE, RW, no_replace, -1, 0)));
    println!("hint, free: {}", w.page(calls::mmap(w.at(20), PAGE, RW, PRIVATE_ANONYMOUS, -1, 0)));
    println!("munmap across areas and holes: {} -> {}", zero(calls::munmap(w.at(-8), 16 * PAGE)), w.areas());
    let shared = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;
    println!("shared: {}", w.page(calls::mmap(w.at(0), 2 * PAGE, RW, shared, -1, 0)));
    println!("its name: {}", w.area_name(0));
    Ok(())
}

fn remapping(w: &Window) -> io::Result<()> {
    println!("-- mremap");
    w.map(0, 3, RW).map_err(io::Error::other)?;
    (0..3).for_each(|page| poke(w.at(page), page as u8 + 1));
    let remap = |page: isize, old: usize, new: usize, flags: i32, to: isize| {
        w.page(calls::mremap(w.at(page), old * PAGE, new * PAGE, flags, w.at(to)))
    };
    println!("grow in place: {} -> {}", remap(0, 3, 5, 0, 0), w.areas());
    w.map(5, 1, PROT_READ).map_err(io::Error::other)?;
    println!("blocked: {}", remap(0, 5, 6, 0, 0));
    let fixed = MREMAP_MAYMOVE | MREMAP_FIXED;
    println!("to a place: {} -> {}", remap(0, 5, 6, fixed, 16), w.areas());
    println!("contents: {} {} {} {}", peek(w.at(16)), peek(w.at(17)), peek(w.at(18)), peek(w.at(19)));
    println!("shrink: {} -> {}", remap(16, 6, 2, 0, 0), w.areas());
    println!("part to a place: {} -> {}", remap(16, 1, 1, fixed, 30), w.areas());
    println!("nothing there: {}", remap(40, 1, 2, MREMAP_MAYMOVE, 0));
    println!("across areas: {}", remap(5, 13, 14, MREMAP_MAYMOVE, 0));
    println!("onto itself: {}", remap(30, 1, 1, fixed, 30));
    println!("old length 0, private: {}", remap(30, 0, 1, MREMAP_MAYMOVE, 0));
    println!("new length 0: {}", remap(30, 1, 0, MREMAP_MAYMOVE, 0));
    Ok(())
}

fn heap(_: &Window) -> io::Result<()> {
    println!("-- brk");
    let start = calls::brk(0);
    let grown = calls::brk(start + 3 * PAGE + 5);
    let below = calls::brk(0x1000);
    let huge = calls::brk(0xffff_e000);
    let fresh = peek(start.next_multiple_of(PAGE) + PAGE);
    let back = calls::brk(start);
    println!("grown by {}, fresh byte {fresh}", grown - start);
    println!("below its start: {}", if below == grown { "unchanged" } else { "changed" });
    println!("to the top of all addresses: {}", if huge == grown { "unchanged" } else { "changed" });
    println!("back: {}", if back == start { "at the start" } else { "elsewhere" });
    Ok(())
}

fn advice(w: &Window) -> io::Result<()> {
    println!("-- residency");
    w.map(0, 4, RW).map_err(io::Error::other)?;
    poke(w.at(1), 7);
    poke(w.at(2), 8);
    println!("after two writes: {}", calls::mincore(w.at(0), 4).unwrap_or_else(|error| error));
    println!("don't need one: {}", zero(calls::madvise(w.at(1), PAGE, libc::MADV_DONTNEED)));
    println!("then: {}", calls::mincore(w.at(0), 4).unwrap_or_else(|error| error));
    println!("contents: {} {}", peek(w.at(1)), peek(w.at(2)));
    println!("advice on nothing: {}", zero(calls::madvise(w.at(3), 2 * PAGE, libc::MADV_DONTNEED)));
    println!("unknown advice: {}", zero(calls::madvise(w.at(0), PAGE, 9999)));
    println!("mincore of nothing: {}", calls::mincore(w.at(3), 2).unwrap_or_else(|error| error));
    println!("msync: {}", zero(calls::msync(w.at(0), PAGE, libc::MS_SYNC)));
    println!("msync of nothing: {}", zero(calls::msync(w.at(10), PAGE, libc::MS_SYNC)));
    println!("msync, both kinds: {}", zero(calls::msync(w.at(0), PAGE, libc::MS_SYNC | libc::MS_ASYNC)));
    Ok(())
}

fn files(w: &Window) -> io::Result<()> {
    println!("-- files");
    let file = calls::memory_file(c"probe", 2 * PAGE + 100)?;
    let fd = file.as_raw_fd();
    let map = |page: isize, pages: usize, prot, kind: i32, offset| {
        w.page(calls::mmap(w.at(page), pages * PAGE, prot, kind | MAP_FIXED, fd, offset))
    };
    println!("shared: {}", map(0, 3, RW, MAP_SHARED, 0));
    println!("its name: {}", w.area_name(0));
    println!("private, from page 1: {}", map(8, 2, RW, MAP_PRIVATE, 1));
    println!("its name: {}", w.area_name(8));
    println!("contents: {} {} {}, tail {}", peek(w.at(0)), peek(w.at(1)), peek(w.at(8)), peek(w.at(2) + 101));
    poke(w.at(1), 50);
    println!("a shared write shows in the private mapping: {}", peek(w.at(8)));
    poke(w.at(8), 60);
    println!("a private write does not in the shared one: {}", peek(w.at(1)));
    poke(w.at(1), 51);
    println!("nor a shared write any more: {}", peek(w.at(8)));
    attempt("past the end", w.at(3), || {
        // The area is there, but the file ends before.
        let _ = calls::mmap(w.at(0), 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
        peek(w.at(3));
    })
}

fn faults(w: &Window) -> io::Result<()> {
    println!("-- faults");
    // In a child: what is mapped there is gone with it.
    let map = |prot| {
        let _ = w.map(0, 1, prot);
    };
    let address = w.at(0);
    attempt("read nothing", address, || {
        peek(address);
    })?;
    attempt("write nothing", address, || poke(address, 1))?;
    attempt("write read-only", address, || {
        map(PROT_READ);
        poke(address, 1);
    })?;
    attempt("read without rights", address, || {
        map(PROT_NONE);
        peek(address);
    })?;
    attempt("read write-only", address, || {
        map(PROT_WRITE);
        peek(address);
    })?;
    attempt("read the kernel", KERNEL + 0x10_0000, || {
        peek(KERNEL + 0x10_0000);
    })?;
    attempt("read page 0", 8, || {
        peek(8);
    })?;
    attempt("execute data", address, || {
        map(RW);
        poke(address, 0xc3);
        call(address);
    })?;
    attempt("execute code", address, || {
        map(RW | PROT_EXEC);
        poke(address, 0xc3);
        call(address);
    })?;
    println!("the kernel writes to nothing: {}", zero(kernel_writes(address)));
    println!("the kernel reads from nothing: {}", zero(kernel_reads(address)));
    map(PROT_READ);
    println!("the kernel writes to read-only: {}", zero(kernel_writes(address)));
    map(RW);
    println!("the kernel writes to fresh memory: {}", zero(kernel_writes(address)));
    w.clear();
    Ok(())
}

fn exceptions() -> io::Result<()> {
    println!("-- exceptions");
    for (name, trap) in [
        ("hlt", Trap::Hlt),
        ("ud2", Trap::Ud2),
        ("int3", Trap::Int3),
        ("in", Trap::In),
        ("divide by zero", Trap::DivideByZero),
    ] {
        attempt(name, 0, || instruction(trap))?;
    }
    Ok(())
}

/// Areas that grow downwards, as a stack does, up to 256 pages before what is below.
fn stack_like(w: &Window) -> io::Result<()> {
    println!("-- growing down");
    attempt("one page", w.at(11), || {
        let flags = PRIVATE_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN;
        let _ = calls::mmap(w.at(10), PAGE, RW, flags, -1, 0);
        poke(w.at(10) - 8, 1);
        println!("{}", w.areas());
        poke(w.at(4), 1);
        println!("  further: {}", w.areas());
        print!("  not above: ");
        poke(w.at(11), 1);
    })
}
