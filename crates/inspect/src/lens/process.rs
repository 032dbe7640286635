//! The guest's processes.

use std::collections::BTreeMap;

use abi::books::{MmRecord, TaskRecord};
use abi::proc::{areas::AreaPages, clock_ticks, limits, pid_stat, status as proc_status};
use abi::{Out, U64, out, out::render};
use serde_json::json;
use x86::LinearAddr;

use super::{Answer, maps, pagemap};
use crate::{Books, Reader, Result, Target, comm, with_directory};

/// The most of a command line or an auxiliary vector that is read.
const MAX_STRINGS: u32 = 1 << 17;

/// The processes, as `ps -e` prints them.
pub fn ps(target: &Target<'_>) -> Result<Answer> {
    let books = Books::of(target)?;
    let threads = books.tasks()?;
    let mut text = String::from("    PID TTY          TIME CMD\n");
    let mut rows = Vec::new();
    let times = times(&books, &threads);
    for task in threads.iter().filter(|task| task.pid == task.tgid) {
        let mm = books.mm(task)?;
        let (utime_ns, stime_ns) = times.get(&task.tgid).copied().unwrap_or_default();
        let seconds = (clock_ticks(utime_ns) + clock_ticks(stime_ns)) / 100;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let defunct = if task.state == u32::from(b'Z') { " <defunct>" } else { "" };
        let (tty, comm) = (tty_name(task.tty_nr), comm(task));
        text += &format!("{:7} {tty:<8} {hours:02}:{minutes:02}:{seconds:02} {comm}{defunct}\n", task.pid);
        let cmdline = cmdline(target, &books, task)?;
        let args: Vec<_> =
            cmdline.strip_suffix(b"\0").unwrap_or(&cmdline).split(|&b| b == 0).map(super::lossy).collect();
        rows.push(json!({
            "pid": task.pid, "ppid": task.ppid, "pgrp": task.pgrp, "session": task.session, "tty": tty,
            "state": char::from_u32(task.state).unwrap_or('?').to_string(), "comm": comm,
            "args": if cmdline.is_empty() { Vec::new() } else { args }, "threads": task.nr_threads, "cpu": task.cpu,
            "utime_ns": utime_ns, "stime_ns": stime_ns, "start_time_ns": task.start_time_ns.get(),
            "min_flt": task.min_flt, "maj_flt": task.maj_flt, "uid": task.uid, "gid": task.gid,
            "vsize_pages": mm.map(|mm| mm.total_vm), "rss_pages": mm.as_ref().map(pid_stat::resident),
            "cr3": mm.map(|mm| mm.pgd),
        }));
    }
    Ok(Answer::new(text, rows))
}

/// The name that `ps` gives a terminal's device number.
fn tty_name(device: u32) -> String {
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00);
    match (major, minor) {
        (0, 0) => "?".into(),
        (4, 0..64) => format!("tty{minor}"),
        (4, _) => format!("ttyS{}", minor - 64),
        (5, 0) => "tty".into(),
        (5, 1) => "console".into(),
        (136..=143, _) => format!("pts/{}", (major - 136) * 256 + minor),
        _ => format!("{major}:{minor}"),
    }
}

/// `/proc/PID/status`, as far as the books tell.
pub fn status(target: &Target<'_>, pid: u32) -> Result<Answer> {
    let books = Books::of(target)?;
    let task = books.task(pid)?;
    let mm = books.mm(&task)?;
    let text = status_text(&books, &task, mm.as_ref())?;
    let mut fields = serde_json::Map::new();
    for line in super::lossy(&text).lines() {
        if let Some((name, value)) = line.split_once(':') {
            fields.insert(name.to_owned(), value.trim().into());
        }
    }
    Ok(Answer::new(text, fields))
}

/// The text of `status`, by the rules of the guest's own (`fs/procfs/pid.rs`).
fn status_text(books: &Books<'_>, task: &TaskRecord, mm: Option<&MmRecord>) -> Result<Vec<u8>> {
    let more = books.task_more(task);
    let cred = more.cred;
    let status = proc_status::Status {
        umask: more.umask,
        uids: [cred.uid, cred.euid, cred.suid, cred.euid],
        gids: [cred.gid, cred.egid, cred.sgid, cred.egid],
        fd_size: proc_status::fd_size(more.nr_fds),
        sig_queued: more.pending.count,
        sig_limit: more.rlimits[limits::resource::SIGPENDING][0],
        sig_pnd: more.pending.set.get(),
        shd_pnd: more.shared_pending.set.get(),
        sig_blk: more.blocked,
        sig_ign: more.ignored,
        sig_cgt: more.caught,
        voluntary_switches: more.nvcsw,
        nonvoluntary_switches: more.nivcsw,
        nr_cpus: books.nr_cpus(),
        areas: area_pages(books, mm)?,
    };
    Ok(render(|out| proc_status::write(out, task, mm, &status)))
}

/// The text of `stat`: of a leader, whose time is that of all its threads, or of another thread.
fn stat_text(books: &Books<'_>, task: &TaskRecord, mm: Option<&MmRecord>) -> Result<Vec<u8>> {
    let more = books.task_more(task);
    let mut record = TaskRecord { tgid: task.pid, ..*task };
    if task.pid == task.tgid {
        let mut threads = books.tasks()?;
        threads.retain(|other| other.tgid == task.tgid);
        let (user, system) = times(books, &threads).remove(&task.tgid).unwrap_or_default();
        (record.utime_ns, record.stime_ns) = (U64::new(user), U64::new(system));
    }
    let pending = more.pending.set.get() | more.shared_pending.set.get();
    let stat = pid_stat::PidStat {
        tpgid: books.tpgid(task),
        flags: 0x40_0000,
        nice: more.nice.clamp(-20, 19),
        cmin_flt: more.children.min_flt,
        cmaj_flt: more.children.maj_flt,
        cutime_ns: more.children.user_ns.get(),
        cstime_ns: more.children.system_ns.get(),
        rss_limit: more.rlimits[limits::resource::RSS][0],
        signals: [pending, more.blocked, more.ignored, more.caught].map(|set| set as u32),
        exit_signal: more.exit_signal,
        exit_code: if task.state == u32::from(b'Z') { task.exit_code } else { 0 },
        ..Default::default()
    };
    Ok(render(|out| pid_stat::stat(out, &record, mm, &stat)))
}

/// The time of each process in ring 3 and in the kernel, in nanoseconds: that of all its threads, ended ones too.
fn times(books: &Books<'_>, threads: &[TaskRecord]) -> BTreeMap<u32, (u64, u64)> {
    let mut times: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    let mut add = |process: u32, user: U64, system: U64| {
        let time = times.entry(process).or_default();
        *time = (time.0.wrapping_add(user.get()), time.1.wrapping_add(system.get()));
    };
    for thread in threads {
        add(thread.tgid, thread.utime_ns, thread.stime_ns);
        if thread.pid == thread.tgid {
            let dead = books.task_more(thread).dead_threads;
            add(thread.tgid, dead.user_ns, dead.system_ns);
        }
    }
    times
}

/// The text of `statm`.
fn statm_text(books: &Books<'_>, mm: Option<&MmRecord>) -> Result<Vec<u8>> {
    let areas = area_pages(books, mm)?;
    Ok(render(|out| pid_stat::statm(out, mm, &areas)))
}

/// The pages of a process's areas by kind; none without an address space.
fn area_pages(books: &Books<'_>, mm: Option<&MmRecord>) -> Result<AreaPages> {
    let mut pages = AreaPages::default();
    if let Some(mm) = mm {
        books.vmas(mm)?.iter().for_each(|area| pages.add(area));
    }
    Ok(pages)
}

/// The arguments of a process as `/proc/PID/cmdline` gives them; empty without an address space.
fn cmdline(target: &Target<'_>, books: &Books<'_>, task: &TaskRecord) -> Result<Vec<u8>> {
    let Some(mm) = books.mm(task)? else { return Ok(Vec::new()) };
    Ok(user_range(target, &mm, mm.arg_start, mm.arg_end))
}

/// The strings between two addresses of a process.
fn user_range(target: &Target<'_>, mm: &MmRecord, start: u32, end: u32) -> Vec<u8> {
    user_bytes(target, mm, start, end.saturating_sub(start).min(MAX_STRINGS))
}

/// Bytes of a process's own memory, as many as are there.
fn user_bytes(target: &Target<'_>, mm: &MmRecord, addr: u32, len: u32) -> Vec<u8> {
    let Some(cpu) = target.cpus.first() else { return Vec::new() };
    let mut bytes = vec![0; len as usize];
    let read = Reader::new(target.mem, with_directory(cpu, target.mem, mm.pgd)).read(LinearAddr(addr), &mut bytes);
    bytes.truncate(read);
    bytes
}

/// The auxiliary vector: the pairs above the arguments and the environment on the first stack.
fn auxv(target: &Target<'_>, mm: &MmRecord) -> Vec<u8> {
    let stack = user_bytes(target, mm, mm.start_stack, MAX_STRINGS);
    let words: Vec<u32> =
        stack.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
    let Some((&argc, rest)) = words.split_first() else { return Vec::new() };
    let Some(after_args) = rest.get(argc as usize + 1..) else { return Vec::new() };
    let Some(env_end) = after_args.iter().position(|&word| word == 0) else { return Vec::new() };
    let pairs = after_args[env_end + 1..].chunks_exact(2);
    let len = pairs.clone().position(|pair| pair[0] == 0).map_or(0, |last| last + 1);
    pairs.take(len).flatten().flat_map(|word| word.to_le_bytes()).collect()
}

/// The process whose page directory this is; of several threads the leader.
pub fn process_of_directory(books: &Books<'_>, cr3: u32) -> Result<Option<(TaskRecord, MmRecord)>> {
    for task in books.processes()? {
        if let Some(mm) = books.mm(&task)?.filter(|mm| mm.pgd & !0xfff == cr3 & !0xfff) {
            return Ok(Some((task, mm)));
        }
    }
    Ok(None)
}

/// The contents of `/proc/PID/NAME` as the books tell them; `None` for a file that we do not have.
///
/// # Errors
/// Damaged books, or no such process.
pub fn process_file(target: &Target<'_>, pid: u32, name: &str) -> Result<Option<Vec<u8>>> {
    let books = Books::of(target)?;
    let task = books.task(pid)?;
    let mm = books.mm(&task)?;
    Ok(Some(match name {
        "maps" => maps::maps(target, pid)?.text,
        "smaps" => maps::smaps(target, pid)?.text,
        "cmdline" => cmdline(target, &books, &task)?,
        "comm" => format!("{}\n", comm(&task)).into_bytes(),
        "status" => status_text(&books, &task, mm.as_ref())?,
        "smaps_rollup" => maps::rollup_text(target, pid)?,
        "stat" => stat_text(&books, &task, mm.as_ref())?,
        "statm" => statm_text(&books, mm.as_ref())?,
        "limits" => render(|out| limits::write(out, books.task_more(&task).rlimits)),
        "environ" => mm.map(|mm| user_range(target, &mm, mm.env_start, mm.env_end)).unwrap_or_default(),
        "oom_score_adj" | "wchan" => b"0\n".to_vec(),
        "pagemap" => match mm {
            Some(mm) => pagemap::pagemap(target, &books, &mm),
            None => Vec::new(),
        },
        "coredump_filter" => b"00000033\n".to_vec(),
        "auxv" => mm.map(|mm| auxv(target, &mm)).unwrap_or_default(),
        "exe" => match mm {
            Some(mm) if !mm.exe.is_null() => books.file(mm.exe)?.path,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

/// The text of `stat` and `status` of one thread.
pub(super) fn thread_files(books: &Books<'_>, task: &TaskRecord) -> Result<[(&'static str, Vec<u8>); 2]> {
    let mm = books.mm(task)?;
    Ok([("stat", stat_text(books, task, mm.as_ref())?), ("status", status_text(books, task, mm.as_ref())?)])
}

/// A header and rows in the shape of `pmap`, used by the lens of that name.
pub(super) fn pmap_head(books: &Books<'_>, target: &Target<'_>, task: &TaskRecord) -> Result<Vec<u8>> {
    let mut words = cmdline(target, books, task)?;
    words.truncate(words.len() - usize::from(words.ends_with(b"\0")));
    words.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    Ok(render(|out: &mut dyn Out| {
        out!(out, "{}:   ", task.pid);
        out.bytes(&words);
        out.bytes(b"\n");
    }))
}

/// A process and its memory, if it has some of its own.
pub(super) fn with_mm(books: &Books<'_>, pid: u32) -> Result<(TaskRecord, Option<MmRecord>)> {
    let task = books.task(pid)?;
    let mm = books.mm(&task)?;
    Ok((task, mm))
}
