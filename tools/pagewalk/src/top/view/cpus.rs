//! The CPUs.

use super::table::{Column, figure, number, whole, words};
use crate::top::{
    look::printable,
    model::{Model, per_thousand},
};

/// What is shown of each.
pub const COLUMNS: [Column; 11] = [
    number("CPU", 3, 0),
    words("MODE", 11, 1),
    words("CR3", 8, 3),
    number("PID", 6, 4),
    words("PROCESS", 15, 2),
    number("MIPS", 7, 2),
    number("MISS/1K", 8, 3),
    number("OVERALL", 8, 6),
    number("FAULTS", 9, 5),
    number("SHOOTDOWNS", 10, 7),
    words("EIP", 8, 0),
];

/// A row.
pub fn cells(model: &Model, at: usize) -> Vec<String> {
    let (cpu, speed) = (&model.look.cpus[at], model.speeds.get(at).copied().unwrap_or_default());
    let symbol = cpu.symbol.as_deref().map(|name| format!(" {}", printable(name))).unwrap_or_default();
    let process = match (&cpu.comm, cpu.pid) {
        (Some(_), Some(0)) => "(idle)".to_owned(),
        (Some(comm), _) => printable(comm),
        _ => "?".to_owned(),
    };
    vec![
        cpu.cpu.to_string(),
        cpu.mode.clone(),
        format!("{:08x}", cpu.cr3),
        cpu.thread.map_or("?".into(), |thread| thread.to_string()),
        process,
        figure(speed.mips, 1),
        figure(speed.misses, 2),
        figure(per_thousand(cpu.tlb_misses, cpu.retired), 2),
        cpu.page_faults.to_string(),
        whole(cpu.shootdowns),
        format!("{:08x}{symbol}", cpu.eip),
    ]
}
