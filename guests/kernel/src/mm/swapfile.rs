//! Swap areas: `swapon` and `swapoff`, and who uses which slot.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use core::{
    cell::UnsafeCell,
    cmp::Reverse,
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};

use abi::{
    Ptr32,
    books::{NR_SWAPFILES, SwapRecord},
    errno::{EBUSY, EINTR, EINVAL, EIO, ENOMEM, EPERM, Result},
    stat::mode,
    wire::u32_at,
};
use mm::swap_map::SwapMap;

use super::{
    Gfp, PAGE_SIZE, Page, alloc_page,
    anon::unuse_mm,
    filemap::{AddressSpace, AddressSpaceOps, Backing},
    gfp::GFP_KERNEL,
    highmem::kmap_local,
    page::{pg, put_page},
    page_alloc::totals,
    page_lock::{trylock_page, unlock_page},
    shmem,
    swap_state::{lookup_swap_cache, try_to_free_swap},
    swapops::{MAX_SLOTS, SwapEntry},
    vmstat::{self, Item},
};
use crate::{
    fs::{Dentry, File, file::o},
    pr_info,
    sync::{Mutex, SpinLock},
    task::{self, TaskStruct, current, sched},
};

/// `SWAP_FLAG_PREFER`: the flags name a priority.
const SWAP_FLAG_PREFER: u32 = 0x8000;
const SWAP_FLAG_PRIO_MASK: u32 = 0x7fff;
/// `SWAP_FLAG_DISCARD*`: accepted; nothing here can discard.
const SWAP_FLAG_DISCARD_ALL: u32 = 0x7_0000;

/// Where `mkswap` writes its mark, and what it is.
const MAGIC_OFFSET: usize = PAGE_SIZE as usize - 10;
const MAGIC: &[u8] = b"SWAPSPACE2";
/// Where the numbers of the header begin: version, last page, bad pages.
const INFO_OFFSET: usize = 1024;
/// Where the list of bad pages begins.
const BAD_PAGES_OFFSET: usize = 1536;
const MAX_BAD_PAGES: u32 = ((MAGIC_OFFSET - BAD_PAGES_OFFSET) / 4) as u32;

/// `swap_info_struct`: an area in use.
struct SwapInfo {
    /// Keeps the device or file open.
    file: Arc<File>,
    /// How its pages are read and written, past the page cache.
    ops: Arc<dyn AddressSpaceOps>,
    map: SpinLock<SwapMap>,
    prio: i32,
    /// No slot is given away any more: it is being turned off.
    closing: core::sync::atomic::AtomicBool,
}

static SWAP_INFO: SpinLock<[Option<Arc<SwapInfo>>; NR_SWAPFILES]> = SpinLock::new([const { None }; NR_SWAPFILES]);
static LEAST_PRIORITY: AtomicI32 = AtomicI32::new(-1);
/// `swapon_mutex`: one area is turned on at a time.
static SWAPON: Mutex<()> = Mutex::new(());

/// What the host reads of the areas.
#[repr(transparent)]
struct Records(UnsafeCell<[SwapRecord; NR_SWAPFILES]>);

// SAFETY: each word is changed in one step, in `publish` and `change`, on the one CPU.
unsafe impl Sync for Records {}

static RECORDS: Records = Records(UnsafeCell::new([SwapRecord::NONE; NR_SWAPFILES]));

/// The array of records.
pub fn books() -> Ptr32<SwapRecord> {
    Ptr32::new(RECORDS.0.get() as u32)
}

/// A copy of the records.
pub fn records() -> [SwapRecord; NR_SWAPFILES] {
    // SAFETY: plain data, see `Records`.
    unsafe { *RECORDS.0.get() }
}

impl SwapInfo {
    /// The area's record.
    fn record(&self) -> SwapRecord {
        let map = self.map.lock();
        SwapRecord {
            file: self.file.record_ptr(),
            is_block: (self.file.inode().kind() == mode::S_IFBLK).into(),
            pages: map.usable(),
            in_use: map.in_use(),
            prio: self.prio as u32,
            map: Ptr32::new(map.entries().as_ptr() as u32),
            slots: map.entries().len() as u32,
        }
    }

    /// Changes the map of the area, which is number `kind`. The record and the sum of free
    /// slots follow when that changes how many slots are in use.
    fn change<R>(&self, kind: u32, change: impl FnOnce(&mut SwapMap) -> R) -> R {
        let mut map = self.map.lock();
        let before = map.in_use();
        let result = change(&mut map);
        let in_use = map.in_use();
        if in_use != before {
            // SAFETY: see `Records`.
            unsafe { (*RECORDS.0.get())[kind as usize].in_use = in_use };
            vmstat::add(Item::nr_swap_free, before as i32 - in_use as i32);
        }
        result
    }
}

/// Makes a record what an area that came or went needs, and the sums what the records say.
fn publish(kind: u32, record: SwapRecord) {
    // SAFETY: see `Records`.
    unsafe { (*RECORDS.0.get())[kind as usize] = record };
    let records = records();
    let total: u32 = records.iter().map(|record| record.pages).sum();
    let in_use: u32 = records.iter().map(|record| record.in_use).sum();
    vmstat::set(Item::nr_swap_total, total);
    vmstat::set(Item::nr_swap_free, total - in_use);
}

fn info(entry: SwapEntry) -> Option<Arc<SwapInfo>> {
    SWAP_INFO.lock().get(entry.kind() as usize).cloned().flatten()
}

/// Changes the map of an entry's area.
fn with_map<R: Default>(entry: SwapEntry, change: impl FnOnce(&mut SwapMap) -> R) -> R {
    info(entry).map_or_else(R::default, |info| info.change(entry.kind(), change))
}

/// `get_swap_page`: a free slot of the area with the highest priority, for the swap cache.
pub fn get_swap_page() -> Option<SwapEntry> {
    let mut full = None;
    loop {
        let (rank, info) = next_area(full)?;
        if let Some(offset) = info.change(rank.1, SwapMap::alloc) {
            return Some(SwapEntry::new(rank.1, offset));
        }
        full = Some(rank);
    }
}

/// The place of an area among all: the higher priority first, then the lower number.
type Rank = (Reverse<i32>, u32);

/// The first area behind `rank` that gives slots away.
fn next_area(rank: Option<Rank>) -> Option<(Rank, Arc<SwapInfo>)> {
    let infos = SWAP_INFO.lock();
    let open = (0..).zip(infos.iter()).filter_map(|(kind, info)| {
        let info = info.as_ref().filter(|info| !info.closing.load(Relaxed))?;
        Some(((Reverse(info.prio), kind), info))
    });
    let behind = open.filter(|(at, _)| rank.is_none_or(|rank| *at > rank));
    behind.min_by_key(|(at, _)| *at).map(|(at, info)| (at, info.clone()))
}

/// Free slots of all areas.
pub fn nr_free_swap_pages() -> u32 {
    vmstat::read(Item::nr_swap_free)
}

/// `vm_swap_full`: slots of pages that are in memory are better given back.
pub fn vm_swap_full() -> bool {
    nr_free_swap_pages() * 2 < vmstat::read(Item::nr_swap_total)
}

/// One more page-table entry or file names a slot. `false` if too many do.
pub fn swap_duplicate(entry: SwapEntry) -> bool {
    with_map(entry, |map| map.duplicate(entry.offset()))
}

/// One less names it.
pub fn swap_free(entry: SwapEntry) {
    with_map(entry, |map| {
        map.free(entry.offset());
    });
}

/// The swap cache is to have a page for the slot. `false` if it has, or if the slot is free.
pub fn swapcache_prepare(entry: SwapEntry) -> bool {
    with_map(entry, |map| map.prepare_cache(entry.offset()))
}

/// The swap cache has none any more.
pub fn put_swap_page(entry: SwapEntry) {
    with_map(entry, |map| {
        map.drop_cache(entry.offset());
    });
}

/// How many page-table entries and files name the slot.
pub fn page_swapcount(entry: SwapEntry) -> u32 {
    info(entry).map_or(0, |info| info.map.lock().count(entry.offset()))
}

/// One less names the slot; if nobody does, the page of the swap cache goes, too.
pub fn free_swap_and_cache(entry: SwapEntry) {
    swap_free(entry);
    if page_swapcount(entry) == 0
        && let Some(page) = lookup_swap_cache(entry)
    {
        if page.mapcount() == 0 && trylock_page(page) {
            try_to_free_swap(page);
            unlock_page(page);
        }
        put_page(page);
    }
}

/// Reads a slot into a locked page. EIO.
pub fn swap_readpage(entry: SwapEntry, page: &'static Page) -> Result<()> {
    let info = info(entry).ok_or(EIO)?;
    vmstat::count(Item::pswpin);
    info.ops.read_folio(entry.offset(), page)
}

/// Writes a locked page to its slot. EIO.
pub fn swap_writepage(entry: SwapEntry, page: &'static Page) -> Result<()> {
    let info = info(entry).ok_or(EIO)?;
    vmstat::count(Item::pswpout);
    info.ops.writepage(entry.offset(), page)
}

/// What `mkswap` wrote.
struct Header {
    last_page: u32,
    bad: alloc::vec::Vec<u32>,
}

/// Reads and checks the header. EINVAL if it is none.
fn read_header(ops: &dyn AddressSpaceOps, path: &str) -> Result<Header> {
    let page = alloc_page(GFP_KERNEL | Gfp::ZERO).ok_or(ENOMEM)?;
    page.set(pg::LOCKED);
    let result = ops.read_folio(0, page).and_then(|()| {
        let bytes = kmap_local(page);
        parse_header(bytes.as_slice(), path)
    });
    unlock_page(page);
    put_page(page);
    result
}

fn parse_header(bytes: &[u8], path: &str) -> Result<Header> {
    if &bytes[MAGIC_OFFSET..] != MAGIC {
        pr_info!("Unable to find swap-space signature");
        return Err(EINVAL);
    }
    let [version, last_page, nr_bad] = [0, 4, 8].map(|n| u32_at(bytes, INFO_OFFSET + n));
    if version != 1 {
        pr_info!("Unable to handle swap header version {version}");
        return Err(EINVAL);
    }
    if last_page == 0 || nr_bad > MAX_BAD_PAGES {
        pr_info!("Empty swap-file or damaged header on {path}");
        return Err(EINVAL);
    }
    let bad = (0..nr_bad as usize).map(|n| u32_at(bytes, BAD_PAGES_OFFSET + n * 4)).collect();
    Ok(Header { last_page, bad })
}

/// The page cache of a file that can be swapped to: a block device, or a file on one.
fn swap_mapping(file: &File) -> Result<Arc<AddressSpace>> {
    let mapping = file.ops().mapping(file).ok_or(EINVAL)?;
    match mapping.backing() {
        Backing::BlockDevice | Backing::File => Ok(mapping),
        Backing::Ram | Backing::Shmem => Err(EINVAL),
    }
}

/// `swapon`. EPERM without the right, EBUSY if it is in use, EINVAL if it is no swap area.
pub fn swapon(dentry: Arc<Dentry>, flags: u32) -> Result<()> {
    check_right()?;
    // What is not in use now may be when its header has been read.
    let _one_at_a_time = SWAPON.lock();
    if flags & !(SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK | SWAP_FLAG_DISCARD_ALL) != 0 {
        return Err(EINVAL);
    }
    let name = alloc::string::String::from_utf8_lossy(&dentry.path()).into_owned();
    let file = File::open(dentry, o::RDWR)?;
    let mapping = swap_mapping(&file)?;
    let in_use =
        |info: &Option<Arc<SwapInfo>>| info.as_ref().is_some_and(|i| Arc::ptr_eq(i.file.inode(), file.inode()));
    if SWAP_INFO.lock().iter().any(in_use) {
        return Err(EBUSY);
    }
    let ops = mapping.ops().cloned().ok_or(EINVAL)?;
    // What a cache has of it would hide what goes to the device from now on.
    mapping.sync()?;
    let header = read_header(&*ops, &name)?;
    let file_pages = (mapping.size() / u64::from(PAGE_SIZE)).min(u64::from(MAX_SLOTS)) as u32;
    if header.last_page >= file_pages {
        pr_info!("Swap area shorter than signature indicates");
        return Err(EINVAL);
    }
    let map = SwapMap::new(header.last_page + 1, &header.bad).ok_or(ENOMEM)?;
    let usable = map.usable();
    if usable == 0 {
        pr_info!("Empty swap-file");
        return Err(EINVAL);
    }
    let prio = match flags & SWAP_FLAG_PREFER {
        0 => LEAST_PRIORITY.fetch_sub(1, Relaxed) - 1,
        _ => (flags & SWAP_FLAG_PRIO_MASK) as i32,
    };
    let info = Arc::new(SwapInfo { file, ops, map: SpinLock::new(map), prio, closing: false.into() });
    let kind = {
        let mut infos = SWAP_INFO.lock();
        let kind = infos.iter().position(Option::is_none).ok_or(EPERM)?;
        infos[kind] = Some(info.clone());
        kind
    };
    publish(kind as u32, info.record());
    let kb = PAGE_SIZE / 1024;
    pr_info!("Adding {}k swap on {name}.  Priority:{prio} extents:1 across:{}k FS", usable * kb, usable * kb);
    Ok(())
}

/// `swapoff`: brings everything back and closes the area. EINVAL if it is not in use, or being
/// turned off; ENOMEM if what is in it does not fit into memory; EINTR when a signal comes, and
/// EIO if a page cannot be read: then it stays in use.
pub fn swapoff(dentry: &Arc<Dentry>) -> Result<()> {
    check_right()?;
    let (kind, info) = {
        let infos = SWAP_INFO.lock();
        let found = (0..).zip(infos.iter()).find_map(|(kind, info)| {
            let info = info.as_ref().filter(|info| Arc::ptr_eq(info.file.inode(), dentry.inode()))?;
            Some((kind as u32, info.clone()))
        });
        found.ok_or(EINVAL)?
    };
    if info.closing.swap(true, Relaxed) {
        return Err(EINVAL);
    }
    let in_use = info.map.lock().in_use();
    let droppable = vmstat::read(Item::nr_inactive_file) + vmstat::read(Item::nr_active_file);
    let elsewhere = nr_free_swap_pages() - info.map.lock().usable().saturating_sub(in_use).min(nr_free_swap_pages());
    let result = if in_use > totals().free + droppable + elsewhere { Err(ENOMEM) } else { try_to_unuse(kind, &info) };
    if let Err(error) = result {
        info.closing.store(false, Relaxed);
        return Err(error);
    }
    SWAP_INFO.lock()[kind as usize] = None;
    publish(kind, SwapRecord::NONE);
    Ok(())
}

/// `try_to_unuse`: every process and every file of shared memory takes back what it has in
/// the area; then the swap cache lets go of it. EINTR when a signal comes.
fn try_to_unuse(kind: u32, info: &SwapInfo) -> Result<()> {
    while info.map.lock().in_use() > 0 {
        if task::signal::pending() {
            return Err(EINTR);
        }
        shmem::unuse_all(kind)?;
        for leader in task::pid::select(TaskStruct::is_leader) {
            let Some(mm) = task::mm_of_process(&leader) else { continue };
            unuse_mm(&mm, kind)?;
            if task::signal::pending() {
                return Err(EINTR);
            }
        }
        let mut at = 0;
        loop {
            let Some(slot) = info.map.lock().next_used(at) else { break };
            let entry = SwapEntry::new(kind, slot);
            if page_swapcount(entry) == 0
                && let Some(page) = lookup_swap_cache(entry)
            {
                super::page_lock::lock_page(page);
                super::page_lock::wait_on_page_writeback(page);
                try_to_free_swap(page);
                unlock_page(page);
                put_page(page);
            }
            at = slot + 1;
        }
        sched::schedule();
    }
    Ok(())
}

/// Only the superuser may turn swap on and off.
fn check_right() -> Result<()> {
    if current().cred.lock().euid == 0 { Ok(()) } else { Err(EPERM) }
}
