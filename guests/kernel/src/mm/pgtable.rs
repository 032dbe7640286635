//! The page tables of a process.
#![allow(unsafe_code)]

use x86::{LinearAddr, Pde, Pte};

use super::{
    Gfp, PAGE_SHIFT, PAGE_SIZE, Page,
    gfp::GFP_KERNEL,
    page::{pfn_to_page_checked, pg, virt_to_page},
    page_alloc::{__free_pages, alloc_page},
    pgd_list, vmstat,
};
use crate::arch::{
    PAGE_OFFSET, TASK_SIZE, cpu,
    paging::{copy_kernel_entries, flush_tlb_local, flush_tlb_one, swapper_pg_dir_phys},
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
/// Above this many pages a flush reloads CR3 (`tlb_single_page_flush_ceiling`).
const SINGLE_PAGE_FLUSH_CEILING: u32 = 33;

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
    active: bool,
}

impl TlbFlush {
    /// Forgets the old translation now.
    pub fn now(self) {
        if self.active {
            flush_tlb_one(self.addr);
        }
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
    pub fn new() -> Option<Self> {
        let page = alloc_page(GFP_KERNEL | Gfp::ZERO)?;
        let directory = page.address()?;
        page.set(pg::TABLE);
        // SAFETY: a fresh page.
        unsafe { copy_kernel_entries(directory) };
        pgd_list::add(page);
        Some(PageDirectory { tables: PageTables { directory }, nr_tables: 0 })
    }

    /// Bytes of the page tables, as `VmPTE` counts them.
    pub fn table_bytes(&self) -> u32 {
        self.nr_tables * PAGE_SIZE
    }
}

impl PageTables {
    /// The tables of the directory at a physical address.
    ///
    /// # Safety
    /// It is a page directory, and stays one while this is used.
    pub unsafe fn of(directory_phys: u32) -> Self {
        PageTables { directory: PAGE_OFFSET + directory_phys }
    }

    /// What CR3 holds while this directory is in use.
    pub fn phys(&self) -> u32 {
        self.directory - PAGE_OFFSET
    }

    /// Whether this CPU uses the directory.
    pub fn is_active(&self) -> bool {
        cpu::read_cr3() == self.phys()
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

    /// Changes the entry of a huge page, or makes one where nothing is.
    pub fn set_huge(&self, addr: u32, pde: Pde) -> TlbFlush {
        assert!(!self.has_table(addr), "a huge page at {addr:#x} would hide a table");
        // SAFETY: an entry of our directory that names no table.
        unsafe { self.pde(addr).write_volatile(pde) };
        TlbFlush { addr, active: self.is_active() }
    }

    /// Empties the entry of a huge page, keeping what the CPU noted in it.
    pub fn take_huge(&self, addr: u32) -> (Pde, TlbFlush) {
        let old = self.read_pde(addr);
        (old, self.set_huge(addr, Pde(0)))
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

    /// Changes the entry of a page that has a table.
    pub fn set(&self, addr: u32, pte: Pte) -> TlbFlush {
        let at = self.pte(addr).expect("alloc_table comes before set");
        // SAFETY: an entry of our table.
        unsafe { at.write_volatile(pte) };
        TlbFlush { addr, active: self.is_active() }
    }

    /// Empties the entry of a page, keeping what the CPU noted in it.
    pub fn take(&self, addr: u32) -> (Pte, TlbFlush) {
        let old = self.get(addr);
        (old, self.set(addr, Pte(0)))
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

    /// This CPU forgets what it holds of a range.
    pub fn flush_range(&self, start: u32, end: u32) {
        if !self.is_active() {
            return;
        }
        if (end - start) >> PAGE_SHIFT > SINGLE_PAGE_FLUSH_CEILING {
            flush_tlb_local();
        } else {
            (start..end).step_by(PAGE_SIZE as usize).for_each(flush_tlb_one);
        }
    }

    /// Puts the directory into CR3.
    pub fn activate(&self) {
        if !self.is_active() {
            // SAFETY: the directory maps the kernel.
            unsafe { cpu::load_cr3(self.phys()) };
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
        let Some(first) = self.pte(addr & !(PGDIR_SIZE - 1)) else { return };
        // SAFETY: an entry of our directory; the flush drops what CPUs cached of it.
        unsafe { self.pde(addr).write_volatile(Pde(0)) };
        if self.is_active() {
            flush_tlb_one(addr);
        }
        let page = virt_to_page(first as u32);
        page.clear(pg::TABLE);
        __free_pages(page, 0);
        self.nr_tables -= 1;
        vmstat::add(vmstat::Item::nr_page_table_pages, -1);
    }
}

impl Drop for PageDirectory {
    fn drop(&mut self) {
        if self.is_active() {
            // SAFETY: the kernel's own directory.
            unsafe { cpu::load_cr3(swapper_pg_dir_phys()) };
        }
        let mut addr = 0;
        while let Some(at) = self.next_with_table(addr, TASK_SIZE) {
            self.free_table(at);
            addr = at;
        }
        let page = virt_to_page(self.directory);
        pgd_list::remove(page);
        page.clear(pg::TABLE);
        __free_pages(page, 0);
    }
}
