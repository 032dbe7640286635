//! Who changed an entry of the paging structures last: for the fault explainer.
//!
//! A walk says which frames hold tables. Stores into these take the slow path, as those into code do, and
//! are noted by the entry that they change: when, by whom, from what to what. Of many stores into a frame
//! with no walk through it in between (a kernel clears a whole table, or the frame is a table no more) only
//! the first [`MOST_STORES`] are followed one by one (of those of a repeated instruction the first); then its
//! stores are fast again, and of the rest it is known who made them and between which two times, until a walk
//! comes by the frame again.
//!
//! All of this is the host's data, never state: nothing in the machine depends on it, no hash or snapshot
//! has it. It is bounded, and what had to go is said to be forgotten, never guessed. Not seen is what
//! does not go through a CPU's store: the processor's own A and D flags, devices, a debugger.

use std::collections::HashMap;

use x86::{Cr4, PaePde, Pde, PhysAddr};

use super::{access::store_in_memory, walk::TableFrames};
use crate::Cpu;

/// Stores into a frame of tables, with no walk by it in between, that are followed one by one.
const MOST_STORES: u8 = 24;
/// Frames of memory below 4 GiB: tables above it are not followed.
const FRAMES: usize = 1 << 20;
/// Tables of whose entries the last changes are kept, unless two share a place.
const TABLES: usize = 128;
/// Entries of a table.
const ENTRIES: usize = 1024;
/// The mark of a directory beside the count of stores.
const DIRECTORY: u8 = 1 << 7;
/// Frames of which is kept since when they are followed.
const MOST_FRAMES: usize = 1 << 16;

/// An instruction that stored, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Writer {
    /// Virtual time, in nanoseconds.
    pub at: u64,
    /// The CPU.
    pub cpu: usize,
    /// How many instructions this CPU had retired.
    pub retired: u64,
    /// Linear address of the instruction.
    pub pc: u32,
    /// CR3, by which the instruction's symbol is found.
    pub cr3: u32,
}

/// A store that changed an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryChange {
    /// By whom.
    pub by: Writer,
    /// The entry's value before.
    pub old: u64,
    /// Its value after.
    pub new: u64,
}

/// Stores into a frame that were too many to be followed one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Burst {
    /// The last of them that was seen.
    pub by: Writer,
    /// The virtual time from which stores were followed again; `None`: they are not yet.
    pub until: Option<u64>,
}

/// What is known of the last change of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastChange {
    /// This store.
    Store(EntryChange),
    /// Some store of these, if any: an earlier one that was followed may be the last.
    Burst(Burst, Option<EntryChange>),
    /// Nobody has changed it since a walk first came by its table, at this virtual time.
    Never {
        /// The time.
        since: u64,
    },
    /// It is not remembered, or was never followed.
    Unknown,
}

/// What is known of a frame of tables.
#[derive(Clone, Copy)]
struct Frame {
    /// When a walk first came by it.
    since: u64,
    burst: Option<Burst>,
}

/// The last changes of entries. The host's data, never state.
pub struct TableChanges {
    /// By frame: 0 if its stores are not followed, else 1 and the number of stores since the last walk, and
    /// [`DIRECTORY`] where it is one.
    followed: Vec<u8>,
    frames: HashMap<u32, Frame>,
    /// By the number of a table's frame modulo [`TABLES`], then by the entry's place in it: of which entry, and
    /// its change.
    tables: [Option<Box<Table>>; TABLES],
    /// When a change had to give its slot to another entry's last.
    forgot_at: Option<u64>,
}

/// The last changes of a table's entries.
type Table = [Option<(PhysAddr, EntryChange)>; ENTRIES];

impl Default for TableChanges {
    fn default() -> Self {
        let tables = std::array::from_fn(|_| None);
        TableChanges { followed: vec![0; FRAMES], frames: HashMap::new(), tables, forgot_at: None }
    }
}

impl TableChanges {
    /// Who changed the entry at `entry` last.
    pub fn last(&self, entry: PhysAddr) -> LastChange {
        let Some(frame) = self.frames.get(&entry.frame()) else { return LastChange::Unknown };
        let (table, place) = slot(entry);
        let store = self.tables[table].as_ref().and_then(|table| table[place]);
        let store = store.filter(|(of, _)| *of == entry).map(|(_, change)| change);
        match (frame.burst, store) {
            (Some(burst), store) if store.is_none_or(|store| store.by.at <= burst.by.at) => {
                LastChange::Burst(burst, store)
            }
            (_, Some(store)) => LastChange::Store(store),
            (_, None) if self.forgot_at.is_some_and(|at| at >= frame.since) => LastChange::Unknown,
            (_, None) => LastChange::Never { since: frame.since },
        }
    }

    #[inline]
    fn is_followed(&self, frame: u32) -> bool {
        self.followed.get(frame as usize).is_some_and(|&stores| stores != 0)
    }

    /// A walk came by the frame. Says whether its stores have to be followed from now on.
    #[inline]
    fn note_walk(&mut self, frame: u32, kind: u8) -> bool {
        self.followed.get_mut(frame as usize).is_some_and(|stores| std::mem::replace(stores, 1 | kind) == 0)
    }

    fn is_directory(&self, frame: u32) -> bool {
        self.followed.get(frame as usize).is_some_and(|&stores| stores & DIRECTORY != 0)
    }

    #[cold]
    fn follow(&mut self, frame: u32, now: u64) {
        if self.frames.len() == MOST_FRAMES && !self.frames.contains_key(&frame) {
            // Their entries are unknown from now on.
            self.frames.clear();
        }
        let known = self.frames.entry(frame).or_insert(Frame { since: now, burst: None });
        if let Some(burst) = &mut known.burst {
            burst.until.get_or_insert(now);
        }
    }

    /// A store into a followed frame; it may be the last that is, as it is where more are to come at once.
    fn count_store(&mut self, frame: u32, by: Writer, in_series: bool) {
        let stores = &mut self.followed[frame as usize];
        *stores += 1;
        if in_series || *stores & !DIRECTORY > MOST_STORES {
            *stores = 0;
            if let Some(known) = self.frames.get_mut(&frame) {
                known.burst = Some(Burst { by, until: None });
            }
        }
    }

    fn note_change(&mut self, entry: PhysAddr, change: EntryChange) {
        let (table, place) = slot(entry);
        let table = self.tables[table].get_or_insert_with(|| Box::new([None; ENTRIES]));
        if let Some((of, old)) = table[place].replace((entry, change))
            && of != entry
        {
            self.forgot_at = self.forgot_at.max(Some(old.by.at));
        }
    }
}

/// Tables whose frames follow each other share no place.
fn slot(entry: PhysAddr) -> (usize, usize) {
    (entry.frame() as usize % TABLES, entry.page_offset() as usize / 4)
}

/// Whether stores into a frame are followed.
#[inline]
pub(super) fn are_followed(cpu: &mut Cpu, frame: u32) -> bool {
    cpu.table_changes().is_some_and(|it| it.is_followed(frame))
}

/// A walk has read tables in these frames.
#[inline]
pub(super) fn walked(cpu: &mut Cpu, tables: TableFrames) {
    for (frame, kind) in tables.into_iter().zip([DIRECTORY, 0]) {
        if let Some(frame) = frame
            && cpu.table_changes().is_some_and(|it| it.note_walk(frame, kind))
        {
            begin(cpu, frame);
        }
    }
}

#[cold]
fn begin(cpu: &mut Cpu, frame: u32) {
    let now = cpu.now();
    if let Some(it) = cpu.table_changes() {
        it.follow(frame, now);
    }
    cpu.projections().iter_mut().for_each(|projection| projection.revoke_stores(frame));
}

/// A store into a followed frame: done here, so that what it changes is seen.
#[cold]
pub(super) fn store(cpu: &mut Cpu, addr: PhysAddr, bytes: &[u8]) {
    let (pc, cr3) = (cpu.state.pc(), cpu.state.cr3);
    let by = Writer { at: cpu.now(), cpu: cpu.number(), retired: cpu.retired(), pc, cr3 };
    let size = if cpu.state.cr4().contains(Cr4::PAE) { 8 } else { 4 };
    let read = |cpu: &mut Cpu, at| if size == 8 { cpu.mem().read_u64(at) } else { cpu.mem().read_u32(at).into() };
    let first = PhysAddr(addr.0 & !(size - 1));
    if addr.0 + bytes.len() as u64 <= first.0 + size {
        let old = read(cpu, first);
        store_in_memory(cpu, addr, bytes);
        let new = read(cpu, first);
        note(cpu, first, EntryChange { by, old, new });
    } else {
        let places = || (first.0..addr.0 + bytes.len() as u64).step_by(size as usize).map(PhysAddr);
        let before: Vec<u64> = places().map(|at| read(cpu, at)).collect();
        store_in_memory(cpu, addr, bytes);
        for (at, old) in places().zip(before) {
            let new = read(cpu, at);
            note(cpu, at, EntryChange { by, old, new });
        }
    }
    let in_series = std::mem::take(&mut cpu.run.in_series);
    if let Some(it) = cpu.table_changes() {
        it.count_store(addr.frame(), by, in_series);
    }
}

fn note(cpu: &mut Cpu, entry: PhysAddr, change: EntryChange) {
    if change.old == change.new {
        return;
    }
    let Some(it) = cpu.table_changes() else { return };
    it.note_change(entry, change);
    // The table that a directory's entry now leads to gets its first entries before any walk comes by.
    if it.is_directory(entry.frame()) && change.new & (PaePde::PS | u64::from(Pde::P)) == u64::from(Pde::P) {
        let table = PaePde(change.new).table().frame();
        if it.note_walk(table, 0) {
            begin(cpu, table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(at: u64) -> Writer {
        Writer { at, cpu: 0, retired: at, pc: 0xc000_0000, cr3: 0x1000 }
    }

    fn change(at: u64, new: u64) -> EntryChange {
        EntryChange { by: writer(at), old: 0, new }
    }

    fn walk(changes: &mut TableChanges, frame: u32, now: u64) {
        if changes.note_walk(frame, 0) {
            changes.follow(frame, now);
        }
    }

    const ENTRY: PhysAddr = PhysAddr(0x5008);

    #[test]
    fn the_last_store_into_an_entry_is_remembered() {
        let mut changes = TableChanges::default();
        assert_eq!(changes.last(ENTRY), LastChange::Unknown);
        walk(&mut changes, 5, 10);
        assert_eq!(changes.last(ENTRY), LastChange::Never { since: 10 });
        for at in [11, 12] {
            changes.note_change(ENTRY, change(at, at));
            changes.count_store(5, writer(at), false);
        }
        assert_eq!(changes.last(ENTRY), LastChange::Store(change(12, 12)));
        assert_eq!(changes.last(PhysAddr(0x500c)), LastChange::Never { since: 10 });
    }

    #[test]
    fn many_stores_make_a_frame_fast_until_the_next_walk() {
        let mut changes = TableChanges::default();
        walk(&mut changes, 5, 10);
        changes.note_change(ENTRY, change(11, 1));
        for at in 11..11 + u64::from(MOST_STORES) {
            assert!(changes.is_followed(5), "at {at}");
            changes.count_store(5, writer(at), false);
        }
        assert!(!changes.is_followed(5));
        let last = 10 + u64::from(MOST_STORES);
        let burst = Burst { by: writer(last), until: None };
        assert_eq!(changes.last(ENTRY), LastChange::Burst(burst, Some(change(11, 1))));
        walk(&mut changes, 5, 99);
        assert!(changes.is_followed(5));
        let burst = Burst { until: Some(99), ..burst };
        assert_eq!(changes.last(PhysAddr(0x5ffc)), LastChange::Burst(burst, None));
        changes.note_change(ENTRY, change(100, 2));
        assert_eq!(changes.last(ENTRY), LastChange::Store(change(100, 2)));
    }

    #[test]
    fn a_walk_in_between_counts_anew() {
        let mut changes = TableChanges::default();
        for at in 0..10 * u64::from(MOST_STORES) {
            walk(&mut changes, 5, at);
            changes.count_store(5, writer(at), false);
        }
        assert!(changes.is_followed(5));
    }

    #[test]
    fn what_had_to_go_is_not_guessed() {
        let mut changes = TableChanges::default();
        let other = PhysAddr(ENTRY.0 + 4096 * TABLES as u64);
        walk(&mut changes, 5, 10);
        walk(&mut changes, other.frame(), 10);
        changes.note_change(ENTRY, change(11, 1));
        changes.note_change(other, change(12, 1));
        assert_eq!(changes.last(ENTRY), LastChange::Unknown);
        assert_eq!(changes.last(other), LastChange::Store(change(12, 1)));
    }
}
