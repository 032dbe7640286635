//! `--trace ipi,tlb,mmu`: interprocessor interrupts, TLB flushes, changes of paging-structure
//! entries, and the shootdowns that they make up.

use inspect::{
    describe_change,
    timeline::{self, Assembler, Points, Shootdown},
};
use machine::{Fact, Machine, TableChange, TimelineEvent};
use serde_json::{Value, json};

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
        match event.fact {
            Fact::Flushed(_) | Fact::Passed { .. } => self.tlb,
            Fact::Sent { .. } | Fact::Taken { .. } | Fact::Ended => self.ipi,
        }
    }
}

/// Follows the facts of a run.
pub struct FactTrace {
    wanted: Wanted,
    /// A Chrome trace, in which only whole shootdowns and changes of entries are told.
    json: bool,
    /// Number of the next fact.
    next: u64,
    points: Option<Points>,
    shootdowns: Assembler,
    is_first: bool,
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
        FactTrace { wanted, json, next, points, shootdowns: Assembler::new(points), is_first: true }
    }

    /// What has come since the last call, in the order of time; shootdowns when they are done.
    pub fn take_text(&mut self, machine: &mut Machine, known: &Known) -> String {
        let changes = machine.take_table_changes();
        let (events, next) = machine.timeline().since(self.next);
        self.next = next;
        events.iter().for_each(|event| self.shootdowns.add(event));
        let mut lines: Vec<(u64, String)> = Vec::new();
        if self.wanted.mmu {
            known.look(machine, |target| {
                for change in &changes {
                    let line = describe_change(target, change);
                    lines.push((change.at, if self.json { mark(change, &line) } else { format!("{line}\n") }));
                }
            });
        }
        if !self.json {
            let wanted = events.iter().filter(|event| self.wanted.wants(event));
            lines.extend(wanted.map(|event| (event.at_ns, timeline::event_line(event, self.points))));
        }
        if self.wanted.tlb || self.wanted.ipi {
            let done = self.shootdowns.take_done();
            lines.extend(done.iter().map(|shootdown| (shootdown.done_ns().unwrap_or(0), self.tell(shootdown))));
        }
        lines.sort_by_key(|&(at, _)| at);
        let text: String = lines.into_iter().map(|(_, text)| text).filter(|text| !text.is_empty()).collect();
        if self.json { self.framed(&text) } else { text }
    }

    /// The shootdowns that never ended, and the end of the file.
    pub fn finish(mut self) -> String {
        let shootdowns = std::mem::take(&mut self.shootdowns);
        let rest: String = match self.wanted.tlb || self.wanted.ipi {
            true => shootdowns.finish().iter().map(|shootdown| self.tell(shootdown)).collect(),
            false => String::new(),
        };
        if !self.json {
            return rest;
        }
        let text = self.framed(&rest);
        let begin = if self.is_first { "[\n" } else { "" };
        format!("{text}{begin}{}\n]\n", rows_of_cpus())
    }

    fn tell(&self, shootdown: &Shootdown) -> String {
        match self.json {
            false => timeline::describe(shootdown),
            true => timeline::trace_json(std::slice::from_ref(shootdown))
                .iter()
                .map(|event| format!("{event},\n"))
                .collect(),
        }
    }

    fn framed(&mut self, text: &str) -> String {
        if text.is_empty() || !std::mem::take(&mut self.is_first) {
            return text.to_owned();
        }
        format!("[\n{text}")
    }
}

/// A change of an entry as a mark in the row of the CPU that made it.
fn mark(change: &TableChange, words: &str) -> String {
    let event = json!({
        "name": "entry changed", "cat": "mmu", "ph": "i", "s": "t", "pid": 0, "tid": change.cpu,
        "ts": change.at as f64 / 1000.0, "args": { "what": words },
    });
    format!("{event},\n")
}

/// The names of the rows; the last event, so that the list ends without a comma.
fn rows_of_cpus() -> String {
    let name = |cpu: u64| json!({ "name": "thread_name", "ph": "M", "pid": 0, "tid": cpu, "args": { "name": format!("CPU {cpu}") } });
    let rows: Vec<String> = (0..8).map(|cpu| Value::to_string(&name(cpu))).collect();
    rows.join(",\n")
}
