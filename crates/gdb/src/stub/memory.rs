//! Whose memory gdb reads: a CPU's, that of the process chosen by `monitor proc`, or the physical one.

use abi::books::MmRecord;
use inspect::{Books, Reader, Target, absent_page, with_directory};
use x86::{LinearAddr, PAGE_SIZE};

use super::{Stub, USER_END};

/// The memory of a process as the process would find it: pages that its first touch would
/// bring are there too.
pub struct ProcessMemory<'t, 'a> {
    target: &'t Target<'a>,
    books: Books<'a>,
    mm: MmRecord,
    reader: Reader<'a>,
}

impl<'t, 'a> ProcessMemory<'t, 'a> {
    /// That of process `pid`; `None` for one that is not there or has no memory of its own.
    pub fn of(target: &'t Target<'a>, pid: u32) -> Option<Self> {
        let books = Books::of(target).ok()?;
        let mm = books.mm(&books.task(pid).ok()?).ok()??;
        Some(Self::new(target, books, mm))
    }

    fn new(target: &'t Target<'a>, books: Books<'a>, mm: MmRecord) -> Self {
        let reader = Reader::new(target.mem, with_directory(target.cpus[0], target.mem, mm.pgd));
        ProcessMemory { target, books, mm, reader }
    }

    /// That of the process whose page directory a CPU uses, if it is one's.
    fn on_cpu(target: &'t Target<'a>, cpu: usize) -> Option<Self> {
        let books = Books::of(target).ok()?;
        let (_, mm) = inspect::process_of_directory(&books, target.cpus[cpu].cr3).ok()??;
        Some(Self::new(target, books, mm))
    }

    /// Reads from `addr` on up to the first byte that is not there; says how many bytes that were.
    pub fn read(&self, addr: u32, buf: &mut [u8]) -> usize {
        fill(&self.reader, buf, addr, |at| absent_page(self.target, &self.books, &self.mm, at))
    }

    /// A doubleword.
    pub fn u32(&self, addr: u32) -> Option<u32> {
        let mut bytes = [0; 4];
        (self.read(addr, &mut bytes) == 4).then(|| u32::from_le_bytes(bytes))
    }
}

/// Reads by `reader`, and by `absent` a page of the user's part that it does not have.
fn fill(
    reader: &Reader<'_>,
    buf: &mut [u8],
    addr: u32,
    mut absent: impl FnMut(LinearAddr) -> Option<Vec<u8>>,
) -> usize {
    let mut done = 0;
    while done < buf.len() {
        let at = LinearAddr(addr).wrapping_add(done as u32);
        let read = reader.read(at, &mut buf[done..]);
        if read > 0 {
            done += read;
            continue;
        }
        let Some(page) = Some(at).filter(|at| at.0 < USER_END).and_then(&mut absent) else { break };
        let start = at.page_offset() as usize;
        let n = (buf.len() - done).min(PAGE_SIZE as usize - start);
        buf[done..done + n].copy_from_slice(&page[start..start + n]);
        done += n;
    }
    done
}

impl Stub<'_> {
    /// Reads memory for gdb as CPU `cpu` sees it, or as the chosen process does; says how many
    /// bytes could be read.
    pub(super) fn read_memory(&self, cpu: usize, addr: u32, buf: &mut [u8]) -> usize {
        let target = self.target();
        if self.view.physical {
            return Reader::physical(target.mem).read(LinearAddr(addr), buf);
        }
        if let Some(pid) = self.view.pid.filter(|_| addr < USER_END) {
            // One that has ended has no memory; another's would be a lie.
            return ProcessMemory::of(&target, pid).map_or(0, |process| process.read(addr, buf));
        }
        let paging = self.machine.cpu(cpu).paging();
        let mut process = None;
        fill(&Reader::new(target.mem, paging), buf, addr, |at| {
            let process =
                process.get_or_insert_with(|| ProcessMemory::on_cpu(&target, cpu).filter(|_| paging.enabled()));
            process.as_ref().and_then(|of| absent_page(of.target, &of.books, &of.mm, at))
        })
    }

    /// By what gdb's writes go: as its reads, but only to what is there.
    pub(super) fn writer(&self, cpu: usize, addr: u32) -> Option<Reader<'_>> {
        let mem = self.machine.memory();
        if self.view.physical {
            return Some(Reader::physical(mem));
        }
        match self.view.pid.filter(|_| addr < USER_END) {
            Some(pid) => ProcessMemory::of(&self.target(), pid).map(|process| process.reader),
            None => Some(Reader::new(mem, self.machine.cpu(cpu).paging())),
        }
    }
}
