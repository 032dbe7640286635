//! The guest kernel's books, read from its memory with bounds on every loop.
//!
//! What is wrong in them is noted in the look's [`Damage`], and the rest is shown: a list ends
//! where it can't be followed, a name that can't be read is `?`.

mod check;
mod task;

pub use task::TaskMore;

use std::collections::{BTreeMap, HashSet};

use abi::books::{
    CpuRecord, CpuStateRecord, DentryRecord, FileRecord, InodeRecord, IrqRecord, KernelBooks, KmemCacheRecord,
    MmRecord, ModuleRecord, ModuleSymbolRecord, NR_CPUS, NR_IRQS, NR_SWAPFILES, PageRecord, ResourceRecord, SwapRecord,
    TaskRecord, VERSION, VmStatRecord, VmStructRecord, VmaRecord, ZoneRecord,
};
use abi::{Ptr32, layout::DIRECT_MAP_BYTES};
use x86::LinearAddr;

use crate::record::{Record, SwapMapWord};
use crate::{Damage, DirectMap, Error, Reader, Result, Symbol, Target};

/// Threads that a list may hold before we call it a cycle.
const MAX_TASKS: usize = 1 << 16;
/// Areas of one address space; Linux's own limit is 65530.
const MAX_VMAS: usize = 1 << 17;
/// Caches.
const MAX_CACHES: usize = 1 << 12;
/// Areas of `vmalloc`: one page and a guard each, at least.
const MAX_VMAP_AREAS: usize = 1 << 16;
/// Modules.
const MAX_MODULES: usize = 1 << 10;
/// Symbols of one module.
const MAX_MODULE_SYMBOLS: u32 = 1 << 16;
/// Resources of one tree.
const MAX_RESOURCES: usize = 1 << 14;
/// Levels of a resource tree.
const MAX_RESOURCE_DEPTH: usize = 64;
/// Components of a path.
const MAX_PATH_DEPTH: usize = 256;
/// Bytes of one name.
const MAX_NAME: u32 = 4096;
/// Zones.
const MAX_ZONES: u32 = 16;
/// Pages of 4 GiB, less one.
const MAX_PAGES: u32 = 0xf_ffff;

/// The books of a kernel that keeps some.
#[derive(Clone)]
pub struct Books<'a> {
    reader: Reader<'a>,
    /// Where the root record is.
    at: Ptr32<KernelBooks>,
    root: KernelBooks,
    damage: Damage,
}

/// What stands for a name that can't be read.
const NO_NAME: &[u8] = b"?";

/// An open file as a mapping shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileName {
    /// The whole path, or a name in itself (`pipe:[5]`), with ` (deleted)` if it is.
    pub path: Vec<u8>,
    /// Inode number.
    pub ino: u32,
    /// Device, major number.
    pub major: u32,
    /// Device, minor number.
    pub minor: u32,
}

/// The function that asked for an area of `vmalloc`, and its module; both may be empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallerName {
    /// The function.
    pub name: Vec<u8>,
    /// Empty for the kernel's own.
    pub module: Vec<u8>,
}

/// A resource with its place in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    /// Levels below the root's children.
    pub depth: usize,
    /// First address or port.
    pub start: u32,
    /// Last one.
    pub end: u32,
    /// Who has it.
    pub name: Vec<u8>,
}

impl<'a> Books<'a> {
    /// The books of the kernel in `target`.
    ///
    /// # Errors
    /// [`Error::NoBooks`] for a kernel without the note or before it has filled them,
    /// [`Error::BooksVersion`] for those of another version.
    pub fn of(target: &Target<'a>) -> Result<Self> {
        let kernel = target.kernel.ok_or(Error::NoBooks("the machine runs no kernel that this program knows"))?;
        let note =
            kernel.note().ok_or(Error::NoBooks("the machine's kernel keeps no books that this program can read"))?;
        if note.version != VERSION {
            return Err(Error::BooksVersion { found: note.version, known: VERSION });
        }
        let direct = DirectMap { start: note.page_offset, len: DIRECT_MAP_BYTES };
        let reader = target.reader(0)?.with_direct_map(direct);
        let books = Books { reader, at: note.books, root: KernelBooks::default(), damage: target.damage.clone() };
        let root: KernelBooks = books.read("books", note.books)?;
        match root.version {
            VERSION => Ok(Books { root, ..books }),
            0 => Err(Error::NoBooks("the guest kernel has not filled its books yet")),
            found => Err(Error::BooksVersion { found, known: VERSION }),
        }
    }

    /// What was found wrong so far.
    pub(crate) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// The root record.
    pub fn root(&self) -> &KernelBooks {
        &self.root
    }

    /// Kernel memory.
    pub fn reader(&self) -> Reader<'a> {
        self.reader
    }

    /// Whether somebody holds a lock of the kernel: its byte is not 0.
    pub fn is_held(&self, lock: Ptr32<u8>) -> bool {
        self.reader.bytes(LinearAddr(lock.0), 1).is_some_and(|byte| byte[0] != 0)
    }

    /// Reads one record.
    fn read<T: Record>(&self, what: &'static str, at: Ptr32<T>) -> Result<T> {
        self.reader
            .bytes(LinearAddr(at.0), T::SIZE)
            .and_then(|bytes| T::decode(&bytes))
            .ok_or(Error::Unreadable { what, addr: at.0 })
    }

    /// The record, or what stands for it where it can't be read.
    fn read_or<T: Record>(&self, what: &'static str, at: Ptr32<T>, none: T) -> T {
        self.read(what, at).unwrap_or_else(|error| {
            self.damage.note(error);
            none
        })
    }

    /// Follows a list from `first` to the null pointer, or to where it can't be followed.
    fn list<T: Record>(
        &self,
        what: &'static str,
        limit: usize,
        first: Ptr32<T>,
        next: impl Fn(&T) -> Ptr32<T>,
    ) -> Vec<(Ptr32<T>, T)> {
        let mut rows = Vec::new();
        let mut seen = HashSet::new();
        let mut at = first;
        while !at.is_null() {
            if rows.len() == limit {
                self.damage.note(Error::Endless { what });
                break;
            }
            if !seen.insert(at.0) {
                self.damage.note(Error::Cycle { what, addr: at.0 });
                break;
            }
            let row: T = match self.read(what, at) {
                Ok(row) => row,
                Err(error) => {
                    self.damage.note(error);
                    break;
                }
            };
            let follows = next(&row);
            rows.push((at, row));
            at = follows;
        }
        rows
    }

    /// All threads, by ascending number.
    pub fn tasks(&self) -> Result<Vec<TaskRecord>> {
        let rows = self.list("tasks", MAX_TASKS, self.root.tasks, |task| task.next);
        self.check_tasks(&rows);
        Ok(rows.into_iter().map(|(_, task)| task).collect())
    }

    /// The processes: the leaders of the thread groups.
    pub fn processes(&self) -> Result<Vec<TaskRecord>> {
        Ok(self.tasks()?.into_iter().filter(|task| task.pid == task.tgid).collect())
    }

    /// The thread `pid`.
    pub fn task(&self, pid: u32) -> Result<TaskRecord> {
        self.tasks()?.into_iter().find(|task| task.pid == pid).ok_or(Error::NoProcess(pid))
    }

    /// The thread that a CPU runs.
    pub fn current(&self, cpu: u32) -> Result<TaskRecord> {
        self.read("current task", self.cpu_state(cpu)?.current)
    }

    /// The address space of a thread; `None` for kernel threads and zombies. Counts are
    /// clamped to what 4 GiB can hold, so that sums of damaged ones stay small.
    pub fn mm(&self, task: &TaskRecord) -> Result<Option<MmRecord>> {
        if task.mm.is_null() {
            return Ok(None);
        }
        let mut mm: MmRecord = match self.read("mm", task.mm) {
            Ok(mm) => mm,
            Err(error) => {
                self.damage.note(error);
                return Ok(None);
            }
        };
        self.check_mm(task.mm, &mm);
        let MmRecord { total_vm, rss_anon, rss_file, rss_shmem, hiwater_rss, hiwater_vm, .. } = &mut mm;
        for pages in [total_vm, rss_anon, rss_file, rss_shmem, hiwater_rss, hiwater_vm] {
            *pages = (*pages).min(MAX_PAGES);
        }
        Ok(Some(mm))
    }

    /// The areas of an address space, by ascending address. Those that are none, or that lie
    /// over others, are left out.
    pub fn vmas(&self, mm: &MmRecord) -> Result<Vec<VmaRecord>> {
        let rows = self.list("areas", MAX_VMAS, mm.mmap, |vma| vma.next);
        self.check_map_count(mm, rows.len());
        let mut end = 0;
        Ok(rows.into_iter().filter(|(at, vma)| self.is_area(*at, vma, &mut end)).map(|(_, vma)| vma).collect())
    }

    /// The path and inode of an open file.
    pub fn file(&self, file: Ptr32<FileRecord>) -> Result<FileName> {
        let file: FileRecord = match self.read("file", file) {
            Ok(file) => file,
            Err(error) => {
                self.damage.note(error);
                return Ok(FileName { path: NO_NAME.to_vec(), ino: 0, major: 0, minor: 0 });
            }
        };
        let inode = match file.inode.is_null() {
            true => InodeRecord::default(),
            false => self.read_or("inode", file.inode, InodeRecord::default()),
        };
        let path = if file.dentry.is_null() { Vec::new() } else { self.path(file.dentry) };
        Ok(FileName { path, ino: inode.ino, major: inode.major, minor: inode.minor })
    }

    /// Where the inode of an open file lies.
    pub fn inode(&self, file: Ptr32<FileRecord>) -> Result<Ptr32<InodeRecord>> {
        Ok(self.read("file", file)?.inode)
    }

    /// The path of a dentry: the names from the root down, as far as they can be read.
    fn path(&self, leaf: Ptr32<DentryRecord>) -> Vec<u8> {
        let mut at = leaf;
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        let mut deleted = false;
        loop {
            if !seen.insert(at.0) || names.len() == MAX_PATH_DEPTH {
                self.damage.note(Error::Cycle { what: "a path's folders", addr: at.0 });
                names.push(NO_NAME.to_vec());
                break;
            }
            let dentry: DentryRecord = match self.read("dentry", at) {
                Ok(dentry) => dentry,
                Err(error) => {
                    self.damage.note(error);
                    names.push(NO_NAME.to_vec());
                    break;
                }
            };
            if at == leaf {
                deleted = dentry.flags & 1 != 0;
            }
            if dentry.flags & 2 != 0 {
                names.push(self.name("dentry's name", dentry.name, dentry.name_len));
                break;
            }
            if dentry.parent.is_null() {
                names.push(Vec::new());
                break;
            }
            names.push(self.name("dentry's name", dentry.name, dentry.name_len));
            at = dentry.parent;
        }
        names.reverse();
        let mut path = names.join(&b'/');
        if path.is_empty() {
            path.push(b'/');
        }
        if deleted {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }

    /// A name; `?` for one that can't be read.
    fn name(&self, what: &'static str, at: Ptr32<u8>, len: u32) -> Vec<u8> {
        let whole = if len <= MAX_NAME { self.reader.bytes(LinearAddr(at.0), len as usize) } else { None };
        let Some(name) = whole else {
            self.damage.note(match len <= MAX_NAME {
                true => Error::Unreadable { what, addr: at.0 },
                false => Error::Lie { what, addr: at.0, why: format!("{len} bytes are too many") },
            });
            return NO_NAME.to_vec();
        };
        self.check_name(what, at, &name);
        name
    }

    /// A tree of resources, each with its depth, in the order of `/proc/iomem`.
    pub fn resources(&self, root: Ptr32<ResourceRecord>) -> Result<Vec<Resource>> {
        let mut rows = Vec::new();
        if root.is_null() {
            return Ok(rows);
        }
        let root: ResourceRecord = self.read_or("resource", root, ResourceRecord::default());
        let mut seen = HashSet::new();
        let mut parents: Vec<(u32, u32)> = vec![(root.start, root.end)];
        // What remains to be shown on each level.
        let mut levels = vec![root.child];
        while let Some(at) = levels.last().copied() {
            if at.is_null() {
                levels.pop();
                continue;
            }
            let depth = levels.len() - 1;
            let again = !seen.insert(at.0);
            if again || rows.len() == MAX_RESOURCES || depth == MAX_RESOURCE_DEPTH {
                self.damage.note(Error::Cycle { what: "resources", addr: at.0 });
                levels[depth] = Ptr32::NULL;
                continue;
            }
            let resource: ResourceRecord = match self.read("resource", at) {
                Ok(resource) => resource,
                Err(error) => {
                    self.damage.note(error);
                    levels[depth] = Ptr32::NULL;
                    continue;
                }
            };
            parents.truncate(depth + 1);
            self.check_resource(at, &resource, parents[depth]);
            parents.push((resource.start, resource.end));
            levels[depth] = resource.sibling;
            levels.push(resource.child);
            let name = self.name("resource's name", resource.name, resource.name_len);
            rows.push(Resource { depth, start: resource.start, end: resource.end, name });
        }
        Ok(rows)
    }

    /// The zones, lowest first.
    pub fn zones(&self) -> Result<Vec<ZoneRecord>> {
        let count = self.root.nr_zones.min(MAX_ZONES);
        let mut zones = Vec::new();
        for i in 0..count {
            let at = Ptr32::new(self.root.zones.0.wrapping_add(i * ZoneRecord::SIZE as u32));
            match self.read("zone", at) {
                Ok(zone) if self.is_zone(at, &zone) => zones.push(zone),
                Ok(_) => break,
                Err(error) => {
                    self.damage.note(error);
                    break;
                }
            }
        }
        if zones.len() as u32 != self.root.nr_zones {
            let why = format!("the books count {}, and {} are there", self.root.nr_zones, zones.len());
            self.damage.note(Error::Lie { what: "zones", addr: self.root.zones.0, why });
        }
        Ok(zones)
    }

    /// The descriptor of a frame, if the books have one.
    pub fn page(&self, pfn: u32) -> Option<PageRecord> {
        let inside = pfn < self.root.max_pfn && !self.root.mem_map.is_null();
        let at = self.root.mem_map.0.wrapping_add(pfn.wrapping_mul(PageRecord::SIZE as u32));
        let page = inside.then(|| self.read("page descriptor", Ptr32::new(at)))?;
        page.map_err(|error| self.damage.note(error)).ok()
    }

    /// The number of the migrate type of a frame's pageblock.
    pub fn pageblock(&self, pfn: u32) -> Option<u8> {
        let at = self.root.pageblocks.0.wrapping_add(pfn >> (abi::books::NR_ORDERS - 1));
        let known = pfn < self.root.max_pfn && !self.root.pageblocks.is_null();
        known.then(|| self.reader.bytes(LinearAddr(at), 1)).flatten().map(|byte| byte[0])
    }

    /// The counters of memory management.
    pub fn vmstat(&self) -> Result<VmStatRecord> {
        Ok(self.read_or("counters", self.root.vmstat, VmStatRecord::default()))
    }

    /// The swap areas in use, by number; the free places between them are left out.
    pub fn swaps(&self) -> Result<Vec<SwapRecord>> {
        let mut areas = Vec::new();
        for kind in 0..NR_SWAPFILES as u32 {
            match self.swap_area(kind) {
                Ok(area) if area.pages > 0 => {
                    self.check_swap(kind, &area);
                    areas.push(area);
                }
                Ok(_) => {}
                Err(error) => self.damage.note(error),
            }
        }
        Ok(areas)
    }

    /// The swap area with a number; all zero if there is none.
    fn swap_area(&self, kind: u32) -> Result<SwapRecord> {
        if kind >= NR_SWAPFILES as u32 {
            return Ok(SwapRecord::NONE);
        }
        let at = self.root.swaps.0.wrapping_add(kind * SwapRecord::SIZE as u32);
        self.read("swap area", Ptr32::new(at))
    }

    /// How many page-table entries and files name a slot of a swap area.
    pub fn swap_count(&self, kind: u32, slot: u32) -> Result<u32> {
        let area = self.swap_area(kind)?;
        if slot >= area.slots {
            return Ok(0);
        }
        let word: SwapMapWord = self.read("swap map", Ptr32::new(area.map.0.wrapping_add(slot / 2 * 4)))?;
        let half = if slot.is_multiple_of(2) { word.0 } else { word.0 >> 16 };
        Ok(half & 0x3fff)
    }

    /// The interrupt lines that somebody handles: number, who, how often.
    pub fn irqs(&self) -> Result<Vec<(u32, Vec<u8>, IrqRecord)>> {
        let mut lines = Vec::new();
        for irq in 0..NR_IRQS as u32 {
            let at = Ptr32::new(self.root.irqs.0.wrapping_add(irq * IrqRecord::SIZE as u32));
            let line: IrqRecord = self.read_or("interrupt line", at, IrqRecord::default());
            if !line.name.is_null() {
                lines.push((irq, self.name("handler's name", line.name, line.name_len), line));
            }
        }
        Ok(lines)
    }

    /// CPUs that the kernel runs on.
    pub fn nr_cpus(&self) -> u32 {
        if !(1..=NR_CPUS as u32).contains(&self.root.nr_cpus) {
            let why = format!("{} CPUs can't be", self.root.nr_cpus);
            self.damage.note(Error::Lie { what: "count of CPUs", addr: self.at.0, why });
        }
        self.root.nr_cpus.clamp(1, NR_CPUS as u32)
    }

    /// What the kernel found of a CPU.
    pub fn cpu(&self, cpu: u32) -> Result<CpuRecord> {
        let at = self.root.cpus.0.wrapping_add(cpu * CpuRecord::SIZE as u32);
        Ok(self.read_or("description of the CPU", Ptr32::new(at), CpuRecord::EMPTY))
    }

    /// What the kernel keeps of a CPU.
    pub fn cpu_state(&self, cpu: u32) -> Result<CpuStateRecord> {
        let at = self.root.cpu_states.0.wrapping_add(cpu * CpuStateRecord::SIZE as u32);
        Ok(self.read_or("state of the CPU", Ptr32::new(at), CpuStateRecord::EMPTY))
    }

    /// The areas of `vmalloc` with the functions that asked for them, by ascending address;
    /// and those that are freed and not flushed yet, newest first.
    #[allow(clippy::type_complexity, reason = "two lists of rows")]
    pub fn vmap_areas(&self) -> Result<(Vec<(CallerName, VmStructRecord)>, Vec<VmStructRecord>)> {
        let list = |first| self.list("areas of vmalloc", MAX_VMAP_AREAS, first, |area: &VmStructRecord| area.next);
        let areas = list(self.root.vmap_areas);
        self.check_vmap_areas(&areas);
        let named = areas.into_iter().map(|(_, area)| {
            let name = self.name_or_none("caller's name", area.caller_name, area.caller_name_len);
            let module = self.name_or_none("module's name", area.caller_module, area.caller_module_len);
            (CallerName { name, module }, area)
        });
        Ok((named.collect(), list(self.root.vmap_unpurged).into_iter().map(|(_, area)| area).collect()))
    }

    /// A name, empty where there is none.
    fn name_or_none(&self, what: &'static str, at: Ptr32<u8>, len: u32) -> Vec<u8> {
        if at.is_null() { Vec::new() } else { self.name(what, at, len) }
    }

    /// The loaded modules, newest first, each with where its record lies.
    pub fn modules(&self) -> Result<Vec<(Ptr32<ModuleRecord>, ModuleRecord)>> {
        let modules = self.list("modules", MAX_MODULES, self.root.modules, |module: &ModuleRecord| module.next);
        modules.iter().for_each(|(at, module)| self.check_module(*at, module));
        Ok(modules)
    }

    /// Whether a module uses symbols of the module whose record is at `other`.
    pub fn module_uses(&self, module: &ModuleRecord, other: Ptr32<ModuleRecord>) -> bool {
        let at = |n: u32| LinearAddr(module.uses.0.wrapping_add(n * 4));
        (0..module.nr_uses.min(MAX_MODULES as u32)).any(|n| self.reader.u32(at(n)) == Some(other.0))
    }

    /// The symbols of a module, by ascending address.
    pub fn module_symbols(&self, module: &ModuleRecord) -> Result<Vec<Symbol>> {
        if module.nr_symbols > MAX_MODULE_SYMBOLS {
            return Err(Error::Endless { what: "a module's symbols" });
        }
        let at = |n: u32| module.symbols.0.wrapping_add(n * ModuleSymbolRecord::SIZE as u32);
        let read = |n| {
            let symbol: ModuleSymbolRecord = self.read("module's symbol", Ptr32::new(at(n)))?;
            let name = self.name("symbol's name", symbol.name, symbol.name_len);
            Ok(Symbol::named_by_linker(symbol.addr, symbol.size, String::from_utf8_lossy(&name).into_owned()))
        };
        (0..module.nr_symbols).map(read).collect()
    }

    /// The addresses of the slab caches' records, and the records, in the order of `/proc/slabinfo`.
    fn cache_records(&self) -> Vec<(Ptr32<KmemCacheRecord>, KmemCacheRecord)> {
        let caches = self.list("caches", MAX_CACHES, self.root.caches, |cache| cache.next);
        caches.iter().for_each(|(at, cache)| self.check_cache(*at, cache));
        caches
    }

    fn cache_name(&self, cache: &KmemCacheRecord) -> Vec<u8> {
        self.name("cache's name", cache.name, cache.name_len)
    }

    /// The name of the cache whose record is at an address, if there is one.
    pub fn cache_name_at(&self, addr: u32) -> Option<Vec<u8>> {
        let (_, cache) = self.cache_records().into_iter().find(|(at, _)| at.0 == addr)?;
        Some(self.cache_name(&cache))
    }

    /// The slab caches with their names by the addresses of their records, which their slabs' frames
    /// name.
    pub fn caches_by_address(&self) -> Result<BTreeMap<u32, (Vec<u8>, KmemCacheRecord)>> {
        Ok(self.cache_records().into_iter().map(|(at, cache)| (at.0, (self.cache_name(&cache), cache))).collect())
    }

    /// The slab caches with their names, in the order of `/proc/slabinfo`.
    pub fn caches(&self) -> Result<Vec<(Vec<u8>, KmemCacheRecord)>> {
        Ok(self.cache_records().into_iter().map(|(_, cache)| (self.cache_name(&cache), cache)).collect())
    }
}

/// A record's `comm` without its padding.
pub fn comm(task: &TaskRecord) -> String {
    let len = task.comm.iter().position(|&b| b == 0).unwrap_or(task.comm.len());
    String::from_utf8_lossy(&task.comm[..len]).into_owned()
}
