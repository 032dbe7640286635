//! What needs little memory, swap, or a file system of its own.
#![allow(unsafe_code)]

use std::{
    fs,
    io::{self, Write},
    os::{fd::AsRawFd, unix::fs::FileExt},
    thread,
    time::Duration,
};

use libc::{MAP_ANONYMOUS, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ};
use pagewalk_programs::sys::{self, Fork};

use crate::{
    calls::{self, PAGE, load, store},
    child,
    window::RW,
};

/// `MADV_PAGEOUT`
pub const PAGEOUT: i32 = 21;

/// A word of a case's arguments.
pub fn word<'a>(args: &'a [String], at: usize, what: &str) -> io::Result<&'a str> {
    args.get(at).map(String::as_str).ok_or_else(|| io::Error::other(format!("wants {what}")))
}

/// The pages of an argument in KiB.
pub fn pages(args: &[String], at: usize) -> io::Result<usize> {
    let kib: usize = word(args, at, "a number of KiB")?.parse().map_err(io::Error::other)?;
    Ok(kib * 1024 / PAGE)
}

/// Maps so many pages.
pub fn anonymous(pages: usize) -> io::Result<usize> {
    calls::mmap(0, pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).map_err(io::Error::other)
}

/// `fill FILE KIB`: a shared mapping of a new file is written to, page by page, until that is
/// done or ends in a signal.
pub fn fill(args: &[String]) -> io::Result<()> {
    let (path, pages) = (word(args, 0, "a file")?, pages(args, 1)?);
    let file = fs::File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len((pages * PAGE) as u64)?;
    let at = calls::mmap(0, pages * PAGE, RW, MAP_SHARED, file.as_raw_fd(), 0).map_err(io::Error::other)?;
    child::attempt("written", 0, || (0..pages).for_each(|page| store(at + page * PAGE, page as u32 + 1)))?;
    let written =
        (0..pages).take_while(|page| load_file(&file, page * PAGE).is_ok_and(|word| word == *page as u32 + 1));
    println!("pages written: {}", if written.count() == pages { "all" } else { "some" });
    Ok(())
}

/// `cut FILE BYTES`: gives a file so many bytes.
pub fn cut(args: &[String]) -> io::Result<()> {
    let (path, bytes) = (word(args, 0, "a file")?, word(args, 1, "a number of bytes")?);
    let file = fs::File::options().write(true).open(path)?;
    let result = file.set_len(bytes.parse().map_err(io::Error::other)?);
    println!(
        "{}, {} bytes",
        result.map_or_else(|error| calls::errno_name(&error), |()| "ok".into()),
        file.metadata()?.len()
    );
    Ok(())
}

/// The word at an offset of a file.
fn load_file(file: &fs::File, offset: usize) -> io::Result<u32> {
    let mut word = [0; 4];
    file.read_exact_at(&mut word, offset as u64)?;
    Ok(u32::from_le_bytes(word))
}

/// `leaderless KIB`: the first thread ends; another has written to memory and stays for ever.
pub fn leaderless(args: &[String]) -> io::Result<()> {
    let pages = pages(args, 0)?;
    let at = anonymous(pages)?;
    let (done, wait) = std::sync::mpsc::channel();
    thread::spawn(move || {
        (0..pages).for_each(|page| store(at + page * PAGE, page as u32));
        let told = done.send(());
        while told.is_ok() {
            thread::sleep(Duration::from_secs(3600));
        }
    });
    wait.recv().map_err(io::Error::other)?;
    println!("written");
    io::stdout().flush()?;
    // SAFETY: ends this thread alone; nothing of it is used by the other.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    Ok(())
}

/// `look FILE KIB`: what is mapped of a file is read, page by page.
pub fn look(args: &[String]) -> io::Result<()> {
    let (path, pages) = (word(args, 0, "a file")?, pages(args, 1)?);
    let file = fs::File::open(path)?;
    let at = calls::mmap(0, pages * PAGE, PROT_READ, MAP_SHARED, file.as_raw_fd(), 0).map_err(io::Error::other)?;
    child::attempt("read", 0, || {
        for page in 0..pages {
            load(at + page * PAGE);
        }
    })
}

/// `ranges`: calls about more pages than there is memory for a word about each.
pub fn ranges(_: &[String]) -> io::Result<()> {
    const LEN: usize = 1 << 30;
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    let at = calls::mmap(0, LEN, RW, flags, -1, 0).map_err(io::Error::other)?;
    for page in (0..LEN / PAGE).step_by(LEN / PAGE / 16) {
        store(at + page * PAGE, 1);
    }
    let residency = calls::mincore(at, LEN / PAGE).map_err(io::Error::other)?;
    println!("mincore: {} of {}", residency.matches('r').count(), residency.len());
    println!("MADV_WILLNEED: {}", show(calls::madvise(at, LEN, libc::MADV_WILLNEED)));
    calls::mprotect(at + LEN - PAGE, PAGE, PROT_NONE).map_err(io::Error::other)?;
    println!("mincore without room: {}", show(calls::mincore_at(at, LEN, at + LEN - 2 * PAGE)));
    // A hole in the midst: what lies before it is told.
    calls::munmap(at + 300 * PAGE, PAGE).map_err(io::Error::other)?;
    let told = at + LEN / 2;
    (0..100).for_each(|word| store(told + word * 4, !0));
    println!("mincore over a hole: {}", show(calls::mincore_at(at, 400 * PAGE, told)));
    println!("pages told: {}", (0..400).filter(|page| calls::peek(told + page) != 0xff).count());
    Ok(())
}

/// `ok` or the name of an error.
pub fn show(answer: calls::Answer) -> String {
    answer.map_or_else(|error| error, |_| "ok".into())
}

/// `refork KIB`: pages that went to swap, and whose other owner has ended, are their owner's
/// alone: a write takes no second frame.
pub fn refork(args: &[String]) -> io::Result<()> {
    let pages = pages(args, 0)?;
    let at = anonymous(pages)?;
    (0..pages).for_each(|page| store(at + page * PAGE, page as u32));
    calls::madvise(at, pages * PAGE, PAGEOUT).map_err(io::Error::other)?;
    match sys::fork()? {
        Fork::Child => sys::exit_now(0),
        Fork::Parent(pid) => sys::wait(pid)?,
    };
    let before = allocated()?;
    (0..pages).for_each(|page| store(at + page * PAGE, !(page as u32)));
    let frames = allocated()? - before;
    let right = (0..pages).all(|page| load(at + page * PAGE) == !(page as u32));
    println!("frames for each page: {:.1}, contents right: {right}", frames as f64 / pages as f64);
    Ok(())
}

/// Frames that were handed out so far.
fn allocated() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let rows = text.lines().filter(|line| line.starts_with("pgalloc_"));
    Ok(rows.filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).sum())
}

/// `unlocked FILE`: the file's pages were locked in memory, and are not any more.
pub fn unlocked(args: &[String]) -> io::Result<()> {
    let file = fs::File::open(word(args, 0, "a file")?)?;
    let len = (file.metadata()?.len() as usize).next_multiple_of(PAGE);
    let at = calls::mmap(0, len, PROT_READ, MAP_SHARED, file.as_raw_fd(), 0).map_err(io::Error::other)?;
    println!("mlock: {}, munlock: {}", show(calls::mlock(at, len)), show(calls::munlock(at, len)));
    Ok(())
}
