//! Flat projections of the TLB, for accesses that need nothing but one load and one test.
//!
//! For each privilege (supervisor, user, and supervisor with SMAP closed) there are tables of 2^20
//! values, one a linear page: `read` and `write`. A value of 0 means: take the slow path
//! ([`super::access`]); any other is the host address of the page minus its linear address, so
//! that value plus linear address is the host address. They are a cache of the TLB's list,
//! never the truth, and may be cleared at any time.
//!
//! `write` is 0 for a page that is not yet dirty, read-only, ROM, or watched, or whose frame
//! holds translated code; a bit tells the last case, in which a store that meets none of the code
//! needs no other look. `read` is 0 for what is not held, belongs to a device, or is watched. A page
//! that can be written or fetched from can be read. Where what can be read need not be
//! executable (NX, SMEP), a third table, `exec`, says so; else `read` serves.
//!
//! Pages of devices are in no table, but each view knows one: accesses there go to the bus without being
//! translated again.
//!
//! What is filled is listed, so that a flush costs what was filled; a frame knows its slots, so
//! that it can be revoked. A CPU that roams the whole address space holds at most 54 MiB here, or
//! 97 MiB with SMAP and NX; past [`Projection::CAP`] filled slots of a list its view is emptied.

use super::{rights::Privilege, walk::PageSize};

/// Pages of the linear address space, and frames of the physical one below 4 GiB.
const PAGES: usize = 1 << 20;

/// The projections of one CPU's TLB.
#[derive(Default)]
pub(crate) struct Projection {
    supervisor: View,
    user: View,
    /// Supervisor, with user pages left out.
    closed: View,
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
    /// For instruction fetch: 2^20 values; never null.
    pub exec: *const u64,
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
    /// Stores may go there without looking, at most at code.
    pub writable: bool,
    /// The frame holds translated code.
    pub coded: bool,
    /// Instructions may be fetched from there.
    pub executable: bool,
    /// Held as global: stays over a load of CR3.
    pub global: bool,
}

impl Projection {
    /// Filled slots of one list before its view is emptied.
    pub const CAP: usize = 1 << 17;

    /// The tables for this privilege. `guarded` says that what can be read need not be
    /// executable. They stay where they are until the projection is dropped.
    pub fn active(&mut self, privilege: Privilege, guarded: bool) -> ActiveTables {
        let data = self.view(privilege);
        data.ensure();
        let (read, write) = (data.read.as_ptr(), data.write.as_ptr());
        // SMAP is for loads and stores alone.
        let code = if privilege == Privilege::User { &mut self.user } else { &mut self.supervisor };
        code.ensure();
        let exec = if guarded { code.exec() } else { code.read.as_ptr() };
        ActiveTables { read, write, exec }
    }

    /// The host address of linear page `page` less the linear one, if stores may go there once they have
    /// looked at the code that its frame holds; or 0.
    pub fn beside_code(&self, privilege: Privilege, page: u32) -> u64 {
        let view = self.view_ref(privilege);
        if view.is_coded(page as usize) { view.read[page as usize] } else { 0 }
    }

    /// What the tables say of linear page `page`: 0, or the host address of the page less the linear one.
    pub fn get(&self, privilege: Privilege, page: u32, write: bool) -> u64 {
        let view = self.view_ref(privilege);
        let table = if write { &view.write } else { &view.read };
        table.get(page as usize).copied().unwrap_or(0)
    }

    /// Lets accesses of this privilege reach a page without looking.
    pub fn fill(&mut self, privilege: Privilege, slot: Slot) {
        self.view(privilege).fill(slot);
    }

    /// Lets accesses of this privilege reach linear page `page`, a device's, by frame `frame` without translating;
    /// stores if `writable`. Takes the place of the page that the view knew.
    pub fn fill_device(&mut self, privilege: Privilege, page: u32, frame: u32, writable: bool) {
        self.view(privilege).device = Some(DevicePage { page, frame, writable });
    }

    /// The frame of linear page `page` if it is the device's page that the view knows, and the access is allowed.
    pub fn device(&self, privilege: Privilege, page: u32, write: bool) -> Option<u32> {
        let device = self.view_ref(privilege).device.as_ref()?;
        (device.page == page && (device.writable || !write)).then_some(device.frame)
    }

    /// Takes all views' slots of the page of this size that holds linear page `page`.
    pub fn clear_page(&mut self, page: u32, size: PageSize) {
        let first = page & !(size.pages() - 1);
        for view in self.views() {
            view.clear_pages(first as usize, size.pages() as usize);
        }
    }

    /// Takes all slots but the global ones.
    pub fn clear_non_global(&mut self) {
        self.views().into_iter().for_each(View::clear_local);
    }

    /// Takes the supervisor's slots: after a change of CR0.WP.
    pub fn clear_supervisor(&mut self) {
        self.supervisor.clear();
        self.closed.clear();
    }

    /// Takes everything.
    pub fn clear(&mut self) {
        self.views().into_iter().for_each(View::clear);
    }

    /// The A20 mask that the filled slots were made under.
    pub fn a20_mask(&self) -> u32 {
        self.a20_mask
    }

    /// Takes everything if address line 20 has changed since the slots were filled; says whether it has.
    pub fn a20_differs(&mut self, mask: u32) -> bool {
        let differs = mask != self.a20_mask;
        if differs {
            self.clear();
            self.a20_mask = mask;
        }
        differs
    }

    /// Takes the right to write to `frame` without looking from every page that maps it: it
    /// gains code.
    pub fn revoke_write(&mut self, frame: u32) {
        self.views().into_iter().for_each(|view| view.revoke_write(frame));
    }

    /// As [`Projection::revoke_write`], of a frame each store to which must be looked at, beside code too.
    pub fn revoke_stores(&mut self, frame: u32) {
        self.views().into_iter().for_each(|view| view.revoke_stores(frame));
    }

    fn views(&mut self) -> [&mut View; 3] {
        [&mut self.supervisor, &mut self.user, &mut self.closed]
    }

    fn view_ref(&self, privilege: Privilege) -> &View {
        match privilege {
            Privilege::Supervisor => &self.supervisor,
            Privilege::User => &self.user,
            Privilege::Closed => &self.closed,
        }
    }

    fn view(&mut self, privilege: Privilege) -> &mut View {
        match privilege {
            Privilege::Supervisor => &mut self.supervisor,
            Privilege::User => &mut self.user,
            Privilege::Closed => &mut self.closed,
        }
    }
}

/// The tables of a view and the lists of what is filled in them. All vectors are empty or
/// full-sized; full-sized ones begin as untouched zero pages of the host.
#[derive(Default)]
struct View {
    read: Vec<u64>,
    write: Vec<u64>,
    /// Empty where it was never asked for.
    exec: Vec<u64>,
    /// The pages that stores could go to but for the code of their frames, a bit each. Says nothing of
    /// pages that are not held.
    coded: Vec<u64>,
    local: Filled,
    global: Filled,
    /// The last page of a device that was translated.
    device: Option<DevicePage>,
}

/// A page of a device.
struct DevicePage {
    page: u32,
    frame: u32,
    writable: bool,
}

impl View {
    fn ensure(&mut self) {
        if self.read.is_empty() {
            self.read = vec![0; PAGES];
            self.write = vec![0; PAGES];
            self.coded = vec![0; PAGES / 64];
        }
    }

    /// The table for fetches; what was filled before there was one is filled again when it is fetched.
    fn exec(&mut self) -> *const u64 {
        if self.exec.is_empty() {
            self.exec = vec![0; PAGES];
        }
        self.exec.as_ptr()
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
        self.write[page] = if slot.writable && !slot.coded { value } else { 0 };
        self.coded[page / 64] &= !(1 << (page % 64));
        self.coded[page / 64] |= u64::from(slot.writable && slot.coded) << (page % 64);
        if let Some(exec) = self.exec.get_mut(page) {
            *exec = if slot.executable { value } else { 0 };
        }
    }

    fn is_coded(&self, page: usize) -> bool {
        self.coded.get(page / 64).is_some_and(|bits| bits >> (page % 64) & 1 != 0)
    }

    /// Leaves stale slots in the lists: clearing them again does no harm, and the cap bounds them.
    fn clear_pages(&mut self, first: usize, count: usize) {
        if !self.read.is_empty() {
            self.read[first..first + count].fill(0);
            self.write[first..first + count].fill(0);
        }
        if !self.exec.is_empty() {
            self.exec[first..first + count].fill(0);
        }
        if self.device.as_ref().is_some_and(|device| (first..first + count).contains(&(device.page as usize))) {
            self.device = None;
        }
    }

    fn clear_local(&mut self) {
        self.device = None;
        let (read, write, exec) = (&mut self.read, &mut self.write, &mut self.exec);
        self.local.drain(|page| Self::empty(read, write, exec, page));
    }

    fn clear(&mut self) {
        self.clear_local();
        let (read, write, exec) = (&mut self.read, &mut self.write, &mut self.exec);
        self.global.drain(|page| Self::empty(read, write, exec, page));
    }

    fn empty(read: &mut [u64], write: &mut [u64], exec: &mut [u64], page: usize) {
        read[page] = 0;
        write[page] = 0;
        if let Some(exec) = exec.get_mut(page) {
            *exec = 0;
        }
    }

    fn revoke_stores(&mut self, frame: u32) {
        for filled in [&self.local, &self.global] {
            filled.pages_of(frame, |page| {
                self.write[page] = 0;
                self.coded[page / 64] &= !(1 << (page % 64));
            });
        }
    }

    fn revoke_write(&mut self, frame: u32) {
        for filled in [&self.local, &self.global] {
            filled.pages_of(frame, |page| {
                let writable = std::mem::take(&mut self.write[page]) != 0;
                self.coded[page / 64] |= u64::from(writable) << (page % 64);
            });
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
    use Privilege::{Closed, Supervisor, User};

    fn slot(page: u32, frame: u32) -> Slot {
        Slot {
            page,
            frame,
            host: 0x7000_0000_0000 + u64::from(frame) * 4096,
            writable: true,
            coded: false,
            executable: true,
            global: false,
        }
    }

    fn value(p: &mut Projection, privilege: Privilege, page: usize) -> (u64, u64) {
        let view = p.view(privilege);
        view.ensure();
        (view.read[page], view.write[page])
    }

    #[test]
    fn a_filled_value_plus_the_linear_address_is_the_host_address() {
        let mut p = Projection::default();
        p.fill(Supervisor, slot(0xc0123, 5));
        let (read, write) = value(&mut p, Supervisor, 0xc0123);
        assert_eq!(read.wrapping_add(0xc012_3abc), 0x7000_0000_5abc);
        assert_eq!(read, write);
        assert_eq!(value(&mut p, User, 0xc0123), (0, 0), "the other view is untouched");
    }

    #[test]
    fn a_frame_that_gains_code_loses_write_in_every_view_and_alias() {
        let mut p = Projection::default();
        p.fill(Supervisor, slot(1, 9));
        p.fill(Supervisor, Slot { global: true, ..slot(2, 9) });
        p.fill(User, slot(3, 9));
        p.fill(User, slot(4, 8));
        p.revoke_write(9);
        for (privilege, page) in [(Supervisor, 1), (Supervisor, 2), (User, 3)] {
            let (read, write) = value(&mut p, privilege, page);
            assert!(read != 0 && write == 0, "page {page}");
            assert_eq!(p.beside_code(privilege, page as u32), read);
        }
        assert_eq!(p.beside_code(User, 4), 0, "another frame");
        p.clear_page(2, PageSize::Kib4);
        assert_eq!(p.beside_code(Supervisor, 2), 0, "what is not held cannot be written");
        p.fill(User, Slot { writable: false, coded: true, ..slot(3, 9) });
        assert_eq!(p.beside_code(User, 3), 0, "read-only");
        assert_ne!(value(&mut p, User, 4).1, 0);
    }

    #[test]
    fn a_load_of_cr3_leaves_the_global_slots() {
        let mut p = Projection::default();
        p.fill(Supervisor, slot(1, 9));
        p.fill(Supervisor, Slot { global: true, ..slot(2, 9) });
        p.clear_non_global();
        assert_eq!(value(&mut p, Supervisor, 1), (0, 0));
        assert_ne!(value(&mut p, Supervisor, 2).0, 0);
        p.revoke_write(9);
        assert_eq!(value(&mut p, Supervisor, 2).1, 0, "the frame still knows the slot that stayed");
        p.clear();
        assert_eq!(value(&mut p, Supervisor, 2), (0, 0));
    }

    #[test]
    fn a_page_that_is_upgraded_to_writable_is_listed_once() {
        let mut p = Projection::default();
        p.fill(User, Slot { writable: false, ..slot(7, 3) });
        p.fill(User, slot(7, 3));
        assert_eq!(p.user.local.list.len(), 1);
        assert_ne!(value(&mut p, User, 7).1, 0);
    }

    #[test]
    fn clearing_a_large_page_clears_its_1024_small_ones() {
        let mut p = Projection::default();
        p.fill(Supervisor, slot(0x400, 3));
        p.fill(User, slot(0x7ff, 4));
        p.fill(User, slot(0x800, 5));
        p.clear_page(0x555, PageSize::Mib4);
        assert_eq!((value(&mut p, Supervisor, 0x400).0, value(&mut p, User, 0x7ff).0), (0, 0));
        assert_ne!(value(&mut p, User, 0x800).0, 0);
    }

    #[test]
    fn a_page_that_can_be_read_but_not_executed_is_missing_for_fetches_alone() {
        let mut p = Projection::default();
        let guarded = p.active(User, true).exec;
        assert_eq!(p.active(User, false).exec, p.active(User, false).read);
        p.fill(User, Slot { executable: false, ..slot(7, 3) });
        p.fill(User, slot(8, 4));
        let exec = |p: &mut Projection, page: usize| p.user.exec[page] != 0;
        assert_eq!(guarded, p.user.exec.as_ptr());
        assert_eq!((exec(&mut p, 7), exec(&mut p, 8)), (false, true));
        assert_ne!(value(&mut p, User, 7).0, 0);
        p.clear_page(8, PageSize::Kib4);
        assert!(!exec(&mut p, 8));
        p.fill(User, slot(8, 4));
        p.clear_non_global();
        assert!(!exec(&mut p, 8));
    }

    #[test]
    fn smap_leaves_fetches_to_the_open_view() {
        let mut p = Projection::default();
        let (open, closed) = (p.active(Supervisor, false), p.active(Closed, false));
        assert_ne!(open.read, closed.read);
        assert_eq!(open.exec, closed.exec);
    }

    #[test]
    fn a_change_of_address_line_20_clears_everything() {
        let mut p = Projection::default();
        p.a20_differs(!0);
        p.fill(Supervisor, slot(1, 1));
        p.a20_differs(!0);
        assert_ne!(value(&mut p, Supervisor, 1).0, 0);
        assert!(p.a20_differs(0xffef_ffff));
        assert_eq!(value(&mut p, Supervisor, 1).0, 0);
    }
}
