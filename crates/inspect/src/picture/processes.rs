//! The processes, their areas, and the files and names that areas have.

use std::collections::{BTreeMap, BTreeSet};

use abi::books::TaskRecord;
use serde::{Deserialize, Serialize};
use x86::LinearAddr;

use crate::{Books, Record, Request, Target, comm, look, process_file};

/// Threads that are looked at.
const MAX_THREADS: usize = 1 << 14;
/// Areas of all processes together.
const MAX_AREAS: usize = 50_000;
/// Bytes of a command line.
const MAX_WORDS: usize = 512;

/// A process.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub ppid: u32,
    /// Its command.
    pub comm: String,
    /// Its command line, the words joined by spaces; cut if it is long.
    pub args: String,
    /// The letter of `ps`.
    pub state: String,
    /// Threads.
    pub threads: u32,
    /// The CPU that it runs on or last ran on.
    pub cpu: u32,
    /// Page faults without and with a wait for a device.
    pub faults: [u32; 2],
    /// Resident pages: anonymous, of files, of shared memory; in swap; huge.
    pub resident: [u32; 5],
    /// The number of its address space among the picture's; `None` for a kernel thread or a zombie.
    pub space: Option<u32>,
    /// Its areas by ascending address.
    pub areas: Vec<Area>,
}

/// An area, as a tuple: first address, end, `VM_*` bits, offset in the file in bytes, number of its name or -1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Area(pub u32, pub u32, pub u32, pub u64, pub i32);

/// A name that areas have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Name {
    /// A path, or `[heap]`, `[stack]`.
    pub name: String,
    /// Device and inode as `/proc/PID/maps` shows them.
    pub major: u32,
    /// See `major`.
    pub minor: u32,
    /// See `major`.
    pub inode: u32,
}

/// The threads in the kernel's list, up to where it is damaged; then the damage is a note.
pub(super) fn threads(books: &Books<'_>, notes: &mut Vec<String>) -> Vec<TaskRecord> {
    let mut threads = Vec::new();
    let (mut at, mut seen) = (books.root().tasks, BTreeSet::new());
    while !at.is_null() {
        if !seen.insert(at.0) || threads.len() == MAX_THREADS {
            notes.push(format!("the list of tasks does not end: shown are its first {}", threads.len()));
            break;
        }
        let bytes = books.reader().bytes(LinearAddr(at.0), TaskRecord::SIZE);
        let Some(task) = bytes.and_then(|bytes| TaskRecord::decode(&bytes)) else {
            notes.push(format!("the list of tasks leads to {:#010x}, where no memory is", at.0));
            break;
        };
        at = task.next;
        threads.push(task);
    }
    threads
}

/// Collects processes.
#[derive(Default)]
pub(super) struct Processes {
    pub rows: Vec<Process>,
    pub names: Vec<Name>,
    by_name: BTreeMap<Name, i32>,
    nr_areas: usize,
}

impl Processes {
    /// Adds the process of a thread-group leader.
    pub fn add(
        &mut self,
        target: &Target<'_>,
        books: &Books<'_>,
        task: &TaskRecord,
        space: Option<u32>,
        notes: &mut Vec<String>,
    ) {
        let pid = task.pid;
        let mm = books.mm(task).unwrap_or_else(|why| {
            notes.push(format!("process {pid}: {why}"));
            None
        });
        let areas = if mm.is_some() { self.areas(target, pid, notes) } else { Vec::new() };
        let args = process_file(target, pid, "cmdline").ok().flatten().unwrap_or_default();
        let args = args.strip_suffix(b"\0").unwrap_or(&args);
        let args = args[..args.len().min(MAX_WORDS)].split(|&byte| byte == 0);
        let args: Vec<_> = args.map(String::from_utf8_lossy).collect();
        self.rows.push(Process {
            pid,
            ppid: task.ppid,
            comm: comm(task),
            args: args.join(" "),
            state: char::from_u32(task.state).unwrap_or('?').to_string(),
            threads: task.nr_threads,
            cpu: task.cpu,
            faults: [task.min_flt, task.maj_flt],
            resident: mm.map_or([0; 5], |mm| [mm.rss_anon, mm.rss_file, mm.rss_shmem, mm.swapents, mm.hugetlb_pages]),
            space,
            areas,
        });
    }

    fn areas(&mut self, target: &Target<'_>, pid: u32, notes: &mut Vec<String>) -> Vec<Area> {
        notes.extend(target.damage.take().into_iter().map(|line| format!("process {pid}: {line}")));
        let rows = match look(target, &Request::Maps { pid }) {
            Ok(answer) => {
                let damage = answer.note.iter().flat_map(|note| note.lines());
                notes.extend(damage.map(|line| format!("process {pid}: its areas: {line}")));
                answer.json.as_array().cloned().unwrap_or_default()
            }
            Err(why) => {
                notes.push(format!("process {pid}: its areas are not known: {why}"));
                return Vec::new();
            }
        };
        if self.nr_areas + rows.len() > MAX_AREAS {
            notes.push(format!("process {pid}: its {} areas are left out, for there are too many", rows.len()));
            return Vec::new();
        }
        self.nr_areas += rows.len();
        let number = |row: &serde_json::Value, key: &str| row[key].as_u64().unwrap_or(0) as u32;
        rows.iter()
            .map(|row| {
                let name = row["name"].as_str().map_or(-1, |name| {
                    let (major, minor, inode) = (number(row, "major"), number(row, "minor"), number(row, "inode"));
                    self.name(Name { name: name.to_owned(), major, minor, inode })
                });
                let offset = row["offset"].as_u64().unwrap_or(0);
                Area(number(row, "start"), number(row, "end"), number(row, "flags"), offset, name)
            })
            .collect()
    }

    fn name(&mut self, name: Name) -> i32 {
        let next = self.names.len() as i32;
        let number = *self.by_name.entry(name.clone()).or_insert(next);
        if number == next {
            self.names.push(name);
        }
        number
    }
}
