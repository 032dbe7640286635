//! `struct page`: one descriptor a frame.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

use abi::books::PageRecord;
pub use abi::books::pg;
use mm::list::Links;

use super::{
    PAGE_SHIFT, PAGE_SIZE,
    hugetlb::{self, HPAGE_PAGES},
};
use crate::arch::PAGE_OFFSET;

/// A frame's descriptor. Its layout is that of the record that the host reads.
#[repr(C)]
pub struct Page {
    /// `pg` bits and the zone.
    pub flags: AtomicU32,
    /// Users of the frame; 0 is free.
    pub refcount: AtomicU32,
    /// Page-table entries that map it, less one.
    pub mapcount: AtomicU32,
    /// The address space of a file page; the cache of a slab.
    pub mapping: AtomicU32,
    /// Offset in the file, in pages; the first free object of a slab.
    pub index: AtomicU32,
    /// List links, as frame numbers.
    pub lru: [AtomicU32; 2],
    /// Order of a free block or compound page; used objects of a slab.
    pub private: AtomicU32,
}

const _: () = assert!(size_of::<Page>() == size_of::<PageRecord>());
/// mapcount of a frame that no table maps.
pub const MAPCOUNT_NONE: u32 = !0;

static MEM_MAP: AtomicPtr<Page> = AtomicPtr::new(core::ptr::null_mut());
static MAX_PFN: AtomicU32 = AtomicU32::new(0);

/// Announces the array of descriptors.
///
/// # Safety
/// `map` holds `max_pfn` initialised descriptors and is never freed.
pub unsafe fn set_mem_map(map: *mut Page, max_pfn: u32) {
    MEM_MAP.store(map, Relaxed);
    MAX_PFN.store(max_pfn, Relaxed);
}

/// Frames that have a descriptor.
pub fn max_pfn() -> u32 {
    MAX_PFN.load(Relaxed)
}

/// The array of descriptors.
pub fn mem_map() -> &'static [Page] {
    // SAFETY: by `set_mem_map`; empty before.
    unsafe {
        match MEM_MAP.load(Relaxed) {
            map if map.is_null() => &[],
            map => core::slice::from_raw_parts(map, max_pfn() as usize),
        }
    }
}

/// The descriptors for the lists that are linked through them.
pub struct MemMap(&'static [Page]);

impl MemMap {
    /// All descriptors, as they are now.
    pub fn get() -> Self {
        MemMap(mem_map())
    }

    /// The array.
    pub fn pages(&self) -> &'static [Page] {
        self.0
    }
}

impl Links for MemMap {
    fn links(&self, pfn: u32) -> [u32; 2] {
        let lru = &self.0[pfn as usize].lru;
        [lru[0].load(Relaxed), lru[1].load(Relaxed)]
    }
    fn set_links(&mut self, pfn: u32, links: [u32; 2]) {
        let lru = &self.0[pfn as usize].lru;
        lru[0].store(links[0], Relaxed);
        lru[1].store(links[1], Relaxed);
    }
}

/// The descriptor of a frame; `None` beyond memory.
pub fn pfn_to_page_checked(pfn: u32) -> Option<&'static Page> {
    mem_map().get(pfn as usize)
}

/// The descriptor of a frame of RAM.
#[track_caller]
pub fn pfn_to_page(pfn: u32) -> &'static Page {
    &mem_map()[pfn as usize]
}

/// The descriptor of the frame at an address in the direct map.
pub fn virt_to_page(addr: u32) -> &'static Page {
    pfn_to_page((addr - PAGE_OFFSET) >> PAGE_SHIFT)
}

impl Page {
    /// The frame's number.
    pub fn pfn(&self) -> u32 {
        ((&raw const *self) as u32 - MEM_MAP.load(Relaxed) as u32) / size_of::<Page>() as u32
    }

    /// The frame's physical address.
    pub fn phys(&self) -> u32 {
        self.pfn() << PAGE_SHIFT
    }

    /// The frame's address in the direct map; `None` in high memory.
    pub fn address(&self) -> Option<u32> {
        (self.pfn() < super::boot::max_low_pfn()).then(|| PAGE_OFFSET + self.phys())
    }

    /// The number of the frame's zone.
    pub fn zone(&self) -> usize {
        (self.flags.load(Relaxed) >> pg::ZONE_SHIFT) as usize
    }

    /// Whether all of `bits` are set.
    pub fn is(&self, bits: u32) -> bool {
        self.flags.load(Relaxed) & bits == bits
    }

    /// A copy of the descriptor.
    pub fn snapshot(&self) -> PageRecord {
        PageRecord {
            flags: self.flags.load(Relaxed),
            refcount: self.refcount.load(Relaxed),
            mapcount: self.mapcount.load(Relaxed),
            mapping: self.mapping.load(Relaxed),
            index: self.index.load(Relaxed),
            lru: self.lru.each_ref().map(|link| link.load(Relaxed)),
            private: self.private.load(Relaxed),
        }
    }

    /// Sets flag bits.
    pub fn set(&self, bits: u32) {
        self.flags.fetch_or(bits, Relaxed);
    }

    /// Clears flag bits.
    pub fn clear(&self, bits: u32) {
        self.flags.fetch_and(!bits, Relaxed);
    }

    /// Sets one flag bit and says whether it was set before.
    pub fn test_set(&self, bit: u32) -> bool {
        self.flags.fetch_or(bit, Relaxed) & bit != 0
    }

    /// Clears one flag bit and says whether it was set before.
    pub fn test_clear(&self, bit: u32) -> bool {
        self.flags.fetch_and(!bit, Relaxed) & bit != 0
    }

    /// How many use the frame.
    pub fn count(&self) -> u32 {
        self.refcount.load(Relaxed)
    }

    /// How many page-table entries map it.
    pub fn mapcount(&self) -> u32 {
        self.mapcount.load(Relaxed).wrapping_add(1)
    }

    /// One more page-table entry maps it.
    pub fn add_rmap(&self) {
        self.mapcount.fetch_add(1, Relaxed);
    }

    /// One page-table entry less maps it.
    pub fn remove_rmap(&self) {
        self.mapcount.fetch_sub(1, Relaxed);
    }
}

/// `compound_head`: the frame that counts the users and entries of a page: of a huge page its
/// first.
pub fn compound_head(page: &'static Page) -> &'static Page {
    if page.is(pg::HUGETLB) { pfn_to_page(page.pfn() & !(HPAGE_PAGES - 1)) } else { page }
}

/// One more user.
pub fn get_page(page: &'static Page) -> &'static Page {
    compound_head(page).refcount.fetch_add(1, Relaxed);
    page
}

/// One user less; the last gives the frame back.
pub fn put_page(page: &'static Page) {
    let page = compound_head(page);
    let before = page.refcount.fetch_sub(1, Relaxed);
    assert!(before != 0, "put_page: frame {:#x} has no user", page.pfn());
    if before == 1 && page.is(pg::HUGETLB) {
        hugetlb::free_huge_page(page);
    } else if before == 1 {
        super::swap::leave_lists(page);
        let order = if page.is(pg::HEAD) { page.private.load(Relaxed) as u8 } else { 0 };
        super::page_alloc::free_unused(page, order);
    }
}

/// Zeroes a frame, wherever it lies.
pub fn clear_highpage(page: &'static Page) {
    super::highmem::kmap_local(page).write_bytes(0);
}

/// Copies a frame.
pub fn copy_highpage(to: &'static Page, from: &'static Page) {
    let (mut to, from) = (super::highmem::kmap_local(to), super::highmem::kmap_local(from));
    to.as_mut_slice().copy_from_slice(from.as_slice());
}

const _: () = assert!(PAGE_SIZE == 4096);
