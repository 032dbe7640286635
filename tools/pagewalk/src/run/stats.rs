//! `--stats`: counters at the end, on standard error.

use std::time::Duration;

use machine::Machine;
use serde_json::{Map, Value, json};

use crate::cli::StatsFormat;

/// Prints all counters. `elapsed` is the host's time, for the speed alone.
pub fn print(machine: &Machine, elapsed: Duration, format: StatsFormat) {
    let rows = rows(machine, elapsed);
    match format {
        StatsFormat::Json => eprintln!("{}", Value::Object(rows)),
        StatsFormat::Text => {
            for (name, value) in rows {
                match value {
                    Value::String(text) => eprintln!("{name}: {text}"),
                    other => eprintln!("{name}: {other}"),
                }
            }
        }
    }
}

fn rows(machine: &Machine, elapsed: Duration) -> Map<String, Value> {
    let stats = machine.stats();
    let seconds = elapsed.as_secs_f64();
    let mips = if seconds > 0.0 { machine.retired() as f64 / seconds / 1e6 } else { 0.0 };
    let mut rows = Map::new();
    let mut row = |name: &str, value: Value| {
        rows.insert(name.to_owned(), value);
    };
    row("instructions", json!(machine.retired()));
    row("state_hash", json!(format!("{:016x}", machine.state_hash())));
    row("virtual_ns", json!(machine.now_ns()));
    row("skipped_ns", json!(stats.skipped_ns));
    row("mips", json!((mips * 10.0).round() / 10.0));
    row("interrupts", json!(stats.interrupts()));
    row("port_reads", json!(stats.port_reads));
    row("port_writes", json!(stats.port_writes));
    row("mmio_accesses", json!(stats.mmio_accesses));
    for (name, value) in tlb_counters(machine) {
        row(name, json!(value));
    }
    let engine = machine.engine_stats();
    row("blocks_translated", json!(engine.translated));
    row("blocks_discarded", json!(engine.discarded));
    row("block_lookups", json!(engine.lookups));
    row("code_runs_compiled", json!(engine.compiled));
    row("cpus", json!(machine.cpu_count()));
    if machine.cpu_count() > 1 {
        for number in 0..machine.cpu_count() {
            let counts = machine.cpu(number).tlb.counts();
            for (name, value) in [
                ("instructions", machine.cpu(number).retired),
                ("turns", stats.turns_by_cpu[number]),
                ("interrupts", stats.interrupts_by_cpu[number]),
                ("tlb_misses", counts.fills),
                ("tlb_flushes", counts.flushes),
                ("tlb_invlpg", counts.invlpgs),
                ("page_faults", counts.page_faults),
            ] {
                row(&format!("cpu{number}_{name}"), json!(value));
            }
        }
    }
    rows
}

/// What the CPUs' TLBs did, summed.
pub fn tlb_counters(machine: &Machine) -> [(&'static str, u64); 5] {
    let mut sums = [("tlb_misses", 0), ("tlb_evictions", 0), ("tlb_flushes", 0), ("tlb_invlpg", 0), ("page_faults", 0)];
    for number in 0..machine.cpu_count() {
        let counts = machine.cpu(number).tlb.counts();
        let of_cpu = [counts.fills, counts.evictions, counts.flushes, counts.invlpgs, counts.page_faults];
        for ((_, sum), count) in sums.iter_mut().zip(of_cpu) {
            *sum += count;
        }
    }
    sums
}
