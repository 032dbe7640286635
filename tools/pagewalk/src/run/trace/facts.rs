//! `--trace ipi,tlb,mmu`: interprocessor interrupts, TLB flushes, changes of paging-structure
//! entries, and the shootdowns that they make up.

use inspect::{
    Row, Told, describe_change,
    timeline::{self, Assembler, Points, Shootdown},
};
use machine::{Machine, TableChange, TimelineEvent};
use serde_json::json;

use crate::lens::Known;

/// More facts than can come between two looks.
const KEPT_FACTS: usize = 1 << 18;

/// What is asked for.
#[derive(Clone, Copy, Default)]
pub struct Wanted {
    pub ipi: bool,
    pub tlb: bool,
    pub mmu: bool,
}

impl Wanted {
    pub fn any(self) -> bool {
        self.ipi || self.tlb || self.mmu
    }

    fn wants(self, event: &TimelineEvent) -> bool {
        if timeline::category(&event.fact) == "tlb" { self.tlb } else { self.ipi }
    }
}

/// Follows the facts of a run.
pub struct FactTrace {
    wanted: Wanted,
    /// A Chrome trace: shootdowns are drawn, else described.
    json: bool,
    /// Number of the next fact.
    next: u64,
    points: Option<Points>,
    shootdowns: Assembler,
}

impl FactTrace {
    /// Has the machine keep what is asked for.
    pub fn begin(machine: &mut Machine, known: &Known, wanted: Wanted, json: bool) -> Self {
        machine.keep_timeline(KEPT_FACTS);
        if wanted.mmu {
            machine.keep_table_changes();
        }
        let (_, next) = machine.timeline().since(u64::MAX);
        let points = known.look(machine, Points::of);
        FactTrace { wanted, json, next, points, shootdowns: Assembler::new(points) }
    }

    /// What has come since the last call; shootdowns when they are done.
    pub fn take(&mut self, machine: &mut Machine, known: &Known) -> Vec<Told> {
        let changes = machine.take_table_changes();
        let (events, next) = machine.timeline().since(self.next);
        self.next = next;
        events.iter().for_each(|event| self.shootdowns.add(event));
        let mut told = Vec::new();
        if self.wanted.mmu {
            known.glance(machine, |target| {
                told.extend(changes.iter().map(|change| mark(change, &describe_change(target, change))));
            });
        }
        let wanted = events.iter().filter(|event| self.wanted.wants(event));
        told.extend(wanted.filter_map(|event| self.fact(event)));
        if self.wanted.tlb || self.wanted.ipi {
            told.extend(self.shootdowns.take_done().iter().map(|shootdown| self.shootdown(shootdown)));
        }
        told
    }

    /// The shootdowns that never ended.
    pub fn finish(mut self) -> Vec<Told> {
        let shootdowns = std::mem::take(&mut self.shootdowns);
        match self.wanted.tlb || self.wanted.ipi {
            true => shootdowns.finish().iter().map(|shootdown| self.shootdown(shootdown)).collect(),
            false => Vec::new(),
        }
    }

    /// One fact, unless it says nothing to people.
    fn fact(&self, event: &TimelineEvent) -> Option<Told> {
        let name = timeline::words(event, self.points)?;
        let (at_ns, cpu, category) = (event.at_ns, event.cpu, timeline::category(&event.fact));
        let line = format!("{at_ns} CPU {cpu} {name}");
        Some(Told::mark(at_ns, Row::Cpu(cpu), category, &name, json!({})).with_line(&line))
    }

    fn shootdown(&self, shootdown: &Shootdown) -> Told {
        let at_ns = shootdown.done_ns().unwrap_or(0);
        // Drawing and words of what may be many cost: only what is wanted is made.
        let (text, events) = match self.json {
            false => (timeline::describe(shootdown), String::new()),
            true => {
                let events = timeline::trace_json(std::slice::from_ref(shootdown));
                (String::new(), events.iter().map(|event| format!("{event},\n")).collect())
            }
        };
        Told { at_ns, text, events, row: Some(Row::Cpu(shootdown.initiator)) }
    }
}

/// A change of an entry, drawn in the row of the CPU that made it.
fn mark(change: &TableChange, line: &str) -> Told {
    let row = Row::Cpu(change.cpu as u8);
    Told::mark(change.at, row, "mmu", "entry changed", json!({ "what": line })).with_line(line)
}
