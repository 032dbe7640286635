//! What `monitor break` and `monitor watch` ask for: conditions are judged inside the machine's
//! run, so that a stop that is not wanted costs about a microsecond.

mod condition;
mod judge;
mod parse;
mod text;

use std::mem;

use machine::{Catches, Machine, Watch};
use x86::LinearAddr;

pub use condition::Condition;
pub use judge::{Judge, Process, Reason, is_ours};
use parse::parse;

use super::Stub;

/// The most rows at once.
const MAX_ROWS: usize = 256;
/// What is said of one more.
pub const TOO_MANY: &str = "there are 256 already; `monitor unbreak` takes some away";
/// The vector of system calls on Linux.
const SYSTEM_CALL: u8 = 0x80;

/// What a row waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// The instruction at this linear address.
    Instruction(u32),
    /// Accesses to memory.
    Memory(Watch),
    /// System calls with one of these numbers; any, if there are none.
    SystemCall(Vec<u32>),
    /// The kernel's function at this address, which every end of a process comes by.
    Exit(u32),
    /// A page fault at an address from the first to the last.
    Fault(u32, u32),
    /// Writes to the entries by which an address space translates an address: where CR3 leads, the address, and
    /// the entries as they lie now.
    Entries(Space, u32, Vec<Watch>),
    /// Accesses to a port from the first to the last.
    Port {
        /// The first one.
        first: u16,
        /// The last one.
        last: u16,
        /// Reads.
        input: bool,
        /// Writes.
        output: bool,
    },
    /// An interrupt, an exception or an INT n.
    Vector(u8),
    /// Loads of CR3.
    LoadCr3,
}

/// An address space, and the process that had it when it was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// What CR3 holds while it is in use.
    pub cr3: u32,
    /// The process.
    pub pid: Option<u32>,
}

/// One wish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its number, from 1.
    pub number: u32,
    /// As the user wrote it.
    pub words: String,
    /// What it waits for.
    pub what: What,
    /// What must hold besides.
    pub condition: Condition,
    /// How often it stopped the machine.
    pub hits: u64,
    /// How often it would have, but for the condition.
    pub passed: u64,
}

/// All wishes of a session beside gdb's own breakpoints and watchpoints.
#[derive(Default)]
pub struct Stops {
    rows: Vec<Row>,
    last_number: u32,
    /// `monitor stop-on int3`.
    pub int3: bool,
    /// What the judge made of the last stop.
    reason: Option<Reason>,
    /// What gdb's user is to be told of it.
    text: String,
}

impl Stops {
    /// Whether a row waits for the instruction at `addr`.
    pub fn waits_at(&self, addr: u32) -> bool {
        self.rows.iter().any(|row| row.address() == Some(addr))
    }

    /// What the judge made of the last stop.
    pub fn take_reason(&mut self) -> Option<Reason> {
        self.reason.take()
    }

    /// What gdb's user is to be told of the last stop.
    pub fn take_text(&mut self) -> String {
        mem::take(&mut self.text)
    }

    /// The events that the machine is to stop at.
    fn catches(&self) -> Catches {
        let mut catches = Catches::default();
        if self.int3 {
            catches.vectors.insert(x86::Vector::BREAKPOINT.0);
        }
        let system_calls = self.rows.iter().any(|row| matches!(row.what, What::SystemCall(_)));
        if system_calls {
            catches.vectors.insert(SYSTEM_CALL);
            catches.sysenter = true;
        }
        for row in &self.rows {
            match row.what {
                What::Fault(..) => catches.vectors.insert(x86::Vector::PAGE_FAULT.0),
                What::Vector(vector) => catches.vectors.insert(vector),
                What::Port { first, last, .. } => catches.ports.push((first, last)),
                What::LoadCr3 => catches.cr3 = true,
                _ => {}
            }
        }
        catches
    }

    fn list(&self) -> String {
        let line = |row: &Row| {
            let passed = if row.condition.is_empty() { String::new() } else { format!(", {} passed over", row.passed) };
            format!("{:<3} {}: {} hits{passed}\n", row.number, row.words, row.hits)
        };
        match self.rows.is_empty() {
            true => String::from("nothing; `monitor help` tells what there can be\n"),
            false => self.rows.iter().map(line).collect(),
        }
    }
}

impl Row {
    /// The linear address of the instruction that it waits for.
    fn address(&self) -> Option<u32> {
        match self.what {
            What::Instruction(addr) | What::Exit(addr) => Some(addr),
            _ => None,
        }
    }

    fn watches(&self) -> &[Watch] {
        match &self.what {
            What::Memory(watch) => std::slice::from_ref(watch),
            What::Entries(_, _, entries) => entries,
            _ => &[],
        }
    }
}

impl Stub<'_> {
    /// What the words behind `monitor break` or `monitor watch` ask for.
    pub(super) fn parse_stop(&self, words: &[&str], watch: bool) -> Result<(What, Condition), inspect::Error> {
        parse(self.machine, &self.target(), watch, words)
    }

    /// The table that `monitor break` prints.
    pub(super) fn list_stops(&self) -> String {
        self.stops.list()
    }

    /// Adds a row; its number, or `None` if there are too many.
    pub(super) fn add_stop(&mut self, words: String, what: What, condition: Condition) -> Option<u32> {
        if self.stops.rows.len() == MAX_ROWS {
            return None;
        }
        self.stops.last_number += 1;
        let row = Row { number: self.stops.last_number, words, what, condition, hits: 0, passed: 0 };
        row.watches().iter().for_each(|&watch| self.machine.add_watch(watch));
        if let Some(addr) = row.address() {
            self.machine.add_breakpoint(LinearAddr(addr));
        }
        self.stops.rows.push(row);
        self.catch_events();
        Some(self.stops.last_number)
    }

    /// Takes a row away; says whether there was one with this number.
    pub(super) fn remove_stop(&mut self, number: u32) -> bool {
        let Some(at) = self.stops.rows.iter().position(|row| row.number == number) else { return false };
        let row = self.stops.rows.remove(at);
        row.watches().iter().for_each(|&watch| self.machine.remove_watch(watch));
        if let Some(addr) = row.address() {
            self.release_address(addr);
        }
        self.catch_events();
        true
    }

    /// Takes all rows away.
    pub(super) fn remove_stops(&mut self) {
        while let Some(number) = self.stops.rows.first().map(|row| row.number) {
            self.remove_stop(number);
        }
    }

    /// Has the guest's INT3 stop the machine, or not.
    pub(super) fn stop_on_int3(&mut self, wanted: bool) {
        self.stops.int3 = wanted;
        self.catch_events();
    }

    /// Tells the machine which events it is to stop at.
    pub(super) fn catch_events(&mut self) {
        let user = self.resume.detour.is_some_and(|detour| detour.exec.is_some());
        self.machine.set_catches(Catches { user, ..self.stops.catches() });
    }

    /// Takes the machine's breakpoint at `addr` away, unless somebody still waits there.
    pub(super) fn release_address(&mut self, addr: u32) {
        let is_way_back = self.resume.detour.is_some_and(|detour| detour.back_at == addr);
        let is_marked = self.catch.marks().contains(&addr);
        if !self.breakpoints.contains_key(&addr) && !self.stops.waits_at(addr) && !is_way_back && !is_marked {
            self.machine.remove_breakpoint(LinearAddr(addr));
        }
    }

    /// Looks anew where the entries lie whose writes are waited for: the directory's entry may lead elsewhere now.
    pub(super) fn follow_entries(&mut self) {
        for row in &mut self.stops.rows {
            let What::Entries(space, addr, entries) = &mut row.what else { continue };
            let now = entries_of(self.machine, *space, *addr);
            if now != *entries {
                entries.drain(..).for_each(|watch| self.machine.remove_watch(watch));
                now.iter().for_each(|&watch| self.machine.add_watch(watch));
                *entries = now;
            }
        }
    }
}

/// The entries in memory by which `space` translates `addr`, as far as the walk comes.
fn entries_of(machine: &Machine, space: Space, addr: u32) -> Vec<Watch> {
    use cpu::mmu::{Level, walk};
    use machine::{WatchKind, WatchSpace};
    let paging = inspect::with_directory(machine.cpu(machine.current_cpu()), machine.memory(), space.cr3);
    let bytes = if paging.pae() { 8 } else { 4 };
    let steps = walk(machine.memory(), paging, LinearAddr(addr)).steps;
    // The pointers of PAE are in registers.
    let in_memory = steps.iter().filter(|step| step.level != Level::Pdpt);
    let place = |step: &cpu::mmu::Step| u32::try_from(step.addr.0).ok();
    in_memory.filter_map(|step| Watch::new(WatchSpace::Physical, place(step)?, bytes, WatchKind::Write)).collect()
}
