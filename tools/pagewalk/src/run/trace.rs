//! `--trace`: what happens in the machine, told while it runs.

mod facts;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufWriter, Write},
};

use inspect::{FaultTrace, Next};
use machine::{Machine, RunLimit, Stop};
use x86::LinearAddr;

use self::facts::FactTrace;
use super::keeper::{End, Keeper};
use crate::{cli::RunArgs, error::Error, lens::Known};

/// The machine is looked at at least every so many instructions: until the guest has set up its handlers its
/// IDT is read then, and facts are fetched before they are forgotten.
const LOOK_EVERY: u64 = 100_000;
/// What later versions can trace.
const LATER: [&str; 6] = ["exec", "mem", "int", "io", "syscall", "sched"];

/// What of a run is told, and where it is written.
pub struct Tracer {
    known: Known,
    faults: Option<FaultTrace>,
    facts: Option<FactTrace>,
    /// Where the machine stops for us.
    stops: BTreeSet<u32>,
    out: Box<dyn Write>,
    /// The file's name, for messages.
    name: String,
}

impl Tracer {
    /// What `--trace` asks for, if it does.
    pub fn new(args: &RunArgs, machine: &mut Machine) -> Result<Option<Self>, Error> {
        let Some(what) = &args.trace else { return Ok(None) };
        let json = args.trace_file.as_ref().is_some_and(|path| path.extension().is_some_and(|ending| ending == "json"));
        let (mut faults, mut wanted) = (None, facts::Wanted::default());
        for word in what.split(',') {
            match word {
                "fault" if json => return Err(Error::Later("--trace fault into a file for Perfetto".into())),
                "fault" => faults = Some(FaultTrace::new()),
                "ipi" => wanted.ipi = true,
                "tlb" => wanted.tlb = true,
                "mmu" => wanted.mmu = true,
                _ if LATER.contains(&word) => return Err(Error::Later(format!("--trace {word}"))),
                _ => {
                    return Err(Error::Usage(format!(
                        "--trace {word}: there are `fault`, `ipi`, `tlb` and `mmu` to trace"
                    )));
                }
            }
        }
        let (out, name): (Box<dyn Write>, _) = match &args.trace_file {
            None => (Box::new(io::stderr()), "standard error".to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                let file =
                    File::create(path).map_err(|why| Error::CannotStart(format!("cannot write {name}: {why}")))?;
                (Box::new(BufWriter::new(file)), name)
            }
        };
        let known = Known::of(machine);
        let facts = wanted.any().then(|| FactTrace::begin(machine, &known, wanted, json));
        Ok(Some(Tracer { known, faults, facts, stops: BTreeSet::new(), out, name }))
    }

    /// Runs the machine to its end.
    pub fn run(&mut self, machine: &mut Machine, keeper: &mut Keeper<'_>) -> Result<End, Error> {
        let mut pass_breakpoint = false;
        loop {
            if let Some(faults) = &mut self.faults {
                self.known.look(machine, |target| faults.read_idt(target));
            }
            self.set_stops(machine);
            let slice = machine.retired() + LOOK_EVERY;
            let limit = keeper.limit().into_iter().chain([slice]).min();
            let mut stop = machine.run(RunLimit { retired: limit, pass_breakpoint }, keeper.host);
            pass_breakpoint = false;
            if let (Stop::Breakpoint { .. }, Some(faults)) = (stop, &mut self.faults) {
                pass_breakpoint = true;
                stop = match self.known.look(machine, |target| faults.stopped(target)) {
                    Next::Run => Stop::Limit,
                    Next::Step => {
                        pass_breakpoint = false;
                        self.step(machine, keeper)
                    }
                };
            }
            self.print(machine)?;
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
    pub fn finish(mut self, machine: &mut Machine) -> Result<(), Error> {
        if let Some(faults) = &mut self.faults {
            faults.finish();
        }
        self.print(machine)?;
        let rest = self.facts.take().map(FactTrace::finish).unwrap_or_default();
        self.out.write_all(rest.as_bytes()).and_then(|()| self.out.flush()).map_err(|why| self.failed(&why))
    }

    /// The instruction that faulted, once more.
    fn step(&mut self, machine: &mut Machine, keeper: &mut Keeper<'_>) -> Stop {
        self.set_stops(machine);
        let stop = machine.step(keeper.host);
        if let Some(faults) = self.faults.as_mut().filter(|_| !matches!(stop, Stop::Breakpoint { .. })) {
            self.known.look(machine, |target| faults.stepped(target));
        }
        stop
    }

    fn set_stops(&mut self, machine: &mut Machine) {
        let wanted = self.faults.as_ref().map(FaultTrace::stops).unwrap_or_default();
        self.stops.difference(&wanted).for_each(|&addr| machine.remove_breakpoint(LinearAddr(addr)));
        wanted.difference(&self.stops).for_each(|&addr| machine.add_breakpoint(LinearAddr(addr)));
        self.stops = wanted;
    }

    fn print(&mut self, machine: &mut Machine) -> Result<(), Error> {
        let mut text = self.faults.as_mut().map(FaultTrace::take_text).unwrap_or_default();
        if let Some(facts) = &mut self.facts {
            text += &facts.take_text(machine, &self.known);
        }
        self.out.write_all(text.as_bytes()).map_err(|why| self.failed(&why))
    }

    fn failed(&self, why: &io::Error) -> Error {
        Error::CannotStart(format!("cannot write the trace to {}: {why}", self.name))
    }
}
