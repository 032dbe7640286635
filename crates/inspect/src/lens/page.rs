//! A frame: what the kernel's descriptor says of it, and which tables map it.

use abi::books::{NR_ORDERS, PAGE_MAPPING_ANON, PageRecord, TaskRecord, ZoneRecord};
use abi::out::render;
use abi::page_flags as pg;
use abi::proc::zones::{self, MIGRATE_TYPES};
use memory::PhysMem;
use serde_json::{Value, json};
use x86::{Pde, PhysAddr, Pte};

use super::{Answer, lossy};
use crate::{Books, Error, Result, Target, books::comm};

/// In an entry with P clear: the page is there, but nobody may touch it (`PROT_NONE`).
pub(super) const PROTNONE: u32 = Pte::G;
/// `mapcount` of a frame that no table maps.
pub(super) const MAPCOUNT_NONE: u32 = !0;
/// The user's half of a directory.
pub(super) const USER_ENTRIES: u32 = 768;

/// A page-table entry that maps a frame.
struct Mapper {
    pid: u32,
    comm: String,
    addr: u32,
    entry: u32,
}

/// The frame `pfn`.
pub fn page(target: &Target<'_>, pfn: u32) -> Result<Answer> {
    let books = match Books::of(target) {
        Ok(books) => books,
        Err(Error::NoBooks(_)) => return super::frame::frame(target, pfn),
        Err(error) => return Err(error),
    };
    let Some(page) = books.page(pfn) else {
        return Err(Error::Usage(format!(
            "page: frame {pfn:#x} has no descriptor: there are {:#x}",
            books.root().max_pfn
        )));
    };
    let mut text = String::new();
    let mut line = |name: &str, what: String| text += &format!("{name:<9} {what}\n");
    let zone = books.zones()?.into_iter().nth((page.flags >> pg::ZONE_SHIFT) as usize);
    let zone = zone.as_ref().map_or("?", |zone: &ZoneRecord| zones::name(zone)).to_owned();
    line("frame", format!("{pfn:#x}  physical {:#010x}  zone {zone}", u64::from(pfn) << 12));
    let flags = lossy(&render(|out| pg::write(out, page.flags)));
    line("flags", format!("{:#010x}  {flags}", page.flags));
    let block = Block::of(&books, pfn, &page);
    line("block", block.words());
    let kind = books.pageblock(pfn).and_then(|kind| MIGRATE_TYPES.get(usize::from(kind))).copied();
    line("pageblock", format!("{:#x}  {}", pfn >> (NR_ORDERS - 1), kind.unwrap_or("?")));
    // The first frame of a huge page counts for all.
    let head = if page.flags & pg::HUGETLB != 0 { books.page(block.first).unwrap_or(page) } else { page };
    let free = page.flags & pg::BUDDY != 0;
    let mapcount = if free || head.mapcount == MAPCOUNT_NONE { 0 } else { head.mapcount.wrapping_add(1) };
    line("users", format!("{}  of them page-table entries {mapcount}", head.refcount));
    let owner = owner(&books, &head);
    line("owner", owner.clone());
    let mappers = mappers(target, &books, pfn)?;
    for mapper in &mappers {
        let Mapper { pid, comm, addr, entry } = mapper;
        line("mapped", format!("process {pid} ({comm}) at {addr:#010x}  {entry:#010x} {}", rights(*entry)));
    }
    let mapped = mappers
        .iter()
        .map(|Mapper { pid, comm, addr, entry }| json!({"pid": pid, "comm": comm, "linear": addr, "entry": entry}));
    let json = json!({
        "pfn": pfn, "physical": u64::from(pfn) << 12, "zone": zone, "flags": page.flags,
        "flag_names": flags.split('|').filter(|name| !name.is_empty()).collect::<Vec<_>>(),
        "block": block.json(), "pageblock": kind, "refcount": head.refcount, "mapcount": mapcount,
        "mapping": head.mapping, "index": head.index, "private": head.private, "owner": owner,
        "mapped": mapped.collect::<Vec<_>>(),
    });
    Ok(Answer::new(text, json))
}

/// The block that a frame is in.
struct Block {
    first: u32,
    order: u32,
    /// The list, if it is free.
    free: Option<&'static str>,
}

impl Block {
    /// A block's first frame knows of it: a free block's by its flag, a block in use only if
    /// it is a compound page.
    fn of(books: &Books<'_>, pfn: u32, page: &PageRecord) -> Block {
        for order in 0..NR_ORDERS as u32 {
            let first = pfn & !((1 << order) - 1);
            let head = if first == pfn { Some(*page) } else { books.page(first) };
            let Some(head) = head.filter(|head| head.private >= order && head.private < NR_ORDERS as u32) else {
                continue;
            };
            if head.flags & pg::BUDDY != 0 {
                let list = MIGRATE_TYPES.get(head.index as usize).copied().unwrap_or("?");
                return Block { first, order: head.private, free: Some(list) };
            }
            if head.flags & (pg::HEAD | pg::SLAB) == pg::HEAD {
                return Block { first, order: head.private, free: None };
            }
        }
        Block { first: pfn, order: 0, free: None }
    }

    fn words(&self) -> String {
        let Block { first, order, free } = self;
        let last = first + (1u32 << order) - 1;
        let state = free.map_or("in use".into(), |list| format!("free, on the list of type {list}"));
        format!("order {order}, frames {first:#x} to {last:#x}, {state}")
    }

    fn json(&self) -> Value {
        json!({"first": self.first, "order": self.order, "free": self.free.is_some(), "list": self.free})
    }
}

/// Whose the frame is, by its flags and what its `mapping` means then.
fn owner(books: &Books<'_>, page: &PageRecord) -> String {
    let is = |bit: u32| page.flags & bit != 0;
    if is(pg::BUDDY) || (page.refcount == 0 && !is(pg::RESERVED | pg::SLAB)) {
        "none: free, or the rest of a block".into()
    } else if is(pg::SLAB) {
        let cache = books.cache_name_at(page.mapping);
        format!("slab cache {}", cache.map_or("?".into(), |name| lossy(&name)))
    } else if is(pg::HUGETLB) && page.mapping == 0 {
        "the pool of huge pages".into()
    } else if is(pg::HUGETLB) && page.mapping & PAGE_MAPPING_ANON == 0 {
        format!("huge page of the mapping at {:#010x}, page {:#x}", page.mapping, page.index)
    } else if is(pg::TABLE) {
        "page tables".into()
    } else if is(pg::RESERVED) {
        "the kernel itself, or firmware".into()
    } else if page.mapping & PAGE_MAPPING_ANON != 0 {
        let swap = if is(pg::SWAPCACHE) { format!(", swap entry {:#x}", page.private) } else { String::new() };
        format!("anonymous memory, page {:#x}{swap}", page.index)
    } else if page.mapping != 0 {
        format!("page cache of the file at {:#010x}, page {:#x}", page.mapping, page.index)
    } else {
        "the kernel".into()
    }
}

/// The entries of all processes that map a frame.
fn mappers(target: &Target<'_>, books: &Books<'_>, pfn: u32) -> Result<Vec<Mapper>> {
    let mut mappers = Vec::new();
    for task in books.processes()? {
        if let Some(mm) = books.mm(&task)? {
            entries_of(target.mem, &task, mm.pgd, pfn, &mut mappers);
        }
    }
    Ok(mappers)
}

fn entries_of(mem: &PhysMem, task: &TaskRecord, pgd: u32, pfn: u32, mappers: &mut Vec<Mapper>) {
    let mut found = |addr: u32, entry: u32| mappers.push(Mapper { pid: task.pid, comm: comm(task), addr, entry });
    for (n, pde) in (0..USER_ENTRIES).zip(table(mem, pgd)) {
        if pde & (Pde::P | PROTNONE) == 0 {
            continue;
        }
        if pde & Pde::PS != 0 {
            if pde >> 22 == pfn >> 10 {
                found(n << 22 | (pfn & 0x3ff) << 12, pde);
            }
            continue;
        }
        for (i, pte) in (0u32..).zip(table(mem, pde & !0xfff)) {
            if pte & (Pte::P | PROTNONE) != 0 && pte >> 12 == pfn {
                found(n << 22 | i << 12, pte);
            }
        }
    }
}

/// The entries of a table; all ones where there is no memory.
pub(super) fn table(mem: &PhysMem, phys: u32) -> Vec<u32> {
    let mut bytes = vec![0; 4096];
    mem.read(PhysAddr(phys.into()), &mut bytes);
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

/// What an entry allows, and what the CPU has noted in it.
fn rights(entry: u32) -> String {
    if entry & Pte::P == 0 {
        return "PROT_NONE".into();
    }
    let write = if entry & Pte::RW != 0 { "R/W=1" } else { "R/W=0" };
    let noted = [(Pte::A, " A"), (Pte::D, " D")].into_iter().filter(|(bit, _)| entry & bit != 0);
    noted.fold(write.to_owned(), |text, (_, name)| text + name)
}
