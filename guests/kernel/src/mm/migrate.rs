//! Moving a page to another frame while programs go on using it.
//!
//! Nobody writes to the page in between: its entries are made inaccessible, and are gone from all
//! TLBs, before the copy. A CPU that faults on one meanwhile waits for the kernel lock, and finds
//! the new frame.

use core::{ops::ControlFlow, sync::atomic::Ordering::Relaxed};

use super::{
    Page,
    page::{MAPCOUNT_NONE, copy_highpage, pg, put_page},
    page_lock::{trylock_page, unlock_page},
    rmap::rmap_walk,
    swap::putback,
    swap_state,
    vmstat::{self, Item},
};

/// What the new frame takes over of the old one's flags.
const MOVED_FLAGS: u32 = pg::REFERENCED
    | pg::UPTODATE
    | pg::DIRTY
    | pg::ACTIVE
    | pg::WORKINGSET
    | pg::ERROR
    | pg::UNEVICTABLE
    | pg::SWAPCACHE
    | pg::MLOCKED
    | pg::SWAPBACKED
    | pg::ANON_EXCLUSIVE;

/// `migrate_folio`: moves a page that is off its list, with one user of the caller's, to a
/// fresh frame with one user. If it could, the old frame has been given up and the new one
/// is on a list; else nothing has changed, and `false`.
pub fn migrate_page(old: &'static Page, new: &'static Page) -> bool {
    if !trylock_page(old) {
        vmstat::count(Item::pgmigrate_fail);
        return false;
    }
    if !can_move(old) || !move_cache(old, new) {
        unlock_page(old);
        vmstat::count(Item::pgmigrate_fail);
        return false;
    }
    rmap_walk(old, |place| {
        place.tables.begin_move(place.addr).now();
        ControlFlow::Continue(())
    });
    copy_highpage(new, old);
    move_mappings(old, new);
    move_state(old, new);
    unlock_page(old);
    put_page(old);
    putback(new);
    vmstat::count(Item::pgmigrate_success);
    true
}

/// The users of a page that are known by name: its cache, its entries, and the caller.
fn known_users(page: &Page) -> u32 {
    1 + page.mapcount() + u32::from(has_cache(page))
}

fn has_cache(page: &Page) -> bool {
    page.is(pg::SWAPCACHE) || page.file_mapping().is_some()
}

fn can_move(page: &Page) -> bool {
    let has_owner = page.mapcount() != 0 || has_cache(page);
    has_owner && !page.is(pg::WRITEBACK) && page.count() == known_users(page)
}

/// The cache of the page has the new frame in its place.
fn move_cache(old: &'static Page, new: &'static Page) -> bool {
    if old.is(pg::SWAPCACHE) {
        return swap_state::replace(old, new);
    }
    old.file_mapping().is_none_or(|mapping| mapping.replace_page(old, new))
}

/// Every entry that maps the page maps the new frame, with the same rights and marks.
fn move_mappings(old: &'static Page, new: &'static Page) {
    let wanted = old.mapcount();
    let mut moved = 0;
    rmap_walk(old, |place| {
        place.tables.end_move(place.addr, new.phys());
        moved += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(moved, wanted, "frame {:#x} is mapped where its reverse mapping does not lead", old.pfn());
}

/// The new frame is what the old one was.
fn move_state(old: &'static Page, new: &'static Page) {
    let users = known_users(old);
    for (from, to) in [(&old.mapping, &new.mapping), (&old.index, &new.index), (&old.private, &new.private)] {
        to.store(from.swap(0, Relaxed), Relaxed);
    }
    new.mapcount.store(old.mapcount.swap(MAPCOUNT_NONE, Relaxed), Relaxed);
    new.set(old.flags.load(Relaxed) & MOVED_FLAGS);
    old.clear(MOVED_FLAGS);
    new.refcount.store(users, Relaxed);
    old.refcount.store(1, Relaxed);
}
