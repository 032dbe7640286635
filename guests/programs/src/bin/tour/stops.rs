//! The stops of the tour.

use std::{
    io::{self, Write},
    ops::Range,
};

use pagewalk_programs::{
    maps,
    sys::{self, Fork},
};

use crate::{
    fault,
    region::{Access, PAGE_SIZE, Region},
};

/// Pages that the tour maps for itself.
const REGION_PAGES: usize = 8;
/// Pages that it adds to the heap.
const HEAP_PAGES: usize = 16;

/// The whole address space, as `exec` has made it.
pub fn start() -> io::Result<()> {
    heading("The address space");
    println!("The kernel has mapped the program file, a heap and a stack, and nothing else:");
    for mapping in maps::read("self")? {
        println!("{}", mapping.line);
    }
    println!("All of it is below c0000000; above is the kernel, out of reach from ring 3.");
    Ok(())
}

/// The heap grows, and is filled on demand.
pub fn brk() -> io::Result<()> {
    heading("brk: the heap grows");
    let mut heap = Region::grow_heap(HEAP_PAGES)?;
    println!("brk moved the end of the heap up by {HEAP_PAGES} pages, to {:08x}:", heap.all().end);
    show(heap.all())?;
    let faults = faults_of(|| (0..4).for_each(|page| heap.write(page, 1)))?;
    println!("Only an entry in the kernel's list has changed so far. Writing to 4 of the pages");
    println!("took {faults} page faults: each one found a frame and a page-table entry for it.");
    heap.shrink_heap();
    println!("brk moves it back; the frames are free again.");
    Ok(())
}

/// A mapping costs nothing until it is touched.
pub fn mmap() -> io::Result<Region> {
    heading("mmap: addresses without memory");
    let mut region = Region::map(REGION_PAGES)?;
    println!("mmap gave {REGION_PAGES} pages at {:08x}, anonymous and private (and joined with a", region.all().start);
    println!("neighbour of the same kind, if there is one):");
    show(region.all())?;
    let mut sum = 0;
    let faults = faults_of(|| sum = (0..REGION_PAGES).map(|page| region.read(page)).sum())?;
    println!("Reading all pages gives {sum} and takes {faults} faults: every one shows the same frame,");
    println!("full of zeros and read-only.");
    let faults = faults_of(|| (0..REGION_PAGES).for_each(|page| region.write(page, page as u32 + 1)))?;
    println!("Writing to all takes {faults} faults more: now each has a frame of its own.");
    Ok(region)
}

/// Rights belong to pages: the mapping is split.
pub fn mprotect(region: &mut Region) -> io::Result<()> {
    heading("mprotect: one mapping becomes three");
    region.protect(2..4, Access::Read)?;
    println!("Pages 2 and 3 are read-only now, so the kernel must keep three areas:");
    show(region.all())?;
    println!("They can still be read: page 2 holds {}.", region.read(2));
    Ok(())
}

/// A hole, and what lies beside it stays.
pub fn munmap(region: &mut Region) -> io::Result<()> {
    heading("munmap: a hole");
    region.unmap(5..6)?;
    println!("Page 5 is given back; the area around it is cut in two:");
    show(region.all())?;
    println!("Page 4 still holds {}, page 6 holds {}.", region.read(4), region.read(6));
    Ok(())
}

/// fork shares frames until somebody writes.
pub fn copy_on_write(region: &mut Region) -> io::Result<()> {
    heading("fork: two processes, one copy");
    println!("fork makes a process with the same mappings. It copies no page: both now share");
    println!("the frames, read-only, and who writes first gets a copy.");
    io::stdout().flush()?;
    match sys::fork()? {
        Fork::Child => {
            let status = match child_of_copy_on_write(region) {
                Ok(()) => 0,
                Err(_) => 1,
            };
            sys::exit_now(status);
        }
        Fork::Parent(pid) => {
            let (_, ended) = sys::wait(pid)?;
            if ended.status() != 0 {
                return Err(io::Error::other("the child of fork failed"));
            }
        }
    }
    println!("In the parent page 0 still holds {}.", region.read(0));
    Ok(())
}

fn child_of_copy_on_write(region: &mut Region) -> io::Result<()> {
    println!("The child, process {}, sees its own copy of the list:", std::process::id());
    show(region.all())?;
    println!("It reads {} from page 0,", region.read(0));
    let faults = faults_of(|| region.write(0, 1000))?;
    println!("writes 1000 there, which takes {faults} fault, and reads {}.", region.read(0));
    io::stdout().flush()
}

/// A process may handle its own faults.
pub fn caught_faults(region: &mut Region) -> io::Result<()> {
    heading("SIGSEGV: a fault that the process handles");
    fault::install_handler()?;
    let page = region.addresses(2..3);
    println!("Page 2 is read-only. A write to it is a fault that the kernel can't mend, so it");
    println!("sends SIGSEGV. Our handler makes the page writable and returns, and the processor");
    println!("repeats the instruction.");
    show(page.clone())?;
    report(fault::caught(|| region.write(2, 33)))?;
    show(page)?;
    println!("Page 2 holds {}.", region.read(2));
    region.protect(3..4, Access::None)?;
    println!("Without any right, even reading faults:");
    show(region.addresses(3..4))?;
    let mut value = 0;
    report(fault::caught(|| value = region.read(3)))?;
    println!("and gives {value} once the handler has opened the page.");
    Ok(())
}

/// Where to go from here.
pub fn farewell() {
    heading("From outside");
    println!("All this happened in page tables that the emulated processor walks. Look at them:");
    println!("  pagewalk run --name demo          a shell in this machine, and from another terminal");
    println!("  pagewalk ps, pagewalk maps 2      its processes and their mappings");
    println!("  pagewalk walk ADDRESS, pagewalk tlb    one translation, step by step; all that are held");
}

fn heading(title: &str) {
    println!("\n{title}\n{}", "-".repeat(title.len()));
}

/// Prints this process's mappings in `range`.
fn show(range: Range<usize>) -> io::Result<()> {
    for mapping in maps::overlapping(range)? {
        println!("{}", mapping.line);
    }
    Ok(())
}

/// Minor page faults that `touch` takes.
fn faults_of(touch: impl FnOnce()) -> io::Result<u64> {
    // The first reading faults in what the reading itself needs.
    maps::minor_faults()?;
    let before = maps::minor_faults()?;
    touch();
    Ok(maps::minor_faults()? - before)
}

fn report(fault: Option<fault::Fault>) -> io::Result<()> {
    let fault = fault.ok_or_else(|| io::Error::other("no fault where there must be one"))?;
    let code = match fault.code {
        1 => "SEGV_MAPERR: no mapping",
        2 => "SEGV_ACCERR: the mapping does not allow it",
        _ => "unknown",
    };
    println!("Caught: address {:08x}, code {} ({code}).", fault.address & !(PAGE_SIZE - 1), fault.code);
    Ok(())
}
