//! Runs in parallel: started, watched, and all ended when the user wants the end.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::NamedTempFile;

use super::ExploreArgs;
use crate::error::{Error, status};

/// How often the runs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How much of what a run said last is kept.
const KEPT_BYTES: usize = 4096;

/// What came of a sweep.
pub(super) struct Outcome {
    /// Runs that ended with 0.
    pub passed: u64,
    /// The others, by seed.
    pub failures: Vec<Failure>,
    /// The user wanted the end before all had run.
    pub interrupted: bool,
}

impl Outcome {
    /// How many runs came to their end.
    pub fn ran(&self) -> u64 {
        self.passed + self.failures.len() as u64
    }

    /// The lowest seed that has failed so far.
    fn lowest(&self) -> Option<u64> {
        self.failures.iter().map(|failure| failure.seed).min()
    }
}

/// A run that did not end with 0.
pub(super) struct Failure {
    pub seed: u64,
    /// As a shell counts it: 128 more than the number of a fatal signal.
    pub status: i32,
    /// The end of what it said on standard error.
    pub said: String,
}

impl Failure {
    /// What kind of end it was.
    pub fn reason(&self) -> String {
        match self.status {
            status if status == i32::from(status::LIMIT) => "a limit was reached".into(),
            status if status == i32::from(status::GUEST_PANIC) => {
                "the guest kernel panicked or the CPU shut down".into()
            }
            status if status == i32::from(status::STALE_USE) => "a stale translation was used".into(),
            status if status == i32::from(status::CANNOT_START) => "it could not start".into(),
            status => format!("exit status {status}"),
        }
    }
}

struct Run {
    seed: u64,
    child: Child,
    said: JoinHandle<Vec<u8>>,
}

/// Runs all seeds, the lowest first.
pub(super) fn run(args: &ExploreArgs) -> Result<Outcome, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| Error::CannotStart(format!("cannot handle signals: {error}")))?;
    }
    let program =
        std::env::current_exe().map_err(|error| Error::CannotStart(format!("cannot find myself: {error}")))?;
    let input = standard_input()?;
    let jobs = args.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), |jobs| jobs as usize);
    let bar = progress(args.seeds.count());
    let mut outcome = Outcome { passed: 0, failures: Vec::new(), interrupted: false };
    let mut seeds = args.seeds.first..=args.seeds.last;
    let mut running: Vec<Run> = Vec::new();
    let ended = loop {
        if stop.load(Ordering::Relaxed) {
            outcome.interrupted = true;
            break Ok(());
        }
        let is_found = args.first && outcome.lowest().is_some();
        while !is_found
            && running.len() < jobs
            && let Some(seed) = seeds.next()
        {
            let mut command = Command::new(&program);
            command.args(["run", "--schedule-seed", &seed.to_string()]).args(&args.words);
            match start(command, input.as_ref()) {
                Ok((child, said)) => running.push(Run { seed, child, said }),
                Err(error) => {
                    end_all(&mut running);
                    return Err(Error::CannotStart(format!("cannot run {}: {error}", program.display())));
                }
            }
        }
        if running.is_empty() {
            break Ok(());
        }
        if let Err(error) = collect(&mut running, &mut outcome, &bar) {
            break Err(error);
        }
        if args.first
            && let Some(lowest) = outcome.lowest()
        {
            // Lower ones may still fail, and runs begin in their order.
            let mut needless = running.extract_if(.., |run| run.seed > lowest).collect();
            end_all(&mut needless);
        }
        thread::sleep(LOOK_EVERY);
    };
    end_all(&mut running);
    bar.finish_and_clear();
    outcome.failures.sort_by_key(|failure| failure.seed);
    if args.first
        && let Some(lowest) = outcome.lowest().filter(|_| !outcome.interrupted)
    {
        // Whether a higher one had come to its end by then is chance.
        outcome.failures.truncate(1);
        outcome.passed = lowest - args.seeds.first;
    }
    ended.map(|()| outcome).map_err(|error| Error::CannotStart(format!("cannot wait for a run: {error}")))
}

fn start(mut command: Command, input: Option<&NamedTempFile>) -> io::Result<(Child, JoinHandle<Vec<u8>>)> {
    let stdin = match input {
        Some(file) => Stdio::from(File::open(file.path())?),
        None => Stdio::null(),
    };
    let mut child = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = child.stderr.take().expect("it was asked for");
    let said = thread::spawn(move || {
        let (mut kept, mut block) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = stderr.read(&mut block) {
            kept.extend_from_slice(&block[..count]);
            let too_many = kept.len().saturating_sub(KEPT_BYTES);
            kept.drain(..too_many);
        }
        kept
    });
    Ok((child, said))
}

/// Takes in the runs that have ended.
fn collect(running: &mut Vec<Run>, outcome: &mut Outcome, bar: &ProgressBar) -> io::Result<()> {
    let mut at = 0;
    while at < running.len() {
        let Some(ended) = running[at].child.try_wait()? else {
            at += 1;
            continue;
        };
        let run = running.swap_remove(at);
        bar.inc(1);
        if ended.success() {
            outcome.passed += 1;
            continue;
        }
        let said = run.said.join().unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        outcome.failures.push(Failure { seed: run.seed, status: number(ended), said });
        bar.set_message(format!("{} failed", outcome.failures.len()));
    }
    Ok(())
}

fn number(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(-1)
}

/// Ends what still runs, and waits for it.
fn end_all(running: &mut Vec<Run>) {
    for run in running.iter_mut() {
        let _ = run.child.kill();
    }
    for mut run in running.drain(..) {
        let _ = run.child.wait();
    }
}

/// What every run gets as its standard input, unless ours is a terminal.
fn standard_input() -> Result<Option<NamedTempFile>, Error> {
    let cannot = |error| Error::CannotStart(format!("cannot keep the standard input: {error}"));
    if io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut file = NamedTempFile::new().map_err(cannot)?;
    io::copy(&mut io::stdin().lock(), &mut file).map_err(cannot)?;
    file.flush().map_err(cannot)?;
    Ok(Some(file))
}

fn progress(count: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(count);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} left {msg}") {
        bar.set_style(style);
    }
    bar
}
