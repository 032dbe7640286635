//! A use of a stale translation (`--check-tlb`) in words: what was used, what the tables say, who
//! changed them, and which flush is missing.

use cpu::{
    coherence::{Change, Closed, Finding},
    mmu::{AccessKind, WalkResult},
};
use machine::{Fact, Timeline, TimelineEvent};
use x86::LinearAddr;

use crate::{
    Target,
    lens::{describe_tlb_entry, stale_words, symbol_at},
    timeline::Points,
};

/// The finding in lines of text, the first of which says what happened.
pub fn describe_finding(target: &Target<'_>, finding: &Finding, timeline: &Timeline) -> String {
    let Finding { at, cpu, cpl, addr, change, .. } = finding;
    let kind = match finding.kind {
        AccessKind::Read => "read of",
        AccessKind::Write => "write to",
        AccessKind::Fetch => "fetch from",
    };
    let by = place(target, finding.pc, finding.paging);
    let mut text =
        format!("CPU {cpu} uses a stale translation: {kind} {:#010x} by {by} in ring {cpl}, at {at}\n", addr.0);
    let mut line = |name: &str, what: &str| text += &format!("  {name:<8} {what}\n");
    line("held", &describe_tlb_entry(&finding.held));
    line("tables", &tables(finding));
    line("changed", &changed(target, change));
    line(
        "over",
        match finding.closed {
            Closed::ByItself => "the thread that changed the entry goes on by the old translation itself",
            Closed::BackInRing3 => "the thread that changed the entry has been in ring 3 since",
        },
    );
    line("missing", &missing(finding, timeline, Points::of(target)));
    text
}

fn place(target: &Target<'_>, pc: u32, paging: cpu::mmu::Paging) -> String {
    let symbol = symbol_at(target, paging, LinearAddr(pc));
    symbol.map_or(format!("{pc:#010x}"), |symbol| format!("{pc:#010x} <{symbol}>"))
}

fn tables(finding: &Finding) -> String {
    let words = stale_words(&finding.held, &finding.tables).unwrap_or("the tables agree again");
    match &finding.tables {
        WalkResult::Mapped(mapping) => {
            let frame = mapping.translate(LinearAddr(finding.held.page << 12));
            let letter = |bit, letter| if bit { letter } else { '-' };
            let who = if mapping.rights.user { 'u' } else { 's' };
            let rights: String =
                [who, 'r', letter(mapping.rights.writable, 'w'), letter(mapping.rights.executable, 'x')]
                    .into_iter()
                    .chain([letter(mapping.dirty, 'D')])
                    .collect();
            format!("{words}: {:#010x} {rights}", frame.0)
        }
        _ => words.to_owned(),
    }
}

fn changed(target: &Target<'_>, change: &Change) -> String {
    let Change { at, cpu, entry, old, new, .. } = change;
    let by = place(target, change.pc, change.paging);
    format!("at {at} by CPU {cpu}, {by}: entry at {:#010x}, {old:#010x} -> {new:#010x}", entry.0)
}

/// A change of a paging-structure entry as a line of a trace, without its end.
pub fn describe_change(target: &Target<'_>, change: &Change) -> String {
    let Change { at, cpu, entry, old, new, .. } = change;
    let by = place(target, change.pc, change.paging);
    format!("{at} CPU {cpu} changes the entry at {:#010x} from {old:#010x} to {new:#010x} by {by}", entry.0)
}

/// What should have been done between the change and the use, and what was.
fn missing(finding: &Finding, timeline: &Timeline, points: Option<Points>) -> String {
    let (user, changer) = (finding.cpu, finding.change.cpu);
    if user == changer {
        return format!("an INVLPG of the page, or a load of CR3, on CPU {user} since the change");
    }
    let own = match finding.own_flush {
        Some(at) => format!("CPU {changer} flushed its own translation at {at}"),
        None => format!("CPU {changer} did not flush its own translation either"),
    };
    let since = |event: &&TimelineEvent| (finding.change.at..=finding.at).contains(&event.at_ns);
    // Of a kernel that says when it shoots down, only what it sends then is meant; of others any interrupt may be.
    let mut inside = points.is_none_or(|points| !points.cover(finding.change.at));
    let sent = timeline.events().filter(since).find_map(|event| match event.fact {
        Fact::Passed { place, .. } if usize::from(event.cpu) == changer => {
            inside = points.and_then(|points| points.begins(place)).unwrap_or(inside);
            None
        }
        Fact::Sent { vector, targets, .. } if inside && targets >> user & 1 != 0 => Some((event, vector)),
        _ => None,
    });
    let is_kept =
        timeline.forgotten() == 0 || timeline.events().next().is_some_and(|first| first.at_ns <= finding.change.at);
    let Some((ipi, vector)) = sent else {
        let unknown = if is_kept { "" } else { " among those that are remembered" };
        return format!(
            "{own}; no IPI was sent to CPU {user} since the change{unknown}: the shootdown's IPI is missing"
        );
    };
    let taken = timeline.events().filter(since).find(|event| {
        usize::from(event.cpu) == user
            && event.at_ns >= ipi.at_ns
            && matches!(event.fact, Fact::Taken { vector: taken, .. } if taken == vector)
    });
    let (from, at) = (ipi.cpu, ipi.at_ns);
    match taken {
        None => {
            format!("{own}; the IPI {vector:#04x} that CPU {from} sent at {at} was not taken yet: nobody waited for it")
        }
        Some(taken) => format!(
            "{own}; CPU {user} took the IPI {vector:#04x} of CPU {from} at {}, and did not drop the page",
            taken.at_ns
        ),
    }
}
