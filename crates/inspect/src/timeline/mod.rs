//! TLB shootdowns, put together from what the hardware saw.

mod assemble;
mod points;
mod text;

pub use assemble::{Assembler, Removed, Shootdown, Target, assemble};
pub use points::{Asked, Points};
pub use text::{category, describe, trace_json, words};

use std::collections::BTreeSet;

use machine::{Fact, TimelineEvent};

use crate::Row;
use serde_json::{Value, json};

/// What `timeline` shows of these facts: each shootdown as text, and as JSON.
pub fn show(events: &[TimelineEvent], forgotten: u64, points: Option<Points>) -> (String, Value) {
    let shootdowns = assemble(events, points);
    let mut text = String::new();
    for shootdown in &shootdowns {
        text += &describe(shootdown);
    }
    let count = shootdowns.len();
    text += &format!("{count} shootdowns in the last {} facts; {forgotten} older ones are forgotten\n", events.len());
    let rows: Vec<Value> = shootdowns.iter().map(text::json).collect();
    (text, json!({ "shootdowns": rows, "facts": events.len(), "forgotten": forgotten }))
}

/// What came at or after a virtual time: the shootdowns, and the other interprocessor interrupts in words.
pub fn since(events: &[TimelineEvent], points: Option<Points>, since_ns: u64) -> (Vec<Value>, Vec<Value>) {
    let shootdowns: Vec<Shootdown> =
        assemble(events, points).into_iter().filter(|shootdown| shootdown.sent_ns >= since_ns).collect();
    let of_shootdowns: BTreeSet<(u64, u8)> = shootdowns.iter().map(|one| (one.sent_ns, one.initiator)).collect();
    let others = events
        .iter()
        .filter(|event| matches!(event.fact, Fact::Sent { .. }) && event.at_ns >= since_ns)
        .filter(|event| !of_shootdowns.contains(&(event.at_ns, event.cpu)))
        .map(|event| json!({"at": event.at_ns, "cpu": event.cpu, "what": words(event, points)}));
    (shootdowns.iter().map(text::json).collect(), others.collect())
}

/// The same facts as the events of a Chrome trace: a mark each in the row of its CPU, and the shootdowns as bars with
/// arrows from who asks to who flushes.
pub fn chrome(events: &[TimelineEvent], points: Option<Points>, cpus: usize) -> Vec<Value> {
    let mut trace: Vec<Value> = (0..cpus as u8).flat_map(|cpu| Row::Cpu(cpu).name_events()).collect();
    trace.extend(events.iter().filter_map(|event| text::mark(event, points)));
    trace.extend(trace_json(&assemble(events, points)));
    trace
}
