//! Process 1: starts what the host asked for, buries orphans, and powers the machine off
//! with the status of the program when that has ended.
//!
//! What to run is in the run file (`abi::runfile`). Without one it is the tour, followed by
//! a shell if the kernel's command line says `pagewalk.shell`.

use std::{
    convert::Infallible,
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal},
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStringExt, fs::OpenOptionsExt},
    },
    process::ExitCode,
};

use abi::runfile::{self, RunFile};
use pagewalk_programs::sys::{self, Fork};

/// Statuses of our own, as shells use them, and the one for a machine that cannot start.
const CANNOT_START: i32 = 125;
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// On the kernel's command line: run a shell after the tour.
const SHELL_PARAMETER: &str = "pagewalk.shell";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("init: this is the first process of a guest, started by its kernel");
        return ExitCode::FAILURE;
    }
    let status = run_what_was_asked().unwrap_or_else(|message| {
        eprintln!("init: {message}");
        CANNOT_START
    });
    let error = sys::power_off(status);
    eprintln!("init: cannot power off: {}", sys::reason(&error));
    ExitCode::from(status as u8)
}

fn run_what_was_asked() -> Result<i32, String> {
    match fs::read(runfile::PATH) {
        Ok(bytes) => {
            let run = RunFile::parse(&bytes).map_err(|error| format!("{}: {error}", runfile::PATH))?;
            run_to_end(&run)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let status = run_to_end(&own_program("tour"))?;
            if wants_shell() { run_to_end(&own_program("sh")) } else { Ok(status) }
        }
        Err(error) => Err(format!("{}: {}", runfile::PATH, sys::reason(&error))),
    }
}

/// A program of the embedded userland, on the console.
fn own_program(name: &str) -> RunFile {
    let console = || b"/dev/console".to_vec();
    RunFile {
        args: vec![name.into()],
        env: vec!["PATH=/bin:/usr/bin".into(), "HOME=/".into(), terminal_type()],
        stdin: console(),
        stdout: console(),
        stderr: console(),
        ..RunFile::new(format!("/.pagewalk/bin/{name}"))
    }
}

/// `TERM` as the kernel has passed it on from its command line.
fn terminal_type() -> Vec<u8> {
    let name = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into());
    [b"TERM=", name.as_encoded_bytes()].concat()
}

fn wants_shell() -> bool {
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    command_line.split_whitespace().any(|word| word == SHELL_PARAMETER)
}

/// Starts a program and waits for its end; its status. Orphans that end meanwhile are
/// buried.
fn run_to_end(run: &RunFile) -> Result<i32, String> {
    let failed = |what: &str, error: io::Error| format!("{what}: {}", sys::reason(&error));
    let program = match sys::fork().map_err(|error| failed("fork", error))? {
        Fork::Child => sys::exit_now(start(run)),
        Fork::Parent(pid) => pid,
    };
    loop {
        let (pid, ended) = sys::wait(-1).map_err(|error| failed("wait", error))?;
        if pid == program {
            return Ok(ended.status());
        }
    }
}

/// Becomes the program; if that fails, says why, on the program's standard error if there
/// is one by then. The status to end with.
fn start(run: &RunFile) -> i32 {
    let (error, status) = match become_program(run) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    eprintln!("pagewalk: {error}");
    status
}

fn become_program(run: &RunFile) -> Result<Infallible, (String, i32)> {
    let cannot_start = |what: &[u8], error: io::Error| {
        (format!("{}: {}", String::from_utf8_lossy(what), sys::reason(&error)), CANNOT_START)
    };
    sys::setsid().map_err(|error| cannot_start(b"setsid", error))?;
    let mut has_terminal = false;
    for (fd, device) in [(0, &run.stdin), (1, &run.stdout), (2, &run.stderr)] {
        let stream = open_device(device).map_err(|error| cannot_start(device, error))?;
        if !has_terminal && stream.is_terminal() {
            has_terminal = sys::set_controlling_terminal(&stream).is_ok();
        }
        // Descriptors 0 to 2 are open already, so `stream` is another, closed after this.
        sys::dup2(stream.as_raw_fd(), fd).map_err(|error| cannot_start(device, error))?;
    }
    sys::umask(run.umask);
    let cwd = std::ffi::OsString::from_vec(run.cwd.clone());
    std::env::set_current_dir(cwd).map_err(|error| cannot_start(&run.cwd, error))?;
    sys::default_signals();

    // The parser ends values at NUL, so none can contain one.
    let c_string = |bytes: &Vec<u8>| CString::new(bytes.clone()).expect("a value without NUL");
    let args: Vec<_> = run.args.iter().map(c_string).collect();
    let env: Vec<_> = run.env.iter().map(c_string).collect();
    let error = sys::execve(&c_string(&run.exe), &args, &env);
    let status = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    Err((format!("{}: {}", String::from_utf8_lossy(&run.exe), sys::reason(&error)), status))
}

/// Opens a stream's device; a terminal is not made the controlling one by that alone.
fn open_device(path: &[u8]) -> io::Result<File> {
    let path = std::ffi::OsString::from_vec(path.to_vec());
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path)
}
