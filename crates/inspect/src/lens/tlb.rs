//! The translations that CPUs hold.

use cpu::CpuState;
use cpu::mmu::{PageSize, Rights, TlbEntry, WalkResult, walk};
use serde_json::{Value, json};
use x86::LinearAddr;

use super::Answer;
use crate::{Result, Target};

/// Every entry of a CPU's TLB, or of all CPUs'.
pub fn tlb(target: &Target<'_>, cpu: Option<usize>) -> Result<Answer> {
    let cpus = match cpu {
        Some(cpu) => vec![(cpu, target.cpu(cpu)?)],
        None => target.cpus.iter().copied().enumerate().collect(),
    };
    let mut text = String::new();
    let mut json_cpus = Vec::new();
    for (number, state) in cpus {
        let mut entries: Vec<&TlbEntry> = state.tlb.iter().collect();
        entries.sort_by_key(|entry| (entry.page, entry.size.pages()));
        let rows: Vec<_> = entries
            .into_iter()
            .map(|entry| {
                let now = walk(target.mem, state.paging(), LinearAddr(entry.page << 12)).result;
                (entry, stale(entry, &now))
            })
            .collect();
        let old = rows.iter().filter(|(_, stale)| stale.is_some()).count();
        text += &format!("CPU {number}: {} entries, {old} stale\n", rows.len());
        if !rows.is_empty() {
            text += "linear     physical    size  rights  filled by    at\n";
        }
        for (entry, stale) in &rows {
            let why = stale.map_or(String::new(), |why| format!("  STALE: {why}"));
            text += &format!("{}{why}\n", columns(entry));
        }
        let entries: Vec<Value> = rows.iter().map(|(entry, stale)| json(entry, *stale)).collect();
        json_cpus.push(json!({"cpu": number, "entries": entries, "stale": old}));
    }
    Ok(Answer::new(text, json_cpus))
}

/// The size of a page in two letters.
pub(super) fn size(size: PageSize) -> &'static str {
    match size {
        PageSize::Kib4 => "4K",
        PageSize::Mib2 => "2M",
        PageSize::Mib4 => "4M",
    }
}

/// `urwx`: user or supervisor, readable as every page, writable, executable.
pub(super) fn rights(rights: Rights) -> String {
    let letter = |bit, letter| if bit { letter } else { '-' };
    let who = if rights.user { 'u' } else { 's' };
    [who, 'r', letter(rights.writable, 'w'), letter(rights.executable, 'x')].iter().collect()
}

/// The rights, and `DG`: dirty, global.
fn letters(entry: &TlbEntry) -> String {
    let letter = |bit, letter| if bit { letter } else { '-' };
    rights(entry.rights) + &String::from_iter([letter(entry.dirty, 'D'), letter(entry.global, 'G')])
}

fn columns(entry: &TlbEntry) -> String {
    let (page, frame) = (u64::from(entry.page) << 12, u64::from(entry.frame) << 12);
    let (by, at) = (entry.filled_by, entry.filled_at);
    format!("{page:#010x} {frame:#011x} {:>4}  {:<6}  {by:#010x} {at:>12}", size(entry.size), letters(entry))
}

/// An entry in a few words.
pub(crate) fn describe(entry: &TlbEntry) -> String {
    let (page, frame) = (u64::from(entry.page) << 12, u64::from(entry.frame) << 12);
    let (by, at) = (entry.filled_by, entry.filled_at);
    format!("{page:#010x} -> {frame:#010x} {} {}, filled by {by:#010x} at {at}", size(entry.size), letters(entry))
}

/// What a CPU holds for an address, in a few words.
pub(crate) fn tlb_entry(state: &CpuState, addr: LinearAddr) -> Option<String> {
    state.tlb.lookup(addr).map(describe)
}

/// An entry as JSON.
pub(super) fn json(entry: &TlbEntry, stale: Option<&str>) -> Value {
    json!({
        "linear": u64::from(entry.page) << 12, "physical": u64::from(entry.frame) << 12, "size": entry.size.bytes(),
        "user": entry.rights.user, "write": entry.rights.writable, "execute": entry.rights.executable,
        "dirty": entry.dirty, "global": entry.global,
        "filled_by": entry.filled_by, "filled_at": entry.filled_at, "stale": stale,
    })
}

/// In what an entry differs from what the tables say now, if in anything that a new walk
/// would find otherwise. An entry without D where the tables have it is not stale: the
/// next write walks again.
pub(crate) fn stale(entry: &TlbEntry, now: &WalkResult) -> Option<&'static str> {
    let mapping = match now {
        WalkResult::Mapped(mapping) => mapping,
        WalkResult::NotPresent => return Some("the tables no longer map it"),
        WalkResult::Reserved => return Some("the tables now have a reserved bit set"),
        WalkResult::PagingOff => return Some("paging is off now"),
    };
    let first = LinearAddr(entry.page << 12);
    match () {
        _ if mapping.size != entry.size => Some("the tables now have another page size"),
        _ if mapping.translate(first).0 >> 12 != u64::from(entry.frame) => Some("the tables now lead to another frame"),
        _ if mapping.rights != entry.rights => Some("the tables now give other rights"),
        _ if mapping.global != entry.global => Some("the tables now have another G"),
        _ if entry.dirty && !mapping.dirty => Some("D has been cleared in the tables"),
        _ => None,
    }
}
