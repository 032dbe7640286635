//! `pagewalk gdb`: a machine that waits, and gdb on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use inspect::Symbols;

use super::{
    prepare::{self, Mode, Stream, Streams},
    session::Session,
};
use crate::{
    cli::{GdbArgs, RunArgs},
    error::Error,
    helpers,
};

/// How long a wait for gdb's end sleeps between two looks.
const NAP: Duration = Duration::from_millis(20);
/// How long gdb may take to end when it is told to, or when it has let go.
const GRACE: Duration = Duration::from_millis(300);

/// Starts the machine, and gdb on it with the symbols of kernel and program, stopped at the
/// program's `main`, or at its entry point if it has none. The guest's input is empty: the
/// terminal is gdb's. The status is gdb's.
pub fn gdb(args: &GdbArgs, verbose: u8) -> Result<u8, Error> {
    let folder = tempfile::Builder::new().prefix("pagewalk-gdb-").tempdir();
    let folder = folder.map_err(|e| Error::CannotStart(format!("cannot make a folder for gdb: {e}")))?;
    let socket = folder.path().join("gdb.sock");
    let run = run_args(args, &socket);
    super::refuse_later(&run)?;
    let streams = Streams { stdin: Stream::Absent, stdout: Stream::Raw, stderr: Stream::Raw };
    let boot = prepare::run(&run, streams)?;
    let path = Path::new(&args.words[0]);
    let program = fs::read(path).map_err(Error::file(path))?;
    if program.starts_with(b"#!") {
        let why = "is a script: name its interpreter, and the script behind it".to_owned();
        return Err(Error::NotExecutable { path: path.into(), why });
    }
    let has_python = look_for_gdb(&args.gdb_program)?;
    let is_kernel = boot.mode == Mode::Kernel;
    let kernel = boot.images.kernel().map(|image| image.bytes.clone()).unwrap_or_default();
    let mut session = Session::new(&run, boot, streams, verbose)?;
    session.end_with_gdb(GRACE);
    let mut script = Script::default();
    script.see(args, &socket);
    let mut stop_at = None;
    if !is_kernel {
        let entry = session.run_to_program()?;
        let main = Symbols::of_bytes(&program).named("main").map(|_| "tbreak -qualified main".to_owned());
        stop_at = main.or(entry.map(|entry| format!("tbreak *{entry:#x}")));
    }
    if let Some(command) = &stop_at {
        script.add(command);
    }
    if !is_kernel {
        let file = folder.path().join("vmlinux");
        fs::write(&file, &kernel).map_err(Error::file(&file))?;
        script.add(&format!("with confirm off -- add-symbol-file {}", quoted(&file)));
    }
    if has_python {
        script.add(&format!("source {}", quoted(&helpers::write(folder.path(), &kernel)?)));
    }
    if stop_at.is_some() {
        script.add("continue");
    }
    let child = start(args, &script)?;
    let waiter = Waiter::new(child, session.signal());
    let outcome = session.run();
    // Ended from outside, or broken: gdb has nothing to look at any more. After the guest's own end it stays.
    if outcome.is_err() || waiter.machine_was_told_to_end() {
        waiter.end_gdb();
    }
    let status = waiter.wait();
    outcome.map(|_| status)
}

fn run_args(args: &GdbArgs, socket: &Path) -> RunArgs {
    RunArgs {
        words: args.words.clone(),
        machine: args.machine.clone(),
        gdb: Some(format!("unix:{}", socket.display())),
        ..RunArgs::defaults()
    }
}

/// Whether gdb has Python; an error if there is no gdb.
fn look_for_gdb(gdb: &Path) -> Result<bool, Error> {
    let output = Command::new(gdb).args(["-nx", "--configuration"]).stdin(Stdio::null()).output();
    let output = output.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::CannotStart(format!(
            "{}: there is no such program; install gdb, or name one with --gdb-program",
            gdb.display()
        )),
        _ => Error::CannotStart(format!("cannot start {}: {e}", gdb.display())),
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !text.contains("gdb") {
        let why = format!("{} is no gdb: it does not know --configuration", gdb.display());
        return Err(Error::CannotStart(why));
    }
    Ok(text.lines().any(|line| line.trim().starts_with("--with-python=")))
}

/// gdb's first commands, one an `-ex`: what fails among them does not keep the rest from being done.
#[derive(Default)]
struct Script(Vec<String>);

impl Script {
    fn add(&mut self, command: &str) {
        self.0.push(command.to_owned());
    }

    /// How gdb is to look: at a machine that is near, in which what it read may change under it.
    fn see(&mut self, args: &GdbArgs, socket: &Path) {
        self.add("set stack-cache off");
        self.add("set code-cache off");
        if let Some(root) = &args.machine.root {
            self.add(&format!("set sysroot {}", root.display()));
        }
        if let Some((built, found)) = moved_sources() {
            self.add(&format!("set substitute-path {} {}", quoted(&built), quoted(&found)));
        }
        self.add(&format!("target remote {}", socket.display()));
    }
}

/// Where the kernel's sources were when it was built, and where a checkout around the working
/// folder has them now, if they are no longer there.
fn moved_sources() -> Option<(PathBuf, PathBuf)> {
    let has_kernel = |root: &Path| root.join("guests/kernel/src/main.rs").is_file();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let here = std::env::current_dir().ok()?;
    let found = here.ancestors().find(|root| has_kernel(root))?;
    (!has_kernel(built)).then(|| (built.into(), found.into()))
}

/// A file's name as a word of gdb's command line.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    match text.contains([' ', '"', '\\', '\'']) {
        true => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        false => text,
    }
}

fn start(args: &GdbArgs, script: &Script) -> Result<Child, Error> {
    let mut gdb = Command::new(&args.gdb_program);
    gdb.arg("-q");
    for command in &script.0 {
        gdb.arg("-ex").arg(command);
    }
    gdb.args(&args.gdb_args).arg("--args").arg(&args.words[0]);
    gdb.spawn().map_err(|e| Error::CannotStart(format!("cannot start {}: {e}", args.gdb_program.display())))
}

/// Waits for gdb's end, which is the machine's too.
struct Waiter {
    thread: thread::JoinHandle<u8>,
    /// Set from outside: gdb is to end.
    end_gdb: Arc<AtomicBool>,
    /// Set by gdb's end, before the machine is told.
    gdb_has_ended: Arc<AtomicBool>,
    end_machine: Arc<AtomicBool>,
}

impl Waiter {
    fn new(child: Child, end_machine: Arc<AtomicBool>) -> Self {
        let (end_gdb, gdb_has_ended) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (told, ended, machine) = (end_gdb.clone(), gdb_has_ended.clone(), end_machine.clone());
        let thread = thread::spawn(move || {
            let status = wait(child, &told);
            ended.store(true, Ordering::SeqCst);
            machine.store(true, Ordering::SeqCst);
            status
        });
        Waiter { thread, end_gdb, gdb_has_ended, end_machine }
    }

    /// Whether a signal has ended the machine, and not gdb's end.
    fn machine_was_told_to_end(&self) -> bool {
        self.end_machine.load(Ordering::SeqCst) && !self.gdb_has_ended.load(Ordering::SeqCst)
    }

    fn end_gdb(&self) {
        self.end_gdb.store(true, Ordering::SeqCst);
    }

    /// gdb's exit status.
    fn wait(self) -> u8 {
        self.thread.join().unwrap_or(crate::error::status::CANNOT_START)
    }
}

fn wait(mut child: Child, told: &AtomicBool) -> u8 {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return exit_status(status),
            Ok(None) => thread::sleep(NAP),
            Err(_) => return crate::error::status::CANNOT_START,
        }
        if told.load(Ordering::SeqCst) {
            // gdb gives the terminal back when it is asked to end.
            let asked = Command::new("kill").arg(child.id().to_string()).stderr(Stdio::null()).status();
            thread::sleep(if asked.is_ok_and(|status| status.success()) { GRACE } else { Duration::ZERO });
            let _ = child.kill();
            return child.wait().map_or(crate::error::status::CANNOT_START, exit_status);
        }
    }
}

/// As a shell reports it.
fn exit_status(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
    #[cfg(not(unix))]
    let signal = None;
    let code = status.code().or(signal);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::error::status::CANNOT_START)
}
