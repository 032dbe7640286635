//! The lists of the page replacement: inactive and active, anonymous and file, and those
//! that cannot be reclaimed. (Linux keeps this in a file of the same name, which is older
//! than swapping of single pages.)

use mm::list::PfnList;

use super::{
    Page,
    filemap::Backing,
    page::{MemMap, get_page, pfn_to_page, pg, put_page},
    vmstat::{self, Item},
};
use crate::sync::SpinLock;

/// `enum lru_list`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "Linux's names")]
pub enum Lru {
    InactiveAnon,
    ActiveAnon,
    InactiveFile,
    ActiveFile,
    Unevictable,
}

/// How many there are.
pub const NR_LRU_LISTS: usize = 5;

impl Lru {
    /// Where a page belongs by its flags.
    pub fn of(page: &Page) -> Lru {
        match (page.is(pg::SWAPBACKED), page.is(pg::ACTIVE)) {
            _ if page.is(pg::UNEVICTABLE) => Lru::Unevictable,
            (true, false) => Lru::InactiveAnon,
            (true, true) => Lru::ActiveAnon,
            (false, false) => Lru::InactiveFile,
            (false, true) => Lru::ActiveFile,
        }
    }

    /// What counts its pages.
    pub fn item(self) -> Item {
        match self {
            Lru::InactiveAnon => Item::nr_inactive_anon,
            Lru::ActiveAnon => Item::nr_active_anon,
            Lru::InactiveFile => Item::nr_inactive_file,
            Lru::ActiveFile => Item::nr_active_file,
            Lru::Unevictable => Item::nr_unevictable,
        }
    }

    /// Pages on it.
    pub fn size(self) -> u32 {
        vmstat::read(self.item())
    }
}

/// `struct lruvec`.
static LRUVEC: SpinLock<[PfnList; NR_LRU_LISTS]> = SpinLock::new([PfnList::new(); NR_LRU_LISTS]);

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Used last.
    Head,
    /// Looked at next.
    Tail,
}

/// Puts a page that is on no list where its flags say.
pub fn lru_add(page: &'static Page, end: End) {
    let mut lists = LRUVEC.lock_irqsave();
    debug_assert!(!page.is(pg::LRU), "frame {:#x} is on a list", page.pfn());
    let lru = Lru::of(page);
    match end {
        End::Head => lists[lru as usize].push_head(&mut MemMap::get(), page.pfn()),
        End::Tail => lists[lru as usize].push_tail(&mut MemMap::get(), page.pfn()),
    }
    page.set(pg::LRU);
    vmstat::add(lru.item(), 1);
}

/// `lru_cache_add`: a page that is new in a cache or a page table.
pub fn lru_cache_add(page: &'static Page) {
    lru_add(page, End::Head);
}

/// Takes a page off its list, if it is on one: before it is freed, or to look at it alone.
/// Returns whether it was on one.
pub fn lru_del(page: &Page) -> bool {
    let mut lists = LRUVEC.lock_irqsave();
    if !page.is(pg::LRU) {
        return false;
    }
    let lru = Lru::of(page);
    lists[lru as usize].remove(&mut MemMap::get(), page.pfn());
    page.clear(pg::LRU);
    vmstat::add(lru.item(), -1);
    true
}

/// The last user of a page has gone: it leaves its list, locked in memory or not.
pub fn leave_lists(page: &Page) {
    lru_del(page);
    if page.test_clear(pg::MLOCKED) {
        vmstat::add(Item::nr_mlock, -1);
    }
}

/// Changes flags of a page and moves it to the list that they mean, if it is on any.
fn relist(page: &'static Page, end: End, change: impl FnOnce(&Page)) {
    let was_listed = lru_del(page);
    change(page);
    if was_listed {
        lru_add(page, end);
    }
}

/// `mark_page_accessed`: a call of the system used the page. The first use marks it, the
/// second makes it active.
pub fn mark_page_accessed(page: &'static Page) {
    if page.is(pg::UNEVICTABLE) {
        return;
    }
    if !page.test_set(pg::REFERENCED) {
        return;
    }
    if !page.is(pg::ACTIVE) && page.is(pg::LRU) {
        relist(page, End::Head, |page| {
            page.set(pg::ACTIVE);
            page.clear(pg::REFERENCED);
        });
        vmstat::count(Item::pgactivate);
    }
}

/// The next page has been written and can go: it is looked at next.
pub fn rotate_reclaimable_page(page: &'static Page) {
    if !page.is(pg::UNEVICTABLE) && page.is(pg::LRU) {
        relist(page, End::Tail, |page| page.clear(pg::ACTIVE));
        vmstat::count(Item::pgrotated);
    }
}

/// A page of a locked area leaves the ordinary lists.
pub fn mlock_page(page: &'static Page) {
    if !page.test_set(pg::MLOCKED) {
        vmstat::count(Item::nr_mlock);
        vmstat::count(Item::unevictable_pgs_mlocked);
        relist(page, End::Head, |page| {
            page.clear(pg::ACTIVE);
            page.set(pg::UNEVICTABLE);
        });
    }
}

/// A page is unlocked. If another area keeps it locked, reclaim finds that and locks it
/// again.
pub fn munlock_page(page: &'static Page) {
    if page.test_clear(pg::MLOCKED) {
        vmstat::add(Item::nr_mlock, -1);
        vmstat::count(Item::unevictable_pgs_munlocked);
        if mapping_unevictable(page) {
            return;
        }
        relist(page, End::Head, |page| page.clear(pg::UNEVICTABLE));
        vmstat::count(Item::unevictable_pgs_rescued);
    }
}

/// `mapping_unevictable`: the page is of a file that has it nowhere else.
fn mapping_unevictable(page: &Page) -> bool {
    page.file_mapping().is_some_and(|mapping| mapping.backing() == Backing::Ram)
}

/// Pages for a closer look, off the lists and with one user more each.
pub type Batch = alloc::vec::Vec<&'static Page>;

/// `isolate_lru_pages`: takes up to `nr` pages from the old end of a list that lie in zone
/// `highest` or below. Others of the pages looked at go to the young end. Returns how many
/// were looked at.
pub fn isolate(lru: Lru, nr: u32, highest: usize, batch: &mut Batch) -> u32 {
    let mut lists = LRUVEC.lock_irqsave();
    let list = &mut lists[lru as usize];
    let (mut scanned, mut left) = (0, list.len());
    while scanned < nr && left > 0 {
        left -= 1;
        let Some(pfn) = list.pop_tail(&mut MemMap::get()) else { break };
        let page = pfn_to_page(pfn);
        if page.zone() > highest || page.count() == 0 {
            list.push_head(&mut MemMap::get(), pfn);
            vmstat::count([Item::pgskip_dma, Item::pgskip_normal, Item::pgskip_high][page.zone()]);
            continue;
        }
        scanned += 1;
        page.clear(pg::LRU);
        vmstat::add(lru.item(), -1);
        batch.push(get_page(page));
    }
    scanned
}

/// `putback_lru_page`: the look is over.
pub fn putback(page: &'static Page) {
    if page.count() > 1 {
        lru_add(page, End::Head);
    }
    put_page(page);
}
