//! A folder that looks like the guest's `/proc`, as a `newc` archive: `proc -o DIR`.

use serde_json::json;

use super::{Answer, pagemap, process, system_files};
use crate::{Books, Request, Result, Target};

/// The lenses that are files of the same name.
const LENSES: [&str; 15] = [
    "buddyinfo",
    "cpuinfo",
    "interrupts",
    "iomem",
    "ioports",
    "meminfo",
    "modules",
    "pagetypeinfo",
    "slabinfo",
    "swaps",
    "vmallocinfo",
    "vmstat",
    "zoneinfo",
    "kpagecount",
    "kpageflags",
];

/// Files of a process, but for links and `pagemap`.
const OF_PROCESS: [&str; 14] = [
    "auxv",
    "cmdline",
    "comm",
    "coredump_filter",
    "environ",
    "limits",
    "maps",
    "oom_score_adj",
    "smaps",
    "smaps_rollup",
    "stat",
    "statm",
    "status",
    "wchan",
];

const REGULAR: u32 = 0o100_444;
const LINK: u32 = 0o120_777;
const FOLDER: u32 = 0o040_555;
/// Words that a run of [`SPARSE`] has.
const RUN_BYTES: usize = 4096;
/// The ending of a file of which only the parts are there that are not zero: each run is its
/// offset as 8 bytes and then [`RUN_BYTES`].
const SPARSE: &str = ".sparse";

/// The archive, and in JSON the names and lengths.
pub fn proc(target: &Target<'_>) -> Result<Answer> {
    let books = Books::of(target)?;
    let mut archive = Archive::default();
    for name in LENSES {
        let bytes = match name {
            "kpagecount" => pagemap::of_frames(&books, false),
            "kpageflags" => pagemap::of_frames(&books, true),
            name => super::show(target, &Request::from_words(&[name])?)?.text,
        };
        archive.add(name, REGULAR, &bytes);
    }
    for folder in ["sys", "sys/kernel", "tty"] {
        archive.add(folder, FOLDER, b"");
    }
    for (name, bytes) in system_files::files(target, &books)? {
        archive.add(name, REGULAR, &bytes);
    }
    let tasks = books.tasks()?;
    let mut before = None;
    for task in &tasks {
        // Two tasks of one number would be two folders of one name.
        if before.replace(task.pid).is_some_and(|pid| pid >= task.pid) {
            continue;
        }
        if task.pid == task.tgid {
            add_process(target, &mut archive, task.pid)?;
        }
    }
    for task in tasks.iter().filter(|task| task.pid == task.tgid) {
        for thread in tasks.iter().filter(|thread| thread.tgid == task.tgid) {
            let folder = format!("{}/task/{}", task.pid, thread.pid);
            archive.add(&folder, FOLDER, b"");
            for (name, bytes) in process::thread_files(&books, thread)? {
                archive.add(&format!("{folder}/{name}"), REGULAR, &bytes);
            }
        }
    }
    // Whoever reads the folder looks for himself there, and is no process of the guest: the first
    // process is always there.
    if let Some(first) = tasks.iter().find(|task| task.pid == task.tgid) {
        archive.add("self", LINK, first.pid.to_string().as_bytes());
    }
    let names = archive.names.clone();
    Ok(Answer::new(archive.finish(), names))
}

fn add_process(target: &Target<'_>, archive: &mut Archive, pid: u32) -> Result<()> {
    let file = |name: &str| process::process_file(target, pid, name);
    let files =
        OF_PROCESS.iter().map(|name| Ok((*name, file(name)?.unwrap_or_default()))).collect::<Result<Vec<_>>>()?;
    let (pagemap, exe) = (file("pagemap")?.unwrap_or_default(), file("exe")?);
    archive.add(&pid.to_string(), FOLDER, b"");
    archive.add(&format!("{pid}/task"), FOLDER, b"");
    for (name, bytes) in files {
        archive.add(&format!("{pid}/{name}"), REGULAR, &bytes);
    }
    if let Some(exe) = exe {
        archive.add(&format!("{pid}/exe"), LINK, &exe);
    }
    archive.add(&format!("{pid}/pagemap{SPARSE}"), REGULAR, &sparse(&pagemap));
    Ok(())
}

/// The runs of a file that are not all zero, and an empty one at its end.
fn sparse(bytes: &[u8]) -> Vec<u8> {
    let mut runs = Vec::new();
    for (n, run) in bytes.chunks_exact(RUN_BYTES).enumerate() {
        if run.iter().any(|&byte| byte != 0) {
            runs.extend(((n * RUN_BYTES) as u64).to_le_bytes());
            runs.extend_from_slice(run);
        }
    }
    runs.extend((bytes.len() as u64).to_le_bytes());
    runs
}

/// A `newc` archive that is being made.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    names: Vec<serde_json::Value>,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.names.push(json!({"name": name, "mode": mode, "bytes": data.len()}));
        self.entry(name, mode, data);
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        let (number, name_len) = (self.names.len(), name.len() + 1);
        self.bytes.extend_from_slice(b"070701");
        let fields = [number, mode as usize, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name_len, 0];
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08x}").bytes()));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::lossy;
    use super::*;

    #[test]
    fn an_archive_is_read_back_entry_by_entry() {
        let mut archive = Archive::default();
        archive.add("1", FOLDER, b"");
        archive.add("1/comm", REGULAR, b"init\n");
        archive.add("self", LINK, b"1");
        let bytes = archive.finish();
        let entries: Vec<_> = abi::cpio::Archive::new(&bytes).map(|entry| entry.expect("whole")).collect();
        let rows: Vec<_> = entries.iter().map(|entry| (lossy(entry.name), entry.mode, lossy(entry.data))).collect();
        assert_eq!(
            rows,
            [
                ("1".into(), FOLDER, String::new()),
                ("1/comm".into(), REGULAR, "init\n".into()),
                ("self".into(), LINK, "1".into())
            ]
        );
    }

    #[test]
    fn a_sparse_file_has_only_runs_that_are_not_zero_and_its_length() {
        let mut bytes = vec![0; 3 * RUN_BYTES];
        bytes[RUN_BYTES + 5] = 7;
        let runs = sparse(&bytes);
        assert_eq!(runs.len(), 8 + RUN_BYTES + 8);
        assert_eq!(runs[..8], (RUN_BYTES as u64).to_le_bytes());
        assert_eq!(runs[8 + RUN_BYTES..], (bytes.len() as u64).to_le_bytes());
    }
}
