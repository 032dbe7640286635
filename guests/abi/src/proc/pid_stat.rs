//! `/proc/PID/stat` and `/proc/PID/statm`.

use super::areas::{AreaPages, text_pages};
use super::clock_ticks;
use crate::books::{MmRecord, TaskRecord};
use crate::{Out, out};

/// What `stat` shows beyond the task's and the mm's records.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "fields bear the names of proc(5)")]
pub struct PidStat {
    /// Foreground process group of the terminal, -1 without one.
    pub tpgid: i32,
    pub flags: u32,
    /// How modest it is, -20 to 19.
    pub nice: i32,
    pub cmin_flt: u32,
    pub cmaj_flt: u32,
    pub cutime_ns: u64,
    pub cstime_ns: u64,
    /// Soft limit of the resident set.
    pub rss_limit: u32,
    pub kstkesp: u32,
    pub kstkeip: u32,
    /// Pending, blocked, ignored and caught signals 1 to 31.
    pub signals: [u32; 4],
    pub exit_signal: u32,
    pub exit_code: u32,
}

/// Writes the one line of `/proc/PID/stat`; without an mm (kernel threads, zombies) the
/// memory columns are 0.
pub fn stat(out: &mut dyn Out, task: &TaskRecord, mm: Option<&MmRecord>, more: &PidStat) {
    let len = task.comm.iter().position(|&b| b == 0).unwrap_or(task.comm.len());
    out!(out, "{} (", task.tgid);
    out.bytes(&task.comm[..len]);
    let state = char::from_u32(task.state).unwrap_or('?');
    out!(out, ") {state} {} {} {} ", task.ppid, task.pgrp, task.session);
    out!(out, "{} {} {} ", task.tty_nr, more.tpgid, more.flags);
    out!(out, "{} {} {} {} ", task.min_flt, more.cmin_flt, task.maj_flt, more.cmaj_flt);
    for ns in [task.utime_ns.get(), task.stime_ns.get(), more.cutime_ns, more.cstime_ns] {
        out!(out, "{} ", clock_ticks(ns));
    }
    out!(out, "{} {} {} 0 {} ", 20 + more.nice, more.nice, task.nr_threads, clock_ticks(task.start_time_ns.get()));
    let (vsize, rss) = mm.map_or((0, 0), |mm| (mm.total_vm * 4096, resident(mm)));
    out!(out, "{vsize} {rss} {} ", more.rss_limit);
    match mm {
        Some(mm) => out!(out, "{} {} {} ", mm.start_code, mm.end_code, mm.start_stack),
        None => out.bytes(b"0 0 0 "),
    }
    out!(out, "{} {} ", more.kstkesp, more.kstkeip);
    for set in more.signals {
        out!(out, "{} ", set & 0x7fff_ffff);
    }
    // wchan, nswap, cnswap; exit signal, cpu; real-time priority, policy, delays, guest times.
    out!(out, "{} 0 0 {} {} 0 0 0 0 0 ", u32::from(task.state == u32::from(b'S')), more.exit_signal, task.cpu);
    match mm {
        Some(mm) => {
            out!(out, "{} {} {} ", mm.start_data, mm.end_data, mm.start_brk);
            out!(out, "{} {} {} {} ", mm.arg_start, mm.arg_end, mm.env_start, mm.env_end);
        }
        None => out.bytes(b"0 0 0 0 0 0 0 "),
    }
    out!(out, "{}\n", more.exit_code);
}

/// Writes the one line of `/proc/PID/statm`.
pub fn statm(out: &mut dyn Out, mm: Option<&MmRecord>, areas: &AreaPages) {
    let Some(mm) = mm else {
        return out.bytes(b"0 0 0 0 0 0 0\n");
    };
    let shared = mm.rss_file + mm.rss_shmem;
    let (text, data) = (text_pages(mm), areas.data());
    out!(out, "{} {} {shared} {text} 0 {data} 0\n", mm.total_vm, resident(mm));
}

/// Resident pages of all kinds.
pub fn resident(mm: &MmRecord) -> u32 {
    mm.rss_anon + mm.rss_file + mm.rss_shmem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::U64;
    use crate::books::{VmaRecord, vm};
    use crate::out::render;

    #[test]
    fn stat_equals_that_of_a_real_kernel() {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"bash");
        let task = TaskRecord {
            pid: 109,
            tgid: 109,
            ppid: 106,
            state: b'S'.into(),
            comm,
            min_flt: 4607,
            utime_ns: U64::new(350_000_000),
            stime_ns: U64::new(420_000_000),
            nr_threads: 1,
            start_time_ns: U64::new(14_810_000_000),
            ..TaskRecord::default()
        };
        let mm = MmRecord {
            total_vm: 1819,
            rss_anon: 809,
            rss_file: 2,
            rss_shmem: 687,
            start_code: 4_657_152,
            end_code: 5_510_072,
            start_stack: 3_214_182_416,
            start_data: 5_907_288,
            end_data: 5_932_740,
            start_brk: 19_681_280,
            arg_start: 3_214_188_372,
            arg_end: 3_214_188_377,
            env_start: 3_214_188_377,
            env_end: 3_214_188_386,
            ..MmRecord::default()
        };
        let more = PidStat {
            tpgid: -1,
            flags: 4_194_304,
            cmin_flt: 272,
            cutime_ns: 120_000_000,
            cstime_ns: 300_000_000,
            rss_limit: u32::MAX,
            signals: [0, 65536, 6, 65536],
            exit_signal: 17,
            ..PidStat::default()
        };
        let want = "109 (bash) S 106 0 0 0 -1 4194304 4607 272 0 0 35 42 12 30 20 0 1 0 1481 7450624 1498 4294967295 4657152 5510072 3214182416 0 0 0 65536 6 65536 1 0 0 17 0 0 0 0 0 0 5907288 5932740 19681280 3214188372 3214188377 3214188377 3214188386 0\n";
        assert_eq!(render(|out| stat(out, &task, Some(&mm), &more)), want.as_bytes());
        let mut areas = AreaPages::default();
        areas.add(&VmaRecord { start: 0, end: 839 << 12, flags: vm::READ | vm::WRITE, ..VmaRecord::default() });
        assert_eq!(render(|out| statm(out, Some(&mm), &areas)), b"1819 1498 689 209 0 839 0\n");
        assert_eq!(render(|out| statm(out, None, &areas)), b"0 0 0 0 0 0 0\n");
    }
}
