//! From a frame to all page-table entries that map it.
//!
//! A file's page is found through the areas that map its file ([`AddressSpace`] keeps them).
//! An anonymous page names an [`AnonVma`]: the address spaces that can have it, which are
//! that in which it was made and all that come from it by `fork`. In each of them its place
//! follows from its index: areas keep the offset of a page in them (`pgoff`) when they are
//! split, joined, grown or moved.
//!
//! Page tables, areas and these lists are read here without `mmap_lock`, which the running
//! task or a sleeping one may hold. That is sound because kernel code is not preempted, and
//! no change of a tree of areas sleeps half-way: its allocations do not reclaim. Whoever
//! changes page tables must hold `mmap_lock`, and must know that a page may leave them
//! whenever he sleeps, as every allocation with `DIRECT_RECLAIM` may.
#![allow(unsafe_code)]

use alloc::{sync::Arc, vec::Vec};
use core::{
    ops::ControlFlow,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use abi::books::vm;
use x86::Pte;

use super::{
    PAGE_SHIFT, Page,
    filemap::AddressSpace,
    memory::unmap_page,
    mm_struct::{MmCounter, MmStruct},
    page::{pg, put_page},
    page_writeback::set_page_dirty,
    pgtable::{PageTables, PteExt},
    swap_state::entry_of,
    swapfile::swap_duplicate,
    swapops::Sharing,
    vma::VmArea,
};
use crate::sync::SpinLock;

pub use abi::books::PAGE_MAPPING_ANON;

/// `anon_vma`: the address spaces that may map the pages that name it.
#[derive(Default)]
pub struct AnonVma {
    members: SpinLock<Vec<NonNull<MmStruct>>>,
    /// Mapped pages that name it.
    pages: AtomicU32,
}

// SAFETY: the pointers are only followed while their owners are members, see `leave`.
unsafe impl Send for AnonVma {}
// SAFETY: as above.
unsafe impl Sync for AnonVma {}

impl AnonVma {
    fn join(&self, mm: &MmStruct) {
        self.members.lock().push(NonNull::from(mm));
    }

    fn leave(&self, mm: &MmStruct) {
        let mm = NonNull::from(mm);
        self.members.lock().retain(|member| *member != mm);
    }
}

/// The anonymous families of an address space: first the oldest ancestor's, last its own.
#[derive(Default)]
pub struct AnonVmas(Vec<Arc<AnonVma>>);

impl AnonVmas {
    /// For a new address space without ancestors.
    pub fn first(mm: &MmStruct) -> Self {
        let own = Arc::<AnonVma>::default();
        own.join(mm);
        AnonVmas(alloc::vec![own])
    }

    /// `anon_vma_fork`: for the child `mm`, which gets pages of its own and may map those of
    /// its ancestors. An ancestor between the oldest and the parent without a mapped page
    /// left is forgotten: what comes back from swap belongs to the oldest.
    pub fn fork(&self, mm: &MmStruct) -> Self {
        let last = self.0.len() - 1;
        let inherited = self.0.iter().enumerate();
        let inherited = inherited.filter(|(n, family)| *n == 0 || *n == last || family.pages.load(Relaxed) > 0);
        let mut families: Vec<_> = inherited.map(|(_, family)| family.clone()).collect();
        families.push(Arc::default());
        families.iter().for_each(|family| family.join(mm));
        AnonVmas(families)
    }

    /// The end of an address space that maps nothing any more.
    pub fn leave(&mut self, mm: &MmStruct) {
        core::mem::take(&mut self.0).iter().for_each(|family| family.leave(mm));
    }

    fn own(&self) -> Option<&Arc<AnonVma>> {
        self.0.last()
    }

    fn root(&self) -> Option<&Arc<AnonVma>> {
        self.0.first()
    }
}

/// Whose a page becomes that is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The address space's own: nobody else has the page.
    Exclusive,
    /// Others of its family may have it, or come to have it from swap.
    Family,
}

/// `page_set_anon_rmap`: names the family of an anonymous page and its index.
pub fn set_anon_rmap(page: &Page, families: &AnonVmas, owner: Owner, pgoff: u32) {
    let family = if owner == Owner::Exclusive { families.own() } else { families.root() };
    let Some(family) = family else { return };
    clear_anon_rmap(page);
    family.pages.fetch_add(1, Relaxed);
    page.mapping.store(Arc::as_ptr(family) as u32 | PAGE_MAPPING_ANON, Relaxed);
    page.index.store(pgoff, Relaxed);
    if owner == Owner::Exclusive {
        page.set(pg::ANON_EXCLUSIVE);
    }
}

/// No table maps the anonymous page any more: its family may go before the page does.
pub fn clear_anon_rmap(page: &Page) {
    let old = page.mapping.swap(PAGE_MAPPING_ANON, Relaxed) & !PAGE_MAPPING_ANON;
    if old != 0 {
        // SAFETY: a mapped page's family has a member, which keeps it.
        unsafe { &*(old as *const AnonVma) }.pages.fetch_sub(1, Relaxed);
    }
}

impl Page {
    /// Whether the page belongs to areas, not to a file.
    pub fn is_anon(&self) -> bool {
        self.mapping.load(Relaxed) & PAGE_MAPPING_ANON != 0
    }

    /// `page_mapping`: the file that the page is of. `None` for anonymous pages, and for
    /// pages that have been cut off their file.
    pub fn file_mapping(&self) -> Option<Arc<AddressSpace>> {
        let at = self.mapping.load(Relaxed);
        if at == 0 || at & PAGE_MAPPING_ANON != 0 || self.is(pg::SLAB) {
            return None;
        }
        // SAFETY: a page names its address space only as long as it is in its cache, and
        // every address space lives in an `Arc`.
        unsafe {
            Arc::increment_strong_count(at as *const AddressSpace);
            Some(Arc::from_raw(at as *const AddressSpace))
        }
    }
}

/// A place where a frame is mapped.
pub struct Place<'a> {
    /// The address space.
    pub mm: &'a MmStruct,
    /// The area.
    pub area: &'a VmArea,
    /// The page's address.
    pub addr: u32,
    /// The entry that maps it.
    pub pte: Pte,
    /// The tables that it stands in.
    pub tables: PageTables,
}

/// `rmap_walk`: calls `visit` with every place where a frame is mapped, until it says so.
/// `visit` must neither sleep nor change areas.
pub fn rmap_walk(page: &'static Page, mut visit: impl FnMut(&Place<'_>) -> ControlFlow<()>) {
    if page.mapcount() == 0 {
        return;
    }
    let index = page.index.load(Relaxed);
    let mapping = page.mapping.load(Relaxed);
    if mapping & PAGE_MAPPING_ANON == 0 {
        if let Some(mapping) = page.file_mapping() {
            mapping.for_each_area(|area| look(page, area, index, &mut visit));
        }
        return;
    }
    let family = (mapping & !PAGE_MAPPING_ANON) as *const AnonVma;
    if family.is_null() {
        return;
    }
    // SAFETY: a mapped page's family has a member, which keeps it.
    let family = unsafe { &*family };
    for member in family.members.lock().iter() {
        // SAFETY: members leave before they are freed.
        let mm = unsafe { member.as_ref() };
        if look_in(page, mm, index, &mut visit).is_break() {
            return;
        }
    }
}

/// Looks for an anonymous page in an address space: it is there once at most.
fn look_in(
    page: &'static Page,
    mm: &MmStruct,
    index: u32,
    visit: &mut impl FnMut(&Place<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    // SAFETY: no change of the tree is half done, see the head of this file.
    let areas = unsafe { mm.areas_unlocked() };
    // Most anonymous memory has never been moved: its index is its address.
    if index < crate::arch::TASK_SIZE >> PAGE_SHIFT
        && let Some(area) = areas.lookup(index << PAGE_SHIFT)
        && area.pgoff(index << PAGE_SHIFT) == index
        && maps(page, area, index).is_some()
    {
        return look(page, area, index, visit);
    }
    let found = areas.iter().find(|area| maps(page, area, index).is_some());
    found.map_or(ControlFlow::Continue(()), |area| look(page, area, index, visit))
}

/// Whether an area maps the page at its index; where, and by which entry.
fn maps(page: &Page, area: &VmArea, index: u32) -> Option<(u32, Pte, PageTables)> {
    let skip = index.checked_sub(area.record.pgoff).filter(|skip| *skip < area.pages())?;
    let addr = area.record.start + (skip << PAGE_SHIFT);
    let tables = area_mm(area).page_tables();
    let pte = tables.get(addr);
    (pte.maps_page() && pte.frame().frame() == page.pfn()).then_some((addr, pte, tables))
}

fn look(
    page: &'static Page,
    area: &VmArea,
    index: u32,
    visit: &mut impl FnMut(&Place<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match maps(page, area, index) {
        Some((addr, pte, tables)) => visit(&Place { mm: area_mm(area), area, addr, pte, tables }),
        None => ControlFlow::Continue(()),
    }
}

/// The address space of an area in a tree.
pub fn area_mm(area: &VmArea) -> &MmStruct {
    // SAFETY: the record is the first field of the address space, which outlives its areas.
    unsafe { &*(area.record.mm.0 as *const MmStruct) }
}

/// What the entries that map a page say of its use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Referenced {
    /// Entries through which it was used since the last look.
    pub ptes: u32,
    /// The flags of those areas together; `VM_LOCKED` of any area.
    pub vm_flags: u32,
}

/// `folio_referenced`: asks all entries that map the page whether it was used, and forgets
/// that.
pub fn page_referenced(page: &'static Page) -> Referenced {
    let mut referenced = Referenced::default();
    rmap_walk(page, |place| {
        if place.area.is(vm::LOCKED) {
            referenced.vm_flags |= vm::LOCKED;
            return ControlFlow::Break(());
        }
        if place.pte.accessed() {
            // The TLB must forget it, too, or the CPU would not set A again.
            place.tables.update(place.addr, |pte| Pte(pte.0 & !Pte::A)).1.here();
            referenced.ptes += 1;
            referenced.vm_flags |= place.area.record.flags;
        }
        ControlFlow::Continue(())
    });
    referenced
}

/// `page_mkclean`: the entries of shared areas that map the locked page lose their write
/// rights and forget that it was written. What they said is now the page's own mark.
pub fn page_mkclean(page: &'static Page) {
    rmap_walk(page, |place| {
        if place.area.is(vm::SHARED) && (place.pte.writable() || place.pte.dirty()) {
            let (old, flush) = place.tables.update(place.addr, |pte| Pte(pte.0 & !(Pte::RW | Pte::D)));
            flush.now();
            if old.dirty() {
                set_page_dirty(page);
            }
        }
        ControlFlow::Continue(())
    });
}

/// How `try_to_unmap` ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmapped {
    /// No table maps the page.
    All,
    /// An area is locked in memory.
    Locked,
    /// Something maps it that could not let go.
    Failed,
}

/// `try_to_unmap`: no table maps the locked page any more. Where it was anonymous there is
/// its slot in swap now, which it must have.
pub fn try_to_unmap(page: &'static Page) -> Unmapped {
    let mut result = Unmapped::All;
    let mut dropped = 0;
    rmap_walk(page, |place| {
        if place.area.is(vm::LOCKED) {
            result = Unmapped::Locked;
            return ControlFlow::Break(());
        }
        let mut instead = Pte(0);
        if page.is_anon() {
            let entry = entry_of(page);
            if !page.is(pg::SWAPCACHE) || !swap_duplicate(entry) {
                result = Unmapped::Failed;
                return ControlFlow::Break(());
            }
            let sharing = if page.is(pg::ANON_EXCLUSIVE) { Sharing::Exclusive } else { Sharing::Shared };
            instead = entry.pte(sharing);
            place.mm.add_mm_counter(MmCounter::Swap, 1);
        }
        let (old, flush) = place.tables.replace(place.addr, instead);
        flush.now();
        place.mm.update_hiwater_rss();
        unmap_page(place.mm, page, old);
        dropped += 1;
        ControlFlow::Continue(())
    });
    // The caller has a use, so that these are not the last.
    (0..dropped).for_each(|_| put_page(page));
    if result == Unmapped::All && page.mapcount() != 0 {
        result = Unmapped::Failed;
    }
    result
}

/// A locked page of a file is cut off it: no shared mapping has it any more.
pub fn unmap_page_everywhere(page: &'static Page) {
    let mut dropped = 0;
    rmap_walk(page, |place| {
        let (old, flush) = place.tables.take(place.addr);
        flush.now();
        unmap_page(place.mm, page, old);
        dropped += 1;
        ControlFlow::Continue(())
    });
    (0..dropped).for_each(|_| put_page(page));
}
