//! What is known of a machine over several looks: the last one, rates since the one before, events.

use std::{collections::HashMap, time::Instant};

use super::{
    events::Log,
    look::{Look, Process, printable},
    sort::Order,
};
use crate::lens::control::{State, Status};

/// A machine as the view shows it.
pub struct Model {
    /// What it is called.
    pub name: String,
    /// How it is; `None` of a saved one.
    pub status: Option<Status>,
    /// The last look.
    pub look: Look,
    /// What the reader must know of how it was found.
    pub note: Option<String>,
    /// Per CPU, over the last interval.
    pub speeds: Vec<Speed>,
    /// In what order the processes stand.
    pub order: Order,
    /// What happened.
    pub log: Log,
    /// Processes in that order, with what each used of a CPU over the last interval.
    pub processes: Vec<Row>,
    before: Option<Before>,
}

/// A process and its share.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// As the lens has it.
    pub process: Process,
    /// Hundredths of a CPU over the last interval of the guest's time; `None` without one.
    pub share: Option<f64>,
}

/// What a CPU did over the last interval; `None` where there was none, or where it did nothing.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Speed {
    /// Millions of instructions in a second of the host's time.
    pub mips: Option<f64>,
    /// TLB misses in 1,000 instructions.
    pub misses: Option<f64>,
}

/// What is kept of the look before.
struct Before {
    at: Instant,
    virtual_ns: u64,
    retired: Vec<u64>,
    misses: Vec<u64>,
    times: HashMap<(u32, u64), u64>,
}

/// Misses in 1,000 instructions; `None` without instructions.
pub fn per_thousand(misses: u64, instructions: u64) -> Option<f64> {
    (instructions != 0).then(|| misses as f64 * 1000.0 / instructions as f64)
}

impl Model {
    /// A machine that was never looked at.
    pub fn new(name: &str) -> Self {
        Model {
            name: printable(name),
            status: None,
            look: Look::default(),
            note: None,
            speeds: Vec::new(),
            order: Order::default(),
            log: Log::default(),
            processes: Vec::new(),
            before: None,
        }
    }

    /// From when on the next look is to tell of events.
    pub fn since_ns(&self) -> u64 {
        self.log.since_ns()
    }

    /// Takes a look in that was taken at `at` of the host's time.
    pub fn take(&mut self, look: Look, note: Option<String>, status: Option<Status>, at: Instant) {
        let virtual_ns = look.counter("virtual_ns");
        let before = self.before.take().filter(|before| before.virtual_ns <= virtual_ns);
        self.speeds = speeds(&look, before.as_ref(), at);
        let elapsed_ns = before.as_ref().map(|before| virtual_ns - before.virtual_ns).filter(|&ns| ns != 0);
        let share = |process: &Process| {
            let used = used_ns(process);
            let start = before.as_ref()?.times.get(&key(process)).copied().unwrap_or(0);
            Some(used.saturating_sub(start) as f64 * 100.0 / elapsed_ns? as f64)
        };
        let processes = look.processes.as_deref().unwrap_or_default();
        self.processes =
            processes.iter().map(|process| Row { process: process.clone(), share: share(process) }).collect();
        self.order.sort(&mut self.processes);
        let seen_ns = status.as_ref().map_or(virtual_ns, |status| status.virtual_ns);
        self.log.take(&look, before.is_some(), seen_ns);
        self.before = Some(Before {
            at,
            virtual_ns,
            retired: look.cpus.iter().map(|cpu| cpu.retired).collect(),
            misses: look.cpus.iter().map(|cpu| cpu.tlb_misses).collect(),
            times: processes.iter().map(|process| (key(process), used_ns(process))).collect(),
        });
        (self.look, self.note, self.status) = (look, note, status);
    }

    /// Sorts the processes another way.
    pub fn sort(&mut self, order: Order) {
        self.order = order;
        self.order.sort(&mut self.processes);
    }

    /// In one word how the machine is.
    pub fn state(&self) -> &'static str {
        match self.status.as_ref().map(|status| status.state) {
            None => "saved",
            Some(State::Running) => "running",
            Some(State::Paused) => "paused",
            Some(State::Stepping) => "stepping",
            Some(State::Debugged) => "under gdb",
        }
    }

    /// What all CPUs together do, in millions of instructions in a second of the host's time.
    pub fn mips(&self) -> Option<f64> {
        self.speeds.iter().map(|speed| speed.mips).sum::<Option<f64>>().filter(|_| !self.speeds.is_empty())
    }
}

/// Who it is: a number can come again.
fn key(process: &Process) -> (u32, u64) {
    (process.pid, process.start_time_ns)
}

fn used_ns(process: &Process) -> u64 {
    process.utime_ns.saturating_add(process.stime_ns)
}

fn speeds(look: &Look, before: Option<&Before>, at: Instant) -> Vec<Speed> {
    let one = |number: usize| {
        let (before, cpu) = (before?, &look.cpus[number]);
        let did = cpu.retired.checked_sub(*before.retired.get(number)?)?;
        let misses = cpu.tlb_misses.checked_sub(*before.misses.get(number)?)?;
        let seconds = at.saturating_duration_since(before.at).as_secs_f64();
        let mips = (seconds > 0.0).then(|| did as f64 / seconds / 1e6);
        Some(Speed { mips, misses: per_thousand(misses, did) })
    };
    (0..look.cpus.len()).map(|number| one(number).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::top::look::Cpu;

    fn look(virtual_ns: u64, retired: u64, misses: u64, used: &[(u32, u64)]) -> Look {
        let process = |&(pid, utime_ns): &(u32, u64)| Process { pid, utime_ns, ..Process::default() };
        Look {
            stats: [("virtual_ns".to_owned(), virtual_ns)].into(),
            cpus: vec![Cpu { retired, tlb_misses: misses, ..Cpu::default() }],
            processes: Some(used.iter().map(process).collect()),
            ..Look::default()
        }
    }

    #[test]
    fn rates_are_those_of_the_last_interval_and_the_first_look_has_none() {
        let (mut model, start) = (Model::new("m"), Instant::now());
        model.take(look(1_000, 1_000, 50, &[(1, 500)]), None, None, start);
        assert_eq!((model.speeds[0], model.processes[0].share), (Speed::default(), None));
        let later = start + Duration::from_secs(2);
        model.take(look(5_001_000, 4_001_000, 1_050, &[(1, 2_500_500), (2, 0)]), None, None, later);
        assert_eq!(model.speeds[0], Speed { mips: Some(2.0), misses: Some(0.25) });
        assert_eq!(model.processes.iter().map(|row| row.share).collect::<Vec<_>>(), [Some(50.0), Some(0.0)]);
        // It stands still.
        model.take(look(5_001_000, 4_001_000, 1_050, &[(1, 2_500_500)]), None, None, later + Duration::from_secs(1));
        assert_eq!(model.speeds[0], Speed { mips: Some(0.0), misses: None });
        assert_eq!(model.processes[0].share, None);
    }

    #[test]
    fn another_machine_in_its_place_begins_anew() {
        let (mut model, start) = (Model::new("m"), Instant::now());
        model.take(look(9_000, 9_000, 50, &[(1, 500)]), None, None, start);
        model.take(look(1_000, 1_000, 1, &[(1, 5)]), None, None, start + Duration::from_secs(1));
        assert_eq!((model.speeds[0], model.processes[0].share), (Speed::default(), None));
        assert_eq!(per_thousand(5, 0), None);
    }
}
