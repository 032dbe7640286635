//! Processes with threads that fork, map, write to one another through pipes and wait for one
//! another, on every CPU there is. What each does is drawn from the seed; the checksum does
//! not depend on who runs when.

use std::{
    fs::File,
    io::{Read, Write},
    sync::{Condvar, Mutex},
};

use pagewalk_programs::sys::{self, Ended};

use crate::{
    Failure,
    pages::{PAGE_WORDS, Pages, Sharing},
    random::{Random, mix},
};

/// How it is called.
pub const USAGE: &str =
    "smp-storm [--seed N] [--processes 1..64] [--threads 1..32] [--rounds N]   (1, 3 processes, 3 threads, 10 rounds)";

/// What the user asks for.
struct Options {
    seed: u32,
    processes: u32,
    threads: u32,
    rounds: u32,
}

/// Words of the page that all processes share.
const TOTAL: usize = 0;
const FINISHED: usize = 1;

/// Runs the processes; gives the line with the checksum.
pub fn run(args: &[String]) -> Result<String, Failure> {
    let options = Options::parse(args)?;
    let shared = Pages::map(1, Sharing::Shared)?;
    let mut children = Vec::new();
    for process in 0..options.processes {
        match sys::fork()? {
            sys::Fork::Parent(pid) => children.push(pid),
            sys::Fork::Child => {
                let status = match Process::new(&options, process).and_then(|it| it.run()) {
                    Ok(sum) => {
                        shared.add(0, TOTAL, mix(sum, process));
                        shared.add(0, FINISHED, 1);
                        0
                    }
                    Err(what) => {
                        eprintln!("smp-storm: process {process}: {what}");
                        1
                    }
                };
                sys::exit_now(status)
            }
        }
    }
    let mut bad = None;
    for (process, pid) in children.into_iter().enumerate() {
        let (_, ended) = sys::wait(pid)?;
        if ended != Ended::Exited(0) {
            bad = Some(format!("process {process} ended with status {}", ended.status()));
        }
    }
    if let Some(what) = bad {
        return Err(Failure::Wrong(what));
    }
    let (finished, total) = (shared.read(0, FINISHED), shared.read(0, TOTAL));
    if finished != options.processes {
        return Err(Failure::Wrong(format!("{finished} of {} processes counted themselves", options.processes)));
    }
    let Options { seed, processes, threads, rounds } = options;
    Ok(format!("seed {seed}, {processes} processes, {threads} threads, {rounds} rounds: {total:08x}"))
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, Failure> {
        let mut options = Options { seed: 1, processes: 3, threads: 3, rounds: 10 };
        for pair in args.chunks(2) {
            let [name, value] = pair else { return Err(Failure::Usage) };
            let place = match name.as_str() {
                "--seed" => &mut options.seed,
                "--processes" => &mut options.processes,
                "--threads" => &mut options.threads,
                "--rounds" => &mut options.rounds,
                _ => return Err(Failure::Usage),
            };
            *place = value.parse().map_err(|_| Failure::Usage)?;
        }
        let possible = (1..=64).contains(&options.processes) && (1..=32).contains(&options.threads);
        if possible { Ok(options) } else { Err(Failure::Usage) }
    }
}

/// One process, and what its threads share.
struct Process<'a> {
    options: &'a Options,
    number: u32,
    /// A page that each thread has a word of.
    common: Pages,
    /// Whose turn it is, and the sum of what was handed on.
    turn: Mutex<(u32, u32)>,
    turned: Condvar,
}

impl<'a> Process<'a> {
    fn new(options: &'a Options, number: u32) -> Result<Self, String> {
        let common = Pages::map(1, Sharing::Private).map_err(|error| refused("mmap", &error))?;
        Ok(Process { options, number, common, turn: Mutex::new((0, 0)), turned: Condvar::new() })
    }

    /// Runs the threads; the sum of their sums.
    fn run(&self) -> Result<u32, String> {
        let results: Vec<Result<u32, String>> = std::thread::scope(|scope| {
            let start = |thread| {
                let builder = std::thread::Builder::new().stack_size(64 << 10);
                builder.spawn_scoped(scope, move || self.thread(thread)).unwrap_or_else(|error| {
                    eprintln!("smp-storm: cannot start thread {thread}: {}", sys::reason(&error));
                    sys::exit_now(1)
                })
            };
            let handles: Vec<_> = (0..self.options.threads).map(start).collect();
            let panicked = |_| Err(String::from("a thread ended by itself"));
            handles.into_iter().map(|handle| handle.join().unwrap_or_else(panicked)).collect()
        });
        let mut sum = self.turn.lock().unwrap_or_else(|e| e.into_inner()).1;
        for result in results {
            sum = sum.wrapping_add(result?);
        }
        Ok(sum)
    }

    /// One thread: what it does in each round is drawn, but its turn comes in every one.
    fn thread(&self, thread: u32) -> Result<u32, String> {
        let mut random = Random::new(mix(mix(self.options.seed, self.number), thread));
        let mut sum = 0;
        let mut failed = None;
        for round in 0..self.options.rounds {
            let done = match random.below(4) {
                _ if failed.is_some() => Ok(0),
                0 => self.map_and_protect(&mut random),
                1 => self.through_a_pipe(&mut random),
                2 => self.fork_and_compare(&mut random),
                _ => self.own_word(thread, &mut random),
            };
            match done {
                Ok(part) => sum = mix(sum, part),
                Err(what) => failed = Some(what),
            }
            // Also after a failure: the others wait for this one's turn.
            self.take_turn(round * self.options.threads + thread, sum);
        }
        failed.map_or(Ok(sum), |what| Err(format!("thread {thread}: {what}")))
    }

    /// Maps pages, fills, protects, reads and unmaps them.
    fn map_and_protect(&self, random: &mut Random) -> Result<u32, String> {
        let pages = Pages::map(1 + random.below(12) as usize, Sharing::Private);
        let pages = pages.map_err(|error| refused("mmap", &error))?;
        let seed = random.next();
        fill(pages, seed);
        pages.set_writable(false).map_err(|error| refused("mprotect", &error))?;
        let sum = expect(pages, seed)?;
        pages.set_writable(true).map_err(|error| refused("mprotect", &error))?;
        pages.renew().map_err(|error| refused("mmap", &error))?;
        if let Some(page) = (0..pages.count()).find(|&page| pages.read(page, 0) != 0) {
            return Err(format!("new page {page} is not zero but {:#010x}", pages.read(page, 0)));
        }
        pages.unmap().map_err(|error| refused("munmap", &error))?;
        Ok(sum)
    }

    /// A thread more sends numbers through a pipe that is smaller than they are.
    fn through_a_pipe(&self, random: &mut Random) -> Result<u32, String> {
        let (from, to) = sys::pipe().map_err(|error| refused("pipe", &error))?;
        let (seed, words) = (random.next(), 1024 + random.below(32 * 1024));
        let (mut from, mut to) = (File::from(from), File::from(to));
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || -> std::io::Result<()> {
                let mut random = Random::new(seed);
                let mut block = [0u8; 512];
                let mut left = words;
                while left > 0 {
                    let count = left.min(128);
                    for word in 0..count as usize {
                        block[word * 4..word * 4 + 4].copy_from_slice(&random.next().to_le_bytes());
                    }
                    to.write_all(&block[..count as usize * 4])?;
                    left -= count;
                }
                Ok(())
            });
            let mut expected = Random::new(seed);
            let mut sum = 0;
            let mut word = [0; 4];
            // Read in blocks of another size than written.
            let mut reader = std::io::BufReader::with_capacity(1000, &mut from);
            for n in 0..words {
                reader.read_exact(&mut word).map_err(|error| refused("read", &error))?;
                let (seen, wanted) = (u32::from_le_bytes(word), expected.next());
                if seen != wanted {
                    return Err(format!("word {n} of a pipe is {seen:#010x} and not {wanted:#010x}"));
                }
                sum = mix(sum, seen);
            }
            let written = writer.join().map_err(|_| String::from("a thread ended by itself"))?;
            written.map_err(|error| refused("write", &error))?;
            Ok(sum)
        })
    }

    /// A child finds what its parent had, changes it, and the parent does not see that.
    fn fork_and_compare(&self, random: &mut Random) -> Result<u32, String> {
        let pages = Pages::map(1 + random.below(6) as usize, Sharing::Private);
        let pages = pages.map_err(|error| refused("mmap", &error))?;
        let seed = random.next();
        fill(pages, seed);
        // The child uses nothing that another thread could hold: it reads, writes and ends.
        let child = sys::fork().map_err(|error| refused("fork", &error))?;
        let sys::Fork::Parent(pid) = child else {
            let inherited = is_filled(pages, seed);
            fill(pages, !seed);
            sys::exit_now(if inherited && is_filled(pages, !seed) { 0 } else { 3 })
        };
        // The parent goes on writing while the child does.
        let again = mix(seed, 1);
        fill(pages, again);
        let (_, ended) = sys::wait(pid).map_err(|error| refused("wait", &error))?;
        if ended != Ended::Exited(0) {
            return Err(format!("a child found wrong data in its copy (status {})", ended.status()));
        }
        let sum = expect(pages, again)?;
        pages.unmap().map_err(|error| refused("munmap", &error))?;
        Ok(sum)
    }

    /// Counts in a word beside those of the other threads.
    fn own_word(&self, thread: u32, random: &mut Random) -> Result<u32, String> {
        let (word, steps) = (thread as usize, 1000 + random.below(1000));
        let before = self.common.read(0, word);
        for step in 0..steps {
            let seen = self.common.read(0, word);
            if seen != before.wrapping_add(step) {
                return Err(format!("a count is {seen} and not {}", before.wrapping_add(step)));
            }
            self.common.write(0, word, seen.wrapping_add(1));
        }
        Ok(before.wrapping_add(steps))
    }

    /// Waits until it is this thread's turn, adds to the sum, and wakes the others.
    fn take_turn(&self, turn: u32, sum: u32) {
        let guard = self.turn.lock().unwrap_or_else(|e| e.into_inner());
        let mut guard = self.turned.wait_while(guard, |now| now.0 != turn).unwrap_or_else(|e| e.into_inner());
        guard.0 += 1;
        guard.1 = mix(guard.1, sum);
        drop(guard);
        self.turned.notify_all();
    }
}

/// Words between those that are filled, so that every page is touched several times.
const STRIDE: usize = 67;

fn fill(pages: Pages, seed: u32) {
    for page in 0..pages.count() {
        for word in (0..PAGE_WORDS).step_by(STRIDE) {
            pages.write(page, word, mix(mix(seed, page as u32), word as u32));
        }
    }
}

/// The first word that is not as [`fill`] left it.
fn first_wrong(pages: Pages, seed: u32) -> Option<(usize, usize)> {
    let mut places = (0..pages.count()).flat_map(|page| (0..PAGE_WORDS).step_by(STRIDE).map(move |word| (page, word)));
    places.find(|&(page, word)| pages.read(page, word) != mix(mix(seed, page as u32), word as u32))
}

fn is_filled(pages: Pages, seed: u32) -> bool {
    first_wrong(pages, seed).is_none()
}

fn expect(pages: Pages, seed: u32) -> Result<u32, String> {
    match first_wrong(pages, seed) {
        None => Ok(mix(seed, pages.count() as u32)),
        Some((page, word)) => {
            let wanted = mix(mix(seed, page as u32), word as u32);
            Err(format!("word {word} of page {page} is {:#010x} and not {wanted:#010x}", pages.read(page, word)))
        }
    }
}

fn refused(call: &str, error: &std::io::Error) -> String {
    format!("{call}: {}", sys::reason(error))
}
