//! `fragment KIB FILE`: memory in which every other frame is free, and where its pages are once
//! the kernel has made large blocks of it.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::Duration,
};

use libc::{MADV_DONTNEED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_PRIVATE};

use crate::{
    calls::{self, PAGE, load, store},
    scarce::{anonymous, pages, word},
    window::RW,
};

/// No free block has so many frames: 2 to this power.
const LARGE: usize = 9;
/// What a word of `pagemap` says of a page's frame.
const FRAME: u64 = (1 << 55) - 1;

/// Writes to KIB KiB, and to as much more as it takes until there is no large block; gives every
/// other page back; waits until FILE is there; tells how many of the others are elsewhere then,
/// and whether all have their contents.
pub fn fragment(args: &[String]) -> io::Result<()> {
    let (pages, file) = (pages(args, 0)?, word(args, 1, "a file")?);
    let at = anonymous(pages)?;
    (0..pages).for_each(|page| write(at, page));
    use_up_large_blocks()?;
    for page in (1..pages).step_by(2) {
        calls::madvise(at + page * PAGE, PAGE, MADV_DONTNEED).map_err(io::Error::other)?;
    }
    let before = frames(at, pages)?;
    println!("fragmented at {at:08x}");
    io::stdout().flush()?;
    while !Path::new(file).exists() {
        thread::sleep(Duration::from_millis(20));
    }
    let after = frames(at, pages)?;
    let moved = (0..pages).step_by(2).filter(|&page| before[page] != after[page]).count();
    let right =
        (0..pages).all(|page| if page.is_multiple_of(2) { is_written(at, page) } else { load(at + page * PAGE) == 0 });
    println!("moved: {moved} of {}, contents right: {right}", pages / 2);
    Ok(())
}

/// Words of a page and what is in them.
fn words(at: usize, page: usize) -> impl Iterator<Item = (usize, u32)> {
    (0..8).map(move |n| (at + page * PAGE + n * 512, (page * 8 + n) as u32 ^ 0x5a5a_0000))
}

fn write(at: usize, page: usize) {
    words(at, page).for_each(|(place, value)| store(place, value));
}

fn is_written(at: usize, page: usize) -> bool {
    words(at, page).all(|(place, value)| load(place) == value)
}

/// Takes memory, and keeps it, as long as there are large blocks.
fn use_up_large_blocks() -> io::Result<()> {
    const STEP: usize = 64;
    const MOST: usize = 1 << 30;
    let at = calls::mmap(0, MOST, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0).map_err(io::Error::other)?;
    for taken in (0..MOST).step_by(STEP * PAGE) {
        if large_blocks()? == 0 {
            return Ok(());
        }
        (0..STEP).for_each(|page| store(at + taken + page * PAGE, 1));
    }
    Err(io::Error::other("there is more memory than this can use"))
}

/// The large free blocks of all zones.
fn large_blocks() -> io::Result<u32> {
    let text = fs::read_to_string("/proc/buddyinfo")?;
    let counts = text.lines().flat_map(|line| line.split_whitespace().skip(4 + LARGE));
    Ok(counts.filter_map(|count| count.parse::<u32>().ok()).sum())
}

/// The frame of each page, 0 where none is.
fn frames(at: usize, pages: usize) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; pages * 8];
    File::open("/proc/self/pagemap")?.read_exact_at(&mut bytes, (at / PAGE * 8) as u64)?;
    let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
    Ok(words.map(|word| word & FRAME).collect())
}
