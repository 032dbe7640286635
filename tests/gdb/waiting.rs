//! A machine that waits for gdb, and real gdb on it.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::{pagewalk, program};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(120);

/// A machine that waits for gdb.
pub struct Waiting {
    folder: TempDir,
    child: Child,
    /// What gdb is told to connect to.
    pub address: String,
    /// The program's file.
    pub program: PathBuf,
}

impl Waiting {
    /// Runs the tour, which faults, makes system calls and ends by itself.
    pub fn start() -> Waiting {
        Waiting::listening_on("127.0.0.1:0")
    }

    /// The same, where `address` says; FOLDER in it is a folder of the machine's own.
    pub fn listening_on(address: &str) -> Waiting {
        Waiting::with(address, &[])
    }

    /// The same with more options of `run`.
    pub fn with(address: &str, options: &[&str]) -> Waiting {
        Waiting::running("tour", program::embedded("tour"), address, options)
    }

    /// The same with another program.
    pub fn running(name: &str, bytes: &[u8], address: &str, options: &[&str]) -> Waiting {
        let (folder, program) = program::alone(name, bytes);
        fs::write(folder.path().join("vmlinux"), images::KERNEL).expect("write the kernel");
        let address = address.replace("FOLDER", folder.path().to_str().expect("a folder with a plain name"));
        let mut child = pagewalk()
            .args(["run", "--gdb", &address])
            .args(options)
            .arg(&program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start pagewalk");
        // With port 0 only the machine knows where it listens.
        let mut line = String::new();
        let stderr = child.stderr.take().expect("its standard error");
        let mut stderr = BufReader::new(stderr);
        stderr.read_line(&mut line).expect("a line on standard error");
        thread::spawn(move || drop(stderr.read_to_string(&mut String::new())));
        let address = line.trim().strip_prefix("pagewalk: waiting for gdb on ").unwrap_or_else(|| panic!("{line}"));
        let address = address.strip_prefix("unix:").unwrap_or(address).to_owned();
        Waiting { folder, child, address, program }
    }

    /// A file with the kernel and its symbols.
    pub fn kernel(&self) -> PathBuf {
        self.folder.path().join("vmlinux")
    }

    /// Runs gdb's commands, one a line, on the machine; gives all that it printed.
    pub fn gdb(&self, symbols: &Path, script: &str) -> String {
        let file = self.folder.path().join("script");
        let head = format!("set confirm off\nset pagination off\nset width 0\ntarget remote {}\n", self.address);
        fs::write(&file, head + script).expect("write the script");
        let output = Command::new("timeout")
            .args(["-k", "5", "100", "gdb", "-q", "-nx", "-batch", "-x"])
            .args([&file, symbols])
            .stdin(Stdio::null())
            .output()
            .expect("run gdb");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Waits for the machine's end; its exit status and what the guest printed.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut stdout = self.child.stdout.take().expect("its standard output");
        let reader = thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for pagewalk") {
                return (status.code(), reader.join().expect("its output"));
            }
            assert!(began.elapsed() < PATIENCE, "the machine does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All of these must be in the text.
#[track_caller]
pub fn contains(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "`{wanted}` is not in:\n{text}");
    }
}
