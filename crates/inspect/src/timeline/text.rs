//! Facts and shootdowns in words, as JSON, and as a trace for Perfetto.

use abi::tlb::Reason;
use cpu::coherence::Flush;
use machine::{Fact, Ipi, TimelineEvent};
use serde_json::{Value, json};

use super::{Points, Removed, Shootdown};

/// A shootdown in lines of text. Times are counted from its sending, in instructions of all CPUs together.
pub fn describe(shootdown: &Shootdown) -> String {
    let Shootdown { initiator, vector, sent_ns, own, targets, asked } = shootdown;
    let since = |at: u64| at - sent_ns;
    let told: Vec<String> = targets.iter().map(|target| target.cpu.to_string()).collect();
    let mut text =
        format!("shootdown at {sent_ns}: CPU {initiator} asks CPU {} by vector {vector:#04x}\n", told.join(", "));
    if let Some(asked) = asked {
        let reason = asked.reason.map_or("a reason unknown here", Reason::word);
        text += &format!("  CPU {initiator}  wants {:#010x}-{:#010x} gone: {reason}\n", asked.start, asked.end);
    }
    if own.any() {
        text += &format!("  CPU {initiator}  flushed its own +{}: {}\n", since(own.last_ns), what(own));
    }
    for target in targets {
        text += &format!("  CPU {}  ", target.cpu);
        let Some(received) = target.received_ns else {
            text += "has not received it\n";
            continue;
        };
        text += &format!("received +{}", since(received));
        if target.removed.any() {
            text += &format!(", flushed +{}: {}", since(target.removed.last_ns), what(&target.removed));
        } else {
            text += ", held nothing to flush";
        }
        text += &match target.acknowledged_ns {
            Some(at) => format!(", acknowledged +{}\n", since(at)),
            None => ", has not acknowledged\n".to_owned(),
        };
    }
    text += &match shootdown.done_ns() {
        Some(at) => format!("  done after {} instructions\n", since(at)),
        None => "  not done yet\n".to_owned(),
    };
    text
}

/// What was removed, in a few words.
fn what(removed: &Removed) -> String {
    if removed.everything {
        return "everything that is not global".into();
    }
    let (mut ranges, mut at) = (Vec::new(), 0);
    while at < removed.pages.len() {
        let first = removed.pages[at];
        let run = (at..removed.pages.len()).take_while(|&n| removed.pages[n] == first.wrapping_add((n - at) as u32));
        let count = run.count();
        let end = (u64::from(first) + count as u64) << 12;
        ranges.push(match count {
            1 => format!("page {:#010x}", u64::from(first) << 12),
            _ => format!("pages {:#010x}-{end:#010x}", u64::from(first) << 12),
        });
        at += count;
    }
    ranges.join(", ")
}

pub(super) fn json(shootdown: &Shootdown) -> Value {
    let removed = |removed: &Removed| {
        let pages: Vec<u64> = removed.pages.iter().map(|&page| u64::from(page) << 12).collect();
        json!({ "at": removed.any().then_some(removed.last_ns), "pages": pages, "everything": removed.everything })
    };
    let targets: Vec<Value> = shootdown
        .targets
        .iter()
        .map(|target| {
            json!({
                "cpu": target.cpu, "received": target.received_ns, "flushed": removed(&target.removed),
                "acknowledged": target.acknowledged_ns,
            })
        })
        .collect();
    json!({
        "initiator": shootdown.initiator, "vector": shootdown.vector, "sent": shootdown.sent_ns,
        "own": removed(&shootdown.own), "targets": targets, "done": shootdown.done_ns(),
        "asked": shootdown.asked.map(|asked| json!({
            "start": asked.start, "end": asked.end, "reason": asked.reason.map(Reason::word), "began": asked.began_ns,
        })),
    })
}

/// Which word of `--trace` a fact belongs to.
pub fn category(fact: &Fact) -> &'static str {
    if matches!(fact, Fact::Flushed(_) | Fact::Passed { .. }) { "tlb" } else { "ipi" }
}

/// What a CPU does by a fact, in words; nothing of one that says nothing to people.
pub fn words(event: &TimelineEvent, points: Option<Points>) -> Option<String> {
    Some(match &event.fact {
        Fact::Sent { mode, vector, targets } => {
            let to: Vec<String> = (0..8).filter(|cpu| targets >> cpu & 1 != 0).map(|cpu: u8| cpu.to_string()).collect();
            format!("sends {} to CPU {}", mode_words(*mode, *vector), to.join(", "))
        }
        Fact::Taken { vector, .. } => format!("takes interrupt {vector:#04x}"),
        Fact::Ended => "ends an interrupt".to_owned(),
        Fact::Flushed(flush) => flush_words(flush),
        Fact::Passed { place, .. } => match points.and_then(|points| points.begins(*place)) {
            Some(true) => "begins a shootdown".to_owned(),
            Some(false) => "has heard from all of its shootdown".to_owned(),
            None => return None,
        },
    })
}

/// A fact as a mark in the row of its CPU; nothing of one that says nothing to people.
pub(super) fn mark(event: &TimelineEvent, points: Option<Points>) -> Option<Value> {
    let name = words(event, points)?;
    Some(json!({
        "name": name, "cat": category(&event.fact), "ph": "i", "s": "t", "pid": 0, "tid": event.cpu,
        "ts": event.at_ns as f64 / 1000.0,
    }))
}

fn mode_words(mode: Ipi, vector: u8) -> String {
    match mode {
        Ipi::Fixed => format!("IPI {vector:#04x}"),
        Ipi::LowestPriority => format!("IPI {vector:#04x}, lowest priority,"),
        Ipi::Nmi => "NMI".into(),
        Ipi::Init => "INIT".into(),
        Ipi::Startup => format!("SIPI for {:#07x}", u32::from(vector) << 12),
        Ipi::Other => "an IPI of another mode".into(),
    }
}

fn flush_words(flush: &Flush) -> String {
    match flush {
        Flush::Page(page) => format!("drops page {:#010x}", u64::from(*page) << 12),
        Flush::Reload => "reloads CR3: drops all that is not global".into(),
        Flush::Switch { cr3 } => format!("loads CR3 with {cr3:#010x}: drops all that is not global"),
        Flush::All => "drops everything".into(),
    }
}

/// The events of a Chrome trace for these shootdowns, a row a CPU: what each took, from where to where.
/// Times are in nanoseconds of virtual time, which the format wants in microseconds.
pub fn trace_json(shootdowns: &[Shootdown]) -> Vec<Value> {
    let span = |name: &str, cpu: u8, from: u64, to: u64, args: Value| {
        json!({
            "name": name, "cat": "tlb", "ph": "X", "pid": 0, "tid": cpu,
            "ts": from as f64 / 1000.0, "dur": (to - from) as f64 / 1000.0, "args": args,
        })
    };
    let arrow = |phase: &str, id: u64, cpu: u8, at: u64| {
        json!({
            "name": "IPI", "cat": "ipi", "ph": phase, "bp": "e", "id": id, "pid": 0, "tid": cpu,
            "ts": at as f64 / 1000.0,
        })
    };
    let mut events = Vec::new();
    for shootdown in shootdowns {
        let last = shootdown.targets.iter().filter_map(|target| target.acknowledged_ns.or(target.received_ns)).max();
        let end = shootdown.done_ns().or(last).unwrap_or(shootdown.sent_ns);
        events.push(span("shootdown", shootdown.initiator, shootdown.sent_ns, end, json(shootdown)));
        for target in &shootdown.targets {
            let Some(received) = target.received_ns else { continue };
            let until = target.acknowledged_ns.unwrap_or(received);
            let args = json!({ "initiator": shootdown.initiator, "what": what(&target.removed) });
            let id = shootdown.sent_ns << 3 | u64::from(target.cpu);
            events.push(arrow("s", id, shootdown.initiator, shootdown.sent_ns));
            events.push(arrow("f", id, target.cpu, received));
            events.push(span("flush", target.cpu, received, until, args));
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::{Asked, Target};

    fn removed(last_ns: u64, pages: &[u32]) -> Removed {
        Removed { first_ns: last_ns, last_ns, pages: pages.to_vec(), everything: false }
    }

    fn shootdown() -> Shootdown {
        let target = |cpu, received_ns, removed, acknowledged_ns| Target { cpu, received_ns, removed, acknowledged_ns };
        Shootdown {
            initiator: 0,
            vector: 0xfd,
            sent_ns: 1000,
            own: removed(1010, &[0x8048, 0x8049, 0x8060]),
            targets: vec![
                target(1, Some(1100), removed(1120, &[0x8048]), Some(1130)),
                target(2, Some(1200), Removed::default(), None),
                target(3, None, Removed::default(), None),
            ],
            asked: None,
        }
    }

    #[test]
    fn what_the_kernel_says_is_told() {
        let reason = Some(Reason::Unmap);
        let asked =
            Asked { start: 0x804_8000, end: 0x804_a000, reason, targets: 0xe, began_ns: 990, over_ns: Some(1500) };
        let shootdown = Shootdown { asked: Some(asked), ..shootdown() };
        let text = describe(&shootdown);
        assert!(text.contains("\n  CPU 0  wants 0x08048000-0x0804a000 gone: unmap\n  CPU 0  flushed "), "{text}");
        assert!(text.ends_with("  done after 500 instructions\n"), "{text}");
        let json = json(&shootdown);
        assert_eq!((&json["asked"]["reason"], &json["asked"]["start"]), (&"unmap".into(), &0x804_8000.into()));
    }

    #[test]
    fn a_shootdown_in_words() {
        let expected = "\
shootdown at 1000: CPU 0 asks CPU 1, 2, 3 by vector 0xfd
  CPU 0  flushed its own +10: pages 0x08048000-0x0804a000, page 0x08060000
  CPU 1  received +100, flushed +120: page 0x08048000, acknowledged +130
  CPU 2  received +200, held nothing to flush, has not acknowledged
  CPU 3  has not received it
  not done yet
";
        assert_eq!(describe(&shootdown()), expected);
    }

    #[test]
    fn a_fact_is_a_mark_with_its_words() {
        let event = TimelineEvent { at_ns: 2500, cpu: 1, fact: Fact::Flushed(Flush::Page(0x8048)) };
        let mark = mark(&event, None).expect("a mark");
        assert_eq!((&mark["name"], &mark["ts"]), (&"drops page 0x08048000".into(), &2.5.into()));
        let silent = TimelineEvent { fact: Fact::Passed { place: 1, registers: [0; 3] }, ..event };
        assert_eq!(super::mark(&silent, None), None);
    }

    #[test]
    fn a_chrome_trace_has_a_row_a_cpu() {
        let events = trace_json(&[shootdown()]);
        let rows: Vec<_> = events.iter().map(|event| (event["ph"].as_str(), event["tid"].as_u64())).collect();
        let row = |phase, tid| (Some(phase), Some(tid));
        let flushes = [row("s", 0), row("f", 1), row("X", 1), row("s", 0), row("f", 2), row("X", 2)];
        assert_eq!(rows, [&[row("X", 0)][..], &flushes].concat());
        assert_eq!(events[0]["ts"], 1.0);
    }
}
