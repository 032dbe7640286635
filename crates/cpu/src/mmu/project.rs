//! Flat projections of the TLB, for accesses that need nothing but one load and one test.
//!
//! For each view (supervisor, user) there are two tables of 2^20 values, one a linear page:
//! `read` and `write`. A value of 0 means: take the slow path ([`super::access`]); any other
//! is the host address of the page minus its linear address, so that value plus linear
//! address is the host address. They are a cache of the TLB's list, never the truth, and may
//! be cleared at any time.
//!
//! `write` is 0 for a page that is not yet dirty, read-only, ROM, or watched, or whose frame
//! holds translated code. `read` is 0 for what is not held, belongs to a device, or is watched. A page
//! that can be written can be read.
//!
//! What is filled is listed, so that a flush costs what was filled; a frame knows its slots, so
//! that it can be revoked. A CPU that roams the whole address space holds at most 54 MiB here;
//! past [`Projection::CAP`] filled slots of a list its view is emptied.

use super::walk::PageSize;

/// Pages of the linear address space, and frames of the physical one below 4 GiB.
const PAGES: usize = 1 << 20;

/// The projections of one CPU's TLB.
#[derive(Default)]
pub(crate) struct Projection {
    supervisor: View,
    user: View,
    /// The A20 mask that the filled slots were made under.
    a20_mask: u32,
}

/// The tables that the next accesses use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ActiveTables {
    /// 2^20 values; never null.
    pub read: *const u64,
    /// 2^20 values; never null.
    pub write: *const u64,
}

/// A page to project.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// Linear page number.
    pub page: u32,
    /// Frame number, below 2^20.
    pub frame: u32,
    /// Host address of the frame.
    pub host: u64,
    /// Stores may go there without looking.
    pub writable: bool,
    /// Held as global: stays over a load of CR3.
    pub global: bool,
}

impl Projection {
    /// Filled slots of one list before its view is emptied.
    pub const CAP: usize = 1 << 17;

    /// The tables of a view. They stay where they are until the projection is dropped.
    pub fn active(&mut self, user: bool) -> ActiveTables {
        let view = self.view(user);
        view.ensure();
        ActiveTables { read: view.read.as_ptr(), write: view.write.as_ptr() }
    }

    /// What the tables say of linear page `page`: 0, or the host address of the page less the linear one.
    pub fn get(&self, user: bool, page: u32, write: bool) -> u64 {
        let view = if user { &self.user } else { &self.supervisor };
        let table = if write { &view.write } else { &view.read };
        table.get(page as usize).copied().unwrap_or(0)
    }

    /// Lets accesses of this view reach a page without looking.
    pub fn fill(&mut self, user: bool, slot: Slot) {
        self.view(user).fill(slot);
    }

    /// Takes both views' slots of the page, or of the 1024 pages of the large page, that holds linear page `page`.
    pub fn clear_page(&mut self, page: u32, size: PageSize) {
        let first = page & !(size.pages() - 1);
        for view in [&mut self.supervisor, &mut self.user] {
            view.clear_pages(first as usize, size.pages() as usize);
        }
    }

    /// Takes all slots but the global ones.
    pub fn clear_non_global(&mut self) {
        self.supervisor.clear_local();
        self.user.clear_local();
    }

    /// Takes the supervisor's slots: after a change of CR0.WP.
    pub fn clear_supervisor(&mut self) {
        self.supervisor.clear();
    }

    /// Takes everything.
    pub fn clear(&mut self) {
        self.supervisor.clear();
        self.user.clear();
    }

    /// Takes everything if address line 20 has changed since the slots were filled.
    pub fn check_a20(&mut self, mask: u32) {
        if mask != self.a20_mask {
            self.clear();
            self.a20_mask = mask;
        }
    }

    /// Takes the right to write to `frame` without looking from every page that maps it: it
    /// gains code.
    pub fn revoke_write(&mut self, frame: u32) {
        self.supervisor.revoke_write(frame);
        self.user.revoke_write(frame);
    }

    fn view(&mut self, user: bool) -> &mut View {
        if user { &mut self.user } else { &mut self.supervisor }
    }
}

/// The two tables of a view and the lists of what is filled in them. All vectors are empty or
/// full-sized; full-sized ones begin as untouched zero pages of the host.
#[derive(Default)]
struct View {
    read: Vec<u64>,
    write: Vec<u64>,
    local: Filled,
    global: Filled,
}

impl View {
    fn ensure(&mut self) {
        if self.read.is_empty() {
            self.read = vec![0; PAGES];
            self.write = vec![0; PAGES];
        }
    }

    fn fill(&mut self, slot: Slot) {
        self.ensure();
        let page = slot.page as usize;
        let value = slot.host.wrapping_sub(u64::from(slot.page) << 12);
        if self.read[page] != value {
            if self.local.list.len().max(self.global.list.len()) >= Projection::CAP {
                self.clear();
            }
            let filled = if slot.global { &mut self.global } else { &mut self.local };
            filled.push(slot.page, slot.frame);
        }
        self.read[page] = value;
        self.write[page] = if slot.writable { value } else { 0 };
    }

    /// Leaves stale slots in the lists: clearing them again does no harm, and the cap bounds them.
    fn clear_pages(&mut self, first: usize, count: usize) {
        if !self.read.is_empty() {
            self.read[first..first + count].fill(0);
            self.write[first..first + count].fill(0);
        }
    }

    fn clear_local(&mut self) {
        self.local.drain(|page| {
            self.read[page] = 0;
            self.write[page] = 0;
        });
    }

    fn clear(&mut self) {
        self.clear_local();
        self.global.drain(|page| {
            self.read[page] = 0;
            self.write[page] = 0;
        });
    }

    fn revoke_write(&mut self, frame: u32) {
        for filled in [&self.local, &self.global] {
            filled.pages_of(frame, |page| self.write[page] = 0);
        }
    }
}

/// Filled slots, chained by frame.
#[derive(Default)]
struct Filled {
    list: Vec<Link>,
    /// For each frame the place plus 1 of its last slot in `list`, or 0.
    head: Vec<u32>,
}

struct Link {
    page: u32,
    frame: u32,
    /// Place plus 1 of the slot of the same frame before this one, or 0.
    next: u32,
}

impl Filled {
    fn push(&mut self, page: u32, frame: u32) {
        if self.head.is_empty() {
            self.head = vec![0; PAGES];
        }
        let head = &mut self.head[frame as usize];
        self.list.push(Link { page, frame, next: *head });
        *head = self.list.len() as u32;
    }

    fn drain(&mut self, mut clear: impl FnMut(usize)) {
        for link in self.list.drain(..) {
            clear(link.page as usize);
            self.head[link.frame as usize] = 0;
        }
    }

    fn pages_of(&self, frame: u32, mut visit: impl FnMut(usize)) {
        let mut at = self.head.get(frame as usize).copied().unwrap_or(0);
        while at != 0 {
            let link = &self.list[at as usize - 1];
            visit(link.page as usize);
            at = link.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(page: u32, frame: u32) -> Slot {
        Slot { page, frame, host: 0x7000_0000_0000 + u64::from(frame) * 4096, writable: true, global: false }
    }

    fn value(p: &mut Projection, user: bool, page: usize) -> (u64, u64) {
        let view = p.view(user);
        view.ensure();
        (view.read[page], view.write[page])
    }

    #[test]
    fn a_filled_value_plus_the_linear_address_is_the_host_address() {
        let mut p = Projection::default();
        p.fill(false, slot(0xc0123, 5));
        let (read, write) = value(&mut p, false, 0xc0123);
        assert_eq!(read.wrapping_add(0xc012_3abc), 0x7000_0000_5abc);
        assert_eq!(read, write);
        assert_eq!(value(&mut p, true, 0xc0123), (0, 0), "the other view is untouched");
    }

    #[test]
    fn a_frame_that_gains_code_loses_write_in_every_view_and_alias() {
        let mut p = Projection::default();
        p.fill(false, slot(1, 9));
        p.fill(false, Slot { global: true, ..slot(2, 9) });
        p.fill(true, slot(3, 9));
        p.fill(true, slot(4, 8));
        p.revoke_write(9);
        for (user, page) in [(false, 1), (false, 2), (true, 3)] {
            let (read, write) = value(&mut p, user, page);
            assert!(read != 0 && write == 0, "page {page}");
        }
        assert_ne!(value(&mut p, true, 4).1, 0);
    }

    #[test]
    fn a_load_of_cr3_leaves_the_global_slots() {
        let mut p = Projection::default();
        p.fill(false, slot(1, 9));
        p.fill(false, Slot { global: true, ..slot(2, 9) });
        p.clear_non_global();
        assert_eq!(value(&mut p, false, 1), (0, 0));
        assert_ne!(value(&mut p, false, 2).0, 0);
        p.revoke_write(9);
        assert_eq!(value(&mut p, false, 2).1, 0, "the frame still knows the slot that stayed");
        p.clear();
        assert_eq!(value(&mut p, false, 2), (0, 0));
    }

    #[test]
    fn a_page_that_is_upgraded_to_writable_is_listed_once() {
        let mut p = Projection::default();
        p.fill(true, Slot { writable: false, ..slot(7, 3) });
        p.fill(true, slot(7, 3));
        assert_eq!(p.user.local.list.len(), 1);
        assert_ne!(value(&mut p, true, 7).1, 0);
    }

    #[test]
    fn clearing_a_large_page_clears_its_1024_small_ones() {
        let mut p = Projection::default();
        p.fill(false, slot(0x400, 3));
        p.fill(true, slot(0x7ff, 4));
        p.fill(true, slot(0x800, 5));
        p.clear_page(0x555, PageSize::Large);
        assert_eq!((value(&mut p, false, 0x400).0, value(&mut p, true, 0x7ff).0), (0, 0));
        assert_ne!(value(&mut p, true, 0x800).0, 0);
    }

    #[test]
    fn a_change_of_address_line_20_clears_everything() {
        let mut p = Projection::default();
        p.check_a20(!0);
        p.fill(false, slot(1, 1));
        p.check_a20(!0);
        assert_ne!(value(&mut p, false, 1).0, 0);
        p.check_a20(0xffef_ffff);
        assert_eq!(value(&mut p, false, 1).0, 0);
    }
}
