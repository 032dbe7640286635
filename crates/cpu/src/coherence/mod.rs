//! The checker of TLB coherence (`--check-tlb`): notices when a CPU uses a translation that the tables no
//! longer give, after the kernel should have seen to it that nobody does.
//!
//! **What is watched.** A walk tells which frames hold tables; stores into these take the slow path, as those
//! into code do, so that each change of an entry is seen with who made it. A change that takes something away
//! (presence, frame, a right, D) makes suspect what any CPU holds by way of that entry: its projections are
//! revoked, so that its next use comes by here. Everything else runs as without the checker, whose data are
//! the host's alone: they are no part of any state or hash.
//!
//! **What is legal.** A kernel cannot change an entry and every TLB at once. From the change until its
//! shootdown is over other CPUs may use what they hold, and rights that are raised need no shootdown at all.
//! The window is closed, and a use is reported, when
//! - the thread that changed the entry uses the translation itself, or
//! - that thread has been in ring 3 since the change: a kernel returns to a program only when what it did to
//!   the program's memory holds on every CPU.
//!
//! A thread is known by ESP0 of the TSS, which kernels load with the top of each thread's own stack; where
//! there is no TSS each CPU counts as a thread. So a batch of changes that is interrupted, even by other
//! threads of the same process on the same CPU, is legal until its own thread flushes and returns. A thread that
//! never returns to ring 3 (kswapd) closes no window for others.
//!
//! What differs but does not matter for the access is no use of it: a load through an entry that has lost
//! R/W, or A.

mod entry;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use x86::{LinearAddr, PhysAddr};

use crate::{
    Cpu,
    mmu::{Access, AccessKind, Guards, Level, PageSize, Paging, TlbEntry, WalkResult, walk},
};

/// The most changes of one entry that are kept apart.
const MAX_CHANGES: usize = 8;

/// Removal of translations by the guest's own act.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Flush {
    /// INVLPG of this linear page.
    Page(u32),
    /// A load of CR3 with the value that it had: a flush and nothing else.
    Reload,
    /// A load of CR3 with another value.
    Switch {
        /// The new value.
        cr3: u32,
    },
    /// A change of mode that removes global entries too.
    All,
}

/// A change of a paging-structure entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Virtual time.
    pub at: u64,
    /// Who made it.
    pub cpu: usize,
    /// Linear address of the instruction.
    pub pc: u32,
    /// CR3 and what else decided translations then, by which the instruction's symbol is found.
    pub paging: Paging,
    /// Physical address of the entry.
    pub entry: PhysAddr,
    /// Its value before.
    pub old: u64,
    /// Its value after.
    pub new: u64,
    thread: Thread,
}

/// Why the window in which a stale translation may be used had been closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The thread that made the change uses the translation itself.
    ByItself,
    /// That thread has been in ring 3 since.
    BackInRing3,
}

/// A use of a stale translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Virtual time.
    pub at: u64,
    /// Who used it.
    pub cpu: usize,
    /// Linear address of the instruction.
    pub pc: u32,
    /// Its privilege level.
    pub cpl: u8,
    /// What decided translations.
    pub paging: Paging,
    /// The linear address that was accessed.
    pub addr: LinearAddr,
    /// What the instruction did.
    pub kind: AccessKind,
    /// What the CPU held.
    pub held: TlbEntry,
    /// What the tables said.
    pub tables: WalkResult,
    /// The first change that made it stale and was over.
    pub change: Change,
    /// Why it was over.
    pub closed: Closed,
    /// When the CPU that made the change removed the page's translation from its own TLB since.
    pub own_flush: Option<u64>,
}

/// A thread of the guest, as far as the hardware tells threads apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Thread {
    Esp0(u32),
    Cpu(usize),
}

impl Thread {
    /// The one that runs now.
    fn of(cpu: &mut Cpu) -> Thread {
        let (tr, paging) = (cpu.state.tr, cpu.state.paging());
        let is_wide_tss = matches!(tr.rights & 0xf, 9 | 11);
        if tr.selector == 0 || !is_wide_tss {
            return Thread::Cpu(cpu.number());
        }
        let esp0 = LinearAddr(tr.base.wrapping_add(4));
        match walk(cpu.mem(), paging, esp0).result {
            WalkResult::Mapped(mapping) => Thread::Esp0(cpu.mem().read_u32(mapping.translate(esp0))),
            WalkResult::PagingOff => Thread::Esp0(cpu.mem().read_u32(PhysAddr(esp0.0.into()))),
            WalkResult::NotPresent | WalkResult::Reserved => Thread::Cpu(cpu.number()),
        }
    }
}

/// By which entries a CPU came to what it holds of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Path {
    entries: [Option<PhysAddr>; 2],
    size: PageSize,
}

/// A CPU and the first page that an entry of its TLB maps.
type Held = (usize, u32);

/// What the checker knows. The host's data, never state.
#[derive(Default)]
pub struct Coherence {
    /// Frames with tables, a bit each.
    tables: Vec<u64>,
    paths: HashMap<Held, Path>,
    /// Who may hold a translation by way of an entry.
    dependents: HashMap<PhysAddr, BTreeSet<Held>>,
    /// What was taken away from entries that somebody may hold a translation by, oldest first.
    changes: HashMap<PhysAddr, Vec<Change>>,
    suspects: HashSet<Held>,
    reported: HashSet<Held>,
    findings: Vec<Finding>,
    /// When each thread last left ring 3.
    left_ring_3: HashMap<Thread, u64>,
    /// The threads in ring 3 on CPUs that do not run now.
    resting_in_ring_3: HashMap<usize, Thread>,
    /// When each CPU last removed a page, all that is not global, everything.
    removed_page: HashMap<Held, u64>,
    removed_local: HashMap<usize, u64>,
    removed_all: HashMap<usize, u64>,
    /// Findings are asked for.
    judges: bool,
    /// All changes of entries, if somebody asks for them.
    log: Option<Vec<Change>>,
}

impl Coherence {
    /// Has uses of stale translations kept for [`Coherence::take_findings`].
    pub fn keep_findings(&mut self) {
        self.judges = true;
    }

    /// Has every change of an entry kept for [`Coherence::take_changes`].
    pub fn keep_changes(&mut self) {
        self.log.get_or_insert_default();
    }

    /// The changes since the last call, oldest first.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The uses of stale translations since the last call, oldest first; one a page and CPU.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Whether there are findings to take.
    pub fn has_findings(&self) -> bool {
        !self.findings.is_empty()
    }

    fn is_table(&self, frame: u32) -> bool {
        self.tables.get(frame as usize / 64).is_some_and(|bits| bits >> (frame % 64) & 1 != 0)
    }

    /// Says whether it was not yet known.
    fn note_table(&mut self, frame: u32) -> bool {
        let word = frame as usize / 64;
        if self.tables.len() <= word {
            self.tables.resize(word + 1, 0);
        }
        let known = self.tables[word] >> (frame % 64) & 1 != 0;
        self.tables[word] |= 1 << (frame % 64);
        !known
    }

    /// Whoever comes by `entry` must be looked at.
    fn suspect(&mut self, entry: PhysAddr) -> Vec<(Held, PageSize)> {
        let stays = |held: &Held| self.paths.get(held).filter(|path| path.entries.contains(&Some(entry)));
        let held = self.dependents.get(&entry).into_iter().flatten();
        let sized: Vec<_> = held.filter_map(|held| Some((*held, stays(held)?.size))).collect();
        self.suspects.extend(sized.iter().map(|&(held, _)| held));
        sized
    }

    /// Notes what was taken from an entry, and forgets what was given back.
    fn note_change(&mut self, change: Change, wide: bool) {
        let list = self.changes.entry(change.entry).or_default();
        list.retain(|earlier| !entry::covers(change.new, earlier.old, wide));
        if !entry::covers(change.new, change.old, wide) && list.len() < MAX_CHANGES {
            list.push(change);
        }
        if list.is_empty() {
            self.changes.remove(&change.entry);
        }
    }

    /// The first change since the fill that is over, if `user` uses the entry now; and whether any change is open.
    fn verdict(&self, held: Held, filled_at: u64, user: Thread) -> (bool, Option<(Change, Closed)>) {
        let Some(path) = self.paths.get(&held) else { return (false, None) };
        let mut since: Vec<&Change> =
            path.entries.iter().flatten().flat_map(|entry| self.changes.get(entry)).flatten().collect();
        // A fetch fills before the same instruction stores.
        since.retain(|change| change.at >= filled_at);
        since.sort_by_key(|change| change.at);
        let closed = |change: &&Change| Some((**change, self.closed(change, user)?));
        (!since.is_empty(), since.iter().find_map(closed))
    }

    fn closed(&self, change: &Change, user: Thread) -> Option<Closed> {
        if change.thread == user {
            return Some(Closed::ByItself);
        }
        let has_left = self.left_ring_3.get(&change.thread).is_some_and(|&at| at > change.at);
        let is_there = self.resting_in_ring_3.values().any(|&thread| thread == change.thread);
        (has_left || is_there).then_some(Closed::BackInRing3)
    }

    fn own_flush(&self, change: &Change, held: &TlbEntry) -> Option<u64> {
        let page = self.removed_page.get(&(change.cpu, held.page)).copied();
        let local = self.removed_local.get(&change.cpu).copied().filter(|_| !held.global);
        let all = self.removed_all.get(&change.cpu).copied();
        [page, local, all].into_iter().flatten().filter(|&at| at > change.at).max()
    }
}

/// Whether this run is checked.
#[inline]
fn is_on(cpu: &Cpu) -> bool {
    !cpu.run.coherence.is_null()
}

/// Whether stores to a frame must be looked at.
#[inline]
pub(crate) fn watches_stores(cpu: &mut Cpu, frame: u32) -> bool {
    is_on(cpu) && cpu.coherence().is_some_and(|it| it.is_table(frame))
}

/// Whether each use of what this CPU holds from `page` on must be looked at.
#[inline]
pub(crate) fn suspects(cpu: &mut Cpu, page: u32) -> bool {
    let number = cpu.number();
    is_on(cpu) && cpu.coherence().is_some_and(|it| it.suspects.contains(&(number, page)))
}

/// A walk has filled an entry of the TLB.
#[inline]
pub(crate) fn filled(cpu: &mut Cpu, paging: &Paging, entry: &TlbEntry) {
    if is_on(cpu) {
        note_fill(cpu, paging, entry);
    }
}

#[cold]
fn note_fill(cpu: &mut Cpu, paging: &Paging, entry: &TlbEntry) {
    let steps = walk(cpu.mem(), *paging, LinearAddr(entry.page << 12)).steps;
    // With PAE the first level is in registers, which a load of CR3 sets.
    let mut entries = steps.iter().filter(|step| step.level != Level::Pdpt).map(|step| step.addr);
    let path = Path { entries: [entries.next(), entries.next()], size: entry.size };
    let held = (cpu.number(), entry.page);
    let Some(it) = cpu.coherence() else { return };
    it.suspects.remove(&held);
    let known = it.paths.insert(held, path) == Some(path);
    let mut found = Vec::new();
    for place in path.entries.into_iter().flatten() {
        if !known {
            it.dependents.entry(place).or_default().insert(held);
        }
        if it.note_table(place.frame()) {
            found.push(place.frame());
        }
    }
    for frame in found {
        cpu.projections().iter_mut().for_each(|projection| projection.revoke_stores(frame));
    }
}

/// A store into a frame of tables: done here, so that what it changes is seen.
#[cold]
pub(crate) fn store(cpu: &mut Cpu, addr: PhysAddr, bytes: &[u8]) {
    let wide = cpu.state.paging().pae();
    let size = if wide { 8 } else { 4 };
    let first = PhysAddr(addr.0 & !(size - 1));
    let count = (addr.0 + bytes.len() as u64 - first.0).div_ceil(size);
    let read = |cpu: &mut Cpu, place| if wide { cpu.mem().read_u64(place) } else { cpu.mem().read_u32(place).into() };
    let places: Vec<PhysAddr> = (0..count).map(|n| first.add(n * size)).collect();
    let before: Vec<u64> = places.iter().map(|&place| read(cpu, place)).collect();
    cpu.mem().write(addr, bytes);
    for (entry, old) in places.into_iter().zip(before) {
        let new = read(cpu, entry);
        if new != old {
            changed(cpu, entry, old, new, wide);
        }
    }
}

fn changed(cpu: &mut Cpu, entry: PhysAddr, old: u64, new: u64, wide: bool) {
    let (at, number, pc, paging) = (cpu.now(), cpu.number(), cpu.state.pc(), cpu.state.paging());
    let thread = Thread::of(cpu);
    let change = Change { at, cpu: number, pc, paging, entry, old, new, thread };
    let Some(it) = cpu.coherence() else { return };
    if let Some(log) = &mut it.log {
        log.push(change);
    }
    if !it.dependents.contains_key(&entry) {
        return;
    }
    it.note_change(change, wide);
    if !it.judges || entry::covers(new, old, wide) {
        return;
    }
    for ((other, page), size) in it.suspect(entry) {
        if let Some(projection) = cpu.projections().get_mut(other) {
            projection.clear_page(page, size);
        }
        if other == number {
            // The next fetch asks the TLB, which gives the same answer; also in the block that runs.
            cpu.state.tlb.clear_latch();
            cpu.run.attention |= LinearAddr(pc).page_number() & !(size.pages() - 1) == page;
        }
    }
}

/// What this CPU holds is used for `access`.
#[inline]
pub(crate) fn used(cpu: &mut Cpu, held: &TlbEntry, addr: LinearAddr, access: Access) {
    if suspects(cpu, held.page) {
        judge(cpu, held, addr, access);
    }
}

#[cold]
fn judge(cpu: &mut Cpu, held: &TlbEntry, addr: LinearAddr, access: Access) {
    let (at, number, pc, cpl) = (cpu.now(), cpu.number(), cpu.state.pc(), cpu.state.cpl);
    let thread = Thread::of(cpu);
    let mut paging = cpu.state.paging();
    paging.a20_mask = cpu.projection().a20_mask();
    let tables = walk(cpu.mem(), paging, addr).result;
    let guards = Guards::of(cpu.state.cr0(), cpu.state.cr4());
    let Some(it) = cpu.coherence() else { return };
    let key = (number, held.page);
    let (any_open, verdict) = it.verdict(key, held.filled_at, thread);
    if !any_open {
        it.suspects.remove(&key);
        return;
    }
    let Some((change, closed)) = verdict else { return };
    if !matters(held, &tables, addr, access, guards) {
        return;
    }
    it.suspects.remove(&key);
    if it.reported.insert(key) {
        let own_flush = it.own_flush(&change, held);
        it.findings.push(Finding {
            at,
            cpu: number,
            pc,
            cpl,
            paging,
            addr,
            kind: access.kind,
            held: *held,
            tables,
            change,
            closed,
            own_flush,
        });
        // The machine tells of it between two instructions.
        cpu.run.attention = true;
    }
}

/// Whether the tables would have the access end otherwise.
fn matters(held: &TlbEntry, tables: &WalkResult, addr: LinearAddr, access: Access, guards: Guards) -> bool {
    let WalkResult::Mapped(mapping) = tables else { return true };
    mapping.translate(addr).frame() != held.translate(addr).frame()
        || !mapping.rights.allow(access, guards)
        || access.kind == AccessKind::Write && !mapping.dirty
}

/// The guest has removed translations of this CPU.
#[inline]
pub(crate) fn flushed(cpu: &mut Cpu, flush: Flush) {
    let (now, number) = (cpu.now(), cpu.number());
    let Some(it) = cpu.coherence() else { return };
    match flush {
        Flush::Page(page) => it.removed_page.insert((number, page), now),
        Flush::Reload | Flush::Switch { .. } => it.removed_local.insert(number, now),
        Flush::All => it.removed_all.insert(number, now),
    };
}

/// An interrupt, exception or call is about to leave ring 3.
#[inline]
pub(crate) fn leaves_ring_3(cpu: &mut Cpu) {
    if !is_on(cpu) {
        return;
    }
    let (now, thread) = (cpu.now(), Thread::of(cpu));
    if let Some(it) = cpu.coherence() {
        it.left_ring_3.insert(thread, now);
    }
}

/// A run of this CPU begins.
pub(crate) fn begins(cpu: &mut Cpu) {
    let number = cpu.number();
    if let Some(it) = cpu.coherence() {
        it.resting_in_ring_3.remove(&number);
    }
}

/// A run of this CPU ends.
pub(crate) fn rests(cpu: &mut Cpu) {
    if !is_on(cpu) || cpu.state.cpl != 3 {
        return;
    }
    let (number, thread) = (cpu.number(), Thread::of(cpu));
    if let Some(it) = cpu.coherence() {
        it.resting_in_ring_3.insert(number, thread);
    }
}
