//! What changed between two machines: processes and their areas, pages by owner, free lists,
//! caches, counters. Of a kernel without books: pages and the run's counters.

mod owner;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use abi::books::ZoneRecord;
use abi::proc::zones as proc_zones;
use memory::PhysMem;
use serde_json::{Value, json};
use x86::{PAGE_SIZE, PhysAddr};

use crate::lens::{area_rows, lossy, show};
use crate::{Answer, Books, Request, Result, Target, comm, in_flux};

use owner::Owners;

/// Ranges of frames that a row of JSON names; the count is always whole.
const MAX_RANGES: usize = 4096;

/// Compares two machines, the earlier one first.
///
/// # Errors
/// None that keeps it from showing anything: books that can't be read are a note.
pub fn diff(before: &Target<'_>, after: &Target<'_>) -> Result<Answer> {
    let mut report = Report::default();
    // First: it takes what it finds damaged for itself, and what is read again below is noted again.
    let owners = Owners::of(after);
    for (which, target) in [("A", before), ("B", after)] {
        target.damage.take();
        if let Some(why) = in_flux(target, &Request::Verify) {
            report.notes.push(format!("{which}: {why}: its books may be half changed"));
        }
    }
    let books = match (Books::of(before), Books::of(after)) {
        (Ok(a), Ok(b)) => Some((a, b)),
        (Err(error), _) | (_, Err(error)) => {
            report.notes.push(format!("only pages and counters of the run are compared: {error}"));
            None
        }
    };
    if let Some((a, b)) = &books {
        processes(&mut report, a, b)?;
    }
    pages(&mut report, before.mem, after.mem, &owners);
    if let Some((a, b)) = &books {
        free_lists(&mut report, &a.zones()?, &b.zones()?);
        caches(&mut report, a, b)?;
        counters(&mut report, "vmstat", &numbers(before, Request::Vmstat)?, &numbers(after, Request::Vmstat)?);
        counters(&mut report, "meminfo", &numbers(before, Request::Meminfo)?, &numbers(after, Request::Meminfo)?);
    }
    counters(&mut report, "run", before.counters, after.counters);
    for (which, target) in [("A", before), ("B", after)] {
        report.notes.extend(target.damage.take().into_iter().map(|line| format!("{which}: {line}")));
    }
    Ok(report.answer())
}

/// The text and the JSON as they grow.
#[derive(Default)]
struct Report {
    text: String,
    json: serde_json::Map<String, Value>,
    notes: Vec<String>,
}

impl Report {
    /// A part with its rows, if there are some.
    fn part(&mut self, title: &str, rows: &[String]) {
        if !rows.is_empty() {
            self.text += &format!("{title}\n");
            rows.iter().for_each(|row| self.text += &format!("  {row}\n"));
        }
    }

    fn answer(self) -> Answer {
        let text = if self.text.is_empty() { "nothing changed\n".to_owned() } else { self.text };
        let note = (!self.notes.is_empty()).then(|| self.notes.join("\n"));
        Answer { note, ..Answer::new(text, self.json) }
    }
}

type Areas = BTreeMap<u32, (String, Vec<(String, Value)>)>;

/// The processes with their areas.
fn areas(books: &Books<'_>) -> Result<Areas> {
    let mut all = Areas::new();
    for task in books.processes()? {
        let rows = match books.mm(&task)? {
            Some(mm) => area_rows(books, &mm)?,
            None => Vec::new(),
        };
        all.insert(task.pid, (comm(&task), rows));
    }
    Ok(all)
}

fn processes(report: &mut Report, before: &Books<'_>, after: &Books<'_>) -> Result<()> {
    let (before, after) = (areas(before)?, areas(after)?);
    let mut json = Vec::new();
    let mut text = Vec::new();
    let pids: std::collections::BTreeSet<u32> = before.keys().chain(after.keys()).copied().collect();
    for pid in pids {
        let (was, is) = (before.get(&pid), after.get(&pid));
        let rows =
            |side: Option<&(String, Vec<(String, Value)>)>| side.map(|(_, rows)| rows.clone()).unwrap_or_default();
        let (old, new) = (rows(was), rows(is));
        let missing = |row: &&(String, Value), other: &[(String, Value)]| !other.iter().any(|(line, _)| *line == row.0);
        let went: Vec<_> = old.iter().filter(|row| missing(row, &new)).collect();
        let came: Vec<_> = new.iter().filter(|row| missing(row, &old)).collect();
        let (name, change) = match (was, is) {
            (None, Some((name, _))) => (name, "came"),
            (Some((name, _)), None) => (name, "went"),
            (_, Some((name, _))) if !went.is_empty() || !came.is_empty() => (name, "changed"),
            _ => continue,
        };
        text.push(format!("process {pid} ({name}) {change}"));
        text.extend(went.iter().map(|(line, _)| format!("  - {line}")));
        text.extend(came.iter().map(|(line, _)| format!("  + {line}")));
        let areas = |rows: &[&(String, Value)]| rows.iter().map(|(_, area)| area.clone()).collect::<Vec<_>>();
        json.push(json!({
            "pid": pid, "comm": name, "change": change, "mappings_went": areas(&went), "mappings_came": areas(&came),
        }));
    }
    report.part("Mappings", &text);
    report.json.insert("processes".into(), json.into());
    Ok(())
}

/// Frames whose contents differ, by who owns them afterwards.
fn pages(report: &mut Report, before: &PhysMem, after: &PhysMem, owners: &Owners) {
    let mut changed: BTreeMap<String, Vec<RangeInclusive<u32>>> = BTreeMap::new();
    let mut total = 0u64;
    let (mut a, mut b) = ([0; PAGE_SIZE as usize], [0; PAGE_SIZE as usize]);
    let frames: std::collections::BTreeSet<u32> = before.touched_frames().chain(after.touched_frames()).collect();
    for pfn in frames {
        before.read(PhysAddr::from_frame(pfn), &mut a);
        after.read(PhysAddr::from_frame(pfn), &mut b);
        if a == b {
            continue;
        }
        total += 1;
        let ranges = changed.entry(owners.of_frame(pfn)).or_default();
        match ranges.last_mut() {
            Some(range) if *range.end() + 1 == pfn => *range = *range.start()..=pfn,
            _ => ranges.push(pfn..=pfn),
        }
    }
    let count = |ranges: &[RangeInclusive<u32>]| {
        ranges.iter().map(|range| u64::from(range.end() - range.start()) + 1).sum::<u64>()
    };
    let mut rows: Vec<_> = changed.into_iter().map(|(owner, ranges)| (count(&ranges), owner, ranges)).collect();
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let lines: Vec<_> = rows.iter().map(|(pages, owner, _)| format!("{pages:8}  {owner}")).collect();
    report.part(&format!("Pages that differ: {total}, by their owner in B"), if total > 0 { &lines } else { &[] });
    let json_rows = rows.iter().map(|(pages, owner, ranges)| {
        let ranges: Vec<_> = ranges.iter().take(MAX_RANGES).map(|range| [*range.start(), *range.end()]).collect();
        json!({"owner": owner, "pages": pages, "frames": ranges})
    });
    report.json.insert("pages".into(), json_rows.collect());
    report.json.insert("pages_changed".into(), total.into());
}

fn free_lists(report: &mut Report, before: &[ZoneRecord], after: &[ZoneRecord]) {
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    for (a, b) in before.iter().zip(after).filter(|(a, b)| a.nr_free != b.nr_free || a.free_pages != b.free_pages) {
        let orders = (0..).zip(a.nr_free.iter().zip(&b.nr_free)).filter(|(_, (a, b))| a != b);
        let orders: Vec<String> =
            orders.map(|(order, (a, b)): (u32, _)| format!("order {order}: {a} -> {b}")).collect();
        let (name, from, to) = (proc_zones::name(b), a.free_pages, b.free_pages);
        lines.push(format!("zone {name:<8} {from} -> {to} pages free ({:+})", i64::from(to) - i64::from(from)));
        lines.extend(orders.chunks(4).map(|few| format!("  {}", few.join(", "))));
        rows.push(json!({
            "zone": name, "free_pages": [from, to], "free_blocks": [a.nr_free, b.nr_free],
        }));
    }
    report.part("Free lists", &lines);
    report.json.insert("free_lists".into(), rows.into());
}

fn caches(report: &mut Report, before: &Books<'_>, after: &Books<'_>) -> Result<()> {
    let old: BTreeMap<_, _> = before.caches()?.into_iter().collect();
    let mut lines = Vec::new();
    let mut rows = Vec::new();
    let new = after.caches()?;
    let gone = old.iter().filter(|(name, _)| !new.iter().any(|(other, _)| other == *name));
    for (name, was) in gone {
        lines.push(format!("{:<17} went, with {} objects", lossy(name), was.num_objs));
        rows.push(json!({"name": lossy(name), "active_objs": [was.active_objs, 0], "num_objs": [was.num_objs, 0]}));
    }
    for (name, is) in &new {
        let was = old.get(name).copied().unwrap_or_default();
        if (was.active_objs, was.num_objs) == (is.active_objs, is.num_objs) {
            continue;
        }
        let name = lossy(name);
        let (active, objects) = ([was.active_objs, is.active_objs], [was.num_objs, is.num_objs]);
        lines.push(format!(
            "{name:<17} objects in use {} -> {}, of {} -> {}",
            active[0], active[1], objects[0], objects[1]
        ));
        rows.push(json!({"name": name, "active_objs": active, "num_objs": objects}));
    }
    report.part("Caches", &lines);
    report.json.insert("caches".into(), rows.into());
    Ok(())
}

/// The numbers of a lens, in its order.
fn numbers(target: &Target<'_>, request: Request) -> Result<Vec<(String, u64)>> {
    let text = lossy(&show(target, &request)?.text);
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.trim_end_matches(':').to_owned(), words.next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(row).collect())
}

fn counters(report: &mut Report, part: &str, before: &[(String, u64)], after: &[(String, u64)]) {
    let mut lines = Vec::new();
    let mut rows = serde_json::Map::new();
    for (name, to) in after {
        let from = before.iter().find(|(other, _)| other == name).map_or(0, |(_, from)| *from);
        if from != *to {
            lines.push(format!("{name:<30} {from} -> {to} ({:+})", i128::from(*to) - i128::from(from)));
            rows.insert(name.clone(), json!([from, to]));
        }
    }
    report.part(&format!("Counters: {part}"), &lines);
    report.json.insert(format!("counters_{part}"), rows.into());
}
