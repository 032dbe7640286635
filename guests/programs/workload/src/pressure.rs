//! More memory than a small machine has, and memory that changes hands. On a machine with
//! enough of it the answers are the same.
#![allow(unsafe_code)]

use std::{
    env, fs, io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::PathBuf,
    ptr,
};

use pagewalk_programs::sys::{self, Ended, Fork};

use crate::{EMPTY_SUM, Random, Round, mix};

const PAGE_BYTES: usize = 4096;
const WORDS: usize = PAGE_BYTES / 4;

/// The file that `mapped` makes and maps; without it one that has no name.
const FILE: &str = "WORKLOAD_FILE";

fn must(result: i32) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A mapping, given back at the end.
struct Mapping {
    at: *mut u32,
    pages: usize,
    /// Pages before and behind it that nobody may touch.
    fence: usize,
}

impl Mapping {
    fn new(pages: usize, prot: i32, flags: i32, fd: i32) -> io::Result<Mapping> {
        // SAFETY: a new mapping, wherever there is room.
        let at = unsafe { libc::mmap(ptr::null_mut(), pages * PAGE_BYTES, prot, flags, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { at: at.cast(), pages, fence: 0 })
    }

    /// Between fences, so that its area is never one with a neighbour's.
    fn anonymous(pages: usize, prot: i32) -> io::Result<Mapping> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let mut mapping = Mapping::new(pages + 2, libc::PROT_NONE, flags, -1)?;
        // SAFETY: the second page of at least two.
        mapping.at = unsafe { mapping.at.add(WORDS) };
        (mapping.pages, mapping.fence) = (pages, 1);
        // SAFETY: inside the new mapping.
        must(unsafe { libc::mprotect(mapping.at.cast(), pages * PAGE_BYTES, prot) })?;
        Ok(mapping)
    }

    /// The first word of a page; the caller knows that the page may be accessed so.
    fn word(&self, page: usize) -> *mut u32 {
        assert!(page < self.pages);
        // SAFETY: inside the mapping.
        unsafe { self.at.add(page * WORDS) }
    }

    fn read(&self, page: usize) -> u32 {
        // SAFETY: `word` is inside the mapping.
        unsafe { self.word(page).read_volatile() }
    }

    fn write(&self, page: usize, value: u32) {
        // SAFETY: `word` is inside the mapping.
        unsafe { self.word(page).write_volatile(value) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nobody has a reference into it; the fences are its own.
        unsafe { libc::munmap(self.at.sub(self.fence * WORDS).cast(), (self.pages + 2 * self.fence) * PAGE_BYTES) };
    }
}

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Writes to `kib` KiB twice and sums them up: what is looked at first was written longest
/// ago.
pub fn anonymous(kib: u32) -> io::Result<Round> {
    let memory = Mapping::anonymous(kib as usize / 4, RW)?;
    Ok(Box::new(move || Ok(sweep(&memory))))
}

fn sweep(memory: &Mapping) -> u32 {
    let mut random = Random(0x9e37_79b9);
    (0..memory.pages).for_each(|page| memory.write(page, random.next()));
    for page in 0..memory.pages {
        memory.write(page, mix(memory.read(page), page as u32));
    }
    (0..memory.pages).fold(EMPTY_SUM, |sum, page| mix(sum, memory.read(page)))
}

/// The same through a shared mapping of a file, which is read in the end.
pub fn mapped(kib: u32) -> io::Result<Round> {
    let named = env::var_os(FILE).map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| env::temp_dir().join(format!("workload-{}", std::process::id())));
    let file = fs::File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    if named.is_none() {
        fs::remove_file(&path)?;
    }
    file.set_len(u64::from(kib) * 1024)?;
    let memory = Mapping::new(kib as usize / 4, RW, libc::MAP_SHARED, file.as_raw_fd())?;
    Ok(Box::new(move || {
        let sum = sweep(&memory);
        // SAFETY: the whole mapping.
        if unsafe { libc::msync(memory.at.cast(), memory.pages * PAGE_BYTES, libc::MS_SYNC) } == -1 {
            return Err(io::Error::last_os_error());
        }
        let (mut word, mut read) = ([0; 4], EMPTY_SUM);
        for page in 0..memory.pages {
            file.read_exact_at(&mut word, (page * PAGE_BYTES) as u64)?;
            read = mix(read, u32::from_le_bytes(word));
        }
        if read == sum { Ok(sum) } else { Err(io::Error::other("the file has other contents than its mapping")) }
    }))
}

/// Forks a process with `kib` KiB of written memory. The child copies nothing until it
/// writes, and then as many pages as it has written to, by `/proc/self/smaps`.
pub fn cow(kib: u32) -> io::Result<Round> {
    const EVERY: usize = 16;
    let memory = Mapping::anonymous(kib as usize / 4, RW)?;
    (0..memory.pages).for_each(|page| memory.write(page, page as u32));
    Ok(Box::new(move || match sys::fork()? {
        Fork::Child => {
            let judge = || -> io::Result<bool> {
                let before = private_and_shared(&memory)?;
                (0..memory.pages).step_by(EVERY).for_each(|page| memory.write(page, !0));
                let (written, after) = (memory.pages.div_ceil(EVERY) * 4, private_and_shared(&memory)?);
                let all = memory.pages * 4;
                let right = before == (0, all) && after == (written, all - written);
                if !right {
                    eprintln!("private and shared kB: {before:?}, after writing {written} kB {after:?}");
                }
                Ok(right)
            };
            sys::exit_now(i32::from(!judge().unwrap_or(false)))
        }
        Fork::Parent(pid) => match sys::wait(pid)?.1 {
            Ended::Exited(0) if (0..memory.pages).all(|page| memory.read(page) == page as u32) => {
                Ok(mix(EMPTY_SUM, memory.pages as u32))
            }
            ended => Err(io::Error::other(format!("the child ended with {ended:?}"))),
        },
    }))
}

/// kB of a mapping's pages that this process alone has, and that others have, too.
fn private_and_shared(memory: &Mapping) -> io::Result<(usize, usize)> {
    let text = fs::read_to_string("/proc/self/smaps")?;
    let (mut inside, mut private, mut shared) = (false, 0, 0);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or("");
        if let Some((start, end)) = name.split_once('-') {
            let number = |text| usize::from_str_radix(text, 16).unwrap_or(0);
            inside = (number(start)..number(end)).contains(&(memory.at as usize));
            continue;
        }
        let kb: usize = words.next().and_then(|kb| kb.parse().ok()).unwrap_or(0);
        match name {
            "Private_Dirty:" | "Private_Clean:" if inside => private += kb,
            "Shared_Dirty:" | "Shared_Clean:" if inside => shared += kb,
            _ => {}
        }
    }
    Ok((private, shared))
}

/// What a page of the storm is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    /// Nobody's: only reserved.
    Hole,
    /// Mapped with these rights; its first word.
    Mapped { prot: i32, value: u32 },
}

/// Pages that a storm rages over.
const ARENA: usize = 192;
/// What happens in a storm.
const STEPS: u32 = 400;

/// A storm of `mmap`, `munmap`, `mprotect`, `mremap`, `madvise`, `mlock`, writes and forks at
/// random by a seed; every page always has what was written to it last.
pub fn storm(seed: u32) -> io::Result<Round> {
    Ok(Box::new(move || {
        let arena = Mapping::anonymous(ARENA, libc::PROT_NONE)?;
        let mut storm =
            Storm { arena, model: [Page::Hole; ARENA], random: Random(seed.wrapping_mul(2_654_435_761) | 1) };
        let mut sum = EMPTY_SUM;
        for _ in 0..STEPS {
            sum = mix(sum, storm.step()?);
        }
        storm.check(sum)
    }))
}

struct Storm {
    arena: Mapping,
    model: [Page; ARENA],
    random: Random,
}

impl Storm {
    fn below(&mut self, end: usize) -> usize {
        (self.random.next() >> 3) as usize % end
    }

    /// Some pages in a row.
    fn range(&mut self) -> std::ops::Range<usize> {
        let (start, len) = (self.below(ARENA), 1 + self.below(24));
        start..(start + len).min(ARENA)
    }

    fn step(&mut self) -> io::Result<u32> {
        let range = self.range();
        let (at, bytes) = (self.arena.word(range.start).cast::<libc::c_void>(), range.len() * PAGE_BYTES);
        let kind = self.below(20);
        match kind {
            0..=3 => {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
                // SAFETY: inside our own arena.
                let got = unsafe { libc::mmap(at, bytes, RW, flags, -1, 0) };
                must(if got == libc::MAP_FAILED { -1 } else { 0 })?;
                self.model[range].fill(Page::Mapped { prot: RW, value: 0 });
            }
            4 => {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
                // SAFETY: inside our own arena. The place stays reserved.
                unsafe {
                    must(libc::munmap(at, bytes))?;
                    let got = libc::mmap(at, bytes, libc::PROT_NONE, flags, -1, 0);
                    must(if got == libc::MAP_FAILED { -1 } else { 0 })?;
                }
                self.model[range].fill(Page::Hole);
            }
            5 | 6 => self.protect(range)?,
            7 => self.forget(range)?,
            8 => self.remap()?,
            9 => self.fork()?,
            10 => {
                // How much may be locked is the user's affair: the contents stay either way.
                // SAFETY: inside our own arena.
                let _ = unsafe { libc::mlock(at, bytes) };
            }
            11 => {
                // SAFETY: inside our own arena.
                must(unsafe { libc::munlock(at, bytes) })?;
            }
            12 => {
                const ADVICE: [i32; 4] = [libc::MADV_WILLNEED, 20, 21, libc::MADV_NORMAL];
                let advice = ADVICE[self.below(ADVICE.len())];
                // What is locked in memory cannot be advised to leave it.
                // SAFETY: inside our own arena.
                let _ = unsafe { libc::madvise(at, bytes, advice) };
            }
            _ => {
                let value = self.random.next();
                for page in range {
                    if let Page::Mapped { prot: RW, value: word } = &mut self.model[page] {
                        self.arena.write(page, value ^ page as u32);
                        *word = value ^ page as u32;
                    }
                }
            }
        }
        Ok(kind as u32)
    }

    fn protect(&mut self, range: std::ops::Range<usize>) -> io::Result<()> {
        let new = [libc::PROT_NONE, libc::PROT_READ, RW][self.below(3)];
        for page in range {
            if let Page::Mapped { prot, .. } = &mut self.model[page] {
                // SAFETY: a page of our own arena.
                must(unsafe { libc::mprotect(self.arena.word(page).cast(), PAGE_BYTES, new) })?;
                *prot = new;
            }
        }
        Ok(())
    }

    /// `MADV_DONTNEED`: what was written is gone.
    fn forget(&mut self, range: std::ops::Range<usize>) -> io::Result<()> {
        let (at, bytes) = (self.arena.word(range.start).cast(), range.len() * PAGE_BYTES);
        // What is locked is not forgotten.
        // SAFETY: inside our own arena.
        unsafe { libc::munlock(at, bytes) };
        // SAFETY: as above.
        must(unsafe { libc::madvise(at, bytes, libc::MADV_DONTNEED) })?;
        for page in &mut self.model[range] {
            if let Page::Mapped { value, .. } = page {
                *value = 0;
            }
        }
        Ok(())
    }

    /// A page moves over another.
    fn remap(&mut self) -> io::Result<()> {
        let (from, to) = (self.below(ARENA), self.below(ARENA));
        if from == to || self.model[from] == Page::Hole {
            return Ok(());
        }
        let (old, new) = (self.arena.word(from).cast(), self.arena.word(to).cast::<libc::c_void>());
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: two pages of our own arena; the place that becomes free is reserved again.
        unsafe {
            let got = libc::mremap(old, PAGE_BYTES, PAGE_BYTES, flags, new);
            must(if got == libc::MAP_FAILED { -1 } else { 0 })?;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let got = libc::mmap(old, PAGE_BYTES, libc::PROT_NONE, flags, -1, 0);
            must(if got == libc::MAP_FAILED { -1 } else { 0 })?;
        }
        self.model[to] = self.model[from];
        self.model[from] = Page::Hole;
        Ok(())
    }

    /// The child sees everything, writes over it, and what it did is its own.
    fn fork(&mut self) -> io::Result<()> {
        match sys::fork()? {
            Fork::Child => {
                let is_right = self.check(0).is_ok();
                for page in 0..ARENA {
                    if matches!(self.model[page], Page::Mapped { prot: RW, .. }) {
                        self.arena.write(page, 0x5555_5555);
                    }
                }
                sys::exit_now(i32::from(!is_right))
            }
            Fork::Parent(pid) => match sys::wait(pid)?.1 {
                Ended::Exited(0) => Ok(()),
                ended => Err(io::Error::other(format!("the child ended with {ended:?}"))),
            },
        }
    }

    /// Every page that may be read has what the model says.
    fn check(&self, mut sum: u32) -> io::Result<u32> {
        for (page, state) in self.model.iter().enumerate() {
            if let Page::Mapped { prot, value } = *state
                && prot != libc::PROT_NONE
            {
                let found = self.arena.read(page);
                if found != value {
                    return Err(io::Error::other(format!("page {page} has {found:#x}, not {value:#x}")));
                }
                sum = mix(sum, found);
            }
        }
        Ok(sum)
    }
}
