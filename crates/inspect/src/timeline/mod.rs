//! TLB shootdowns, put together from what the hardware saw.

mod assemble;
mod points;
mod text;

pub use assemble::{Assembler, Removed, Shootdown, Target, assemble};
pub use points::{Asked, Points};
pub use text::{describe, event_line, trace_json};

use machine::TimelineEvent;

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

/// The same facts as the events of a Chrome trace: a mark each in the row of its CPU, and the shootdowns as bars with
/// arrows from who asks to who flushes.
pub fn chrome(events: &[TimelineEvent], points: Option<Points>, cpus: usize) -> Vec<Value> {
    let mut trace: Vec<Value> = (0..cpus as u8).flat_map(|cpu| Row::Cpu(cpu).name_events()).collect();
    trace.extend(events.iter().filter_map(|event| text::mark(event, points)));
    trace.extend(trace_json(&assemble(events, points)));
    trace
}
