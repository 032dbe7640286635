//! Page cache, reverse mapping, reclaim and swap, on devices that lie in memory and fail
//! when they are told to.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use abi::{
    errno::{EIO, Result},
    stat::mode,
};

use crate::{
    fs::{Dentry, File, FileOps, Inode, InodeOps, SuperBlock, inode::Attr},
    mm::{
        MmRef, PAGE_SIZE, Page,
        filemap::{AddressSpace, AddressSpaceOps, Backing},
        highmem::kmap_local,
        madvise::do_madvise,
        mmap::{do_mmap, map, prot},
        page_alloc::totals,
        page_writeback::drop_pagecache,
        remote::{read_remote_vm, write_remote_vm},
        swapfile::{self, nr_free_swap_pages},
        vmstat::{self, Item},
    },
    sync::SpinLock,
};

/// Pages of a device.
const DEVICE_PAGES: u32 = 300;
const MADV_PAGEOUT: u32 = 21;

/// A device in memory.
struct RamDevice {
    pages: SpinLock<Vec<Box<[u8]>>>,
    reads: AtomicU32,
    writes: AtomicU32,
    fails: AtomicBool,
}

impl RamDevice {
    fn new() -> Arc<Self> {
        let page = || alloc::vec![0u8; PAGE_SIZE as usize].into_boxed_slice();
        let pages = (0..DEVICE_PAGES).map(|_| page()).collect();
        let (reads, writes, fails) = (AtomicU32::new(0), AtomicU32::new(0), AtomicBool::new(false));
        Arc::new(RamDevice { pages: SpinLock::new(pages), reads, writes, fails })
    }

    fn check(&self, counter: &AtomicU32) -> Result<()> {
        counter.fetch_add(1, Relaxed);
        if self.fails.load(Relaxed) { Err(EIO) } else { Ok(()) }
    }
}

impl AddressSpaceOps for RamDevice {
    fn read_folio(&self, index: u32, page: &'static Page) -> Result<()> {
        self.check(&self.reads)?;
        kmap_local(page).as_mut_slice().copy_from_slice(&self.pages.lock()[index as usize]);
        Ok(())
    }

    fn writepage(&self, index: u32, page: &'static Page) -> Result<()> {
        self.check(&self.writes)?;
        self.pages.lock()[index as usize].copy_from_slice(kmap_local(page).as_slice());
        Ok(())
    }
}

/// A file whose pages are a device's.
struct DeviceFile(Arc<AddressSpace>);

impl FileOps for DeviceFile {
    fn mapping(&self, _file: &File) -> Option<Arc<AddressSpace>> {
        Some(self.0.clone())
    }
}

impl InodeOps for DeviceFile {
    fn open(&self, _inode: &Arc<Inode>, _flags: u32) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(DeviceFile(self.0.clone())))
    }
}

/// A name for a device.
fn dentry(mapping: &Arc<AddressSpace>) -> Arc<Dentry> {
    let sb = SuperBlock::new("selftest", 0, 0, 1);
    let attr = Attr { mode: mode::S_IFBLK | 0o600, nlink: 1, ..Attr::default() };
    let inode = Inode::new(&sb, attr, Some(mapping.clone()), Box::new(DeviceFile(mapping.clone())));
    Dentry::whole_name(b"/dev/selftest", inode, false)
}

/// A word that tells a page and a round from others.
fn pattern(page: u32, round: u32) -> [u8; 4] {
    (page.wrapping_mul(0x9e37_79b9) ^ round).to_le_bytes()
}

/// Runs all.
pub fn run() {
    let device = RamDevice::new();
    let mapping = Arc::new(AddressSpace::with_ops(Backing::BlockDevice, device.clone()));
    mapping.set_size(u64::from(DEVICE_PAGES * PAGE_SIZE)).expect("growth reads nothing");
    cache(&device, &mapping);
    drop_pagecache();
    swap(&device, &mapping);
}

/// What is written is read again after the cache has dropped it, and failures are told once.
fn cache(device: &RamDevice, mapping: &Arc<AddressSpace>) {
    for page in 0..64 {
        mapping.write(u64::from(page * PAGE_SIZE), &pattern(page, 1)).expect("a write");
    }
    assert_eq!(vmstat::read(Item::nr_dirty), 64);
    assert_eq!(device.writes.load(Relaxed), 0, "nothing is written before it must be");
    mapping.sync().expect("a sync");
    assert_eq!((vmstat::read(Item::nr_dirty), device.writes.load(Relaxed)), (0, 64));

    let dropped = drop_pagecache();
    assert!(dropped >= 64, "only {dropped} pages were dropped");
    let reads = device.reads.load(Relaxed);
    let mut word = [0; 4];
    for page in 0..64 {
        mapping.read(u64::from(page * PAGE_SIZE), &mut word).expect("a read");
        assert_eq!(word, pattern(page, 1));
    }
    assert!(device.reads.load(Relaxed) - reads >= 64);

    mapping.write(0, &pattern(0, 2)).expect("a write into memory");
    device.fails.store(true, Relaxed);
    assert_eq!(mapping.sync(), Err(EIO));
    assert_eq!(mapping.sync(), Ok(()), "a failure is told once");
    drop_pagecache();
    assert_eq!(mapping.read(u64::from(200 * PAGE_SIZE), &mut word), Err(EIO));
    device.fails.store(false, Relaxed);
    mapping.read(u64::from(5 * PAGE_SIZE), &mut word).expect("the device works again");
    assert_eq!(word, pattern(5, 1));
    mapping.set_size(PAGE_SIZE.into()).expect("a cut");
    assert!(mapping.find_get_page(5).is_none());
    mapping.set_size(u64::from(DEVICE_PAGES * PAGE_SIZE)).expect("growth reads nothing");
}

/// Anonymous and shared memory goes to swap and comes back, through `fork` too, and nothing
/// of it is left when the address spaces are gone.
fn swap(device: &RamDevice, mapping: &Arc<AddressSpace>) {
    {
        let mut pages = device.pages.lock();
        pages[0].fill(0);
        pages[0][1024..1028].copy_from_slice(&1u32.to_le_bytes());
        pages[0][1028..1032].copy_from_slice(&(DEVICE_PAGES - 1).to_le_bytes());
        let magic = PAGE_SIZE as usize - 10;
        pages[0][magic..].copy_from_slice(b"SWAPSPACE2");
    }
    let name = dentry(mapping);
    swapfile::swapon(name.clone(), 0).expect("a swap area");
    assert_eq!(swapfile::swapon(name.clone(), 0), Err(abi::errno::EBUSY));
    assert_eq!(nr_free_swap_pages(), DEVICE_PAGES - 1);
    let (free, out) = (totals().free, vmstat::read(Item::pswpout));

    for flags in [map::PRIVATE | map::ANONYMOUS, map::SHARED | map::ANONYMOUS] {
        let parent = MmRef::new().expect("an address space");
        const PAGES: u32 = 100;
        let at = do_mmap(&parent, 0, PAGES * PAGE_SIZE, prot::READ | prot::WRITE, flags, None, 0).expect("a mapping");
        fill(&parent, at, PAGES, 1);
        do_madvise(&parent, at, PAGES * PAGE_SIZE, MADV_PAGEOUT).expect("advice");
        assert_eq!(nr_free_swap_pages(), DEVICE_PAGES - 1 - PAGES, "every page has a slot");
        let private = flags & map::PRIVATE != 0;
        assert_eq!(parent.snapshot().swapents, if private { PAGES } else { 0 });

        let child = parent.dup().expect("a fork");
        let ins = vmstat::read(Item::pswpin);
        check(&parent, at, PAGES, 1);
        check(&child, at, PAGES, 1);
        assert_eq!(vmstat::read(Item::pswpin) - ins, PAGES, "both found the one page of the swap cache");
        fill(&child, at, PAGES / 2, 2);
        check(&parent, at, PAGES / 2, if private { 1 } else { 2 });
        check(&child, at, PAGES / 2, 2);

        // Two entries for one page: both become the same slot, and both find it again.
        for mm in [&parent, &child] {
            do_madvise(mm, at, PAGES * PAGE_SIZE, MADV_PAGEOUT).expect("advice");
        }
        drop(parent);
        check(&child, at, PAGES / 2, 2);
        drop(child);
        assert_eq!(nr_free_swap_pages(), DEVICE_PAGES - 1, "no slot is left");
    }
    assert!(vmstat::read(Item::pswpout) - out >= 200);
    assert_eq!(vmstat::read(Item::nr_swapcached), 0);
    let now = totals().free;
    assert!(now + 64 >= free, "{} pages are lost", free - now);

    // What is in swap when it is turned off comes back.
    let mm = MmRef::new().expect("an address space");
    let flags = map::PRIVATE | map::ANONYMOUS;
    let at = do_mmap(&mm, 0, 20 * PAGE_SIZE, prot::READ | prot::WRITE, flags, None, 0).expect("a mapping");
    fill(&mm, at, 20, 3);
    do_madvise(&mm, at, 20 * PAGE_SIZE, MADV_PAGEOUT).expect("advice");
    device.fails.store(true, Relaxed);
    let mut word = [0; 4];
    assert_eq!(read_remote_vm(&mm, at, &mut word, false), 0, "a page that cannot be read is an error");
    device.fails.store(false, Relaxed);
    drop(mm);
    swapfile::swapoff(&name).expect("an empty area is turned off");
    assert_eq!(vmstat::read(Item::nr_swap_total), 0);
}

fn fill(mm: &MmRef, at: u32, pages: u32, round: u32) {
    for page in 0..pages {
        assert_eq!(write_remote_vm(mm, at + page * PAGE_SIZE, &pattern(page, round), false), 4);
    }
}

fn check(mm: &MmRef, at: u32, pages: u32, round: u32) {
    let mut word = [0; 4];
    for page in 0..pages {
        assert_eq!(read_remote_vm(mm, at + page * PAGE_SIZE, &mut word, false), 4);
        assert_eq!(word, pattern(page, round), "page {page}");
    }
}
