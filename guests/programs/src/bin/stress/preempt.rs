//! A long system call of one thread, which another one on the same CPU sees half done: the kernel
//! gives the CPU away in the middle of it.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{
    Failure,
    pages::{self, PAGE_WORDS, Pages, Sharing},
};

/// How it is called.
pub const USAGE: &str = "preempt [MIB [ROUNDS]]   (1 to 512 MiB, 32; 1 to 1000 rounds, 40)";

const PAGES_A_MIB: usize = 256;

/// Reads zeros over ones until the other thread has seen the first word changed and the last one
/// not.
pub fn run(args: &[String]) -> Result<String, Failure> {
    let mut numbers = [32, 40];
    if args.len() > numbers.len() {
        return Err(Failure::Usage);
    }
    for (number, word) in numbers.iter_mut().zip(args) {
        *number = word.parse().map_err(|_| Failure::Usage)?;
    }
    let [mib, rounds] = numbers;
    if !(1..=512).contains(&mib) || !(1..=1000).contains(&rounds) {
        return Err(Failure::Usage);
    }
    pages::stay_on_cpu(0)?;
    let zeros = File::open("/dev/zero")?;
    let pages = Pages::map(mib * PAGES_A_MIB, Sharing::Private)?;
    let (seen, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if pages.read(0, 0) == 0 && pages.read(pages.count() - 1, PAGE_WORDS - 1) == 1 {
                    seen.store(true, Ordering::Relaxed);
                }
            }
        });
        let result = read_until_seen(pages, &zeros, &seen, rounds);
        done.store(true, Ordering::Relaxed);
        result
    });
    pages.unmap()?;
    match result? {
        true => Ok(format!("a read of {mib} MiB was seen half done")),
        false => Err(Failure::Wrong(format!("none of {rounds} reads of {mib} MiB was seen half done"))),
    }
}

fn read_until_seen(pages: Pages, zeros: &File, seen: &AtomicBool, rounds: usize) -> Result<bool, Failure> {
    let last = pages.count() - 1;
    for _ in 0..rounds {
        // The other thread must not take what is written here for a read: the last word comes first,
        // and is 2 until the first one is 1.
        pages.write(last, PAGE_WORDS - 1, 2);
        (0..pages.count()).for_each(|page| pages.write(page, 0, 1));
        pages.write(last, PAGE_WORDS - 1, 1);
        let read = pages.read_from(zeros)?;
        if pages.read(last, PAGE_WORDS - 1) != 0 {
            return Err(Failure::Wrong(format!("a read of zeros gave {read} bytes and left the last one")));
        }
        if seen.load(Ordering::Relaxed) {
            return Ok(true);
        }
    }
    Ok(false)
}
