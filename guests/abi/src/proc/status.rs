//! `/proc/PID/status`.

use super::areas::{AreaPages, text_pages};
use super::{cpumask, kb};
use crate::books::{MmRecord, TaskRecord};
use crate::{Out, out};

/// What `status` shows beyond the task's and the mm's records.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "fields bear the names of the file's rows")]
pub struct Status {
    pub umask: u32,
    /// Real, effective, saved and file-system user.
    pub uids: [u32; 4],
    pub gids: [u32; 4],
    pub fd_size: u32,
    pub areas: AreaPages,
    pub sig_queued: u32,
    pub sig_limit: u32,
    pub sig_pnd: u64,
    pub shd_pnd: u64,
    pub sig_blk: u64,
    pub sig_ign: u64,
    pub sig_cgt: u64,
    pub voluntary_switches: u32,
    pub nonvoluntary_switches: u32,
    pub nr_cpus: u32,
}

/// The capabilities of root on Linux 6.1.
const ALL_CAPS: u64 = 0x1ff_ffff_ffff;

/// Writes the file.
pub fn write(out: &mut dyn Out, task: &TaskRecord, mm: Option<&MmRecord>, s: &Status) {
    let len = task.comm.iter().position(|&b| b == 0).unwrap_or(task.comm.len());
    out.bytes(b"Name:\t");
    out.bytes(&task.comm[..len]);
    out!(out, "\nUmask:\t{:04o}\nState:\t{}\n", s.umask, state(task.state));
    out!(out, "Tgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t0\n", task.tgid, task.pid, task.ppid);
    for (name, ids) in [("Uid", s.uids), ("Gid", s.gids)] {
        out!(out, "{name}:\t{}\t{}\t{}\t{}\n", ids[0], ids[1], ids[2], ids[3]);
    }
    out!(out, "FDSize:\t{}\nGroups:\t \n", s.fd_size);
    out!(out, "NStgid:\t{}\nNSpid:\t{}\nNSpgid:\t{}\nNSsid:\t{}\n", task.tgid, task.pid, task.pgrp, task.session);
    if let Some(mm) = mm {
        memory(out, mm, s);
    }
    out!(out, "CoreDumping:\t0\nTHP_enabled:\t1\nThreads:\t{}\n", task.nr_threads);
    out!(out, "SigQ:\t{}/{}\n", s.sig_queued, s.sig_limit);
    for (name, set) in [
        ("SigPnd", s.sig_pnd),
        ("ShdPnd", s.shd_pnd),
        ("SigBlk", s.sig_blk),
        ("SigIgn", s.sig_ign),
        ("SigCgt", s.sig_cgt),
        ("CapInh", 0),
        ("CapPrm", ALL_CAPS),
        ("CapEff", ALL_CAPS),
        ("CapBnd", ALL_CAPS),
        ("CapAmb", 0),
    ] {
        out!(out, "{name}:\t{set:016x}\n");
    }
    out!(out, "NoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n");
    out!(out, "Speculation_Store_Bypass:\tnot vulnerable\nSpeculationIndirectBranch:\tnot affected\n");
    let all = ((1u64 << s.nr_cpus.clamp(1, 32)) - 1) as u32;
    out.bytes(b"Cpus_allowed:\t");
    cpumask::mask(out, task.cpus_allowed, all);
    out.bytes(b"\nCpus_allowed_list:\t");
    cpumask::list(out, task.cpus_allowed & all);
    out!(out, "\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
    out!(out, "voluntary_ctxt_switches:\t{}\n", s.voluntary_switches);
    out!(out, "nonvoluntary_ctxt_switches:\t{}\n", s.nonvoluntary_switches);
}

fn memory(out: &mut dyn Out, mm: &MmRecord, s: &Status) {
    let rss = mm.rss_anon + mm.rss_file + mm.rss_shmem;
    for (name, value) in [
        ("VmPeak", kb(mm.hiwater_vm.max(mm.total_vm))),
        ("VmSize", kb(mm.total_vm)),
        ("VmLck", kb(s.areas.locked)),
        ("VmPin", 0),
        ("VmHWM", kb(mm.hiwater_rss.max(rss))),
        ("VmRSS", kb(rss)),
        ("RssAnon", kb(mm.rss_anon)),
        ("RssFile", kb(mm.rss_file)),
        ("RssShmem", kb(mm.rss_shmem)),
        ("VmData", kb(s.areas.data())),
        ("VmStk", kb(s.areas.stack)),
        ("VmExe", kb(text_pages(mm))),
        ("VmLib", kb(s.areas.lib(mm))),
        ("VmPTE", u64::from(mm.pgtables_bytes / 1024)),
        ("VmSwap", kb(mm.swapents)),
        ("HugetlbPages", kb(mm.hugetlb_pages)),
    ] {
        out!(out, "{name}:\t{value:8} kB\n");
    }
}

/// `FDSize` of a table with so many slots.
pub fn fd_size(nr_fds: u32) -> u32 {
    nr_fds.checked_next_multiple_of(32).unwrap_or(u32::MAX).max(32)
}

/// The state's letter with its word.
pub fn state(letter: u32) -> &'static str {
    match char::from_u32(letter) {
        Some('R') => "R (running)",
        Some('S') => "S (sleeping)",
        Some('D') => "D (disk sleep)",
        Some('T') => "T (stopped)",
        Some('t') => "t (tracing stop)",
        Some('X') => "X (dead)",
        Some('Z') => "Z (zombie)",
        Some('I') => "I (idle)",
        _ => "? (unknown)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;
    use alloc::string::String;

    #[test]
    fn rows_equal_those_of_a_real_kernel() {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"bash");
        let task = TaskRecord {
            pid: 109,
            tgid: 109,
            ppid: 106,
            state: b'S'.into(),
            comm,
            nr_threads: 1,
            cpus_allowed: 0b1011,
            ..TaskRecord::default()
        };
        let mm = MmRecord {
            total_vm: 1819,
            hiwater_vm: 2552,
            hiwater_rss: 2223,
            rss_anon: 809,
            rss_file: 2,
            rss_shmem: 687,
            ..MmRecord::default()
        };
        let more = Status { umask: 0o22, fd_size: 32, sig_ign: 6, nr_cpus: 3, ..Status::default() };
        let text = String::from_utf8(render(|out| write(out, &task, Some(&mm), &more))).unwrap();
        for want in [
            "Name:\tbash\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t109\nNgid:\t0\nPid:\t109\nPPid:\t106\nTracerPid:\t0\nUid:\t0\t0\t0\t0\n",
            "FDSize:\t32\nGroups:\t \nNStgid:\t109\n",
            "VmPeak:\t   10208 kB\nVmSize:\t    7276 kB\nVmLck:\t       0 kB\n",
            "VmHWM:\t    8892 kB\nVmRSS:\t    5992 kB\nRssAnon:\t    3236 kB\n",
            "SigIgn:\t0000000000000006\n",
            "CapPrm:\t000001ffffffffff\n",
            "Cpus_allowed:\t3\nCpus_allowed_list:\t0-1\nMems_allowed:\t1\n",
        ] {
            assert!(text.contains(want), "{want} in {text}");
        }
        assert_eq!(text.lines().count(), 57);
    }
}
