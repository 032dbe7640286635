//! The page tables of a process.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use x86::{LinearAddr, Pde, Pte};

use super::{
    Gfp, PAGE_SHIFT, PAGE_SIZE, Page,
    gfp::GFP_KERNEL,
    page::{pfn_to_page_checked, pg, virt_to_page},
    page_alloc::{__free_pages, alloc_page},
    pgd_list, vmstat,
};
use crate::arch::{
    PAGE_OFFSET, TASK_SIZE,
    paging::copy_kernel_entries,
    tlb::{Reason, TlbContext, drop_context, flush_tlb_mm_range, flush_tlb_page_here},
};

/// In an entry with P clear: the page is there, but nobody may touch it (`PROT_NONE`).
const PROTNONE: u32 = Pte::G;
/// What [`rights`] and [`RIGHTS_NONE`] are made of, in the entry of a huge page.
pub const HUGE_RIGHTS: u32 = Pde::P | Pde::RW | Pde::US | PROTNONE;
/// In an entry: the frame is mapped without being counted, whatever its descriptor says
/// (`_PAGE_SPECIAL`; bits 11:9 are software's).
const SPECIAL: u32 = 1 << 9;
/// Bytes that one page table maps.
pub const PGDIR_SIZE: u32 = 4 << 20;
/// In an entry with P clear and [`PROTNONE`] set: the page is being moved, and will be accessible
/// again (`migration entry`).
const MOVING: u32 = 1 << 10;

/// What software asks of an entry.
pub trait PteExt {
    /// No page, no swap entry.
    fn is_empty(&self) -> bool;
    /// A page is there, accessible or not.
    fn maps_page(self) -> bool;
    /// The frame is mapped without being counted.
    fn is_special(&self) -> bool;
    /// The frame's descriptor, if it has one and the entry is counted there
    /// (`vm_normal_page`).
    fn page(self) -> Option<&'static Page>;
    /// The same frame and A and D bits with other rights.
    fn with_rights(self, rights: u32) -> Pte;
}

impl PteExt for Pte {
    fn is_empty(&self) -> bool {
        self.0 == 0
    }
    fn maps_page(self) -> bool {
        self.0 & (Pte::P | PROTNONE) != 0
    }
    fn is_special(&self) -> bool {
        self.maps_page() && self.0 & SPECIAL != 0
    }
    fn page(self) -> Option<&'static Page> {
        if self.maps_page() && !self.is_special() { pfn_to_page_checked(self.frame().frame()) } else { None }
    }
    fn with_rights(self, rights: u32) -> Pte {
        Pte(self.0 & (!(PAGE_SIZE - 1) | Pte::A | Pte::D | Pte::PCD | Pte::PWT | SPECIAL) | rights)
    }
}

/// The rights bits of an accessible page.
pub fn rights(writable: bool) -> u32 {
    Pte::P | Pte::US | if writable { Pte::RW } else { 0 }
}

/// The rights bits of a `PROT_NONE` page.
pub const RIGHTS_NONE: u32 = PROTNONE;

/// The entry for a frame that is mapped without being counted.
pub fn mk_special_pte(pfn: u32, rights: u32) -> Pte {
    Pte(mk_pte(pfn, rights).0 | SPECIAL)
}

/// The entry for a frame.
pub fn mk_pte(pfn: u32, rights: u32) -> Pte {
    Pte(pfn << PAGE_SHIFT | Pte::A | rights)
}

/// A changed entry whose old translation this or another CPU may still hold.
#[must_use = "flush, or say why no CPU can hold the old translation"]
pub struct TlbFlush {
    addr: u32,
    tlb: &'static TlbContext,
}

impl TlbFlush {
    /// All CPUs forget the old translation now.
    pub fn now(self) {
        flush_tlb_mm_range(self.tlb, self.addr, self.addr + PAGE_SIZE, Reason::Page);
    }

    /// This CPU forgets the old translation; another may go on with it. It gained rights, or lost
    /// its mark of use, which another CPU's next use need not set again.
    pub fn here(self) {
        flush_tlb_page_here(self.tlb, self.addr);
    }

    /// The entry had none, or only gained rights: CPUs hold no translation, or one whose
    /// violation makes them look again.
    pub fn not_needed(self) {}

    /// A flush of the whole range follows before the frame is given away.
    pub fn with_range(self) {}
}

/// The tables of an address space, by whoever may look at them or change entries that are
/// there: the owner, and the reverse mapping.
#[derive(Clone, Copy)]
pub struct PageTables {
    /// Address in the direct map.
    directory: u32,
    /// Which CPUs use them.
    tlb: &'static TlbContext,
}

/// The entry of a page in a table.
pub struct Entry<'a> {
    word: &'a AtomicU32,
    flush: TlbFlush,
}

impl Entry<'_> {
    /// The page.
    pub fn addr(&self) -> u32 {
        self.flush.addr
    }

    /// What it is now.
    pub fn get(&self) -> Pte {
        Pte(self.word.load(Ordering::Relaxed))
    }

    /// Changes it, keeping what CPUs note in it; returns what it was.
    pub fn update(&self, change: impl Fn(Pte) -> Pte) -> (Pte, TlbFlush) {
        (Pte(update(self.word, |old| change(Pte(old)).0)), TlbFlush { ..self.flush })
    }
}

/// A page directory and its tables.
pub struct PageDirectory {
    tables: PageTables,
    nr_tables: u32,
}

impl core::ops::Deref for PageDirectory {
    type Target = PageTables;
    fn deref(&self) -> &PageTables {
        &self.tables
    }
}

impl PageDirectory {
    /// An empty user half under the kernel's half.
    ///
    /// # Safety
    /// `tlb` belongs to the directory alone, and outlasts it.
    pub unsafe fn new(tlb: *const TlbContext) -> Option<Self> {
        let page = alloc_page(GFP_KERNEL | Gfp::ZERO)?;
        let directory = page.address()?;
        page.set(pg::TABLE);
        // SAFETY: a fresh page.
        unsafe { copy_kernel_entries(directory) };
        pgd_list::add(page);
        // SAFETY: by the caller.
        let tlb = unsafe { &*tlb };
        Some(PageDirectory { tables: PageTables { directory, tlb }, nr_tables: 0 })
    }

    /// Bytes of the page tables, as `VmPTE` counts them.
    pub fn table_bytes(&self) -> u32 {
        self.nr_tables * PAGE_SIZE
    }
}

impl PageTables {
    /// What CR3 holds while this directory is in use.
    pub fn phys(&self) -> u32 {
        self.directory - PAGE_OFFSET
    }

    fn pde(&self, addr: u32) -> *mut Pde {
        assert!(addr < TASK_SIZE, "{addr:#x} is the kernel's");
        (self.directory + LinearAddr(addr).pde_index() * 4) as *mut Pde
    }

    fn read_pde(&self, addr: u32) -> Pde {
        // SAFETY: an entry of our directory; the CPU may set A and D in it at any time.
        unsafe { self.pde(addr).read_volatile() }
    }

    fn pte(&self, addr: u32) -> Option<*mut Pte> {
        let pde = self.read_pde(addr);
        let has_table = pde.present() && !pde.large();
        has_table.then(|| (PAGE_OFFSET + pde.table().0 as u32 + LinearAddr(addr).pte_index() * 4) as *mut Pte)
    }

    /// The entry of a page; none where there is no table. A page inside a huge one has the
    /// entry that a table would have for it.
    pub fn get(&self, addr: u32) -> Pte {
        match self.pte(addr) {
            // SAFETY: an entry of our table; the CPU may set A and D in it at any time.
            Some(at) => unsafe { at.read_volatile() },
            None => self.huge(addr).map_or(Pte(0), |pde| {
                let inside = addr & (PGDIR_SIZE - 1) & !(PAGE_SIZE - 1);
                Pte(pde.0 & !Pde::PS | inside)
            }),
        }
    }

    /// The entry of the huge page around an address, accessible or not, if there is one.
    pub fn huge(&self, addr: u32) -> Option<Pde> {
        Some(self.read_pde(addr)).filter(|pde| pde.large())
    }

    /// The entry of a huge page for changes: another CPU may set A and D in it at any time.
    fn huge_word(&self, addr: u32) -> &AtomicU32 {
        assert!(!self.has_table(addr), "a huge page at {addr:#x} would hide a table");
        // SAFETY: an entry of our directory that names no table; processors change it atomically.
        unsafe { AtomicU32::from_ptr(self.pde(addr).cast()) }
    }

    fn flush_of(&self, addr: u32) -> TlbFlush {
        TlbFlush { addr, tlb: self.tlb }
    }

    /// Makes the entry of a huge page where nothing is.
    pub fn set_huge(&self, addr: u32, pde: Pde) -> TlbFlush {
        self.huge_word(addr).store(pde.0, Ordering::Release);
        self.flush_of(addr)
    }

    /// Changes the entry of a huge page; returns what it was.
    pub fn update_huge(&self, addr: u32, change: impl Fn(Pde) -> Pde) -> (Pde, TlbFlush) {
        (Pde(update(self.huge_word(addr), |old| change(Pde(old)).0)), self.flush_of(addr))
    }

    /// Empties the entry of a huge page, keeping what the CPUs noted in it.
    pub fn take_huge(&self, addr: u32) -> (Pde, TlbFlush) {
        (Pde(self.huge_word(addr).swap(0, Ordering::AcqRel)), self.flush_of(addr))
    }

    /// The next address at or after `addr`, below `end`, inside a huge page.
    pub fn next_huge(&self, mut addr: u32, end: u32) -> Option<u32> {
        while addr < end {
            if self.huge(addr).is_some() {
                return Some(addr);
            }
            addr = (addr & !(PGDIR_SIZE - 1)) + PGDIR_SIZE;
        }
        None
    }

    /// Whether the page has a table.
    pub fn has_table(&self, addr: u32) -> bool {
        self.pte(addr).is_some()
    }

    /// The entry of a page for changes: another CPU may set A and D in it at any time.
    fn word(&self, addr: u32) -> &AtomicU32 {
        let at = self.pte(addr).expect("alloc_table comes before set");
        // SAFETY: an entry of our table; processors change it atomically.
        unsafe { AtomicU32::from_ptr(at.cast()) }
    }

    /// The entries of a range inside one table, ascending.
    pub fn entries(&self, start: u32, end: u32) -> impl Iterator<Item = Entry<'_>> {
        assert!(start < end && start / PGDIR_SIZE == (end - 1) / PGDIR_SIZE, "a range of one table");
        let first = self.pte(start).expect("the range has a table");
        (start..end).step_by(PAGE_SIZE as usize).map(move |addr| {
            let at = first.wrapping_add(((addr - start) >> PAGE_SHIFT) as usize);
            // SAFETY: an entry of the table that `start` has, and so the whole range; processors change it atomically.
            Entry { word: unsafe { AtomicU32::from_ptr(at.cast()) }, flush: self.flush_of(addr) }
        })
    }

    /// Sets the entry of a page that has a table. What CPUs noted in an old one is lost.
    pub fn set(&self, addr: u32, pte: Pte) -> TlbFlush {
        self.word(addr).store(pte.0, Ordering::Release);
        self.flush_of(addr)
    }

    /// Replaces the entry of a page; returns what it was, with all that CPUs noted in it.
    pub fn replace(&self, addr: u32, pte: Pte) -> (Pte, TlbFlush) {
        (Pte(self.word(addr).swap(pte.0, Ordering::AcqRel)), self.flush_of(addr))
    }

    /// Changes the entry of a page, keeping what CPUs note in it; returns what it was.
    pub fn update(&self, addr: u32, change: impl Fn(Pte) -> Pte) -> (Pte, TlbFlush) {
        (Pte(update(self.word(addr), |old| change(Pte(old)).0)), self.flush_of(addr))
    }

    /// Empties the entry of a page, keeping what the CPUs noted in it.
    pub fn take(&self, addr: u32) -> (Pte, TlbFlush) {
        self.replace(addr, Pte(0))
    }

    /// Nobody gets at the page until [`Self::end_move`], though its entry still names it.
    pub fn begin_move(&self, addr: u32) -> TlbFlush {
        self.update(addr, |pte| if pte.present() { Pte(pte.0 & !Pte::P | PROTNONE | MOVING) } else { pte }).1
    }

    /// The page has moved to another frame.
    pub fn end_move(&self, addr: u32, phys: u32) {
        let moved = |pte: Pte| {
            let bits = pte.0 & (PAGE_SIZE - 1);
            let restored = if bits & MOVING != 0 { bits & !(PROTNONE | MOVING) | Pte::P } else { bits };
            Pte(restored | phys)
        };
        // Nobody holds a translation of the page.
        self.update(addr, moved).1.not_needed();
    }

    /// The next page at or after `addr`, below `end`, that has a table.
    pub fn next_with_table(&self, mut addr: u32, end: u32) -> Option<u32> {
        while addr < end {
            if self.has_table(addr) {
                return Some(addr);
            }
            addr = (addr & !(PGDIR_SIZE - 1)) + PGDIR_SIZE;
        }
        None
    }

    /// The first address from `start` on whose entry satisfies a condition.
    pub fn find_entry(&self, start: u32, is_it: impl Fn(Pte) -> bool) -> Option<u32> {
        let mut addr = start;
        while let Some(at) = self.next_with_table(addr, TASK_SIZE) {
            if is_it(self.get(at)) {
                return Some(at);
            }
            addr = at + PAGE_SIZE;
        }
        None
    }

    /// All CPUs forget what they hold of a range.
    pub fn flush_range(&self, start: u32, end: u32, reason: Reason) {
        if start < end {
            flush_tlb_mm_range(self.tlb, start, end, reason);
        }
    }
}

/// Changes a word that processors change, too.
fn update(word: &AtomicU32, change: impl Fn(u32) -> u32) -> u32 {
    let mut old = word.load(Ordering::Relaxed);
    loop {
        match word.compare_exchange_weak(old, change(old), Ordering::AcqRel, Ordering::Relaxed) {
            Ok(old) => return old,
            Err(now) => old = now,
        }
    }
}

impl PageDirectory {
    /// Makes sure that the page has a table; `false` without memory for one.
    pub fn alloc_table(&mut self, addr: u32) -> bool {
        if self.has_table(addr) {
            return true;
        }
        let Some(page) = alloc_page(GFP_KERNEL | Gfp::ZERO) else { return false };
        page.set(pg::TABLE);
        let entry = Pde(page.phys() | Pde::P | Pde::RW | Pde::US | Pde::A);
        // SAFETY: the entry was not present, so no CPU holds anything of it.
        unsafe { self.pde(addr).write_volatile(entry) };
        self.nr_tables += 1;
        vmstat::count(vmstat::Item::nr_page_table_pages);
        true
    }

    /// Gives back the table of the 4 MiB around `addr`, whose entries must all be empty.
    pub fn free_table(&mut self, addr: u32) {
        let mut tables = TableGather::new();
        tables.add(self, addr);
        tables.finish(self);
    }

    /// Takes the table of the 4 MiB around `addr` out of the directory. CPUs may still look into it.
    fn take_table(&mut self, addr: u32) -> Option<&'static Page> {
        let first = self.pte(addr & !(PGDIR_SIZE - 1))?;
        // SAFETY: an entry of our directory; a flush drops what CPUs cached of it.
        unsafe { self.pde(addr).write_volatile(Pde(0)) };
        self.nr_tables -= 1;
        vmstat::add(vmstat::Item::nr_page_table_pages, -1);
        Some(virt_to_page(first as u32))
    }
}

/// Page tables that have left a directory and go when no CPU looks into them any more.
pub struct TableGather {
    pages: [Option<&'static Page>; 16],
    len: usize,
    start: u32,
    end: u32,
}

impl TableGather {
    /// None yet.
    pub const fn new() -> Self {
        TableGather { pages: [None; 16], len: 0, start: !0, end: 0 }
    }

    /// The table of the 4 MiB around `addr`, whose entries must all be empty, goes.
    pub fn add(&mut self, pgd: &mut PageDirectory, addr: u32) {
        let Some(page) = pgd.take_table(addr) else { return };
        // INVLPG of any address drops all that the CPU cached of directories and tables
        // (SDM Vol. 3A, "Invalidation of TLBs and Paging-Structure Caches").
        (self.start, self.end) = (self.start.min(addr), self.end.max(addr + PAGE_SIZE));
        self.pages[self.len] = Some(page);
        self.len += 1;
        if self.len == self.pages.len() {
            self.finish(pgd);
        }
    }

    /// All CPUs forget the tables; then they are given back.
    pub fn finish(&mut self, pgd: &PageDirectory) {
        if self.len == 0 {
            return;
        }
        flush_tlb_mm_range(pgd.tlb, self.start, self.end, Reason::Tables);
        for page in self.pages[..self.len].iter_mut().filter_map(Option::take) {
            page.clear(pg::TABLE);
            __free_pages(page, 0);
        }
        (self.len, self.start, self.end) = (0, !0, 0);
    }
}

impl Default for TableGather {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PageDirectory {
    fn drop(&mut self) {
        drop_context(self.tlb);
        let (mut tables, mut addr) = (TableGather::new(), 0);
        while let Some(at) = self.next_with_table(addr, TASK_SIZE) {
            tables.add(self, at);
            addr = at;
        }
        tables.finish(self);
        let page = virt_to_page(self.directory);
        pgd_list::remove(page);
        page.clear(pg::TABLE);
        __free_pages(page, 0);
    }
}
