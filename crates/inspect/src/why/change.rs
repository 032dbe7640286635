//! When the mapping changed last.

use cpu::{
    FaultRecord,
    mmu::{Burst, EntryChange, LastChange, Level, Step, Walk, Writer},
};
use serde_json::{Value, json};
use x86::LinearAddr;

use super::{
    in_brackets,
    refusal::{Refused, level_word},
};
use crate::{Target, lens::symbol_at};

/// The last change in words.
pub struct Changed {
    pub line: String,
    pub json: Value,
}

/// Of the entry that refused, else of the last of the walk.
pub fn of(target: &Target<'_>, record: &FaultRecord, walk: &Walk, refused: &Refused) -> Changed {
    let step = match refused {
        Refused::Entry { step, .. } => walk.steps.get(*step),
        _ => walk.steps.last(),
    };
    let Some(step) = step else { return Changed { line: "paging is off".into(), json: Value::Null } };
    let name = level_word(step.level);
    let upper = name.to_uppercase();
    let line = |words: &str| format!("{upper}: {words}");
    if step.level == Level::Pdpt {
        let words = "in a register of the CPU, which a load of CR3 fills: not followed";
        return Changed { line: line(words), json: json!({"entry": name, "known": false}) };
    }
    let Some(changes) = target.table_changes else {
        let words = "not followed (run with --follow-tables)";
        return Changed { line: line(words), json: json!({"entry": name, "known": false}) };
    };
    // What has changed since the fault is no reason for it.
    let before = |at: u64| at <= record.at;
    let (words, json) = match changes.last(step.addr) {
        LastChange::Store(change) if before(change.by.at) => store(target, record, step, change),
        LastChange::Burst(burst, store) if before(burst.by.at) => many(target, record, burst, store),
        LastChange::Never { since } if before(since) => {
            let words = match record.at - since {
                0 => "this access is the first to come by its table".to_owned(),
                ago => format!("never since its table is one, {ago} ns before"),
            };
            (words, json!({"known": true, "never_since": since}))
        }
        LastChange::Unknown => ("not remembered".to_owned(), json!({"known": false})),
        _ => ("since the fault; not remembered before".to_owned(), json!({"known": false})),
    };
    let mut json = json;
    json["entry"] = name.into();
    Changed { line: line(&words), json }
}

fn store(target: &Target<'_>, record: &FaultRecord, step: &Step, change: EntryChange) -> (String, Value) {
    let EntryChange { by, old, new } = change;
    let who = writer(target, record, by);
    // A and D are set by the processor itself, and are no change of the mapping.
    let digits = if record.paging.pae() { 18 } else { 10 };
    let json =
        json!({"known": true, "old": old, "new": new, "value": step.value, "by": writer_json(target, record, by)});
    (format!("{old:#0digits$x} -> {new:#0digits$x} {who}"), json)
}

fn many(target: &Target<'_>, record: &FaultRecord, burst: Burst, store: Option<EntryChange>) -> (String, Value) {
    let who = writer(target, record, burst.by);
    let json = json!({
        "known": true, "burst": true, "by": writer_json(target, record, burst.by), "until": burst.until,
        "old": store.map(|store| store.old), "new": store.map(|store| store.new),
    });
    (format!("in a series of stores into its table, {who}"), json)
}

fn writer(target: &Target<'_>, record: &FaultRecord, by: Writer) -> String {
    let Writer { at, cpu, retired, pc, cr3 } = by;
    let paging = record.paging.with_cr3(target.mem, cr3);
    let symbol = in_brackets(symbol_at(target, paging, LinearAddr(pc)));
    format!("at instruction {retired} of CPU {cpu}, {} ns before, by {pc:#010x}{symbol}", record.at - at)
}

fn writer_json(target: &Target<'_>, record: &FaultRecord, by: Writer) -> Value {
    let Writer { at, cpu, retired, pc, cr3 } = by;
    let paging = record.paging.with_cr3(target.mem, cr3);
    let symbol = symbol_at(target, paging, LinearAddr(pc));
    json!({"at": at, "cpu": cpu, "instruction": retired, "addr": pc, "symbol": symbol})
}
