//! Whose a frame is, for many frames: by its descriptor and by the tables that map it.

use std::collections::{BTreeMap, HashMap};

use abi::books::{KmemCacheRecord, PAGE_MAPPING_ANON, TaskRecord};
use abi::page_flags as pg;
use x86::{Pde, Pte};

use crate::lens::{PROTNONE, USER_ENTRIES, lossy, table};
use crate::{Books, Target, comm};

/// What is needed to name the owner of any frame.
pub(super) struct Owners<'a> {
    books: &'a Books<'a>,
    caches: BTreeMap<u32, (Vec<u8>, KmemCacheRecord)>,
    /// Who maps a frame: one process, or the first of several and how many more.
    mappers: HashMap<u32, (String, u32)>,
}

impl<'a> Owners<'a> {
    /// Reads all tables once.
    pub(super) fn of(target: &Target<'_>, books: &'a Books<'a>) -> Owners<'a> {
        let mut owners =
            Owners { books, caches: books.caches_by_address().unwrap_or_default(), mappers: HashMap::new() };
        for task in books.processes().unwrap_or_default() {
            if let Ok(Some(mm)) = books.mm(&task) {
                owners.add(target, &task, mm.pgd);
            }
        }
        owners
    }

    fn add(&mut self, target: &Target<'_>, task: &TaskRecord, pgd: u32) {
        let name = format!("process {} ({})", task.pid, comm(task));
        let mut found = |pfn: u32| {
            let mapper = self.mappers.entry(pfn).or_insert_with(|| (name.clone(), 0));
            mapper.1 += u32::from(mapper.0 != name);
        };
        for pde in table(target.mem, pgd & !0xfff).into_iter().take(USER_ENTRIES as usize) {
            if pde & (Pde::P | PROTNONE) == 0 {
                continue;
            }
            if pde & Pde::PS != 0 {
                (0..1024).for_each(|n| found((pde >> 22 << 10) + n));
                continue;
            }
            let mapped = |pte: &u32| pte & (Pte::P | PROTNONE) != 0;
            table(target.mem, pde & !0xfff).into_iter().filter(mapped).for_each(|pte| found(pte >> 12));
        }
    }

    /// The owner of a frame in words.
    pub(super) fn of_frame(&self, pfn: u32) -> String {
        let Some(page) = self.books.page(pfn) else { return "no descriptor: firmware or a device".into() };
        let is = |bit: u32| page.flags & bit != 0;
        if is(pg::BUDDY) || (page.refcount == 0 && !is(pg::RESERVED | pg::SLAB)) {
            return "nobody: free".into();
        }
        if is(pg::SLAB) {
            let cache = self.caches.get(&page.mapping).map_or("?".into(), |(name, _)| lossy(name));
            return format!("slab cache {cache}");
        }
        if is(pg::TABLE) {
            return "page tables".into();
        }
        if is(pg::RESERVED) {
            return "the kernel itself, or firmware".into();
        }
        let kind = match page.mapping {
            0 if is(pg::HUGETLB) => "the pool of huge pages",
            0 => "the kernel",
            mapping if mapping & PAGE_MAPPING_ANON != 0 => "anonymous memory",
            _ => "page cache",
        };
        match self.mappers.get(&pfn) {
            Some((first, 0)) => format!("{kind} of {first}"),
            Some((first, more)) => format!("{kind} of {first} and {more} more"),
            None => kind.into(),
        }
    }
}
