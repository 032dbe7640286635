//! The host's own check of the guest kernel's books: every frame has one state, is mapped as
//! often as its descriptor says, and has as many users as there are owners; free blocks, counts
//! of processes and swap slots agree with what the tables hold. Nothing is asked of the kernel
//! but its descriptors and tables.

use std::collections::{BTreeMap, BTreeSet};

use abi::books::{MmRecord, NR_ORDERS, PAGE_MAPPING_ANON, PageRecord, ZoneRecord, vm};
use abi::page_flags as pg;
use abi::proc::counts::Item;
use abi::proc::zones;
use serde_json::json;
use x86::{Pde, Pte};

use super::{
    Answer,
    page::{MAPCOUNT_NONE, PROTNONE, USER_ENTRIES, table},
};
use crate::{Books, Result, Target};

/// In an entry that is present: it maps a frame without being counted there.
const SPECIAL: u32 = 1 << 9;
/// Frames of a huge page.
const HUGE_FRAMES: u32 = 1024;
/// Lines of a report; what follows is only counted.
const MAX_ERRORS: usize = 100;

/// What was counted, and what is wrong.
struct Verifier<'a> {
    target: &'a Target<'a>,
    books: Books<'a>,
    pages: Vec<PageRecord>,
    /// Entries that map each frame.
    mapped: Vec<u32>,
    /// Frames that are page tables, and directories.
    tables: BTreeSet<u32>,
    directories: BTreeSet<u32>,
    /// Swap entries by area and slot.
    slots: BTreeMap<(u32, u32), u32>,
    counts: Counts,
    errors: Vec<String>,
    nr_errors: usize,
}

/// Sums, for the reader.
#[derive(Default)]
struct Counts {
    free: u32,
    blocks: u32,
    in_cpu_lists: u32,
    /// Free objects in the slab arrays of the CPUs.
    in_cpu_arrays: u32,
    /// Frames that the kernel has in hand at this instruction: locked, being written, or with
    /// a user more than they have owners.
    in_hand: u32,
    spaces: u32,
    entries: u32,
}

/// The pages of an address space by kind, as its tables have them.
#[derive(Default, PartialEq, Eq, Debug)]
struct Resident {
    anon: u32,
    file: u32,
    shmem: u32,
    swap: u32,
    huge: u32,
    tables: u32,
}

/// Checks everything.
pub fn verify(target: &Target<'_>) -> Result<Answer> {
    let books = Books::of(target)?;
    let pages: Vec<PageRecord> = (0..books.root().max_pfn).map_while(|pfn| books.page(pfn)).collect();
    let mut verifier = Verifier {
        target,
        books,
        mapped: vec![0; pages.len()],
        pages,
        tables: BTreeSet::new(),
        directories: BTreeSet::new(),
        slots: Default::default(),
        counts: Counts::default(),
        errors: Vec::new(),
        nr_errors: 0,
    };
    verifier.spaces()?;
    let free = verifier.zones()?;
    verifier.frames(&free)?;
    verifier.slabs()?;
    verifier.swap()?;
    Ok(verifier.answer())
}

impl Verifier<'_> {
    fn error(&mut self, what: String) {
        self.nr_errors += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(what);
        }
    }

    fn expect(&mut self, what: &str, says: u32, there: u32) {
        if says != there {
            self.error(format!("{what}: the books say {says}, and there are {there}"));
        }
    }

    /// The address spaces of all threads, each once.
    fn spaces(&mut self) -> Result<()> {
        for task in self.books.tasks()? {
            let Some(mm) = self.books.mm(&task)? else { continue };
            if self.directories.insert(mm.pgd >> 12) {
                self.space(task.tgid, &mm)?;
            }
        }
        self.counts.spaces = self.directories.len() as u32;
        let there = self.tables.len() as u32;
        let counted = self.books.vmstat()?.counters[Item::nr_page_table_pages as usize];
        self.expect("nr_page_table_pages", counted, there);
        Ok(())
    }

    /// One address space: its areas, its tables, what these map.
    fn space(&mut self, pid: u32, mm: &MmRecord) -> Result<()> {
        let areas = self.books.vmas(mm)?;
        for pair in areas.windows(2).filter(|pair| pair[0].end > pair[1].start) {
            self.error(format!("process {pid}: areas {:08x} and {:08x} overlap", pair[0].start, pair[1].start));
        }
        let pages = areas.iter().map(|area| area.end.saturating_sub(area.start) >> 12).sum();
        self.expect(&format!("process {pid}: total_vm"), mm.total_vm, pages);
        self.expect(&format!("process {pid}: map_count"), mm.map_count, areas.len() as u32);
        let mut resident = Resident::default();
        for (n, pde) in (0..USER_ENTRIES).zip(table(self.target.mem, mm.pgd)) {
            if pde & (Pde::P | PROTNONE) == 0 {
                continue;
            }
            let base = n << 22;
            if pde & Pde::PS != 0 {
                resident.huge += HUGE_FRAMES;
                self.map(pid, base, pde >> 22 << 10);
                continue;
            }
            resident.tables += 4096;
            let frame = pde >> 12;
            if !self.tables.insert(frame) {
                self.error(format!("frame {frame:#x} is a page table twice"));
            }
            if self.pages.get(frame as usize).is_none_or(|page| page.flags & pg::TABLE == 0) {
                self.error(format!("frame {frame:#x} is a page table and not marked as one"));
            }
            for (i, pte) in (0u32..).zip(table(self.target.mem, frame << 12)).filter(|(_, pte)| *pte != 0) {
                let addr = base | i << 12;
                let at = areas.partition_point(|area| area.end <= addr);
                match areas.get(at).filter(|area| area.start <= addr) {
                    Some(area) if area.flags & vm::PFNMAP != 0 => {}
                    Some(_) => self.entry(pid, addr, pte, &mut resident),
                    None => self.error(format!("process {pid}: an entry at {addr:08x}, where no area is")),
                }
            }
        }
        let says = Resident {
            anon: mm.rss_anon,
            file: mm.rss_file,
            shmem: mm.rss_shmem,
            swap: mm.swapents,
            huge: mm.hugetlb_pages,
            tables: mm.pgtables_bytes,
        };
        if says != resident {
            self.error(format!("process {pid}: the books say {says:?}, the tables have {resident:?}"));
        }
        Ok(())
    }

    /// An entry of a page table that is not empty.
    fn entry(&mut self, pid: u32, addr: u32, pte: u32, resident: &mut Resident) {
        self.counts.entries += 1;
        if pte & (Pte::P | PROTNONE) == 0 {
            *self.slots.entry((pte >> 1 & 31, pte >> 9)).or_default() += 1;
            resident.swap += 1;
            return;
        }
        let Some(page) = self.pages.get((pte >> 12) as usize).filter(|_| pte & SPECIAL == 0) else { return };
        if page.flags & pg::RESERVED != 0 {
            return;
        }
        match () {
            () if page.mapping & PAGE_MAPPING_ANON != 0 => resident.anon += 1,
            () if page.flags & pg::SWAPBACKED != 0 => resident.shmem += 1,
            () => resident.file += 1,
        }
        self.map(pid, addr, pte >> 12);
    }

    /// An entry maps a frame.
    fn map(&mut self, pid: u32, addr: u32, pfn: u32) {
        let Some(page) = self.pages.get(pfn as usize) else {
            return self.error(format!("process {pid}: {addr:08x} is frame {pfn:#x}, which has no descriptor"));
        };
        if page.refcount == 0 || page.flags & (pg::BUDDY | pg::SLAB | pg::TABLE) != 0 {
            self.error(format!("process {pid}: {addr:08x} is {}", self.describe(pfn)));
        }
        self.mapped[pfn as usize] += 1;
    }

    fn describe(&self, pfn: u32) -> String {
        let page = &self.pages[pfn as usize];
        let flags = super::lossy(&abi::out::render(|out| pg::write(out, page.flags)));
        format!("frame {pfn:#x} ({} users, flags {flags})", page.refcount)
    }

    /// The free blocks of all zones by their first frames; returns which frames are in one.
    fn zones(&mut self) -> Result<Vec<bool>> {
        let mut free = vec![false; self.pages.len()];
        for zone in self.books.zones()? {
            let name = zones::name(&zone).to_owned();
            let (start, end) = (zone.start_pfn, zone.start_pfn.saturating_add(zone.spanned_pages));
            let mut there = ZoneRecord::default();
            for pfn in start..end.min(self.pages.len() as u32) {
                let page = self.pages[pfn as usize];
                if page.flags & pg::BUDDY == 0 {
                    continue;
                }
                let (order, list) = (page.private as usize, page.index as usize);
                let frames = 1u32 << order.min(NR_ORDERS);
                let fits = order < NR_ORDERS && list < there.free_lists.len() && pfn.is_multiple_of(frames);
                if !fits || pfn + frames > end || free[pfn as usize] {
                    self.error(format!("{} is no free block of zone {name}", self.describe(pfn)));
                    continue;
                }
                there.free_lists[list][order] += 1;
                there.nr_free[order] += 1;
                there.free_pages += frames;
                free[pfn as usize..(pfn + frames) as usize].fill(true);
                self.counts.blocks += 1;
            }
            if there.free_lists != zone.free_lists || there.nr_free != zone.nr_free {
                let (says, there) = (zone.free_lists, there.free_lists);
                self.error(format!("zone {name}: the lists have {says:?}, the frames say {there:?}"));
            }
            self.expect(&format!("zone {name}: free pages"), zone.free_pages, there.free_pages);
            self.counts.free += there.free_pages;
            self.counts.in_cpu_lists += zone.pcp_pages();
        }
        Ok(free)
    }

    /// Each frame against what was found of it.
    fn frames(&mut self, free: &[bool]) -> Result<()> {
        let (mut tails_until, mut unused) = (0, 0);
        for pfn in 0..self.pages.len() as u32 {
            let page = self.pages[pfn as usize];
            let is = |bits: u32| page.flags & bits != 0;
            if is(pg::RESERVED) {
                continue;
            }
            let mapped = self.mapped[pfn as usize];
            if free[pfn as usize] {
                if page.refcount != 0 || mapped != 0 {
                    self.error(format!("{} is free and mapped {mapped} times", self.describe(pfn)));
                }
                continue;
            }
            if is(pg::HEAD) && !is(pg::SLAB) {
                tails_until = pfn + (1 << page.private.min(NR_ORDERS as u32));
            }
            if page.refcount == 0 {
                // What is neither the rest of a block nor free is in a list of a CPU.
                unused += u32::from(!is(pg::SLAB) && pfn >= tails_until);
                continue;
            }
            let says = if page.mapcount == MAPCOUNT_NONE { 0 } else { page.mapcount.wrapping_add(1) };
            if says != mapped && !is(pg::SLAB) {
                self.error(format!("{} says {says} mappings and has {mapped}", self.describe(pfn)));
            }
            let in_cache = is(pg::SWAPCACHE) || page.mapping != 0 && page.mapping & PAGE_MAPPING_ANON == 0;
            let owners = mapped + u32::from(in_cache && !is(pg::SLAB));
            let of_kernel = owners == 0 || is(pg::HEAD);
            if is(pg::LOCKED | pg::WRITEBACK) || !of_kernel && page.refcount > owners {
                self.counts.in_hand += 1;
            } else if page.refcount < owners || page.refcount > 1 && owners == 0 && is(pg::LRU) {
                self.error(format!("{} has {owners} owners", self.describe(pfn)));
            }
            if is(pg::TABLE) && !self.tables.contains(&pfn) && !self.directories.contains(&pfn) {
                self.error(format!("{} is a page table of nobody", self.describe(pfn)));
            }
        }
        self.expect("pages in the lists of the CPUs", self.counts.in_cpu_lists, unused);
        Ok(())
    }

    /// The slabs of each cache by the frames that name it: as many as it says, and what is out of
    /// them has a user or lies in the array of a CPU.
    fn slabs(&mut self) -> Result<()> {
        let caches = self.books.caches_by_address()?;
        let mut there: BTreeMap<u32, (u32, u32)> = caches.keys().map(|&at| (at, (0, 0))).collect();
        for pfn in 0..self.pages.len() as u32 {
            let page = self.pages[pfn as usize];
            if page.flags & pg::SLAB == 0 {
                continue;
            }
            match (caches.get(&page.mapping), there.get_mut(&page.mapping)) {
                (Some((_, cache)), Some((slabs, out))) => {
                    if pfn.is_multiple_of(cache.pagesperslab.max(1)) {
                        *slabs += 1;
                        *out = out.saturating_add(page.private);
                    }
                }
                _ => self.error(format!("{} is a slab's of no cache", self.describe(pfn))),
            }
        }
        for (at, (name, cache)) in &caches {
            let (slabs, out) = there[at];
            let name = super::lossy(name);
            let cached = cache.avail.iter().fold(0, |sum: u32, &count| sum.saturating_add(count));
            self.counts.in_cpu_arrays = self.counts.in_cpu_arrays.saturating_add(cached);
            self.expect(&format!("cache {name}: slabs"), cache.num_slabs, slabs);
            let says = cache.active_objs.saturating_add(cached);
            self.expect(&format!("cache {name}: objects in use and in the CPUs' arrays"), says, out);
            if let Some(cpu) = cache.avail.iter().position(|&count| count > cache.limit) {
                self.error(format!("cache {name}: the array of CPU {cpu} has more than {} objects", cache.limit));
            }
        }
        Ok(())
    }

    /// The maps of the swap areas. Files of shared memory name slots, too, which is not seen here.
    fn swap(&mut self) -> Result<()> {
        for ((kind, slot), named) in std::mem::take(&mut self.slots) {
            let says = self.books.swap_count(kind, slot)?;
            if says < named {
                self.error(format!("slot {slot} of swap area {kind} has {says} users, and {named} entries name it"));
            }
        }
        Ok(())
    }

    fn answer(self) -> Answer {
        let Counts { free, blocks, in_cpu_lists, in_cpu_arrays, in_hand, spaces, entries } = self.counts;
        let (frames, tables) = (self.pages.len(), self.tables.len());
        let mut text = format!(
            "frames    {frames}: {free} free in {blocks} blocks, {in_cpu_lists} in lists of the CPUs, {in_hand} in hand\n\
             caches    {in_cpu_arrays} free objects in arrays of the CPUs\n\
             processes {spaces} address spaces, {tables} page tables, {entries} entries\n"
        );
        for error in &self.errors {
            text += &format!("error     {error}\n");
        }
        text += &match self.nr_errors {
            0 => "verified\n".to_owned(),
            n => format!("{n} errors\n"),
        };
        let json = json!({
            "frames": frames, "free": free, "free_blocks": blocks, "in_cpu_lists": in_cpu_lists,
            "in_cpu_arrays": in_cpu_arrays, "in_hand": in_hand,
            "address_spaces": spaces, "page_tables": tables, "entries": entries, "errors": self.errors,
            "error_count": self.nr_errors,
        });
        Answer::new(text, json)
    }
}
