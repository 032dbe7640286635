//! `mm_struct`: the address space of a process.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use abi::{
    Ptr32,
    books::{MmRecord, VmaRecord, vm},
    errno::{ENOMEM, Result},
};
use mm::vma::VmaTree;

use super::{
    PAGE_SHIFT,
    gfp::GFP_KERNEL,
    memory,
    page_alloc::totals,
    pgtable::{PageDirectory, PageTables},
    rmap::AnonVmas,
    slab::{CacheRef, kmem_cache_of},
    vma::{FileRef, VmArea, VmaBox},
    vmstat::{self, Item},
};
use crate::{
    arch::{
        TASK_SIZE,
        tlb::{self, TlbContext},
    },
    sync::{Mutex, MutexGuard, Once, SpinLock},
    task,
};

/// Where top-down mappings begin: below room for the largest usual stack.
const MMAP_BASE: u32 = TASK_SIZE - (128 << 20);
const RLIMIT_AS: u32 = 9;
/// `sysctl_max_map_count`.
pub const MAX_MAP_COUNT: usize = 65530;

static MM_CACHEP: Once<CacheRef> = Once::new();
/// Counts address spaces up, so that each has a number of its own.
static LAST_ID: AtomicU32 = AtomicU32::new(0);

/// Makes the cache of address spaces.
pub fn init() {
    MM_CACHEP.set(kmem_cache_of::<MmStruct>("mm_struct"));
}

/// An address space. Its record changes only under `mmap_lock`, except `mm_users`.
#[repr(C)]
pub struct MmStruct {
    record: UnsafeCell<MmRecord>,
    mmap_lock: Mutex<MmInner>,
    /// Which CPUs may hold its translations.
    tlb: TlbContext,
    id: u32,
    dumpable: AtomicBool,
    /// What `exec` has told the program of its machine (`saved_auxv`), for `/proc/PID/auxv`.
    pub auxv: SpinLock<Vec<u8>>,
}

// SAFETY: the record is guarded by `mmap_lock`; `mm_users` is accessed atomically.
unsafe impl Sync for MmStruct {}

/// `MM_ANONPAGES` and its kin: what an address space counts its pages by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "Linux's names")]
pub enum MmCounter {
    Anon,
    File,
    Shmem,
    Swap,
    Hugetlb,
}

/// What `mmap_lock` guards.
pub struct MmInner {
    /// The areas.
    pub areas: VmaTree<VmaBox>,
    /// The page tables.
    pub pgd: PageDirectory,
    /// Whose anonymous pages it may map.
    pub anon_vmas: AnonVmas,
    /// Flags of every new area (`mlockall(MCL_FUTURE)`).
    pub def_flags: u32,
    /// Where top-down mappings begin.
    pub mmap_base: u32,
    /// The program's file.
    exe: Option<FileRef>,
}

impl MmStruct {
    fn record_ptr(&self) -> *mut MmRecord {
        self.record.get()
    }

    /// The record's address, for the task's record.
    pub fn record(&self) -> Ptr32<MmRecord> {
        Ptr32::new(self.record_ptr() as u32)
    }

    fn users(&self) -> &AtomicU32 {
        // SAFETY: the field is only ever accessed through this.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.record_ptr()).mm_users) }
    }

    /// A number that no other address space has or had.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether others of the same user may look into it (`SUID_DUMP_USER`).
    pub fn is_dumpable(&self) -> bool {
        self.dumpable.load(Ordering::Relaxed)
    }

    /// Says whether they may.
    pub fn set_dumpable(&self, dumpable: bool) {
        self.dumpable.store(dumpable, Ordering::Relaxed);
    }

    /// Takes `mmap_lock`.
    pub fn lock(&self) -> MmGuard<'_> {
        MmGuard { mm: self, inner: self.mmap_lock.lock() }
    }

    /// Takes `mmap_lock` if it is open.
    pub fn try_lock(&self) -> Option<MmGuard<'_>> {
        self.mmap_lock.try_lock().map(|inner| MmGuard { mm: self, inner })
    }

    /// Puts the page directory into CR3 of this CPU.
    pub fn activate(&self) {
        // The directory of an address space never changes, so the lock is not needed.
        // SAFETY: set once in `MmRef::new`.
        let pgd = unsafe { (*self.record_ptr()).pgd };
        tlb::switch_mm(&self.tlb, pgd);
    }

    /// The page tables, which may be read, and entries that are there changed, as the head
    /// of `rmap` says.
    pub fn page_tables(&self) -> PageTables {
        // SAFETY: set once in `MmRef::new`, and freed with this.
        unsafe { *(*self.mmap_lock.data_ptr()).pgd }
    }

    /// The areas, for the reverse mapping.
    ///
    /// # Safety
    /// No change of the tree is half done, and the caller neither sleeps nor changes it while
    /// he looks.
    pub unsafe fn areas_unlocked(&self) -> &VmaTree<VmaBox> {
        // SAFETY: by the caller.
        unsafe { &(*self.mmap_lock.data_ptr()).areas }
    }

    /// Changes a count of resident or swapped pages by those that have come or gone.
    pub fn add_mm_counter(&self, counter: MmCounter, delta: i32) {
        let record = self.record_ptr();
        // SAFETY: the fields are only changed here, without sleeping, under the kernel lock.
        unsafe {
            let field = match counter {
                MmCounter::Anon => &raw mut (*record).rss_anon,
                MmCounter::File => &raw mut (*record).rss_file,
                MmCounter::Shmem => &raw mut (*record).rss_shmem,
                MmCounter::Swap => &raw mut (*record).swapents,
                MmCounter::Hugetlb => &raw mut (*record).hugetlb_pages,
            };
            field.write(field.read().wrapping_add(delta as u32));
        }
    }

    /// Notes the largest resident size, before it shrinks.
    pub fn update_hiwater_rss(&self) {
        let record = self.record_ptr();
        // SAFETY: as in `add_mm_counter`.
        unsafe {
            let rss = (*record).rss_anon + (*record).rss_file + (*record).rss_shmem;
            (*record).hiwater_rss = (*record).hiwater_rss.max(rss);
        }
    }

    /// A copy of the record for those who must not wait for the lock: what killing for memory
    /// and looking from outside need is true in it at any time.
    pub fn peek(&self) -> MmRecord {
        // SAFETY: plain data, changed without sleeping under the kernel lock.
        unsafe { *self.record_ptr() }
    }

    /// A copy of the record, as it is now.
    pub fn snapshot(&self) -> MmRecord {
        *self.lock().record()
    }

    /// Changes the fields that exec and prctl set: code, data, stack, arguments.
    pub fn with_record<R>(&self, change: impl FnOnce(&mut MmRecord) -> R) -> R {
        change(self.lock().record_mut())
    }
}

/// One of the owners of an address space (`mm_users`). The last tears it down.
pub struct MmRef(NonNull<MmStruct>);

// SAFETY: the count is atomic, the rest under `mmap_lock`.
unsafe impl Send for MmRef {}
// SAFETY: as above.
unsafe impl Sync for MmRef {}

impl MmRef {
    /// An address space without areas.
    pub fn new() -> Result<Self> {
        let at = NonNull::new(MM_CACHEP.get().alloc(GFP_KERNEL).cast::<MmStruct>()).ok_or(ENOMEM)?;
        // SAFETY: a fresh object; the context stays where it is, and outlasts the directory.
        let pgd = unsafe {
            let context = &raw mut (*at.as_ptr()).tlb;
            context.write(TlbContext::new());
            PageDirectory::new(context)
        };
        let Some(pgd) = pgd else {
            // SAFETY: made above, and nobody has it.
            unsafe { MM_CACHEP.get().free(at.as_ptr().cast()) };
            return Err(ENOMEM);
        };
        let record = MmRecord { pgd: pgd.phys(), mm_users: 1, ..MmRecord::default() };
        let (areas, anon_vmas) = (VmaTree::new(), AnonVmas::default());
        let inner = MmInner { areas, pgd, anon_vmas, def_flags: 0, mmap_base: MMAP_BASE, exe: None };
        // SAFETY: a fresh object of the right size.
        unsafe {
            at.write(MmStruct {
                record: UnsafeCell::new(record),
                mmap_lock: Mutex::new(inner),
                tlb: TlbContext::new(),
                id: LAST_ID.fetch_add(1, Ordering::Relaxed),
                dumpable: AtomicBool::new(true),
                auxv: SpinLock::new(Vec::new()),
            });
        }
        let mm = MmRef(at);
        mm.with_record(|record| record.mmap_lock = mm.mmap_lock.flag());
        mm.lock().anon_vmas = AnonVmas::first(&mm);
        Ok(mm)
    }

    /// `dup_mm`: the child's address space at fork. Frames are shared; private ones are
    /// copied at the first write.
    pub fn dup(&self) -> Result<Self> {
        let child = MmRef::new()?;
        child.set_dumpable(self.is_dumpable());
        child.auxv.lock().clone_from(&self.auxv.lock());
        {
            let (mut from, mut to) = (self.lock(), child.lock());
            let MmRecord { pgd, mm_users, mmap_lock, .. } = *to.record();
            let record = MmRecord {
                pgd,
                mm_users,
                mmap_lock,
                mmap: Ptr32::NULL,
                rss_anon: 0,
                rss_file: 0,
                rss_shmem: 0,
                swapents: 0,
                hugetlb_pages: 0,
                ..*from.record()
            };
            *to.record_mut() = record;
            to.mmap_base = from.mmap_base;
            to.exe.clone_from(&from.exe);
            to.anon_vmas.leave(&child);
            to.anon_vmas = from.anon_vmas.fork(&child);
            memory::dup_mmap(&mut from, &mut to)?;
        }
        Ok(child)
    }

    /// Whether two tasks share the address space.
    pub fn ptr_eq(&self, other: &MmRef) -> bool {
        self.0 == other.0
    }

    /// How many share it.
    pub fn mm_users(&self) -> u32 {
        self.users().load(Ordering::Relaxed)
    }
}

impl Deref for MmRef {
    type Target = MmStruct;
    fn deref(&self) -> &MmStruct {
        // SAFETY: alive while it has an owner.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for MmRef {
    fn clone(&self) -> Self {
        self.users().fetch_add(1, Ordering::Relaxed);
        MmRef(self.0)
    }
}

impl Drop for MmRef {
    fn drop(&mut self) {
        if self.users().fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        tlb::drop_context(&self.tlb);
        {
            let mut mm = self.lock();
            memory::exit_mmap(&mut mm);
            mm.anon_vmas.leave(self);
        }
        // SAFETY: the last owner; nobody uses it afterwards.
        unsafe {
            self.0.drop_in_place();
            MM_CACHEP.get().free(self.0.as_ptr().cast());
        }
    }
}

/// An address space whose `mmap_lock` we hold. No user memory may be touched meanwhile:
/// a fault would wait for the lock for ever.
pub struct MmGuard<'a> {
    mm: &'a MmStruct,
    inner: MutexGuard<'a, MmInner>,
}

impl Deref for MmGuard<'_> {
    type Target = MmInner;
    fn deref(&self) -> &MmInner {
        &self.inner
    }
}

impl DerefMut for MmGuard<'_> {
    fn deref_mut(&mut self) -> &mut MmInner {
        &mut self.inner
    }
}

impl<'a> MmGuard<'a> {
    /// The address space.
    pub fn mm(&self) -> &'a MmStruct {
        self.mm
    }

    /// Opens the lock for as long as `f` takes, which may wait for a device. Areas and pages
    /// may be others afterwards.
    pub fn unlocked<R>(&mut self, f: impl FnOnce() -> R) -> R {
        self.update_record();
        self.inner.unlocked(f)
    }

    /// Makes the record true, as it is whenever the lock is open.
    fn update_record(&mut self) {
        let (head, count, tables) = (self.areas.head(), self.areas.len() as u32, self.pgd.table_bytes());
        let record = self.record_mut();
        (record.mmap, record.map_count, record.pgtables_bytes) = (head, count, tables);
    }

    /// The numbers that the host reads.
    pub fn record(&self) -> &MmRecord {
        // SAFETY: we hold the lock that guards it.
        unsafe { &*self.mm.record_ptr() }
    }

    /// The same, to change them.
    pub fn record_mut(&mut self) -> &mut MmRecord {
        // SAFETY: we hold the lock that guards it.
        unsafe { &mut *self.mm.record_ptr() }
    }

    /// The program's file.
    pub fn exe(&self) -> Option<&FileRef> {
        self.inner.exe.as_ref()
    }

    /// Sets the program's file.
    pub fn set_exe(&mut self, exe: Option<FileRef>) {
        self.record_mut().exe = exe.as_ref().map_or(Ptr32::NULL, |file| file.record());
        self.inner.exe = exe;
    }

    /// Adds an area where none is.
    pub fn insert_area(&mut self, mut area: VmArea) {
        use mm::vma::AreaPtr;
        area.record.mm = self.mm.record();
        area.record.file = area.file.as_ref().map_or(Ptr32::NULL, |file| file.record());
        let pages = area.pages();
        self.areas.insert(VmaBox::new(area));
        self.change_total_vm(pages as i32);
    }

    /// Counts pages of address space.
    pub fn change_total_vm(&mut self, pages: i32) {
        let record = self.record_mut();
        record.total_vm = record.total_vm.wrapping_add(pages as u32);
        record.hiwater_vm = record.hiwater_vm.max(record.total_vm);
    }

    /// Resident pages.
    pub fn rss(&self) -> u32 {
        let record = self.record();
        record.rss_anon + record.rss_file + record.rss_shmem
    }

    /// Whether one more area is allowed.
    pub fn may_add_area(&self) -> bool {
        self.areas.len() < MAX_MAP_COUNT
    }

    /// The heuristic of overcommit mode 0: only what could never be there is refused.
    pub fn enough_memory(&self, pages: u32) -> bool {
        pages <= totals().managed.saturating_add(vmstat::read(Item::nr_swap_total))
    }

    /// Whether so many pages more stay below the limit of the address space (`RLIMIT_AS`), when
    /// `start..end` is unmapped first.
    pub fn may_expand_vm(&self, pages: u32, start: u32, end: u32) -> bool {
        let total = self.record().total_vm + pages;
        let limit = task::rlimit(RLIMIT_AS) >> PAGE_SHIFT;
        let inside = |area: &VmArea| area.record.end.min(end).saturating_sub(area.record.start.max(start));
        total <= limit || total - self.areas.iter().map(|area| inside(area) >> PAGE_SHIFT).sum::<u32>() <= limit
    }

    /// Calls `visit` with every record, ascending.
    pub fn for_each_area(&self, mut visit: impl FnMut(&VmaRecord)) {
        self.areas.iter().for_each(|area| visit(&area.record));
    }

    /// Pages of areas whose flags say so: for `VmData`, `VmStk`, `VmExe`.
    pub fn pages_where(&self, which: impl Fn(u32) -> bool) -> u32 {
        self.areas.iter().filter(|area| which(area.record.flags)).map(VmArea::pages).sum()
    }

    /// Locked pages.
    pub fn locked_vm(&self) -> u32 {
        self.pages_where(|flags| flags & vm::LOCKED != 0)
    }
}

impl Drop for MmGuard<'_> {
    fn drop(&mut self) {
        self.update_record();
    }
}
