//! The processes.

use super::table::{Column, figure, number, whole, words};
use crate::top::model::Row;

/// Pages are of 4 KiB.
const PAGE_KB: u64 = 4;

/// What is shown of each.
pub const COLUMNS: [Column; 11] = [
    number("PID", 6, 0),
    words("S", 1, 1),
    number("CPU", 3, 6),
    number("THR", 3, 7),
    number("RSS kB", 8, 2),
    number("VSZ kB", 8, 4),
    number("MINFLT", 8, 5),
    number("MAJFLT", 6, 6),
    number("%CPU", 6, 3),
    number("TIME", 9, 5),
    words("COMMAND", 8, 0),
];

/// A row.
pub fn cells(row: &Row) -> Vec<String> {
    let process = &row.process;
    let kb = |pages: Option<u64>| whole(pages.map(|pages| pages.saturating_mul(PAGE_KB)));
    vec![
        process.pid.to_string(),
        process.state.clone(),
        process.cpu.to_string(),
        process.threads.to_string(),
        kb(process.rss_pages),
        kb(process.vsize_pages),
        process.min_flt.to_string(),
        process.maj_flt.to_string(),
        figure(row.share, 1),
        time(process.utime_ns.saturating_add(process.stime_ns)),
        process.comm.clone(),
    ]
}

/// Minutes, seconds and hundredths, as `top` has CPU time.
fn time(ns: u64) -> String {
    let hundredths = ns / 10_000_000;
    format!("{}:{:02}.{:02}", hundredths / 6000, hundredths / 100 % 60, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::look::Process;

    #[test]
    fn a_kernel_thread_has_no_sizes() {
        let process = Process { pid: 7, state: "S".into(), comm: "kswapd0".into(), ..Process::default() };
        let cells = cells(&Row { process, share: Some(12.34) });
        assert_eq!(cells, ["7", "S", "0", "0", "-", "-", "0", "0", "12.3", "0:00.00", "kswapd0"]);
        assert_eq!(time(83_450_000_000), "1:23.45");
    }
}
