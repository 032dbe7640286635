//! A whole machine as one value, for those who draw it: address spaces page by page, memory frame by frame, the
//! tables, the TLBs, counters over time.
//!
//! [`Picture::of`] always gives something: what a damaged or a foreign kernel does not tell is missing, and a note says
//! what and why. Long rows are [`Column`]s, and all of it is bounded.

mod column;
mod cpus;
mod frames;
mod kernel;
mod names;
mod processes;
mod spaces;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use abi::books::{PAGE_MAPPING_ANON, PageRecord};
use cpu::mmu::Paging;
use machine::Sample;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use column::Column;
pub use cpus::{Cpu, Tlb};
pub use frames::{Frames, Owner};
pub use kernel::{Region, Zone};
pub use names::Names;
pub use processes::{Area, Name, Process};
pub use spaces::Space;

use crate::{Books, KernelImage, Request, Target, part::part, with_directory};
use column::Room;
use frames::Hints;
use processes::Processes;
use spaces::{MAX_ENTRIES, Tables};

/// The version of the layout of [`Picture`] as JSON.
pub const VERSION: u32 = 1;
/// Notes that a picture holds.
const MAX_NOTES: usize = 500;
/// Shootdowns that a picture holds: the last ones.
const MAX_SHOOTDOWNS: usize = 2000;

/// A machine to be drawn.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Picture {
    /// [`VERSION`].
    pub version: u32,
    /// What could not be known, a line each.
    pub notes: Vec<String>,
    /// Whether the kernel keeps books that we can read.
    pub books: bool,
    /// The linear address of physical address 0, of a kernel with books.
    pub page_offset: Option<u32>,
    /// Counters of the run.
    pub stats: Value,
    /// The CPUs.
    pub cpus: Vec<Cpu>,
    /// The processes by number.
    pub processes: Vec<Process>,
    /// Names of areas.
    pub names: Vec<Name>,
    /// Address spaces, each once: of processes below the kernel's part, else (of another kernel) whole.
    pub spaces: Vec<Space>,
    /// The kernel's own tables for its part of the addresses.
    pub kernel_space: Option<Space>,
    /// The kernel's part of the addresses.
    pub regions: Vec<Region>,
    /// Physical memory.
    pub frames: Frames,
    /// Its zones.
    pub zones: Vec<Zone>,
    /// Slab caches, as the lens `slabinfo` shows them.
    pub caches: Value,
    /// Areas of vmalloc, as `vmallocinfo` shows them.
    pub vmalloc: Value,
    /// Modules, as `modules` shows them.
    pub modules: Value,
    /// As `meminfo` shows it.
    pub meminfo: Value,
    /// As `vmstat` shows it.
    pub vmstat: Value,
    /// As `swaps` shows it.
    pub swaps: Value,
    /// The last shootdowns, as `timeline` shows them.
    pub shootdowns: Value,
    /// Counters over time, if the run recorded them.
    pub samples: Vec<Sample>,
    /// Symbols of the kernel, its modules and programs.
    pub symbols: Vec<Names>,
}

impl Picture {
    /// The machine in `target`, in no more than about `limit` bytes of JSON.
    pub fn of(target: &Target<'_>, limit: usize) -> Picture {
        let mut notes = Vec::new();
        let mut room = Room::new(limit);
        let books = Books::of(target).map_err(|why| notes.push(why.to_string())).ok();
        let mut picture = match &books {
            Some(books) => with_books(target, books, &mut room, &mut notes),
            None => without_books(target, &mut room, &mut notes),
        };
        picture.version = VERSION;
        picture.cpus = cpus::cpus(target, books.as_ref(), &mut room, &mut notes);
        picture.stats = part(target, &Request::Stats, "counters", &mut notes);
        picture.samples = target.samples.to_vec();
        picture.shootdowns = shootdowns(target, &mut notes);
        picture.symbols = names::of(target, &mut room);
        notes.extend(target.damage.take());
        notes.append(&mut room.left_out);
        let mut seen = BTreeSet::new();
        notes.retain(|note| seen.len() < MAX_NOTES && seen.insert(note.clone()));
        picture.notes = notes;
        picture
    }
}

/// The last shootdowns.
fn shootdowns(target: &Target<'_>, notes: &mut Vec<String>) -> Value {
    let mut answer = part(target, &Request::Timeline, "timeline", notes);
    if let Some(rows) = answer["shootdowns"].as_array_mut().filter(|rows| rows.len() > MAX_SHOOTDOWNS) {
        notes.push(format!("shootdowns: the last {MAX_SHOOTDOWNS} of {} are shown", rows.len()));
        rows.drain(..rows.len() - MAX_SHOOTDOWNS);
    }
    answer
}

/// A kernel that keeps books.
fn with_books(target: &Target<'_>, books: &Books<'_>, room: &mut Room, notes: &mut Vec<String>) -> Picture {
    let page_offset = target.kernel.and_then(KernelImage::note).map_or(0, |note| note.page_offset);
    let pages = frames::descriptors(books);
    if (pages.len() as u32) < books.root().max_pfn {
        let said = books.root().max_pfn;
        notes.push(format!("frames: the books speak of {said}, of which {} can be read", pages.len()));
    }
    let mut picture = Picture { books: true, page_offset: Some(page_offset), ..Picture::default() };
    picture.regions = kernel::regions(page_offset, pages.len() as u32);

    let threads = processes::threads(books, notes);
    let mut collected = Processes::default();
    let mut walked = Walked { left: MAX_ENTRIES, ..Walked::default() };
    let kernel_part = u64::from(page_offset)..1 << 32;
    let swapper = target.cpu(0).ok().map(|cpu| with_directory(cpu, target.mem, books.root().swapper_pg_dir));
    let kernel = swapper.map(|paging| {
        let tables = Tables::read(target.mem, &paging, kernel_part, false, MAX_ENTRIES);
        picture.kernel_space = Some(tables.pack(&paging, "the kernel", room));
        walked.directories.insert(paging.table().frame());
        tables
    });
    let kernel = kernel.unwrap_or_default();
    notes.extend(kernel.damage.iter().map(|what| format!("the kernel: {what}")));
    walked.tables.extend(&kernel.tables);

    let mut hints = kernel::hints(target, books, &kernel, &threads, notes);
    for task in threads.iter().filter(|task| task.pid == task.tgid) {
        let mm = books.mm(task).ok().flatten();
        let held = |mm: &abi::books::MmRecord| !mm.mmap_lock.is_null() && books.is_held(mm.mmap_lock);
        if mm.as_ref().is_some_and(held) {
            notes.push(format!("process {}: its address space is being changed at this instant", task.pid));
        }
        let space = mm.and_then(|mm| target.cpu(0).ok().map(|cpu| with_directory(cpu, target.mem, mm.pgd)));
        let space = space.map(|paging| {
            let user = 0..u64::from(page_offset);
            walked.space(target, &paging, user, Some(task.pid), &mut picture.spaces, room, notes)
        });
        collected.add(target, books, task, space.as_ref().map(|(number, _)| *number), notes);
        hints.commands.insert(task.pid, crate::comm(task));
        if let (Some((_, Some(tables))), Some(process)) = (space, collected.rows.last()) {
            name_files(&mut hints, &pages, process, &collected.names, &tables);
        }
    }
    (picture.processes, picture.names) = (collected.rows, collected.names);
    walked.finish(&mut hints);
    picture.frames = frames::with_books(target.mem, books, &pages, &hints, room);
    picture.zones = kernel::zones_of(books, notes);
    picture.caches = part(target, &Request::Slabinfo, "slabinfo", notes);
    picture.vmalloc = part(target, &Request::Vmallocinfo, "vmallocinfo", &mut Vec::new());
    picture.modules = part(target, &Request::Modules, "modules", &mut Vec::new());
    picture.meminfo = part(target, &Request::Meminfo, "meminfo", notes);
    picture.vmstat = part(target, &Request::Vmstat, "vmstat", &mut Vec::new());
    picture.swaps = part(target, &Request::Swaps, "swaps", notes);
    picture
}

/// A kernel of which only the processor knows: the address spaces that CPUs have loaded.
fn without_books(target: &Target<'_>, room: &mut Room, notes: &mut Vec<String>) -> Picture {
    let mut picture = Picture::default();
    let mut walked = Walked { left: MAX_ENTRIES, ..Walked::default() };
    for (number, cpu) in target.cpus.iter().enumerate() {
        let paging = cpu.paging();
        if !paging.enabled() {
            notes.push(format!("CPU {number}: paging is off, linear addresses are physical"));
            continue;
        }
        walked.space(target, &paging, 0..1 << 32, None, &mut picture.spaces, room, notes);
    }
    let mut hints = Hints::default();
    walked.finish(&mut hints);
    picture.frames = frames::without_books(target.mem, &hints, room);
    picture
}

/// The address spaces that were read so far.
#[derive(Default)]
struct Walked {
    /// Entries that may still be read.
    left: usize,
    /// The numbers of the spaces by CR3.
    spaces: BTreeMap<u32, u32>,
    directories: BTreeSet<u32>,
    tables: BTreeSet<u32>,
    mappers: BTreeMap<u32, Option<u32>>,
    /// Frames that ring 3 may touch.
    user: BTreeSet<u32>,
}

impl Walked {
    /// The number of the space with these tables, and the tables if they were not read before.
    #[allow(clippy::too_many_arguments, reason = "where it comes from, and where it goes")]
    fn space(
        &mut self,
        target: &Target<'_>,
        paging: &Paging,
        range: std::ops::Range<u64>,
        pid: Option<u32>,
        spaces: &mut Vec<Space>,
        room: &mut Room,
        notes: &mut Vec<String>,
    ) -> (u32, Option<Tables>) {
        let cr3 = paging.table().0 as u32;
        if let Some(&number) = self.spaces.get(&cr3) {
            return (number, None);
        }
        let tables = Tables::read(target.mem, paging, range, pid.is_some(), self.left);
        let name = pid.map_or(format!("the tables at {cr3:#010x}"), |pid| format!("process {pid}"));
        notes.extend(tables.damage.iter().map(|what| format!("{name}: {what}")));
        self.left -= tables.page.len();
        self.directories.extend(&tables.directories);
        self.tables.extend(&tables.tables);
        for (page, first, frames, bits) in tables.mapped(paging) {
            if pid.is_none() && tables.is_user(paging, page, bits) {
                self.user.extend(first..first.saturating_add(frames));
            }
            for frame in (first..).take(frames as usize) {
                self.mappers.entry(frame).and_modify(|who| *who = who.filter(|who| Some(*who) == pid)).or_insert(pid);
            }
        }
        let number = spaces.len() as u32;
        spaces.push(tables.pack(paging, &name, room));
        self.spaces.insert(cr3, number);
        (number, Some(tables))
    }

    fn finish(self, hints: &mut Hints) {
        hints.directories = self.directories.into_iter().collect();
        hints.tables = self.tables.into_iter().collect();
        hints.mappers = self.mappers;
        hints.user = self.user;
    }
}

/// Learns from the pages that a process maps which page cache is of which file.
fn name_files(hints: &mut Hints, pages: &[PageRecord], process: &Process, names: &[Name], tables: &Tables) {
    for &Area(start, end, _, _, name) in &process.areas {
        let Some(name) = names.get(usize::try_from(name).unwrap_or(usize::MAX)) else { continue };
        if name.inode == 0 {
            continue;
        }
        let from = tables.page.partition_point(|&page| page < start >> 12);
        let to = tables.page.partition_point(|&page| page < end >> 12);
        for at in from..to {
            let Some(page) = pages.get(tables.frame[at] as usize).filter(|_| tables.bits[at] & 1 != 0) else {
                continue;
            };
            if page.mapping != 0 && page.mapping & PAGE_MAPPING_ANON == 0 {
                hints.files.entry(page.mapping).or_insert_with(|| name.name.clone());
            }
        }
    }
}
