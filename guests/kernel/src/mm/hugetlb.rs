//! Huge pages: 4 MiB that one entry of a page directory maps (`MAP_HUGETLB`), from a pool
//! (`/proc/sys/vm/nr_hugepages`).
//!
//! A mapping is promised its pages when it is made, so that a later fault finds one; what
//! is not promised is found or ends in SIGBUS. Only who made a private mapping has the
//! promise, not the children that inherit it.
//!
//! A huge page is a block of the buddy system. Its first frame counts users and entries;
//! all its frames are marked `HUGETLB`. While it lies in the pool, that is its one user.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::{
    Ptr32,
    books::{FileRecord, vm},
    errno::{ENOMEM, Result},
};
use mm::{buddy::MAX_ORDER, list::PfnList};

use super::{
    Gfp, PAGE_SHIFT, Page,
    filemap::AddressSpace,
    gfp::GFP_HIGHUSER,
    mm_struct::MmStruct,
    nameless::Nameless,
    page::{MemMap, get_page, mem_map, pfn_to_page, pg, put_page},
    page_alloc::{__free_pages, alloc_pages},
    vma::{FileRef, MappedFile},
    vmstat::{self, Item},
};
use crate::{
    arch::{
        TASK_SIZE,
        cpu::{self, feature},
    },
    fs::super_block::minor,
    lib::cmdline,
    sync::SpinLock,
    task::signal,
};

/// log2 of the bytes of a huge page.
pub const HPAGE_SHIFT: u32 = 22;
/// Bytes of a huge page.
pub const HPAGE_SIZE: u32 = 1 << HPAGE_SHIFT;
/// Frames of a huge page.
pub const HPAGE_PAGES: u32 = HPAGE_SIZE >> PAGE_SHIFT;
/// Its order.
const HPAGE_ORDER: u8 = (HPAGE_SHIFT - PAGE_SHIFT) as u8;
/// Huge pages of an address space, at most.
const MAX_INDICES: u32 = TASK_SIZE >> HPAGE_SHIFT;

const _: () = assert!(HPAGE_ORDER <= MAX_ORDER);

/// `hstate`: the pool.
struct Pool {
    free: PfnList,
    /// Pages in the pool and in use.
    total: u32,
    /// Of those, the ones that leave the pool when they become free: it was made smaller
    /// than what was in use.
    surplus: u32,
    /// Free pages that are promised.
    reserved: u32,
}

static POOL: SpinLock<Pool> = SpinLock::new(Pool { free: PfnList::new(), total: 0, surplus: 0, reserved: 0 });

impl Pool {
    /// Free pages that nobody has been promised.
    fn available(&self) -> u32 {
        self.free.len() - self.reserved
    }

    /// The size that was asked for, as far as it could be had.
    fn persistent(&self) -> u32 {
        self.total - self.surplus
    }

    fn publish(&self) {
        vmstat::set(Item::hugetlb_total, self.total);
        vmstat::set(Item::hugetlb_free, self.free.len());
        vmstat::set(Item::hugetlb_rsvd, self.reserved);
        vmstat::set(Item::hugetlb_surp, self.surplus);
    }

    fn put(&mut self, page: &'static Page) {
        self.free.push_head(&mut MemMap::get(), page.pfn());
    }

    fn take(&mut self) -> Option<&'static Page> {
        let pfn = self.free.head()?;
        self.free.remove(&mut MemMap::get(), pfn);
        Some(pfn_to_page(pfn))
    }
}

/// What the kernel's command line asks for (`hugepages=`).
pub fn init() {
    let wanted = cmdline::value_of("hugepages").and_then(|text| text.parse().ok());
    wanted.into_iter().for_each(set_nr_hugepages);
}

/// `hugepages_supported`: the CPU has pages of 4 MiB.
pub fn supported() -> bool {
    cpu::has(feature::PSE)
}

/// `/proc/sys/vm/nr_hugepages`.
pub fn nr_hugepages() -> u32 {
    POOL.lock().persistent()
}

/// `set_max_huge_pages`: gives the pool `wanted` pages, or as many as memory has or as are in
/// use. A signal ends the search for memory.
pub fn set_nr_hugepages(wanted: u32) {
    if !supported() {
        return;
    }
    {
        let mut pool = POOL.lock();
        let kept = wanted.saturating_sub(pool.persistent()).min(pool.surplus);
        pool.surplus -= kept;
        pool.publish();
    }
    while nr_hugepages() < wanted && !signal_pending() && alloc_pool_page() {}
    while let Some(page) = take_unneeded(wanted) {
        dissolve(page);
    }
    let mut pool = POOL.lock();
    pool.surplus += pool.persistent().saturating_sub(wanted);
    pool.publish();
}

fn signal_pending() -> bool {
    crate::task::current::exists() && signal::pending()
}

/// `alloc_pool_huge_page`: a block more. It may take reclaim and compaction to make one.
fn alloc_pool_page() -> bool {
    let gfp = GFP_HIGHUSER | Gfp::COMP | Gfp::NOWARN | Gfp::NORETRY;
    let Some(page) = alloc_pages(gfp, HPAGE_ORDER) else {
        vmstat::count(Item::htlb_buddy_alloc_fail);
        return false;
    };
    vmstat::count(Item::htlb_buddy_alloc_success);
    frames(page).iter().for_each(|frame| frame.set(pg::HUGETLB));
    let mut pool = POOL.lock();
    pool.put(page);
    pool.total += 1;
    pool.publish();
    true
}

/// A free page that a pool of `wanted` pages need not have: neither in use nor promised.
fn take_unneeded(wanted: u32) -> Option<&'static Page> {
    let mut pool = POOL.lock();
    let needed = pool.reserved + pool.total - pool.free.len();
    if pool.persistent() <= needed.max(wanted) {
        return None;
    }
    let page = pool.take()?;
    pool.total -= 1;
    pool.publish();
    Some(page)
}

/// A free page beyond what the pool is to have (`return_unused_surplus_pages`).
fn take_surplus() -> Option<&'static Page> {
    let mut pool = POOL.lock();
    if pool.surplus == 0 || pool.available() == 0 {
        return None;
    }
    let page = pool.take()?;
    (pool.surplus, pool.total) = (pool.surplus - 1, pool.total - 1);
    Some(page)
}

/// `free_huge_page`: the last user of a huge page has gone.
pub(super) fn free_huge_page(page: &'static Page) {
    assert!(page.mapcount() == 0, "BUG: Bad page state: huge page {:#x} is freed while mapped", page.pfn());
    page.mapping.store(0, Relaxed);
    page.index.store(0, Relaxed);
    page.clear(pg::ANON_EXCLUSIVE | pg::DIRTY);
    page.refcount.store(1, Relaxed);
    let mut pool = POOL.lock();
    if pool.surplus == 0 {
        pool.put(page);
        pool.publish();
        return;
    }
    (pool.surplus, pool.total) = (pool.surplus - 1, pool.total - 1);
    pool.publish();
    drop(pool);
    dissolve(page);
}

/// A page that has left the pool goes back to the buddy system.
fn dissolve(page: &'static Page) {
    let keep = 3 << pg::ZONE_SHIFT;
    for frame in frames(page) {
        frame.flags.fetch_and(keep, Relaxed);
    }
    __free_pages(page, HPAGE_ORDER);
}

/// All frames of a huge page.
pub(super) fn frames(page: &'static Page) -> &'static [Page] {
    let first = page.pfn() as usize;
    &mem_map()[first..first + HPAGE_PAGES as usize]
}

/// What `/proc/sys/vm/verify` compares with the frames: pages, free ones, and those that
/// are promised.
pub(super) fn counts() -> (u32, u32, u32) {
    let pool = POOL.lock();
    (pool.total, pool.free.iter(&MemMap::get()).count() as u32, pool.reserved)
}

/// A set of numbers of huge pages.
#[derive(Default)]
struct Indices([u32; MAX_INDICES.div_ceil(32) as usize]);

impl Indices {
    fn contains(&self, index: u32) -> bool {
        self.0.get(index as usize / 32).is_some_and(|word| word >> (index % 32) & 1 != 0)
    }

    fn insert(&mut self, index: u32) {
        if let Some(word) = self.0.get_mut(index as usize / 32) {
            *word |= 1 << (index % 32);
        }
    }

    /// Whether it was in the set.
    fn remove(&mut self, index: u32) -> bool {
        let was_in = self.contains(index);
        if was_in {
            self.0[index as usize / 32] &= !(1 << (index % 32));
        }
        was_in
    }
}

/// Whose the pages of a mapping are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Each address space gets copies of its own.
    Private,
    /// All that map it have the same.
    Shared,
}

/// The huge pages of one `mmap`.
pub struct HugePages {
    sharing: Sharing,
    /// The number of its first huge page, and how many there are.
    first: u32,
    count: u32,
    state: SpinLock<State>,
}

#[derive(Default)]
struct State {
    /// The address space that made a private mapping.
    owner: u32,
    /// Pages that are promised and not yet taken, counted from the first.
    reserved: Indices,
    /// Those that a shared mapping has.
    pages: BTreeMap<u32, &'static Page>,
    /// Address spaces that lost a page to the owner, and get none any more.
    unmapped: Vec<u32>,
}

/// Tells address spaces apart, as long as they live.
fn identity(mm: &MmStruct) -> u32 {
    (&raw const *mm) as u32
}

impl HugePages {
    /// Whether all who map it have the same pages.
    pub fn is_shared(&self) -> bool {
        self.sharing == Sharing::Shared
    }

    /// Whether an address space has the promise of a private mapping.
    pub(super) fn is_owner(&self, mm: &MmStruct) -> bool {
        !self.is_shared() && self.state.lock().owner == identity(mm)
    }

    /// `hugetlb_reserve_pages`: all pages are promised. ENOMEM.
    fn reserve(&self) -> Result<()> {
        let mut state = self.state.lock();
        let mut pool = POOL.lock();
        if pool.available() < self.count {
            return Err(ENOMEM);
        }
        pool.reserved += self.count;
        pool.publish();
        (0..self.count).for_each(|index| state.reserved.insert(index));
        Ok(())
    }

    /// The pages `from..to` of the mapping are promised to nobody any more.
    fn unreserve(&self, from: u32, to: u32) {
        let mut state = self.state.lock();
        let given_back = (from..to).filter(|&index| state.reserved.remove(index)).count() as u32;
        drop(state);
        POOL.lock().reserved -= given_back;
        for _ in 0..given_back {
            let Some(page) = take_surplus() else { break };
            dissolve(page);
        }
        POOL.lock().publish();
    }

    /// `hugetlb_vm_op_close`: `mm` has unmapped pages, whose numbers are `from..to`. What was
    /// promised to it of a private mapping is free for others.
    pub(super) fn close(&self, mm: &MmStruct, from: u32, to: u32) {
        if self.is_owner(mm) {
            self.unreserve(from.saturating_sub(self.first), to.saturating_sub(self.first));
        }
        self.state.lock().unmapped.retain(|&known| known != identity(mm));
    }

    /// `alloc_huge_page`: a page of the pool with one user, its contents as they were. `None`
    /// when there is none for `mm`.
    pub(super) fn take_page(&self, mm: &MmStruct, number: u32) -> Option<&'static Page> {
        let index = number.wrapping_sub(self.first);
        let mut state = self.state.lock();
        let promised = (self.is_shared() || state.owner == identity(mm)) && state.reserved.contains(index);
        let mut pool = POOL.lock();
        if !promised && pool.available() == 0 {
            return None;
        }
        let page = pool.take()?;
        if promised {
            state.reserved.remove(index);
            pool.reserved -= 1;
        }
        pool.publish();
        Some(page)
    }

    /// The page of a shared mapping, with one user more.
    pub(super) fn find(&self, number: u32) -> Option<&'static Page> {
        self.state.lock().pages.get(&number).map(|page| get_page(page))
    }

    /// Gives a shared mapping a page, whose one user is the mapping from now on.
    pub(super) fn insert(&self, number: u32, page: &'static Page) {
        page.mapping.store((&raw const *self) as u32, Relaxed);
        self.state.lock().pages.insert(number, page);
    }

    /// Whether an address space has lost a page to the owner.
    pub(super) fn has_lost(&self, mm: &MmStruct) -> bool {
        self.state.lock().unmapped.contains(&identity(mm))
    }

    /// Notes that it has.
    pub(super) fn note_lost(&self, mm: &MmStruct) {
        self.state.lock().unmapped.push(identity(mm));
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        self.unreserve(0, self.count);
        for page in core::mem::take(&mut self.state.get_mut().pages).into_values() {
            page.mapping.store(0, Relaxed);
            put_page(page);
        }
    }
}

/// The file behind an area of huge pages.
type HugeFile = Nameless<HugePages>;

impl MappedFile for HugeFile {
    fn address_space(&self) -> Option<Arc<AddressSpace>> {
        None
    }
    fn huge_pages(&self) -> Option<&HugePages> {
        Some(self.contents())
    }
    fn record(&self) -> Ptr32<FileRecord> {
        self.record()
    }
    fn readable(&self) -> bool {
        true
    }
    fn writable(&self) -> bool {
        true
    }
    fn mmap(&self, vm_flags: u32) -> Result<()> {
        if vm_flags & vm::NORESERVE != 0 { Ok(()) } else { self.contents().reserve() }
    }
}

/// `hugetlb_file_setup`: what a mapping of `len` bytes maps that `mm` makes, from the page
/// `pgoff` on.
pub fn file_setup(mm: &MmStruct, len: u32, pgoff: u32, sharing: Sharing) -> FileRef {
    static NEXT_INO: AtomicU32 = AtomicU32::new(1024);
    let state = State { owner: identity(mm), ..State::default() };
    let (first, count) = (pgoff / HPAGE_PAGES, len >> HPAGE_SHIFT);
    let pages = HugePages { sharing, first, count, state: SpinLock::new(state) };
    let ino = NEXT_INO.fetch_add(1, Relaxed);
    FileRef(HugeFile::with_contents("/anon_hugepage", minor::HUGETLBFS, ino, pages))
}
