//! The CPUs, and what each holds in its TLB against what the tables say now.

use cpu::mmu::{TlbEntry, WalkResult, walk};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use x86::LinearAddr;

use super::column::{Column, Room};
use crate::lens::stale_words;
use crate::{Books, Request, Target, look};

/// Entries of one TLB that a picture shows.
const MAX_HELD: usize = 1 << 16;

/// A CPU.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// Its number.
    pub number: u32,
    /// As the lens `regs` shows it.
    pub registers: Value,
    /// The process that runs there, if the kernel's books tell; 0 for the idle task.
    pub pid: Option<u32>,
    /// Its thread that runs there.
    pub thread: Option<u32>,
    /// What it holds.
    pub tlb: Tlb,
    /// Entries filled, put out for another, removed by flushes and by INVLPG; page faults delivered.
    pub counts: [u64; 5],
}

/// A TLB, packed, by ascending page.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tlb {
    /// Numbers of the first pages.
    pub page: Column,
    /// Numbers of the first frames.
    pub frame: Column,
    /// Frames of each page: 1, 512 or 1024.
    pub pages: Column,
    /// Bits: 1 user, 2 writable, 4 executable, 8 dirty, 16 global.
    pub rights: Column,
    /// What the tables lead to now: the frame plus 1, or 0 where they lead nowhere.
    pub now: Column,
    /// What the tables allow now, in the same bits.
    pub now_rights: Column,
    /// Linear addresses of the instructions whose accesses filled them.
    pub filled_by: Column,
    /// Bits 31:0 and 63:32 of the time when.
    pub filled_at: [Column; 2],
    /// The number of the reason why it is stale plus 1, or 0.
    pub stale: Column,
    /// The reasons.
    pub reasons: Vec<String>,
}

/// The CPUs of a machine.
pub(super) fn cpus(
    target: &Target<'_>,
    books: Option<&Books<'_>>,
    room: &mut Room,
    notes: &mut Vec<String>,
) -> Vec<Cpu> {
    let mut cpus = Vec::new();
    for (number, state) in (0u32..).zip(&target.cpus) {
        notes.extend(target.damage.take());
        let registers = look(target, &Request::Regs { cpu: Some(number as usize) }).map(|answer| answer.json);
        let mut rows = registers.ok().and_then(|rows| rows.as_array().cloned()).unwrap_or_default();
        let current = books.filter(|books| number < books.nr_cpus()).map(|books| books.current(number));
        let task = match current {
            Some(Ok(task)) => Some(task),
            Some(Err(why)) => {
                notes.push(format!("CPU {number}: {why}"));
                None
            }
            None => None,
        };
        let counts = state.tlb.counts();
        cpus.push(Cpu {
            number,
            registers: rows.pop().unwrap_or_default(),
            pid: task.map(|task| task.tgid),
            thread: task.map(|task| task.pid),
            tlb: tlb(target, number, room, notes),
            counts: [counts.fills, counts.evictions, counts.flushes, counts.invlpgs, counts.page_faults],
        });
    }
    cpus
}

fn tlb(target: &Target<'_>, number: u32, room: &mut Room, notes: &mut Vec<String>) -> Tlb {
    let state = target.cpus[number as usize];
    let mut entries: Vec<&TlbEntry> = state.tlb.iter().collect();
    entries.sort_by_key(|entry| (entry.page, entry.size.pages()));
    if entries.len() > MAX_HELD {
        notes.push(format!("CPU {number} holds {} translations: the first {MAX_HELD} are shown", entries.len()));
        entries.truncate(MAX_HELD);
    }
    let mut reasons: Vec<String> = Vec::new();
    let mut rows: [Vec<u32>; 10] = Default::default();
    for entry in entries {
        let now = walk(target.mem, state.paging(), LinearAddr(entry.page << 12)).result;
        let (frame, rights) = match &now {
            WalkResult::Mapped(mapping) => {
                let frame = (mapping.translate(LinearAddr(entry.page << 12)).0 >> 12) as u32;
                (frame + 1, bits(mapping.rights, mapping.dirty, mapping.global))
            }
            WalkResult::PagingOff => (entry.page + 1, 7),
            WalkResult::NotPresent | WalkResult::Reserved => (0, 0),
        };
        let stale = stale_words(entry, &now).map_or(0, |why| {
            let at = reasons.iter().position(|known| known == why).unwrap_or_else(|| {
                reasons.push(why.to_owned());
                reasons.len() - 1
            });
            at as u32 + 1
        });
        let held = bits(entry.rights, entry.dirty, entry.global);
        let time = [entry.filled_at as u32, (entry.filled_at >> 32) as u32];
        let row = [
            entry.page,
            entry.frame,
            entry.size.pages(),
            held,
            frame,
            rights,
            entry.filled_by,
            time[0],
            time[1],
            stale,
        ];
        rows.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }
    let [page, frame, pages, rights, now, now_rights, filled_by, low, high, stale] =
        rows.map(|values| room.column(|| format!("a column of the TLB of CPU {number}"), &values));
    Tlb { page, frame, pages, rights, now, now_rights, filled_by, filled_at: [low, high], stale, reasons }
}

fn bits(rights: cpu::mmu::Rights, dirty: bool, global: bool) -> u32 {
    let all = [rights.user, rights.writable, rights.executable, dirty, global];
    (0..).zip(all).map(|(bit, set)| u32::from(set) << bit).sum()
}
