//! TLB shootdowns, put together from what the hardware saw.

mod assemble;
mod points;
mod text;

pub use assemble::{Assembler, Removed, Shootdown, Target, assemble};
pub use points::{Asked, Points};
pub use text::{describe, event_line, trace_json};

use machine::TimelineEvent;
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
