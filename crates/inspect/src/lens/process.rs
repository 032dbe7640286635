//! The guest's processes.

use abi::books::{MmRecord, TaskRecord, vm};
use abi::proc::{clock_ticks, pid_stat, status as proc_status};
use abi::{Out, out, out::render};
use serde_json::json;
use x86::LinearAddr;

use super::{Answer, maps};
use crate::{Books, Reader, Result, Target, comm, with_directory};

/// The most of a command line or an auxiliary vector that is read.
const MAX_STRINGS: u32 = 1 << 17;

/// The processes, as `ps -e` prints them.
pub fn ps(target: &Target<'_>) -> Result<Answer> {
    let books = Books::of(target)?;
    let processes = books.processes()?;
    let mut text = String::from("    PID TTY          TIME CMD\n");
    let mut rows = Vec::new();
    for task in &processes {
        let mm = books.mm(task)?;
        let seconds = (clock_ticks(task.utime_ns.get()) + clock_ticks(task.stime_ns.get())) / 100;
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
            "utime_ns": task.utime_ns.get(), "stime_ns": task.stime_ns.get(), "start_time_ns": task.start_time_ns.get(),
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

fn status_text(books: &Books<'_>, task: &TaskRecord, mm: Option<&MmRecord>) -> Result<Vec<u8>> {
    let mut more = proc_status::Status {
        umask: 0o022,
        uids: [task.uid; 4],
        gids: [task.gid; 4],
        nr_cpus: books.root().nr_cpus.clamp(1, 31),
        ..Default::default()
    };
    if let Some(mm) = mm {
        for vma in books.vmas(mm)? {
            let pages = vma.end.wrapping_sub(vma.start) >> 12;
            let writable = vma.flags & (vm::WRITE | vm::SHARED) == vm::WRITE;
            match vma.flags & vm::GROWSDOWN != 0 {
                true => more.vm_stk += pages,
                false if writable => more.vm_data += pages,
                false => {}
            }
        }
        more.vm_exe = mm.end_code.saturating_sub(mm.start_code & !0xfff).div_ceil(4096);
    }
    Ok(render(|out| proc_status::write(out, task, mm, &more)))
}

/// The arguments of a process as `/proc/PID/cmdline` gives them; empty without an address space.
fn cmdline(target: &Target<'_>, books: &Books<'_>, task: &TaskRecord) -> Result<Vec<u8>> {
    let Some(mm) = books.mm(task)? else { return Ok(Vec::new()) };
    let len = mm.arg_end.saturating_sub(mm.arg_start).min(MAX_STRINGS);
    Ok(user_bytes(target, &mm, mm.arg_start, len))
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
        "stat" => {
            let more = pid_stat::PidStat { tpgid: -1, rss_limit: u32::MAX, exit_signal: 17, ..Default::default() };
            render(|out| pid_stat::stat(out, &task, mm.as_ref(), &more))
        }
        "statm" => {
            let text = mm.map_or(0, |mm| mm.end_code.saturating_sub(mm.start_code).div_ceil(4096));
            render(|out| pid_stat::statm(out, mm.as_ref(), text, mm.map_or(0, |mm| mm.total_vm)))
        }
        "coredump_filter" => b"00000033\n".to_vec(),
        "auxv" => mm.map(|mm| auxv(target, &mm)).unwrap_or_default(),
        "exe" => match mm {
            Some(mm) if !mm.exe.is_null() => books.file(mm.exe)?.path,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    }))
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
