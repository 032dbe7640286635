//! `--trace`: what happens in the machine, told while it runs.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufWriter, Write},
};

use inspect::{FaultTrace, Next};
use machine::{Machine, RunLimit, Stop};
use x86::LinearAddr;

use super::keeper::{End, Keeper};
use crate::{cli::RunArgs, error::Error, lens::Known};

/// Until the guest has set up its handlers, its IDT is read every so many instructions.
const LOOK_EVERY: u64 = 100_000;
/// What later versions can trace.
const LATER: [&str; 7] = ["exec", "mem", "mmu", "int", "io", "syscall", "sched"];

/// The page faults of a run, and where they are written.
pub struct Tracer {
    known: Known,
    faults: FaultTrace,
    /// Where the machine stops for us.
    stops: BTreeSet<u32>,
    out: Box<dyn Write>,
    /// The file's name, for messages.
    name: String,
}

impl Tracer {
    /// What `--trace` asks for, if it does.
    pub fn new(args: &RunArgs, machine: &Machine) -> Result<Option<Self>, Error> {
        let Some(what) = &args.trace else { return Ok(None) };
        for word in what.split(',') {
            match word {
                "fault" => {}
                _ if LATER.contains(&word) => return Err(Error::Later(format!("--trace {word}"))),
                _ => return Err(Error::Usage(format!("--trace {word}: there is `fault` to trace"))),
            }
        }
        let (out, name): (Box<dyn Write>, _) = match &args.trace_file {
            None => (Box::new(io::stderr()), "standard error".to_owned()),
            Some(path) if path.extension().is_some_and(|ending| ending == "json") => {
                return Err(Error::Later("--trace-file FILE.json".into()));
            }
            Some(path) => {
                let name = path.display().to_string();
                let file =
                    File::create(path).map_err(|why| Error::CannotStart(format!("cannot write {name}: {why}")))?;
                (Box::new(BufWriter::new(file)), name)
            }
        };
        let known = Known::of(machine);
        Ok(Some(Tracer { known, faults: FaultTrace::new(), stops: BTreeSet::new(), out, name }))
    }

    /// Runs the machine to its end.
    pub fn run(&mut self, machine: &mut Machine, keeper: &mut Keeper<'_>) -> Result<End, Error> {
        let mut pass_breakpoint = false;
        loop {
            self.known.look(machine, |target| self.faults.read_idt(target));
            self.set_stops(machine);
            let slice = machine.retired() + LOOK_EVERY;
            let limit = keeper.limit().into_iter().chain([slice]).min();
            let mut stop = machine.run(RunLimit { retired: limit, pass_breakpoint }, keeper.host);
            pass_breakpoint = false;
            if let Stop::Breakpoint { .. } = stop {
                pass_breakpoint = true;
                stop = match self.known.look(machine, |target| self.faults.stopped(target)) {
                    Next::Run => Stop::Limit,
                    Next::Step => {
                        pass_breakpoint = false;
                        self.step(machine, keeper)
                    }
                };
                self.print()?;
            }
            match stop {
                Stop::Breakpoint { .. } => {}
                Stop::Limit if keeper.limit().is_none_or(|limit| machine.retired() < limit) => {}
                stop => {
                    if let Some(end) = keeper.attend(machine, stop)? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Tells of the faults that never returned, and writes out what is held back.
    pub fn finish(mut self) -> Result<(), Error> {
        self.faults.finish();
        self.print()?;
        self.out.flush().map_err(|why| self.failed(&why))
    }

    /// The instruction that faulted, once more.
    fn step(&mut self, machine: &mut Machine, keeper: &mut Keeper<'_>) -> Stop {
        self.set_stops(machine);
        let stop = machine.step(keeper.host);
        if !matches!(stop, Stop::Breakpoint { .. }) {
            self.known.look(machine, |target| self.faults.stepped(target));
        }
        stop
    }

    fn set_stops(&mut self, machine: &mut Machine) {
        let wanted = self.faults.stops();
        self.stops.difference(&wanted).for_each(|&addr| machine.remove_breakpoint(LinearAddr(addr)));
        wanted.difference(&self.stops).for_each(|&addr| machine.add_breakpoint(LinearAddr(addr)));
        self.stops = wanted;
    }

    fn print(&mut self) -> Result<(), Error> {
        let text = self.faults.take_text();
        self.out.write_all(text.as_bytes()).map_err(|why| self.failed(&why))
    }

    fn failed(&self, why: &io::Error) -> Error {
        Error::CannotStart(format!("cannot write the trace to {}: {why}", self.name))
    }
}
