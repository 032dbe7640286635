//! What `pagewalk top` shows of one instant: the CPUs, the processes, memory, and what happened of late. It is made
//! of other lenses, so that all figures are theirs and of one instant.

use std::collections::BTreeMap;

use abi::proc::interrupts::vector;
use cpu::{Activity, CpuState, FaultRecord};
use memory::FrameKind;
use serde_json::{Value, json};
use x86::{LinearAddr, PageFaultCode};

use super::{Answer, symbol_at};
use crate::{Books, Request, Target, comm, part::part, timeline::Points};

/// The most faults, shootdowns and other interrupts that one look tells of: the last ones. All the faults that
/// eight CPUs remember are fewer.
const MAX_EVENTS: usize = 1024;

/// Everything, with what came at or after `since_ns`; as text only what could not be known.
pub fn top(target: &Target<'_>, since_ns: u64) -> Answer {
    let mut notes = Vec::new();
    let books = Books::of(target).map_err(|why| notes.push(why.to_string())).ok();
    let mut of_books = |request: Request, name: &str| match &books {
        Some(_) => part(target, &request, name, &mut notes),
        None => Value::Null,
    };
    let processes = of_books(Request::Ps, "processes");
    let meminfo = of_books(Request::Meminfo, "meminfo");
    let zones = of_books(Request::Zoneinfo, "zones");
    let cpus = (0..).zip(&target.cpus).map(|(number, cpu)| one(target, books.as_ref(), number, cpu, &mut notes));
    let cpus: Vec<Value> = cpus.collect();
    let (faults, earlier) = faults(target, &processes, since_ns);
    let events: Vec<_> = target.timeline.iter().flat_map(|timeline| timeline.events()).copied().collect();
    let (mut shootdowns, mut ipis) = crate::timeline::since(&events, Points::of(target), since_ns);
    let mut left_out = [("shootdowns", &mut shootdowns), ("ipis", &mut ipis)].map(|(what, rows)| {
        let more = rows.len().saturating_sub(MAX_EVENTS);
        rows.drain(..more);
        (what, more)
    });
    left_out.sort_unstable();
    notes.extend(target.damage.take());
    let mut seen = std::collections::BTreeSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    let text: String = notes.iter().map(|note| format!("{note}\n")).collect();
    let left_out: BTreeMap<_, _> = left_out.into_iter().chain([("faults", earlier)]).collect();
    Answer::new(
        text,
        json!({
            "books": books.is_some(), "notes": notes, "stats": part(target, &Request::Stats, "counters", &mut Vec::new()),
            "cpus": cpus, "processes": processes, "meminfo": meminfo, "zones": zones, "memory": frames(target),
            "faults": faults, "shootdowns": shootdowns, "ipis": ipis, "left_out": left_out,
        }),
    )
}

/// A CPU. What the kernel's books tell of it is null without them.
fn one(target: &Target<'_>, books: Option<&Books<'_>>, number: u32, cpu: &CpuState, notes: &mut Vec<String>) -> Value {
    let books = books.filter(|books| number < books.nr_cpus());
    let mut task = None;
    match books.map(|books| books.current(number)) {
        Some(Ok(found)) => task = Some(found),
        Some(Err(why)) => notes.push(format!("CPU {number}: {why}")),
        None => {}
    }
    let shootdowns = books.and_then(|books| books.cpu_state(number).ok()).map(|state| state.vectors[vector::TLB]);
    let counts = cpu.tlb.counts();
    json!({
        "cpu": number, "mode": mode(cpu), "cr3": cpu.cr3, "eip": cpu.eip, "retired": cpu.retired,
        "symbol": symbol_at(target, cpu.paging(), LinearAddr(cpu.pc())),
        "pid": task.map(|task| task.tgid), "thread": task.map(|task| task.pid), "comm": task.as_ref().map(comm),
        "tlb_misses": counts.fills, "tlb_flushes": counts.flushes, "tlb_invlpg": counts.invlpgs,
        "page_faults": counts.page_faults, "shootdowns": shootdowns,
    })
}

/// What a CPU is at, in a word or two.
fn mode(cpu: &CpuState) -> String {
    match cpu.activity {
        Activity::Running => {}
        Activity::Halted => return "halted".into(),
        Activity::Shutdown => return "shut down".into(),
        Activity::WaitForSipi => return "not started".into(),
    }
    match (cpu.protected(), cpu.v86(), cpu.cpl) {
        (false, ..) => "real mode".into(),
        (_, true, _) => "v86".into(),
        (.., 0) => "kernel".into(),
        (.., 3) => "user".into(),
        (.., ring) => format!("ring {ring}"),
    }
}

/// The last page faults and double faults, oldest first, and how many more of those remembered there are.
fn faults(target: &Target<'_>, processes: &Value, since_ns: u64) -> (Vec<Value>, usize) {
    let directory = |row: &Value| Some((row["cr3"].as_u64()? as u32 & !0xfff, row.clone()));
    let owners: BTreeMap<u32, Value> = processes.as_array().into_iter().flatten().filter_map(directory).collect();
    let mut records: Vec<&FaultRecord> = target.faults.iter().flat_map(|log| log.newest()).collect();
    records.retain(|record| record.at >= since_ns);
    records.sort_by_key(|record| (record.at, record.cpu));
    let earlier = records.len().saturating_sub(MAX_EVENTS);
    let row = |record: &FaultRecord| {
        let fault = record.page_fault;
        let code = fault.map(|fault| PageFaultCode::from_bits_retain(fault.code));
        let access = code.map(|code| match () {
            // Without NX and SMEP the error code does not tell fetches; here it is at least where the code is.
            _ if code.contains(PageFaultCode::ID) || fault.is_some_and(|fault| fault.addr == record.pc()) => "fetch",
            _ if code.contains(PageFaultCode::WR) => "write",
            _ => "read",
        });
        let owner = owners.get(&(record.paging.cr3 & !0xfff));
        json!({
            "at": record.at, "cpu": record.cpu, "cpl": record.cpl, "eip": record.eip,
            "address": fault.map(|fault| fault.addr), "access": access,
            "present": code.map(|code| code.contains(PageFaultCode::P)),
            "double": record.is_double(), "triple": record.is_triple(),
            "pid": owner.map(|row| row["pid"].clone()), "comm": owner.map(|row| row["comm"].clone()),
        })
    };
    (records[earlier..].iter().map(|record| row(record)).collect(), earlier)
}

/// RAM and how much of it was ever written: all that is known of it without the kernel's books.
fn frames(target: &Target<'_>) -> Value {
    let is_ram = |pfn: &u32| target.mem.kind(*pfn) == FrameKind::Ram;
    let kb = |frames: usize| frames as u64 * 4;
    json!({
        "ram_kb": kb((0..1 << 20).filter(is_ram).count()),
        "written_kb": kb(target.mem.touched_frames().filter(is_ram).count()),
    })
}
