//! A lens as a part of a greater look: what cannot be shown is a note, and the rest is there.

use serde_json::Value;

use crate::{Request, Target, look};

/// Rows of a lens that are taken in.
const MAX_ROWS: usize = 5000;

/// What a lens shows as JSON; null and a note that begins with `name` where it shows nothing.
pub(crate) fn part(target: &Target<'_>, request: &Request, name: &str, notes: &mut Vec<String>) -> Value {
    // A look takes what was noted before it: that is ours.
    notes.extend(target.damage.take());
    let answer = match look(target, request) {
        Ok(answer) => {
            notes.extend(answer.note.iter().flat_map(|note| note.lines()).map(|line| format!("{name}: {line}")));
            answer.json
        }
        Err(why) => {
            notes.push(format!("{name}: {why}"));
            return Value::Null;
        }
    };
    match answer {
        Value::Array(mut rows) if rows.len() > MAX_ROWS => {
            notes.push(format!("{name}: the first {MAX_ROWS} of {} are shown", rows.len()));
            rows.truncate(MAX_ROWS);
            Value::Array(rows)
        }
        other => other,
    }
}
