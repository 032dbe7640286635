//! Threads that change each other's mappings: what one has unmapped, replaced or protected
//! must be so for all, at once.
//!
//! All threads use one window of pages. In each round its owner, another thread each time,
//! takes it away under the others, in turns by new pages in its place and by taking the right to
//! write; the others, who have just used every page and so hold its translation, must then see
//! the new pages, or be refused. Between the rounds' steps every thread also maps, protects
//! and unmaps pages of its own, so that the CPUs interrupt one another at the same time.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    Failure,
    pages::{self, Pages, Sharing},
    random::{Random, mix},
};

/// How it is called.
pub const USAGE: &str = "shootdown [THREADS [ROUNDS [PAGES]]]   (1 to 64 threads, 4; 20 rounds; 1 to 1024 pages, 8)";

/// How often a thread looks whether the others have come before it lets another have its CPU.
const LOOKS: usize = 200;

/// Where all threads wait for one another. Nobody sleeps: a CPU whose thread sleeps leaves the address space, and
/// its kernel flushes when it comes back; what is to be seen here is a CPU that never left.
struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
}

impl Barrier {
    fn wait(&self) {
        let number = self.arrived.fetch_add(1, Ordering::SeqCst);
        let all = (number / self.threads + 1) * self.threads;
        while self.arrived.load(Ordering::SeqCst) < all {
            (0..LOOKS).for_each(|_| std::hint::spin_loop());
            thread::yield_now();
        }
    }
}

/// Words of a page before those of the threads: the page's number and round.
const HEAD: usize = 1;
/// Pages of a thread's own.
const OWN_PAGES: usize = 3;

/// What all threads share.
struct Shared {
    threads: usize,
    rounds: u32,
    window: Pages,
    barrier: Barrier,
    /// Something was wrong: all end at the end of the round.
    failed: AtomicBool,
    /// What was wrong first.
    what: Mutex<Option<String>>,
}

/// Runs the threads; gives the line with the checksum.
pub fn run(args: &[String]) -> Result<String, Failure> {
    let [threads, rounds, pages] = numbers(args, [4, 20, 8])?;
    if !(1..=64).contains(&threads) || rounds == 0 || !(1..=1024).contains(&pages) {
        return Err(Failure::Usage);
    }
    pages::catch_faults()?;
    let shared = Shared {
        threads: threads as usize,
        rounds,
        window: Pages::map(pages as usize, Sharing::Private)?,
        barrier: Barrier { threads: threads as usize, arrived: AtomicUsize::new(0) },
        failed: AtomicBool::new(false),
        what: Mutex::new(None),
    };
    let sums: Vec<u32> = thread::scope(|scope| {
        let start = |me| {
            let shared = &shared;
            thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, move || shared.thread(me))
        };
        let start_or_end = |me| start(me).unwrap_or_else(|error| give_up(me, &error));
        let handles: Vec<_> = (1..shared.threads).map(start_or_end).collect();
        let mine = shared.thread(0);
        std::iter::once(mine).chain(handles.into_iter().map(|handle| handle.join().unwrap_or(0))).collect()
    });
    let what = shared.what.lock().unwrap_or_else(|e| e.into_inner()).take();
    if let Some(what) = what {
        return Err(Failure::Wrong(what));
    }
    let sum = sums.into_iter().fold(0x811c_9dc5, mix);
    Ok(format!("{threads} threads, {rounds} rounds, {pages} pages: {sum:08x}"))
}

/// Ends the program where a thread cannot be started: the others would wait for it for ever.
fn give_up(thread: usize, error: &std::io::Error) -> ! {
    eprintln!("shootdown: cannot start thread {thread}: {}", pagewalk_programs::sys::reason(error));
    std::process::exit(1)
}

fn numbers<const N: usize>(args: &[String], mut values: [u32; N]) -> Result<[u32; N], Failure> {
    if args.len() > N {
        return Err(Failure::Usage);
    }
    for (value, arg) in values.iter_mut().zip(args) {
        *value = arg.parse().map_err(|_| Failure::Usage)?;
    }
    Ok(values)
}

/// What belongs into the first word of a page in a round.
fn stamp(round: u32, page: usize) -> u32 {
    mix(mix(0x5f00_7d03, round), page as u32)
}

/// What a thread writes into its word of a page in a step of a round.
fn mark(round: u32, step: u32, page: usize, thread: usize) -> u32 {
    mix(mix(stamp(round, page), step), thread as u32 + 1)
}

impl Shared {
    /// What thread number `me` does; its part of the checksum.
    fn thread(&self, me: usize) -> u32 {
        let mut random = Random::new(me as u32);
        let mut sum = me as u32;
        for round in 0..self.rounds {
            let owner = round as usize % self.threads;
            let done = if owner == me { self.own(round, me) } else { self.use_window(round, me) };
            sum = done.unwrap_or_else(|what| self.fail(what)).wrapping_add(sum);
            sum = self.churn(me, &mut random).unwrap_or_else(|what| self.fail(what)).wrapping_add(sum);
            self.barrier.wait();
            if self.failed.load(Ordering::SeqCst) {
                break;
            }
        }
        sum
    }

    /// Notes what is wrong; the first one counts.
    fn fail(&self, what: String) -> u32 {
        self.what.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(what);
        self.failed.store(true, Ordering::SeqCst);
        0
    }

    /// The owner's part of a round. Whatever goes wrong, it comes to every barrier.
    fn own(&self, round: u32, me: usize) -> Result<u32, String> {
        let window = self.window;
        (0..window.count()).for_each(|page| window.write(page, 0, stamp(round, page)));
        self.barrier.wait();
        // The others use it.
        self.barrier.wait();
        let seen = self.expect_marks(round, 0, me);
        let changed = if round.is_multiple_of(2) {
            let renewed = window.renew();
            (0..window.count()).for_each(|page| window.write(page, 0, stamp(!round, page)));
            renewed
        } else {
            window.set_writable(false)
        };
        self.barrier.wait();
        // The others use it again.
        self.barrier.wait();
        let seen_again = if round.is_multiple_of(2) {
            self.expect_marks(round, 1, me)
        } else {
            // Nobody could write: what they had written before is still there.
            let kept = self.expect_marks(round, 0, me);
            window.set_writable(true).map_err(|error| refused("mprotect", &error)).and(kept)
        };
        changed.map_err(|error| refused(if round.is_multiple_of(2) { "mmap" } else { "mprotect" }, &error))?;
        Ok(seen?.wrapping_add(seen_again?))
    }

    /// The part of a round of those who don't own the window.
    fn use_window(&self, round: u32, me: usize) -> Result<u32, String> {
        self.barrier.wait();
        let first = self.visit(round, 0, me);
        self.barrier.wait();
        // The owner changes the mapping.
        self.barrier.wait();
        let second = if round.is_multiple_of(2) { self.visit(round, 1, me) } else { self.expect_refusal(round, me) };
        self.barrier.wait();
        Ok(first?.wrapping_add(second?))
    }

    /// Reads every page's stamp and leaves a mark beside it.
    fn visit(&self, round: u32, step: u32, me: usize) -> Result<u32, String> {
        let stamped = if step == 0 { round } else { !round };
        let mut sum = 0u32;
        for page in 0..self.window.count() {
            let (seen, wanted) = (self.window.read(page, 0), stamp(stamped, page));
            if seen != wanted {
                return Err(format!(
                    "round {round}: thread {me} reads {seen:#010x} in page {page}, where another thread has mapped \
                     a new page with {wanted:#010x}: a stale translation was used"
                ));
            }
            let mark = mark(round, step, page, me);
            self.window.write(page, HEAD + me, mark);
            sum = sum.wrapping_add(mix(seen, mark));
        }
        Ok(sum)
    }

    /// Tries to write where the owner has taken the right to.
    fn expect_refusal(&self, round: u32, me: usize) -> Result<u32, String> {
        for page in 0..self.window.count() {
            if self.window.try_write(page, HEAD + me, !0) {
                return Err(format!(
                    "round {round}: thread {me} writes to page {page}, which another thread has made read-only: \
                     a stale translation was used"
                ));
            }
        }
        Ok(self.window.count() as u32)
    }

    /// Whether the marks of the others are where they belong.
    fn expect_marks(&self, round: u32, step: u32, me: usize) -> Result<u32, String> {
        let mut sum = 0u32;
        for thread in (0..self.threads).filter(|&thread| thread != me) {
            for page in 0..self.window.count() {
                let (seen, wanted) = (self.window.read(page, HEAD + thread), mark(round, step, page, thread));
                if seen != wanted {
                    return Err(format!(
                        "round {round}: page {page} has {seen:#010x} where thread {thread} wrote {wanted:#010x}: \
                         its store went elsewhere, by a stale translation"
                    ));
                }
                sum = sum.wrapping_add(seen);
            }
        }
        Ok(sum)
    }

    /// Maps, protects and unmaps pages of the thread's own while others do the same.
    fn churn(&self, me: usize, random: &mut Random) -> Result<u32, String> {
        let mut sum = 0u32;
        for _ in 0..1 + random.below(3) {
            let pages = Pages::map(OWN_PAGES, Sharing::Private).map_err(|error| refused("mmap", &error))?;
            let values = [random.next(), random.next(), random.next()];
            for (page, value) in values.into_iter().enumerate() {
                if pages.read(page, me) != 0 {
                    return Err(format!("thread {me}: a new page is not zero but {:#010x}", pages.read(page, me)));
                }
                pages.write(page, me, value);
            }
            pages.set_writable(false).map_err(|error| refused("mprotect", &error))?;
            for (page, value) in values.into_iter().enumerate() {
                if pages.try_write(page, me, !value) {
                    return Err(format!("thread {me}: writes to a page that it has just made read-only"));
                }
                if pages.read(page, me) != value {
                    return Err(format!("thread {me}: reads {:#010x} for {value:#010x}", pages.read(page, me)));
                }
                sum = mix(sum, value);
            }
            pages.unmap().map_err(|error| refused("munmap", &error))?;
        }
        Ok(sum)
    }
}

fn refused(call: &str, error: &std::io::Error) -> String {
    format!("{call}: {}", pagewalk_programs::sys::reason(error))
}
