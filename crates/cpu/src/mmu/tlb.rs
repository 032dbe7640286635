//! The translations that a CPU holds: architectural state, with exactly the removals that
//! the manual and the chosen geometry ask for.

use serde::{Deserialize, Serialize};
use x86::{LinearAddr, PhysAddr};

use super::{
    rights::Rights,
    walk::{Mapping, PageSize},
};

/// One held translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TlbEntry {
    /// Number of the first 4 KiB page that it maps.
    pub page: u32,
    /// Number of the first 4 KiB frame that it maps to.
    pub frame: u32,
    /// Size.
    pub size: PageSize,
    /// What the tables allowed when it was filled.
    pub rights: Rights,
    /// D was set when it was filled: a write touches no table.
    pub dirty: bool,
    /// Survives a load of CR3.
    pub global: bool,
    /// Linear address of the instruction whose access filled it.
    pub filled_by: u32,
    /// Virtual time of that access.
    pub filled_at: u64,
}

impl TlbEntry {
    /// The entry that holds `mapping` of `addr`.
    pub fn new(addr: LinearAddr, mapping: Mapping, filled_by: u32, filled_at: u64) -> Self {
        TlbEntry {
            page: addr.page_number() & !(mapping.size.pages() - 1),
            frame: mapping.base.frame(),
            size: mapping.size,
            rights: mapping.rights,
            dirty: mapping.dirty,
            global: mapping.global,
            filled_by,
            filled_at,
        }
    }

    /// Whether `addr` lies in its page.
    pub const fn covers(&self, addr: LinearAddr) -> bool {
        addr.page_number() & !(self.size.pages() - 1) == self.page
    }

    /// The physical address of `addr`, which lies in its page.
    pub const fn translate(&self, addr: LinearAddr) -> PhysAddr {
        PhysAddr::from_frame(self.frame).add((addr.0 & (self.size.bytes() - 1)) as u64)
    }
}

/// How many translations a CPU holds, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum TlbGeometry {
    /// No limit: an entry goes only by the guest's own acts.
    #[default]
    Unlimited,
    /// `entries` in sets of `ways`; the oldest fill of a full set makes room. A page belongs to
    /// the set of its number, counted in pages of its own size, modulo the number of sets.
    Bounded {
        /// Entries in all.
        entries: u16,
        /// Entries of a set; divides `entries`.
        ways: u16,
    },
}

impl TlbGeometry {
    /// The most entries that a bounded TLB has.
    pub const MAX_ENTRIES: u16 = 4096;

    /// Parses `64x4`: entries by ways.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no TLB geometry: write ENTRIESxWAYS, as 64x4");
        let (entries, ways) = text.split_once('x').ok_or_else(bad)?;
        let entries: u16 = entries.parse().map_err(|_| bad())?;
        let ways: u16 = ways.parse().map_err(|_| bad())?;
        let geometry = TlbGeometry::Bounded { entries, ways };
        if !geometry.is_possible() {
            return Err(format!("`{text}`: a TLB has 1 to {} entries, a multiple of its ways", Self::MAX_ENTRIES));
        }
        Ok(geometry)
    }

    /// Whether its sets come out even and its size is within bounds.
    fn is_possible(self) -> bool {
        match self {
            TlbGeometry::Unlimited => true,
            TlbGeometry::Bounded { entries, ways } => {
                ways != 0 && (1..=Self::MAX_ENTRIES).contains(&entries) && entries.is_multiple_of(ways)
            }
        }
    }
}

/// What the TLB did, for statistics; no part of any hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TlbCounts {
    /// Entries filled after a walk.
    pub fills: u64,
    /// Entries that made room for another.
    pub evictions: u64,
    /// Loads of CR3 and changes of mode that removed many.
    pub flushes: u64,
    /// INVLPG.
    pub invlpgs: u64,
    /// Page faults delivered.
    pub page_faults: u64,
}

/// The page that instructions are fetched from: asked of the TLB once, kept until EIP leaves
/// it or a translation is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FetchLatch {
    /// Linear page number.
    pub page: u32,
    /// Frame number.
    pub frame: u32,
    /// Fetched with user rights.
    pub user: bool,
}

/// The translations that a CPU holds (SDM Vol. 3A, "Translation Lookaside Buffers"), and the
/// page it fetches from.
///
/// The order of the list is that of filling, with the last taking a removed one's place.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(from = "Held", into = "Held")]
pub struct Tlb {
    held: Held,
    /// For each 4 KiB page its entry's place plus 1, or 0. Empty until the first fill.
    small: Vec<u32>,
    /// The same for large pages, by 2 MiB of linear space: a 4 MiB page has two places.
    large: Vec<u32>,
    /// So many entries at the beginning of the list are known to be global, so that a load of CR3 need not
    /// look at them.
    global: usize,
}

/// What of a TLB is state; the rest is an index that is made from it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Held {
    entries: Vec<TlbEntry>,
    geometry: TlbGeometry,
    latch: Option<FetchLatch>,
    counts: TlbCounts,
}

impl From<Held> for Tlb {
    /// Leaves out what no CPU can hold, since a snapshot may say anything.
    fn from(mut held: Held) -> Self {
        let entries = &mut held.entries;
        entries.retain(|entry| entry.page < 1 << 20 && entry.page.is_multiple_of(entry.size.pages()));
        if !held.geometry.is_possible() {
            held.geometry = TlbGeometry::Unlimited;
        }
        let mut tlb = Tlb { held, ..Tlb::default() };
        for at in 0..tlb.held.entries.len() {
            tlb.index(at);
        }
        tlb
    }
}

impl Clone for Tlb {
    /// Makes the index afresh, which costs what is held and not the size of the index.
    fn clone(&self) -> Self {
        self.held.clone().into()
    }
}

impl From<Tlb> for Held {
    fn from(tlb: Tlb) -> Self {
        tlb.held
    }
}

impl Tlb {
    /// An empty TLB of this geometry.
    pub fn new(geometry: TlbGeometry) -> Self {
        Held { geometry, ..Held::default() }.into()
    }

    /// The geometry.
    pub fn geometry(&self) -> TlbGeometry {
        self.held.geometry
    }

    /// The entries, in the order of the list.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &TlbEntry> {
        self.held.entries.iter()
    }

    /// What it did.
    pub fn counts(&self) -> TlbCounts {
        self.held.counts
    }

    /// The entry that translates `addr`; of overlapping sizes the small one.
    pub fn lookup(&self, addr: LinearAddr) -> Option<&TlbEntry> {
        let page = addr.page_number() as usize;
        let place = match *self.small.get(page)? {
            0 => self.large[page >> LARGE_SHIFT],
            small => small,
        };
        self.held.entries.get((place as usize).checked_sub(1)?)
    }

    /// A hash of the list: of each entry's page, frame, size and rights, whatever their order.
    pub fn tlb_hash(&self) -> u64 {
        self.iter().fold(0, |sum, e| {
            let rights = [e.rights.writable, e.rights.user, e.rights.executable, e.dirty, e.global]
                .iter()
                .fold(0, |bits, &b| bits << 1 | u64::from(b));
            let key = u64::from(e.page) << 44
                | u64::from(e.frame & 0xff_ffff) << 20
                | u64::from(e.size.pages()) << 5
                | rights;
            sum.wrapping_add(mix(key))
        })
    }

    /// The page that instructions are fetched from.
    pub fn latch(&self) -> Option<FetchLatch> {
        self.held.latch
    }

    pub(crate) fn set_latch(&mut self, latch: FetchLatch) {
        self.held.latch = Some(latch);
    }

    /// The next fetch asks the TLB again: after every removal and change of mode.
    pub(crate) fn clear_latch(&mut self) {
        self.held.latch = None;
    }

    /// Takes in `entry`, in place of one of the same page and size if there is one. Returns the
    /// entry that had to go for it in a bounded TLB.
    pub(crate) fn fill(&mut self, entry: TlbEntry) -> Option<TlbEntry> {
        self.held.counts.fills += 1;
        if let Some(at) = self.place(&entry) {
            if self.held.entries[at].frame != entry.frame {
                self.clear_latch();
            }
            self.held.entries[at] = entry;
            self.note_change(at);
            return None;
        }
        let evicted = self.victim(&entry).map(|at| {
            self.held.counts.evictions += 1;
            self.remove(at)
        });
        self.held.entries.push(entry);
        self.index(self.held.entries.len() - 1);
        evicted
    }

    /// Puts what a second walk found in the place of `old`.
    pub(crate) fn replace(&mut self, old: &TlbEntry, entry: TlbEntry) -> Option<TlbEntry> {
        if (old.page, old.size) != (entry.page, entry.size)
            && let Some(at) = self.place(old)
        {
            self.remove(at);
        }
        self.fill(entry)
    }

    /// INVLPG: removes every entry that translates `addr`, global or not.
    pub(crate) fn invlpg(&mut self, addr: LinearAddr) -> Removed {
        self.held.counts.invlpgs += 1;
        self.remove_page(addr)
    }

    /// The delivery of a page fault: removes every entry that translates `addr`, global or not.
    pub(crate) fn page_fault(&mut self, addr: LinearAddr) -> Removed {
        self.held.counts.page_faults += 1;
        self.remove_page(addr)
    }

    fn remove_page(&mut self, addr: LinearAddr) -> Removed {
        self.clear_latch();
        let page = addr.page_number() as usize;
        let mut removed = Removed::default();
        if self.small.is_empty() {
            return removed;
        }
        if self.small[page] != 0 {
            self.remove(self.small[page] as usize - 1);
            removed.small = true;
        }
        if self.large[page >> LARGE_SHIFT] != 0 {
            removed.large = Some(self.remove(self.large[page >> LARGE_SHIFT] as usize - 1).size);
        }
        removed
    }

    /// Removes the entries that are not global.
    pub(crate) fn flush_non_global(&mut self) {
        self.flush(self.global, |entry| entry.global);
        self.global = self.held.entries.len();
    }

    /// Removes every entry.
    pub(crate) fn flush_all(&mut self) {
        self.flush(0, |_| false);
        self.global = 0;
    }

    /// Removes the entries from place `first` on but those that `keep` names, which stay in their order.
    fn flush(&mut self, first: usize, keep: impl Fn(&TlbEntry) -> bool) {
        self.held.counts.flushes += 1;
        self.clear_latch();
        let mut kept = first;
        for at in first..self.held.entries.len() {
            let entry = self.held.entries[at];
            if keep(&entry) {
                self.held.entries[kept] = entry;
                kept += 1;
                set_places(&mut self.small, &mut self.large, &entry, kept as u32);
            } else {
                set_places(&mut self.small, &mut self.large, &entry, 0);
            }
        }
        self.held.entries.truncate(kept);
    }

    /// The entry at a place is another one now.
    fn note_change(&mut self, at: usize) {
        if at < self.global && !self.held.entries.get(at).is_some_and(|entry| entry.global) {
            self.global = at;
        }
    }

    /// Where the entry of the same page and size stands.
    fn place(&self, entry: &TlbEntry) -> Option<usize> {
        let place = match entry.size {
            PageSize::Kib4 => *self.small.get(entry.page as usize)?,
            PageSize::Mib2 | PageSize::Mib4 => *self.large.get(entry.page as usize >> LARGE_SHIFT)?,
        };
        (place as usize).checked_sub(1)
    }

    fn index(&mut self, at: usize) {
        if self.small.is_empty() {
            self.small = vec![0; 1 << 20];
            self.large = vec![0; 1 << 11];
        }
        let entry = self.held.entries[at];
        set_places(&mut self.small, &mut self.large, &entry, at as u32 + 1);
    }

    fn remove(&mut self, at: usize) -> TlbEntry {
        let entry = self.held.entries.swap_remove(at);
        set_places(&mut self.small, &mut self.large, &entry, 0);
        if at < self.held.entries.len() {
            self.index(at);
        }
        self.global = self.global.min(self.held.entries.len());
        self.note_change(at);
        self.clear_latch();
        entry
    }

    /// The place of the oldest fill in `entry`'s set, if the set is full.
    fn victim(&self, entry: &TlbEntry) -> Option<usize> {
        let TlbGeometry::Bounded { entries, ways } = self.held.geometry else { return None };
        let set_of = |e: &TlbEntry| e.page / e.size.pages() % u32::from(entries / ways);
        let set = set_of(entry);
        let members = || self.held.entries.iter().enumerate().filter(|(_, e)| set_of(e) == set);
        if members().count() < usize::from(ways) {
            return None;
        }
        // Fills of one instant are told apart by their place, which is fixed too.
        members().min_by_key(|(at, e)| (e.filled_at, *at)).map(|(at, _)| at)
    }
}

/// Which entries a removal of a page took away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Removed {
    pub small: bool,
    /// The size of the large one.
    pub large: Option<PageSize>,
}

/// log2 of the 4 KiB pages of a 2 MiB page.
const LARGE_SHIFT: usize = 9;

/// Writes an entry's place plus 1, or 0, to where the indices keep it.
fn set_places(small: &mut [u32], large: &mut [u32], entry: &TlbEntry, place: u32) {
    let page = entry.page as usize;
    match entry.size {
        PageSize::Kib4 => small[page] = place,
        PageSize::Mib2 => large[page >> LARGE_SHIFT] = place,
        PageSize::Mib4 => large[page >> LARGE_SHIFT..][..2].fill(place),
    }
}

/// Spreads a key over 64 bits (the finisher of a multiplicative hash).
const fn mix(key: u64) -> u64 {
    let a = (key ^ key >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ a >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    b ^ b >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(page: u32, frame: u32, at: u64) -> TlbEntry {
        TlbEntry {
            page,
            frame,
            size: PageSize::Kib4,
            rights: Rights { writable: true, user: true, executable: true },
            dirty: false,
            global: false,
            filled_by: 0,
            filled_at: at,
        }
    }

    fn large(page: u32, frame: u32) -> TlbEntry {
        TlbEntry { size: PageSize::Mib4, ..entry(page, frame, 0) }
    }

    fn addr(page: u32) -> LinearAddr {
        LinearAddr(page << 12)
    }

    #[test]
    fn of_overlapping_sizes_the_small_one_translates() {
        let mut tlb = Tlb::default();
        tlb.fill(large(0x400, 0x800));
        tlb.fill(entry(0x401, 7, 0));
        assert_eq!(tlb.lookup(addr(0x401)).unwrap().translate(LinearAddr(0x40_1123)), PhysAddr(0x7123));
        assert_eq!(tlb.lookup(addr(0x402)).unwrap().translate(LinearAddr(0x40_2123)), PhysAddr(0x80_2123));
        assert!(tlb.lookup(addr(0x800)).is_none());
    }

    #[test]
    fn invlpg_removes_both_sizes_and_global_ones() {
        let mut tlb = Tlb::default();
        tlb.fill(TlbEntry { global: true, ..large(0x400, 0x800) });
        tlb.fill(TlbEntry { global: true, ..entry(0x401, 7, 0) });
        tlb.fill(entry(0x402, 8, 0));
        assert_eq!(tlb.invlpg(addr(0x401)), Removed { small: true, large: Some(PageSize::Mib4) });
        assert_eq!(tlb.iter().map(|e| e.page).collect::<Vec<_>>(), [0x402]);
        assert_eq!(tlb.lookup(addr(0x402)).unwrap().frame, 8);
    }

    #[test]
    fn what_a_load_of_cr3_need_not_look_at_is_always_global() {
        let global = |page| TlbEntry { global: true, ..entry(page, page, 0) };
        let mut tlb = Tlb::default();
        for round in 0..4 {
            (1..4).for_each(|page| _ = tlb.fill(global(page)));
            (10..14).for_each(|page| _ = tlb.fill(entry(page, page, 0)));
            tlb.fill(global(4 + round));
            tlb.flush_non_global();
            tlb.fill(entry(20, 20, 0));
            match round {
                // A local one takes the place of a global one, in two ways.
                1 => _ = tlb.invlpg(addr(2)),
                2 => _ = tlb.fill(entry(1, 9, 0)),
                3 => tlb.flush_all(),
                _ => {}
            }
            tlb.flush_non_global();
            assert!(tlb.iter().all(|e| e.global), "round {round}");
            assert!(tlb.lookup(addr(20)).is_none() && tlb.lookup(addr(12)).is_none());
            for e in tlb.iter() {
                assert_eq!(tlb.lookup(addr(e.page)).map(|found| found.frame), Some(e.frame));
            }
        }
    }

    #[test]
    fn a_load_of_cr3_keeps_the_global_ones_in_order() {
        let mut tlb = Tlb::default();
        for page in 0..6 {
            tlb.fill(TlbEntry { global: page % 2 == 0, ..entry(page, page + 10, 0) });
        }
        tlb.flush_non_global();
        assert_eq!(tlb.iter().map(|e| e.page).collect::<Vec<_>>(), [0, 2, 4]);
        assert_eq!(tlb.lookup(addr(4)).unwrap().frame, 14);
        assert!(tlb.lookup(addr(5)).is_none());
        tlb.flush_all();
        assert_eq!(tlb.iter().len(), 0);
        assert!(tlb.lookup(addr(4)).is_none());
    }

    #[test]
    fn a_refill_replaces_the_entry_of_its_page() {
        let mut tlb = Tlb::default();
        tlb.fill(entry(5, 1, 0));
        tlb.fill(TlbEntry { dirty: true, ..entry(5, 2, 1) });
        assert_eq!(tlb.iter().len(), 1);
        assert_eq!(tlb.lookup(addr(5)).unwrap().frame, 2);
    }

    #[test]
    fn a_full_set_gives_up_its_oldest_fill_and_other_sets_nothing() {
        let mut tlb = Tlb::new(TlbGeometry::parse("8x2").unwrap());
        assert_eq!(tlb.fill(entry(0, 1, 1)), None);
        assert_eq!(tlb.fill(entry(4, 2, 2)), None);
        assert_eq!(tlb.fill(entry(1, 3, 3)), None);
        assert_eq!(tlb.fill(entry(8, 4, 4)).unwrap().page, 0);
        assert_eq!(tlb.fill(entry(12, 5, 5)).unwrap().page, 4);
        assert_eq!(tlb.counts().evictions, 2);
        assert!(tlb.lookup(addr(1)).is_some());
    }

    #[test]
    fn every_removal_clears_the_fetch_latch() {
        let mut tlb = Tlb::default();
        let latch = FetchLatch { page: 1, frame: 2, user: false };
        for remove in [|tlb: &mut Tlb| _ = tlb.invlpg(LinearAddr(0x7000)), Tlb::flush_non_global, Tlb::flush_all] {
            tlb.set_latch(latch);
            remove(&mut tlb);
            assert_eq!(tlb.latch(), None);
        }
    }

    #[test]
    fn a_tlb_that_no_cpu_can_have_is_made_one_that_it_can() {
        let odd = [entry(1 << 20, 1, 0), TlbEntry { size: PageSize::Mib2, ..entry(1, 1, 0) }, entry(3, 4, 0)];
        let geometry = TlbGeometry::Bounded { entries: 0, ways: 0 };
        let mut tlb = Tlb::from(Held { entries: odd.into(), geometry, ..Held::default() });
        assert_eq!(tlb.iter().map(|e| e.page).collect::<Vec<_>>(), [3]);
        assert_eq!(tlb.geometry(), TlbGeometry::Unlimited);
        assert_eq!(tlb.fill(entry(7, 1, 0)), None);
    }

    #[test]
    fn a_geometry_is_entries_by_ways() {
        assert_eq!(TlbGeometry::parse("64x4"), Ok(TlbGeometry::Bounded { entries: 64, ways: 4 }));
        for bad in ["64", "0x1", "64x0", "10x4", "64x4x2", "99999x1", "5000x5", "axb", ""] {
            assert!(TlbGeometry::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_hash_sees_rights_and_frames_but_not_the_order() {
        let list = |entries: &[TlbEntry]| {
            let mut tlb = Tlb::default();
            entries.iter().for_each(|&e| _ = tlb.fill(e));
            tlb.tlb_hash()
        };
        let (a, b) = (entry(1, 2, 0), entry(3, 4, 0));
        assert_eq!(list(&[a, b]), list(&[b, a]));
        assert_ne!(list(&[a]), list(&[TlbEntry { dirty: true, ..a }]));
        assert_ne!(list(&[a]), list(&[TlbEntry { frame: 9, ..a }]));
    }
}
