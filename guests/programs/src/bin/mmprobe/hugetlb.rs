//! Huge pages (`MAP_HUGETLB`), from a pool that nobody else uses meanwhile.

use std::{
    fs,
    io::{self, Read, Write},
};

use libc::{MAP_ANONYMOUS, MAP_FIXED, MAP_HUGETLB, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ};
use pagewalk_programs::{
    maps,
    sys::{self, Fork},
};

use crate::{
    calls::{self, Answer, PAGE, load, store},
    child,
    window::RW,
};

const HUGE: usize = 4 << 20;
/// Sizes of pages, as the flags name them: the power of two.
const SIZES: [(&str, i32); 3] = [("4 MiB", 22 << 26), ("2 MiB", 21 << 26), ("1 GiB", 30 << 26)];
const POOL: &str = "/proc/sys/vm/nr_hugepages";
const MOVE: i32 = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;

/// `hugetlb`
pub fn run(_: &[String]) -> io::Result<()> {
    sizes()?;
    set_pool(6)?;
    shape()?;
    let at = rights()?;
    children(at)?;
    moved(at)?;
    shared()?;
    exhausted()?;
    taken_from_a_child()?;
    set_pool(0)?;
    fs::write("/proc/sys/vm/verify", "1")?;
    println!("verified");
    Ok(())
}

fn set_pool(pages: u32) -> io::Result<()> {
    fs::write(POOL, pages.to_string())?;
    println!("{pages} wanted, {} there: {}", fs::read_to_string(POOL)?.trim_end(), pool()?);
    Ok(())
}

/// The pool as `/proc/meminfo` shows it.
fn pool() -> io::Result<String> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("HugePages_")?.split_once(':'));
    let rows: Vec<_> = rows.map(|(name, value)| format!("{name} {}", value.trim())).collect();
    Ok(rows.join(" "))
}

fn map(len: usize, flags: i32) -> Answer {
    calls::mmap(0, len, RW, MAP_ANONYMOUS | MAP_HUGETLB | flags, -1, 0)
}

/// A mapping that must be.
fn mapped(pages: usize, flags: i32) -> io::Result<usize> {
    map(pages * HUGE, flags).map_err(io::Error::other)
}

fn show(answer: Answer) -> String {
    answer.map_or_else(|error| error, |_| "ok".into())
}

fn sizes() -> io::Result<()> {
    println!("an empty pool: {}", show(map(HUGE, MAP_PRIVATE)));
    for (name, flag) in SIZES {
        println!("pages of {name}: {}", show(map(HUGE, MAP_PRIVATE | flag)));
    }
    let file = calls::memory_file(c"small", PAGE)?;
    let flags = MAP_PRIVATE | MAP_HUGETLB;
    println!("of a file: {}", show(calls::mmap(0, HUGE, RW, flags, std::os::fd::AsRawFd::as_raw_fd(&file), 0)));
    Ok(())
}

fn shape() -> io::Result<()> {
    let at = map(1, MAP_PRIVATE).map_err(io::Error::other)?;
    let lines = maps::overlapping(at..at + 1)?;
    let len: usize = lines.iter().map(|line| line.range.len()).sum();
    println!("one byte: {} KiB of {}, aligned: {}", len >> 10, lines[0].name(), at.is_multiple_of(HUGE));
    println!("promised: {}", pool()?);
    let fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED;
    println!("no byte: {}", show(map(0, MAP_PRIVATE)));
    println!("fixed at a small page: {}", show(calls::mmap(at + PAGE, HUGE, RW, fixed, -1, 0)));
    println!("small pages over half of it: {}", {
        let fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        show(calls::mmap(at + HUGE / 2, HUGE / 2, RW, fixed, -1, 0))
    });
    println!("munmap of a small page: {}", show(calls::munmap(at, PAGE)));
    println!("munmap: {}", show(calls::munmap(at, HUGE)));
    println!("given back: {}", pool()?);
    Ok(())
}

/// Rows of `/proc/self/smaps` about the area of an address.
fn area(at: usize) -> io::Result<String> {
    const ROWS: [&str; 5] = ["KernelPageSize", "Rss", "Shared_Hugetlb", "Private_Hugetlb", "VmFlags"];
    let text = fs::read_to_string("/proc/self/smaps")?;
    let head = format!("{at:08x}-");
    let rows = text.lines().skip_while(|line| !line.starts_with(&head)).take(24);
    let rows = rows.filter_map(|line| line.split_once(':')).filter(|(name, _)| ROWS.contains(name));
    Ok(rows.map(|(name, value)| format!("{name} {}", value.trim())).collect::<Vec<_>>().join(", "))
}

fn rights() -> io::Result<usize> {
    let at = mapped(2, MAP_PRIVATE)?;
    println!("the last word: {}", load(at + HUGE - 4));
    println!("one was read: {}", pool()?);
    (0..HUGE / PAGE).for_each(|page| store(at + page * PAGE, page as u32));
    println!("{}", area(at)?);
    let status = fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("HugetlbPages")).unwrap_or("none"));
    println!("mincore: {}", calls::mincore(at + HUGE - PAGE, 2).map_err(io::Error::other)?);
    println!("mprotect of a small page: {}", show(calls::mprotect(at + PAGE, PAGE, PROT_READ)));
    println!("mprotect: {}", show(calls::mprotect(at, HUGE, PROT_READ)));
    child::attempt("a write", at + 8, || store(at + 8, 1))?;
    println!("mprotect: {}", show(calls::mprotect(at, HUGE, PROT_NONE)));
    child::attempt("a read", at, || {
        load(at);
    })?;
    println!("{}", area(at)?);
    println!("mprotect: {}", show(calls::mprotect(at, HUGE, RW)));
    println!("mremap to twice as much: {}", show(calls::mremap(at, HUGE, 2 * HUGE, libc::MREMAP_MAYMOVE, 0)));
    println!("mremap of a small page: {}", show(calls::mremap(at + PAGE, PAGE, PAGE, libc::MREMAP_MAYMOVE, 0)));
    println!("MADV_DONTNEED of a small page: {}", show(calls::madvise(at + PAGE, PAGE, libc::MADV_DONTNEED)));
    println!("MADV_FREE: {}", show(calls::madvise(at, HUGE, libc::MADV_FREE)));
    let kept = (0..HUGE / PAGE).all(|page| load(at + page * PAGE) == page as u32);
    println!("contents kept: {kept}");
    println!("MADV_DONTNEED: {}", show(calls::madvise(at, HUGE, libc::MADV_DONTNEED)));
    println!("afterwards: {}, {}", load(at + PAGE), pool()?);
    Ok(at)
}

/// Runs `act` in a child, which may print, to its end.
fn in_child(act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    io::stdout().flush()?;
    match sys::fork()? {
        Fork::Child => {
            let result = act().and_then(|()| io::stdout().flush());
            sys::exit_now(i32::from(result.is_err()))
        }
        Fork::Parent(pid) => {
            println!("the child: {:?}", sys::wait(pid)?.1);
            Ok(())
        }
    }
}

fn children(at: usize) -> io::Result<()> {
    store(at + HUGE / 2, 11);
    in_child(|| {
        println!("inherited: {}, {}", load(at + HUGE / 2), area(at)?);
        store(at, 22);
        println!("copied: {} {}, {}", load(at), load(at + HUGE / 2), area(at)?);
        println!("two are used: {}", pool()?);
        Ok(())
    })?;
    println!("the parent's: {} {}, {}", load(at), load(at + HUGE / 2), pool()?);
    store(at, 33);
    println!("it is its own again: {}", pool()?);
    Ok(())
}

fn moved(at: usize) -> io::Result<()> {
    let to = at - 16 * HUGE;
    // mprotect has made two areas of one, which stay two.
    println!("mremap of two areas: {}", show(calls::mremap(at, 2 * HUGE, 2 * HUGE, MOVE, to)));
    for page in [0, HUGE] {
        println!("mremap: {}", show(calls::mremap(at + page, HUGE, HUGE, MOVE, to + page)));
    }
    println!("moved: {} {}, {}", load(to), load(to + HUGE / 2), pool()?);
    store(to + HUGE, 44);
    println!("the promise moved, too: {}", pool()?);
    println!("munmap: {}, {}", show(calls::munmap(to, 2 * HUGE)), pool()?);
    let at = mapped(2, MAP_PRIVATE)?;
    println!("mremap to half: {}, {}", show(calls::mremap(at, 2 * HUGE, HUGE, 0, 0)), pool()?);
    println!("munmap: {}, {}", show(calls::munmap(at, HUGE)), pool()?);
    Ok(())
}

fn shared() -> io::Result<()> {
    let at = mapped(2, MAP_SHARED)?;
    store(at, 1);
    in_child(|| {
        println!("inherited: {}", load(at));
        store(at, 2);
        store(at + HUGE, 3);
        Ok(())
    })?;
    println!("shared: {} {}, {}", load(at), load(at + HUGE), pool()?);
    println!("munmap: {}, {}", show(calls::munmap(at, 2 * HUGE)), pool()?);
    Ok(())
}

fn exhausted() -> io::Result<()> {
    let at = mapped(6, MAP_PRIVATE)?;
    println!("all promised: {}, one more: {}", pool()?, show(map(HUGE, MAP_PRIVATE)));
    let unreserved = mapped(1, MAP_PRIVATE | MAP_NORESERVE)?;
    child::attempt("one without a promise", unreserved, || store(unreserved, 1))?;
    store(at, 1);
    set_pool(2)?;
    println!("munmap of the used: {}, {}", show(calls::munmap(at, HUGE)), pool()?);
    println!("munmap: {}, {}", show(calls::munmap(at + HUGE, 5 * HUGE)), pool()?);
    println!("munmap: {}, {}", show(calls::munmap(unreserved, HUGE)), pool()?);
    Ok(())
}

/// The owner of a mapping gets the page that it was promised; its child loses it.
fn taken_from_a_child() -> io::Result<()> {
    set_pool(1)?;
    let at = mapped(1, MAP_PRIVATE)?;
    store(at, 5);
    let (end, start) = sys::pipe()?;
    io::stdout().flush()?;
    match sys::fork()? {
        Fork::Child => {
            drop(start);
            let waited = fs::File::from(end).read(&mut [0]);
            store(at + 4, load(at));
            sys::exit_now(i32::from(waited.is_err()))
        }
        Fork::Parent(pid) => {
            store(at, 6);
            drop(start);
            println!("the parent's: {}, the child: {:?}", load(at), sys::wait(pid)?.1);
        }
    }
    println!("munmap: {}, {}", show(calls::munmap(at, HUGE)), pool()?);
    Ok(())
}
