//! A folder that looks like the guest's `/proc`, as a `newc` archive: `proc -o DIR`.

use abi::cpio::{Writer, kind};
use serde_json::json;

use super::{Answer, pagemap, process, system_files};
use crate::{Books, Error, Request, Result, Target};

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

const REGULAR: u32 = kind::REGULAR | 0o444;
const LINK: u32 = kind::SYMLINK | 0o777;
const FOLDER: u32 = kind::DIRECTORY | 0o555;
/// Bytes of a run of a [`SPARSE`] file.
pub const RUN_BYTES: usize = 4096;
/// The ending, behind a dot, of a file of which only the parts are there that are not zero: each run is its
/// offset as 8 bytes and then [`RUN_BYTES`]; behind the last one is the length of the file.
pub const SPARSE: &str = "sparse";

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
        archive.add(name, REGULAR, &bytes)?;
    }
    for folder in ["sys", "sys/kernel", "tty"] {
        archive.add(folder, FOLDER, b"")?;
    }
    for (name, bytes) in system_files::files(target, &books)? {
        archive.add(name, REGULAR, &bytes)?;
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
            archive.add(&folder, FOLDER, b"")?;
            for (name, bytes) in process::thread_files(&books, thread)? {
                archive.add(&format!("{folder}/{name}"), REGULAR, &bytes)?;
            }
        }
    }
    // Whoever reads the folder looks for himself there, and is no process of the guest: the first
    // process is always there.
    if let Some(first) = tasks.iter().find(|task| task.pid == task.tgid) {
        archive.add("self", LINK, first.pid.to_string().as_bytes())?;
    }
    Ok(Answer::new(archive.writer.finish(), archive.names))
}

fn add_process(target: &Target<'_>, archive: &mut Archive, pid: u32) -> Result<()> {
    let file = |name: &str| process::process_file(target, pid, name);
    let files =
        OF_PROCESS.iter().map(|name| Ok((*name, file(name)?.unwrap_or_default()))).collect::<Result<Vec<_>>>()?;
    let (pagemap, exe) = (file("pagemap")?.unwrap_or_default(), file("exe")?);
    archive.add(&pid.to_string(), FOLDER, b"")?;
    archive.add(&format!("{pid}/task"), FOLDER, b"")?;
    for (name, bytes) in files {
        archive.add(&format!("{pid}/{name}"), REGULAR, &bytes)?;
    }
    if let Some(exe) = exe {
        archive.add(&format!("{pid}/exe"), LINK, &exe)?;
    }
    archive.add(&format!("{pid}/pagemap.{SPARSE}"), REGULAR, &sparse(&pagemap))?;
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

/// An archive that is being made, and what is in it.
#[derive(Default)]
struct Archive {
    writer: Writer,
    names: Vec<serde_json::Value>,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, data: &[u8]) -> Result<()> {
        self.names.push(json!({"name": name, "mode": mode, "bytes": data.len()}));
        let failed = |why| Error::Usage(format!("proc: {name}: {why}"));
        self.writer.push(name.as_bytes(), mode, data).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
