//! `--trace`: what happens in the machine, told while it runs.

mod facts;
mod output;
mod watcher;

use std::collections::BTreeSet;

use inspect::{EventKinds, EventTrace, ExecTrace, FaultTrace, Next};
use machine::{Machine, RunLimit, Stop, Watch};
use x86::LinearAddr;

use self::{facts::FactTrace, output::Output, watcher::Watcher};
use super::keeper::{End, Keeper};
use crate::{cli::RunArgs, error::Error, lens::Known};

/// The machine is looked at at least every so many instructions: until the guest has set up its handlers its
/// IDT is read then, and facts are fetched before they are forgotten.
const LOOK_EVERY: u64 = 100_000;
/// The same where each instruction may have something to tell, so that little is held back.
const LOOK_OFTEN: u64 = 5_000;
/// What can be traced.
const KINDS: &str = "exec, mem, mmu, int, io, syscall, sched, fault, ipi and tlb";

/// What of a run is told, and where it is written.
pub struct Tracer {
    known: Known,
    exec: Option<ExecTrace>,
    events: Option<EventTrace>,
    faults: Option<FaultTrace>,
    facts: Option<FactTrace>,
    /// Where the machine stops for us.
    stops: BTreeSet<u32>,
    watches: Vec<Watch>,
    look_every: u64,
    out: Output,
}

impl Tracer {
    /// What `--trace` asks for, if it does.
    pub fn new(args: &RunArgs, machine: &mut Machine) -> Result<Option<Self>, Error> {
        let Some(what) = &args.trace else { return Ok(None) };
        let (mut faults, mut exec) = (None, None);
        let (mut kinds, mut wanted) = (EventKinds::default(), facts::Wanted::default());
        for word in what.split(',') {
            match word {
                "exec" => exec = Some(ExecTrace::default()),
                "mem" => kinds.mem = true,
                "int" => kinds.int = true,
                "io" => kinds.io = true,
                "syscall" => kinds.syscall = true,
                "sched" => kinds.sched = true,
                "fault" => faults = Some(FaultTrace::new()),
                "ipi" => wanted.ipi = true,
                "tlb" => wanted.tlb = true,
                "mmu" => wanted.mmu = true,
                _ => return Err(Error::Usage(format!("--trace {word}: there are {KINDS} to trace"))),
            }
        }
        let out = Output::open(args.trace_file.as_deref())?;
        let known = Known::of(machine);
        let facts = wanted.any().then(|| FactTrace::begin(machine, &known, wanted, out.is_json()));
        let events = kinds.any().then(|| EventTrace::new(kinds));
        let mut catches = events.as_ref().map(EventTrace::catches).unwrap_or_default();
        if exec.is_some() {
            // An instruction's line says what it raised, or that an interrupt came instead.
            (0..=255).for_each(|vector| catches.vectors.insert(vector));
        }
        machine.set_catches(catches);
        let look_every = match (&exec, kinds.mem) {
            (Some(_), _) => 1,
            (None, true) => LOOK_OFTEN,
            (None, false) => LOOK_EVERY,
        };
        let (stops, watches) = (BTreeSet::new(), Vec::new());
        Ok(Some(Tracer { known, exec, events, faults, facts, stops, watches, look_every, out }))
    }

    /// Runs the machine to its end.
    pub fn run(&mut self, machine: &mut Machine, keeper: &mut Keeper<'_>) -> Result<End, Error> {
        let mut pass_breakpoint = false;
        let mut look_at = 0;
        loop {
            if machine.retired() >= look_at {
                look_at = machine.retired() + self.look_every.max(LOOK_OFTEN);
                self.look_around(machine);
            }
            self.set_stops(machine);
            let slice = machine.retired() + self.look_every;
            let limit = keeper.limit().into_iter().chain([slice]).min();
            let mut stop = self.advance(machine, keeper, RunLimit { retired: limit, pass_breakpoint });
            pass_breakpoint = false;
            if let (Stop::Breakpoint { .. }, Some(faults)) = (stop, &mut self.faults) {
                pass_breakpoint = true;
                stop = match self.known.look(machine, |target| faults.stopped(target, machine.now_ns())) {
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

    /// Tells of what never ended, and writes out what is held back.
    pub fn finish(mut self, machine: &mut Machine) -> Result<(), Error> {
        let now_ns = machine.now_ns();
        if let Some(faults) = &mut self.faults {
            faults.finish(now_ns);
        }
        if let Some(events) = &mut self.events {
            events.finish(now_ns);
        }
        if let Some(exec) = &mut self.exec {
            exec.finish(now_ns);
        }
        self.print(machine)?;
        let rest = self.facts.take().map(FactTrace::finish).unwrap_or_default();
        self.out.write(rest)?;
        self.out.finish(machine.cpu_count())
    }

    /// Runs the machine; what is asked for within is told and passed.
    fn advance(&mut self, machine: &mut Machine, keeper: &mut Keeper<'_>, limit: RunLimit) -> Stop {
        if let Some(exec) = &mut self.exec {
            self.known.glance(machine, |target| exec.before(target));
        }
        let mut watcher = Watcher::new(&self.known, self.events.as_mut());
        let stop = machine.run_judged(limit, keeper.host, &mut watcher);
        let occurrences = watcher.occurrences();
        if let Some(exec) = &mut self.exec {
            self.known.glance(machine, |target| exec.after(target, machine.now_ns(), &occurrences));
        }
        stop
    }

    /// The instruction that faulted, once more.
    fn step(&mut self, machine: &mut Machine, keeper: &mut Keeper<'_>) -> Stop {
        self.set_stops(machine);
        let limit = RunLimit { retired: Some(machine.retired() + 1), pass_breakpoint: true };
        let stop = self.advance(machine, keeper, limit);
        if let Some(faults) = self.faults.as_mut().filter(|_| !matches!(stop, Stop::Breakpoint { .. })) {
            self.known.look(machine, |target| faults.stepped(target, machine.now_ns()));
        }
        stop
    }

    /// Follows what the guest may have set up since the last look.
    fn look_around(&mut self, machine: &mut Machine) {
        if let Some(faults) = &mut self.faults {
            self.known.look(machine, |target| faults.read_idt(target));
        }
        let Some(events) = &self.events else { return };
        let wanted = self.known.glance(machine, |target| events.watches(target));
        if wanted != self.watches {
            self.watches.iter().for_each(|&watch| machine.remove_watch(watch));
            wanted.iter().for_each(|&watch| machine.add_watch(watch));
            self.watches = wanted;
        }
    }

    fn set_stops(&mut self, machine: &mut Machine) {
        let wanted = self.faults.as_ref().map(FaultTrace::stops).unwrap_or_default();
        self.stops.difference(&wanted).for_each(|&addr| machine.remove_breakpoint(LinearAddr(addr)));
        wanted.difference(&self.stops).for_each(|&addr| machine.add_breakpoint(LinearAddr(addr)));
        self.stops = wanted;
    }

    fn print(&mut self, machine: &mut Machine) -> Result<(), Error> {
        let mut told = self.exec.as_mut().map(ExecTrace::take).unwrap_or_default();
        told.extend(self.events.as_mut().map(EventTrace::take).unwrap_or_default());
        told.extend(self.faults.as_mut().map(FaultTrace::take).unwrap_or_default());
        if let Some(facts) = &mut self.facts {
            told.extend(facts.take(machine, &self.known));
        }
        self.out.write(told)
    }
}
