//! What is done to memory while pages of it come from swap: `race ACT KIB`, and `swapoff DEVICE
//! KIB`, which a signal ends.
#![allow(unsafe_code)]

use std::{
    fs,
    io::{self, Read, Write},
    os::fd::AsRawFd,
    sync::{
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use libc::{MADV_DONTNEED, MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_NONE};
use pagewalk_programs::sys::{self, Ended, Fork};

use crate::{
    calls::{self, Answer, PAGE, load, store},
    scarce::{PAGEOUT, pages, word},
    window::RW,
};

/// Where nothing is put unasked: an allocator must not take the holes that come and go here.
const LOW: usize = 0x2000_0000;

/// What a page holds at first.
fn value(page: usize) -> u32 {
    page as u32 * 2 + 0x1000_0001
}

/// What is done while a page comes, and what the one who reaches for it may find: its value, and
/// these.
struct Act {
    name: &'static str,
    run: fn(&mut Memory, usize) -> io::Result<()>,
    may_find: &'static [Found],
    /// Whether the page is empty afterwards.
    empties: bool,
}

/// What there may be in place of a page's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Nothing,
    Zero,
}

use Found::{Nothing, Zero};

const ACTS: [Act; 5] = [
    Act { name: "mremap", run: Memory::move_away, may_find: &[Nothing, Zero], empties: false },
    Act { name: "munmap", run: Memory::replace, may_find: &[Nothing, Zero], empties: true },
    Act { name: "fork", run: Memory::inherit, may_find: &[], empties: false },
    Act { name: "mprotect", run: Memory::protect, may_find: &[Nothing], empties: false },
    Act { name: "madvise", run: Memory::forget, may_find: &[Zero], empties: true },
];

/// Pages that were written, with room for as many beside them.
struct Memory {
    at: usize,
    spare: usize,
    pages: usize,
}

/// An answer or what it stands for.
fn must(answer: Answer) -> io::Result<usize> {
    answer.map_err(io::Error::other)
}

fn map_at(at: usize, pages: usize, prot: i32) -> io::Result<usize> {
    must(calls::mmap(at, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0))
}

impl Memory {
    /// All of it is in swap.
    fn in_swap(pages: usize) -> io::Result<Memory> {
        let at = map_at(LOW, pages, RW)?;
        let spare = map_at(at + pages * PAGE, pages, PROT_NONE)?;
        (0..pages).for_each(|page| store(at + page * PAGE, value(page)));
        must(calls::madvise(at, pages * PAGE, PAGEOUT))?;
        Ok(Memory { at, spare, pages })
    }

    fn page(&self, page: usize) -> usize {
        self.at + page * PAGE
    }

    /// All pages are elsewhere, and each second time others are where they were.
    fn move_away(&mut self, page: usize) -> io::Result<()> {
        const FLAGS: i32 = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let len = self.pages * PAGE;
        must(calls::mremap(self.at, len, len, FLAGS, self.spare))?;
        if page.is_multiple_of(2) {
            map_at(self.at, self.pages, RW)?;
        }
        (self.at, self.spare) = (self.spare, self.at);
        Ok(())
    }

    /// The page goes; each second time there is nothing in its place for a moment longer.
    fn replace(&mut self, page: usize) -> io::Result<()> {
        must(calls::munmap(self.page(page), PAGE))?;
        if page.is_multiple_of(2) {
            thread::yield_now();
        }
        map_at(self.page(page), 1, RW).map(drop)
    }

    /// A child finds the page and changes its own.
    fn inherit(&mut self, page: usize) -> io::Result<()> {
        match sys::fork()? {
            Fork::Child => {
                let right = load(self.page(page)) == value(page);
                store(self.page(page), 7);
                sys::exit_now(i32::from(!right || load(self.page(page)) != 7));
            }
            Fork::Parent(pid) => match sys::wait(pid)?.1 {
                Ended::Exited(0) => Ok(()),
                ended => Err(io::Error::other(format!("the child ended with {ended:?}"))),
            },
        }
    }

    fn protect(&mut self, page: usize) -> io::Result<()> {
        must(calls::mprotect(self.page(page), PAGE, PROT_NONE))?;
        thread::yield_now();
        must(calls::mprotect(self.page(page), PAGE, RW)).map(drop)
    }

    fn forget(&mut self, page: usize) -> io::Result<()> {
        must(calls::madvise(self.page(page), PAGE, MADV_DONTNEED)).map(drop)
    }
}

/// The one who reaches for pages is on its way to one.
static REACHING: AtomicBool = AtomicBool::new(false);

/// Reaches for the addresses that it is given, as a call of the system does, and tells what was
/// there.
fn reach(asked: &mpsc::Receiver<usize>, told: &mpsc::Sender<Result<u32, Found>>) -> io::Result<()> {
    let (read, write) = sys::pipe()?;
    let mut read = fs::File::from(read);
    while let Ok(address) = asked.recv() {
        REACHING.store(true, SeqCst);
        // SAFETY: the kernel checks the address itself.
        let count = unsafe { libc::write(write.as_raw_fd(), address as *const libc::c_void, 4) };
        REACHING.store(false, SeqCst);
        let mut bytes = [0; 4];
        let found = match count {
            4 => {
                read.read_exact(&mut bytes)?;
                match u32::from_le_bytes(bytes) {
                    0 => Err(Zero),
                    word => Ok(word),
                }
            }
            _ => Err(Nothing),
        };
        if told.send(found).is_err() {
            break;
        }
    }
    Ok(())
}

/// `race ACT KIB`: a thread reaches for one page after the other, which are in swap; the act comes
/// while each is on its way.
pub fn race(args: &[String]) -> io::Result<()> {
    let (name, pages) = (word(args, 0, "an act")?, pages(args, 1)?);
    let act = ACTS.iter().find(|act| act.name == name);
    let act = act.ok_or_else(|| io::Error::other(format!("no act `{name}`")))?;
    let mut memory = Memory::in_swap(pages)?;
    let ((ask, asked), (tell, told)) = (mpsc::channel(), mpsc::channel());
    let reaches = thread::spawn(move || reach(&asked, &tell));
    let (mut in_time, mut wrong, before) = (0, 0, from_swap()?);
    for page in 0..pages {
        ask.send(memory.page(page)).map_err(io::Error::other)?;
        let mut found = None;
        while found.is_none() && !REACHING.load(SeqCst) {
            thread::yield_now();
            found = told.try_recv().ok();
        }
        in_time += usize::from(found.is_none());
        (act.run)(&mut memory, page)?;
        let found = match found {
            Some(found) => found,
            None => told.recv().map_err(io::Error::other)?,
        };
        let allowed = match found {
            Ok(word) => word == value(page),
            Err(found) => act.may_find.contains(&found),
        };
        wrong += usize::from(!allowed);
    }
    drop(ask);
    reaches.join().map_err(|_| io::Error::other("the other thread has panicked"))??;
    let came = from_swap()? - before;
    wrong += (0..pages).filter(|&page| load(memory.page(page)) != if act.empties { 0 } else { value(page) }).count();
    let most = |count: usize| if count * 2 > pages { "most" } else { "few" };
    println!("{name}: {} in time, {} from swap, {wrong} wrong", most(in_time), most(came));
    Ok(())
}

/// Pages that were read from swap so far.
fn from_swap() -> io::Result<usize> {
    vmstat("pswpin ")
}

fn vmstat(row: &str) -> io::Result<usize> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let number = text.lines().find_map(|line| line.strip_prefix(row)?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc/vmstat has no {row}")))
}

/// Lets a signal come every few milliseconds, or no more.
fn alarm(every: Duration) -> io::Result<()> {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: all-zero bytes are a valid `sigaction`, whose calls are not begun again; the handler
    // does nothing; the timer is plain data.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut());
        let time = libc::timeval { tv_sec: 0, tv_usec: every.subsec_micros() as _ };
        let timer = libc::itimerval { it_interval: time, it_value: time };
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut())
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `swapoff DEVICE KIB`: pages of two processes are in the only swap area, which is turned off
/// while signals come, used again, and turned off in peace.
pub fn swapoff(args: &[String]) -> io::Result<()> {
    let (device, pages) = (word(args, 0, "a device")?, pages(args, 1)?);
    let memory = Memory::in_swap(pages)?;
    let (end, start) = sys::pipe()?;
    let child = match sys::fork()? {
        Fork::Child => {
            drop(start);
            let waited = fs::File::from(end).read(&mut [0]);
            let right = (0..pages).all(|page| load(memory.page(page)) == value(page));
            sys::exit_now(i32::from(waited.is_err() || !right))
        }
        Fork::Parent(pid) => pid,
    };
    alarm(Duration::from_millis(3))?;
    let turned_off = turn_off(device);
    alarm(Duration::ZERO)?;
    println!("while signals come: {turned_off}, in use: {}", if used()? > 0 { "some" } else { "nothing" });
    let before = vmstat("pswpout ")?;
    (0..pages).for_each(|page| store(memory.page(page), !value(page)));
    must(calls::madvise(memory.page(0), pages * PAGE, PAGEOUT))?;
    let went = vmstat("pswpout ")? - before;
    println!("used again: {}", if went * 2 > pages { "yes" } else { "no" });
    println!("in peace: {}", turn_off(device));
    let right = (0..pages).all(|page| load(memory.page(page)) == !value(page));
    drop(start);
    println!("contents right: {right}, the child's: {}", sys::wait(child)?.1 == Ended::Exited(0));
    io::stdout().flush()
}

fn turn_off(device: &str) -> String {
    sys::swapoff(device.as_ref()).map_or_else(|error| calls::errno_name(&error), |()| "ok".into())
}

/// kB in use of all swap areas.
fn used() -> io::Result<u32> {
    let text = fs::read_to_string("/proc/swaps")?;
    Ok(text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3)?.parse::<u32>().ok()).sum())
}
