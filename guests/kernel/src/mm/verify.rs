//! `/proc/sys/vm/verify`: every frame has exactly one state, as many users as there are
//! owners, as many mappings as there are page-table entries; free lists and counts agree.
//!
//! The kernel is not preempted while it looks, so nothing changes but what an interrupt
//! handler would; a task that sleeps with a page of its own in hand holds its lock, or the
//! page is being written, or reclaim has taken it off its list together with others, which it
//! counts (`nr_isolated_*`).
#![allow(unsafe_code)]

use core::{fmt::Arguments, sync::atomic::Ordering::Relaxed};

use abi::{
    errno::{ENOMEM, EUCLEAN, Result},
    out::Text,
    page_flags,
};
use mm::{
    buddy::{Frames, MAX_ORDER, MigrateType, NONE},
    list::Links,
};
use x86::{Pde, Pte};

use super::{
    PAGE_SHIFT, Page, hugetlb,
    page::{MemMap, max_pfn, mem_map, pfn_to_page_checked, pg},
    page_alloc::MAX_NR_ZONES,
    pgd_list,
    pgtable::PteExt,
    slab,
    vmalloc::{self, vfree, vzalloc},
    vmstat::{self, Item},
    zone::{self, Zones},
};
use crate::{
    arch::{PAGE_OFFSET, paging},
    pr_info,
};

/// Lines of a report; what follows is only counted.
const MAX_LINES: u32 = 16;
/// First directory entry of the kernel's half.
const KERNEL_PDE: usize = paging::KERNEL_PDE;

/// What was found of a frame.
#[derive(Clone, Copy)]
#[repr(C)]
struct Found {
    /// Owners that hold a user each.
    owners: u16,
    /// Page-table entries; `FREE` for a frame of a free block, `TAIL` for what follows the
    /// first frame of a block.
    state: u16,
}

/// Largest number of page-table entries that is told from the states below.
const FREE: u16 = 0xffff;
const TAIL: u16 = 0xfffe;

/// The work.
struct Verifier<'a> {
    found: &'a mut [Found],
    errors: u32,
}

/// Walks everything. EUCLEAN, with a report in the log, if anything is not as it should be;
/// ENOMEM without memory for the walk.
pub fn verify() -> Result<()> {
    let bytes = max_pfn() * size_of::<Found>() as u32;
    let at = vzalloc(bytes);
    if at.is_null() {
        return Err(ENOMEM);
    }
    // SAFETY: fresh zeroed memory of as many records, for which all-zero bytes are valid.
    let found = unsafe { core::slice::from_raw_parts_mut(at.cast::<Found>(), max_pfn() as usize) };
    let mut verifier = Verifier { found, errors: 0 };
    verifier.page_tables();
    verifier.slabs();
    vmalloc::for_each_page(|page| verifier.own(page.pfn()));
    verifier.free_lists(&zone::lock());
    verifier.frames();
    let errors = verifier.errors;
    // SAFETY: the walk is over.
    unsafe { vfree(at) };
    if errors == 0 {
        return Ok(());
    }
    pr_info!("verify: {errors} errors");
    Err(EUCLEAN)
}

impl Verifier<'_> {
    #[cold]
    fn error(&mut self, what: Arguments) {
        self.errors += 1;
        if self.errors <= MAX_LINES {
            pr_info!("verify: {what}");
        }
    }

    /// One owner more of a frame.
    fn own(&mut self, pfn: u32) {
        if let Some(found) = self.found.get_mut(pfn as usize) {
            found.owners = found.owners.saturating_add(1);
        }
    }

    /// All page directories, their tables, and what these map.
    fn page_tables(&mut self) {
        let kernel = paging::swapper_entries();
        let mut tables = 0;
        pgd_list::for_each(|page| {
            self.own(page.pfn());
            let directory = entries::<Pde>(page.phys());
            if directory[KERNEL_PDE..].iter().zip(kernel).any(|(ours, theirs)| (ours.0 ^ theirs.0) & !Pde::A != 0) {
                self.error(format_args!("directory {:#010x} differs from the kernel's half", page.phys()));
            }
            for (n, pde) in directory[..KERNEL_PDE].iter().enumerate().filter(|(_, pde)| pde.present() || pde.large()) {
                if pde.large() {
                    self.map(pde.large_frame().frame(), n << 22);
                    continue;
                }
                let table = pde.table().0 as u32;
                self.own(table >> PAGE_SHIFT);
                tables += 1;
                if !pfn_to_page_checked(table >> PAGE_SHIFT).is_some_and(|page| page.is(pg::TABLE)) {
                    self.error(format_args!("frame {:#x} is a page table and not marked as one", table >> PAGE_SHIFT));
                    continue;
                }
                for (i, pte) in entries::<Pte>(table).iter().enumerate() {
                    if !pte.maps_page() || pte.is_special() {
                        continue;
                    }
                    self.map(pte.frame().frame(), n << 22 | i << PAGE_SHIFT);
                }
            }
        });
        self.count("nr_page_table_pages", vmstat::read(Item::nr_page_table_pages), tables);
    }

    /// An entry maps a frame.
    fn map(&mut self, pfn: u32, addr: usize) {
        let Some(page) = pfn_to_page_checked(pfn) else { return };
        if page.is(pg::RESERVED) {
            return;
        }
        if page.is(pg::BUDDY) || page.count() == 0 {
            self.error(format_args!("frame {pfn:#x} is mapped at {addr:#010x} and free"));
        }
        self.own(pfn);
        self.found[pfn as usize].state += 1;
    }

    fn count(&mut self, name: &str, counted: u32, there: u32) {
        if counted != there {
            self.error(format_args!("{name} is {counted}, but there are {there}"));
        }
    }

    /// The frames of slabs name their caches, and there are as many as these say. What is out of
    /// the slabs is in use, or in the array of a CPU.
    fn slabs(&mut self) {
        let (mut frames, mut out) = (0, 0);
        let mut wrong = 0;
        for page in mem_map().iter().filter(|page| page.is(pg::SLAB)) {
            frames += 1;
            match slab::slab_order(page) {
                // The first frame of the block has its user.
                Some(order) if page.pfn().is_multiple_of(1 << order) => {
                    self.own(page.pfn());
                    out += page.private.load(Relaxed);
                }
                Some(_) => self.found[page.pfn() as usize].state = TAIL,
                None => wrong = page.pfn(),
            }
        }
        if wrong != 0 {
            self.error(format_args!("frame {wrong:#x} is a slab's of no cache"));
        }
        self.count("pages of the slab caches", slab::slab_pages(), frames);
        let mut objects = 0;
        slab::for_each_cache(|record, _| objects += record.active_objs + record.avail.iter().sum::<u32>());
        self.count("objects of the slab caches with users and in the CPUs' arrays", objects, out);
        if let Some(object) = slab::stray_object() {
            self.error(format_args!("{object:#010x} lies in a CPU's array, and is no object of that cache"));
        }
    }

    fn free_lists(&mut self, zones: &Zones) {
        for zone in 0..MAX_NR_ZONES {
            let (frames, area, record) = (MemMap::get(), &zones.areas[zone], &zones.records[zone]);
            let mut free = 0;
            for list in MigrateType::ALL {
                for order in 0..=MAX_ORDER {
                    let (mut at, mut prev, mut blocks) = (area.head(order, list), NONE, 0);
                    while at != NONE && blocks <= record.managed_pages {
                        if !frames.free_block(at).is_some_and(|block| block.order == order && block.list == list) {
                            self.error(format_args!(
                                "frame {at:#x} is on a list of order {order} and is no such block"
                            ));
                            break;
                        }
                        if frames.links(at)[0] != prev {
                            self.error(format_args!("the links of frame {at:#x} are broken"));
                        }
                        self.free_block(area.span(), at, order);
                        (prev, at) = (at, frames.links(at)[1]);
                        blocks += 1;
                    }
                    free += blocks << order;
                    let counted = record.free_lists[list as usize][order as usize];
                    self.count("a zone's count of free blocks", counted, blocks);
                }
            }
            self.count("a zone's free pages", record.free_pages, free);
            for order in 0..=MAX_ORDER as usize {
                let sum = record.free_lists.iter().map(|list| list[order]).sum();
                self.count("a zone's count of free blocks of all types", record.nr_free[order], sum);
            }
            for (pcp, &counted) in zones.pcps[zone].iter().zip(&record.pcp_count) {
                let mut own = 0;
                pcp.for_each(&frames, |pfn, order| {
                    own += 1 << order;
                    self.free_block(area.span(), pfn, order);
                });
                self.count("the pages in a CPU's lists", counted, own);
            }
            self.pageblocks(zones, zone);
        }
    }

    fn pageblocks(&mut self, zones: &Zones, zone: usize) {
        let frames = MemMap::get();
        for kind in MigrateType::ALL {
            let blocks = zones.areas[zone].pageblocks();
            let there = blocks.filter(|&pfn| frames.pageblock(pfn) == kind).count() as u32;
            self.count("a zone's count of pageblocks", zones.records[zone].blocks[kind as usize], there);
        }
    }

    /// A free block: its frames have no other place.
    fn free_block(&mut self, (start, end): (u32, u32), pfn: u32, order: u8) {
        if pfn < start || pfn + (1 << order) > end || !pfn.is_multiple_of(1 << order) {
            self.error(format_args!("free block {pfn:#x} of order {order} is no block of its zone"));
            return;
        }
        for pfn in pfn..pfn + (1 << order) {
            if core::mem::replace(&mut self.found[pfn as usize].state, FREE) == FREE {
                self.error(format_args!("frame {pfn:#x} is in two free blocks"));
            }
        }
    }

    /// Each frame against what was found of it.
    fn frames(&mut self) {
        let (mut tails_until, mut huge) = (0, 0);
        let mut isolated = vmstat::read(Item::nr_isolated_anon) + vmstat::read(Item::nr_isolated_file);
        for (pfn, page) in (0u32..).zip(mem_map()) {
            if page.is(pg::RESERVED) {
                continue;
            }
            let Found { mut owners, state } = self.found[pfn as usize];
            let (users, name) = (page.count(), Describe(page));
            if state == FREE {
                if users != 0 || owners != 0 {
                    self.error(format_args!("{name} is free, and has {users} users and {owners} owners"));
                }
                continue;
            }
            if page.is(pg::BUDDY) {
                self.error(format_args!("{name} is marked free and in no list"));
                continue;
            }
            owners += u16::from(in_cache(page));
            if page.is(pg::HEAD) && !page.is(pg::SLAB) {
                tails_until = pfn + (1 << page.private.load(Relaxed));
                // Somebody in the kernel has it, or the pool.
                owners += u16::from(owners == 0);
                huge += u32::from(page.is(pg::HUGETLB));
            } else if page.is(pg::HUGETLB) && pfn >= tails_until {
                self.error(format_args!("{name} is no part of a huge page"));
            }
            if users == 0 {
                if state != TAIL && pfn >= tails_until {
                    self.error(format_args!("{name} has no user and is in no free list"));
                }
                continue;
            }
            if owners == 0 {
                self.error(format_args!("{name} has {users} users and no owner"));
            } else if users == u32::from(owners) + 1 && !page.is(pg::LRU) && isolated > 0 {
                isolated -= 1;
            } else if users != u32::from(owners) && page.flags.load(Relaxed) & (pg::LOCKED | pg::WRITEBACK) == 0 {
                self.error(format_args!("{name} has {users} users and {owners} owners"));
            }
            if page.mapcount() != u32::from(state) && !page.is(pg::SLAB) {
                self.error(format_args!("{name} says {} mappings and has {state}", page.mapcount()));
            }
        }
        let (total, free, reserved) = hugetlb::counts();
        self.count("the number of huge pages", total, huge);
        self.count("the number of free huge pages", vmstat::read(Item::hugetlb_free), free);
        if reserved > free {
            self.error(format_args!("{reserved} huge pages are promised, and {free} are free"));
        }
    }
}

/// Whether a file's cache or that of swap holds the frame.
fn in_cache(page: &Page) -> bool {
    let mapping = page.mapping.load(Relaxed);
    let of_file = mapping != 0 && mapping & 1 == 0 && !page.is(pg::SLAB);
    of_file || page.is(pg::SWAPCACHE)
}

/// The entries of a directory or table.
fn entries<T>(phys: u32) -> &'static [T; 1024] {
    // SAFETY: tables lie in the direct map, and stay while the kernel is not preempted; the
    // CPU changes A and D bits only of what it uses, and we are in the kernel.
    unsafe { &*((PAGE_OFFSET + phys) as *const [T; 1024]) }
}

/// A frame in a report.
struct Describe<'a>(&'a Page);

impl core::fmt::Display for Describe<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Describe(page) = self;
        let zone = ["DMA", "Normal", "HighMem"].get(page.zone()).copied().unwrap_or("?");
        let mut flags = Text::with_capacity(96);
        page_flags::write(&mut flags, page.flags.load(Relaxed));
        let flags = flags.finish().unwrap_or_default();
        write!(f, "frame {:#x} (zone {zone}, flags {})", page.pfn(), core::str::from_utf8(&flags).unwrap_or("?"))
    }
}
