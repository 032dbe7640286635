//! Physical memory, frame by frame: whose each is, and its descriptor where the kernel keeps one.

use std::collections::{BTreeMap, BTreeSet};

use abi::books::{NR_ORDERS, PAGE_MAPPING_ANON, PageRecord, pg};
use memory::{FrameKind, PhysMem};
use serde::{Deserialize, Serialize};
use x86::LinearAddr;

use super::column::{Column, Room};
use crate::{Books, Record};

/// A class of frames with one owner.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Owner {
    /// Which kind, which decides the colour: `free`, `cpulist`, `image`, `reserved`, `mem_map`, `directory`, `table`,
    /// `stack`, `slab`, `cache`, `anon`, `swapcache`, `huge`, `module`, `vmalloc`, `kernel`, `rom`, `hole`; of a kernel
    /// without books `directory`, `table`, `mapped`, `touched`, `untouched`, `rom`, `hole`.
    pub kind: String,
    /// Its name among those of its kind.
    pub name: String,
    /// Of anonymous memory, the process that alone maps it.
    pub pid: Option<u32>,
    /// Of free blocks, their order.
    pub order: Option<u32>,
}

/// The frames, packed. A descriptor's columns are empty where there are no descriptors.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Frames {
    /// How many frames there are, holes included.
    pub count: u32,
    /// The classes.
    pub owners: Vec<Owner>,
    /// For each frame the number of its class.
    pub owner: Column,
    /// `PageRecord::flags` of each.
    pub flags: Column,
    /// Users of each.
    pub refcount: Column,
    /// Page-table entries that map each, less one.
    pub mapcount: Column,
    /// What `mapping` says.
    pub mapping: Column,
    /// Offsets in the file or area, in pages.
    pub index: Column,
    /// What the owner keeps: the order of a free block, a swap entry.
    pub private: Column,
    /// For each pageblock of 4 MiB its migrate type.
    pub pageblock: Column,
}

/// What tells of frames besides their descriptors.
#[derive(Default)]
pub(super) struct Hints {
    /// Frames that are directories.
    pub directories: Vec<u32>,
    /// Frames that are page tables, as the tables of the spaces say.
    pub tables: Vec<u32>,
    /// For each frame that a process maps, the process; `Some(None)` for several.
    pub mappers: BTreeMap<u32, Option<u32>>,
    /// Frames that ring 3 may touch.
    pub user: BTreeSet<u32>,
    /// The commands of the processes.
    pub commands: BTreeMap<u32, String>,
    /// Frames of kernel stacks, of modules, of areas of vmalloc.
    pub known: BTreeMap<u32, Owner>,
    /// The reserved frames by the resource tree: first, last, name; deeper ones come later.
    pub resources: Vec<(u32, u32, String)>,
    /// The names of files by the addresses of their page caches.
    pub files: BTreeMap<u32, String>,
    /// The names of the slab caches by the addresses of their records.
    pub caches: BTreeMap<u32, String>,
}

/// Numbers the classes as they come up.
#[derive(Default)]
struct Owners {
    rows: Vec<Owner>,
    by_owner: BTreeMap<Owner, u32>,
}

impl Owners {
    fn number(&mut self, owner: Owner) -> u32 {
        if let Some(&number) = self.by_owner.get(&owner) {
            return number;
        }
        let number = self.rows.len() as u32;
        self.by_owner.insert(owner.clone(), number);
        self.rows.push(owner);
        number
    }

    fn of(&mut self, kind: &str, name: impl Into<String>) -> u32 {
        self.number(Owner { kind: kind.into(), name: name.into(), ..Owner::default() })
    }
}

/// All descriptors, up to the first that cannot be read.
pub(super) fn descriptors(books: &Books<'_>) -> Vec<PageRecord> {
    const AT_ONCE: u32 = 1024;
    let (root, mut pages) = (books.root(), Vec::new());
    let count = if root.mem_map.is_null() { 0 } else { root.max_pfn.min(1 << 20) };
    let mut bytes = vec![0; AT_ONCE as usize * PageRecord::SIZE];
    while (pages.len() as u32) < count {
        let first = pages.len() as u32;
        let wanted = AT_ONCE.min(count - first) as usize * PageRecord::SIZE;
        let at = root.mem_map.0.wrapping_add(first * PageRecord::SIZE as u32);
        let read = books.reader().read(LinearAddr(at), &mut bytes[..wanted]);
        pages.extend(bytes[..read].chunks_exact(PageRecord::SIZE).filter_map(PageRecord::decode));
        if read < wanted {
            break;
        }
    }
    pages
}

/// The frames of a kernel that keeps descriptors.
pub(super) fn with_books(
    mem: &PhysMem,
    books: &Books<'_>,
    pages: &[PageRecord],
    hints: &Hints,
    room: &mut Room,
) -> Frames {
    let mut owners = Owners::default();
    let numbers = classes(mem, books, pages, hints, &mut owners);
    let mut column = |what: &str, field: fn(&PageRecord) -> u32| {
        let values: Vec<u32> = pages.iter().map(field).collect();
        room.column(|| format!("{what} of all frames"), &values)
    };
    let (flags, refcount, mapcount) =
        (column("flags", |p| p.flags), column("users", |p| p.refcount), column("mappings", |p| p.mapcount));
    let (mapping, index, private) =
        (column("owners", |p| p.mapping), column("offsets", |p| p.index), column("private words", |p| p.private));
    let blocks = (0..pages.len() as u32).step_by(1 << (NR_ORDERS - 1));
    let blocks: Vec<u32> = blocks.map_while(|pfn| books.pageblock(pfn)).map(u32::from).collect();
    Frames {
        count: pages.len() as u32,
        owner: room.column(|| "the owners of frames".into(), &numbers),
        owners: owners.rows,
        flags,
        refcount,
        mapcount,
        mapping,
        index,
        private,
        pageblock: room.column(|| "the pageblocks' types".into(), &blocks),
    }
}

/// The number of the class of each frame.
fn classes(mem: &PhysMem, books: &Books<'_>, pages: &[PageRecord], hints: &Hints, owners: &mut Owners) -> Vec<u32> {
    let mut numbers = Vec::with_capacity(pages.len());
    let mem_map = mem_map_frames(books, pages.len());
    // The block that a frame is in: its end, and the class of all of it.
    let (mut block_end, mut block) = (0, 0);
    for (pfn, page) in (0u32..).zip(pages) {
        if pfn < block_end {
            numbers.push(block);
            continue;
        }
        let order = page.private;
        let fits = order < NR_ORDERS as u32 && pfn.is_multiple_of(1 << order.min(31));
        let number = match mem.kind(pfn) {
            FrameKind::Bus => owners.of("hole", "no memory"),
            FrameKind::Rom => owners.of("rom", "ROM"),
            FrameKind::Ram if page.flags & pg::BUDDY != 0 && fits => {
                let name = format!("free, order {order}");
                (block_end, block) = (
                    pfn + (1 << order),
                    owners.number(Owner { kind: "free".into(), name, pid: None, order: Some(order) }),
                );
                block
            }
            FrameKind::Ram => {
                let number = of_page(books, pfn, page, mem_map.contains(&pfn), hints, owners);
                // The rest of a block in use has no users of its own.
                if page.flags & (pg::HEAD | pg::SLAB | pg::BUDDY) == pg::HEAD && fits {
                    (block_end, block) = (pfn + (1 << order), number);
                }
                number
            }
        };
        numbers.push(number);
    }
    numbers
}

/// The frames that hold the descriptors themselves.
fn mem_map_frames(books: &Books<'_>, count: usize) -> std::ops::Range<u32> {
    let first = books.reader().translate(LinearAddr(books.root().mem_map.0)).map_or(0, |phys| phys.frame());
    if first == 0 { 0..0 } else { first..first + (count * PageRecord::SIZE).div_ceil(4096) as u32 }
}

/// Whose a frame is that is in no free block.
fn of_page(
    books: &Books<'_>,
    pfn: u32,
    page: &PageRecord,
    is_mem_map: bool,
    hints: &Hints,
    owners: &mut Owners,
) -> u32 {
    let is = |bits: u32| page.flags & bits != 0;
    if is_mem_map {
        return owners.of("mem_map", "frame descriptors (mem_map)");
    }
    if is(pg::RESERVED) {
        let holds = |(first, last, _): &&(u32, u32, String)| (*first..=*last).contains(&pfn);
        let name = hints.resources.iter().rev().find(holds).map_or("", |(_, _, name)| name);
        return match name {
            "" | "System RAM" => owners.of("reserved", "reserved at boot"),
            name if name.starts_with("Kernel") => owners.of("image", name),
            name => owners.of("reserved", name),
        };
    }
    if is(pg::SLAB) {
        let unknown = || format!("cache at {:#010x}", page.mapping);
        return owners.of("slab", hints.caches.get(&page.mapping).cloned().unwrap_or_else(unknown));
    }
    if is(pg::HUGETLB) {
        return owners.of("huge", if page.mapping == 0 { "pool of huge pages" } else { "huge pages in use" });
    }
    if hints.directories.binary_search(&pfn).is_ok() {
        return owners.of("directory", "page directories");
    }
    if is(pg::TABLE) {
        return owners.of("table", "page tables");
    }
    if let Some(owner) = hints.known.get(&pfn) {
        return owners.number(owner.clone());
    }
    if page.refcount == 0 {
        return owners.of("cpulist", "free, in a CPU's list");
    }
    let mapper = hints.mappers.get(&pfn);
    if page.mapping & PAGE_MAPPING_ANON != 0 || is(pg::SWAPCACHE) {
        return match mapper {
            Some(Some(pid)) => {
                let name = format!("{} ({pid})", hints.commands.get(pid).map_or("?", String::as_str));
                owners.number(Owner { kind: "anon".into(), name, pid: Some(*pid), order: None })
            }
            Some(None) => owners.of("anon", "shared by several processes"),
            None if is(pg::SWAPCACHE) => owners.of("swapcache", "swap cache, mapped by nobody"),
            None => owners.of("anon", "mapped by nobody"),
        };
    }
    if page.mapping != 0 {
        let name = hints.files.get(&page.mapping).map_or("files that nobody maps", String::as_str);
        return owners.of("cache", name);
    }
    if let Some(Some(pid)) = mapper.filter(|_| !books.root().tasks.is_null()) {
        let name = format!("{} ({pid})", hints.commands.get(pid).map_or("?", String::as_str));
        return owners.number(Owner { kind: "anon".into(), name, pid: Some(*pid), order: None });
    }
    owners.of("kernel", "the kernel")
}

/// The frames of any other kernel: what is memory, what was written, what its tables lead to.
pub(super) fn without_books(mem: &PhysMem, hints: &Hints, room: &mut Room) -> Frames {
    let count = (0..1 << 20).rev().find(|&pfn| mem.kind(pfn) == FrameKind::Ram).map_or(0, |last: u32| last + 1);
    let mut owners = Owners::default();
    let numbers: Vec<u32> = (0..count)
        .map(|pfn| match mem.kind(pfn) {
            FrameKind::Bus => owners.of("hole", "no memory"),
            FrameKind::Rom => owners.of("rom", "ROM"),
            _ if hints.directories.binary_search(&pfn).is_ok() => owners.of("directory", "page directories"),
            _ if hints.tables.binary_search(&pfn).is_ok() => owners.of("table", "page tables"),
            _ if hints.user.contains(&pfn) => owners.of("mapped", "mapped for ring 3"),
            _ if mem.is_touched(pfn) => owners.of("touched", "written, not for ring 3 now"),
            _ => owners.of("untouched", "never written"),
        })
        .collect();
    Frames {
        count,
        owner: room.column(|| "the owners of frames".into(), &numbers),
        owners: owners.rows,
        ..Frames::default()
    }
}
