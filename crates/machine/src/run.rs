//! The run loop: between two looks at the chips the engine runs for exactly as many
//! instructions as there is time until the next deadline.

#[cfg(test)]
mod tests;

use cpu::{Activity, CpuState, Exit, Gpr, Occurrence, RunRequest};
use devices::{CpuSignal, Outlet};
use x86::{Eflags, LinearAddr};

use crate::{
    Host, InputEvent, Machine, Notice,
    board::BoardView,
    bus::MachineBus,
    stop::{IdleReason, Stop},
};

/// The host is asked at least so often whether it wants something. Where an entry ends
/// changes nothing in the machine.
const SLICE: u64 = 1 << 20;

/// The host is asked at most so often, unless there is something that it may wait for. Asking it takes
/// as long as some hundred instructions, and entries of CPUs that send each other messages are short.
const ASK_EVERY_NS: u64 = 1 << 14;

/// How far a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RunLimit {
    /// Stop when this many instructions are retired, counted from power-on.
    pub retired: Option<u64>,
    /// Do not stop at a breakpoint on the first instruction.
    pub pass_breakpoint: bool,
}

/// How far a run goes, with what only this crate can ask for.
#[derive(Clone, Copy)]
struct Goal {
    limit: RunLimit,
    /// Stop when this CPU has retired so many instructions.
    of_cpu: Option<(usize, u64)>,
}

/// Decides which of the stops that were asked for are worth one: breakpoints, watchpoints and events. It is asked
/// within the run, while the machine is between two instructions, and can only look.
pub trait Judge {
    /// Whether the machine is to stop. If not, it goes on as if nothing had been asked for.
    fn stops(&mut self, machine: &Machine, stop: &Stop) -> bool;
}

/// Whoever asked for a stop wants it.
struct Always;

impl Judge for Always {
    fn stops(&mut self, _: &Machine, _: &Stop) -> bool {
        true
    }
}

impl Machine {
    /// Runs until something stops the machine.
    pub fn run(&mut self, limit: RunLimit, host: &mut dyn Host) -> Stop {
        self.run_judged(limit, host, &mut Always)
    }

    /// As [`Machine::run`]; `judge` decides of what was asked for.
    pub fn run_judged(&mut self, limit: RunLimit, host: &mut dyn Host, judge: &mut dyn Judge) -> Stop {
        self.run_to(Goal { limit, of_cpu: None }, host, judge)
    }

    /// Runs one instruction, or the delivery of one interrupt, of whatever CPU is next, however long all of
    /// them rest before it. [`Stop::Limit`] says that it is done.
    pub fn step(&mut self, host: &mut dyn Host) -> Stop {
        let limit = RunLimit { retired: Some(self.retired() + 1), pass_breakpoint: true };
        self.run(limit, host)
    }

    /// Runs until CPU `number` has done one instruction, or the delivery of one interrupt; the others take
    /// their turns meanwhile. [`Stop::Limit`] says that it is done, or that all CPUs have retired as many as
    /// `limit` says.
    pub fn step_cpu(&mut self, number: usize, limit: RunLimit, host: &mut dyn Host) -> Stop {
        self.step_cpu_judged(number, limit, host, &mut Always)
    }

    /// As [`Machine::step_cpu`]; `judge` decides of what was asked for.
    pub fn step_cpu_judged(
        &mut self,
        number: usize,
        limit: RunLimit,
        host: &mut dyn Host,
        judge: &mut dyn Judge,
    ) -> Stop {
        let of_cpu = Some((number, self.cpus[number].state.retired + 1));
        self.run_to(Goal { limit, of_cpu }, host, judge)
    }

    fn run_to(&mut self, goal: Goal, host: &mut dyn Host, judge: &mut dyn Judge) -> Stop {
        let stop = self.run_on(goal, host, judge);
        self.hand_out_output(host);
        // What was left as it is between deadlines is brought up to now before anybody looks.
        self.chips_due_ns = 0;
        self.settle();
        stop
    }

    fn run_on(&mut self, goal: Goal, host: &mut dyn Host, judge: &mut dyn Judge) -> Stop {
        let mut is_first = true;
        let mut judged = None;
        let mut ask_at_ns = 0;
        self.chips_due_ns = 0;
        self.settle();
        loop {
            let is_heard = !self.signals.output.is_empty();
            self.hand_out_output(host);
            if let Some(stop) = self.take_signals() {
                return stop;
            }
            if self.cpus.iter().any(|cpu| cpu.state.activity == Activity::Shutdown) {
                return Stop::Idle(IdleReason::Shutdown);
            }
            if self.has_reached(goal) {
                return Stop::Limit;
            }
            if self.engine.coherence().is_some_and(|it| it.has_findings()) {
                return Stop::Interrupted;
            }
            if is_heard || self.now_ns >= ask_at_ns {
                ask_at_ns = self.now_ns + ASK_EVERY_NS;
                if host.interrupted() {
                    return Stop::Interrupted;
                }
                self.take_input(host);
            }
            if !self.take_demanded(host) {
                return Stop::Interrupted;
            }
            if self.schedule.is_over() {
                if let Some(reason) = self.rest(host) {
                    return Stop::Idle(reason);
                }
                ask_at_ns = 0;
                continue;
            }
            let place = self.place(self.schedule.current());
            let pass_breakpoint = judged == Some(place) || goal.limit.pass_breakpoint && self.is_known(goal, is_first);
            is_first = false;
            if pass_breakpoint {
                self.passes(LinearAddr(self.cpus[place.0].state.pc()), host);
            }
            let exit = self.enter(goal, pass_breakpoint);
            if self.cpus[self.entered].faults.take_double() {
                host.noticed(self, Notice::DoubleFault { cpu: self.entered });
            }
            let place = self.place(self.entered);
            match exit {
                Exit::Budget | Exit::Bus | Exit::Halted | Exit::Paused | Exit::Switched => {}
                Exit::Breakpoint { addr } => {
                    self.passes(addr, host);
                    let stop = Stop::Breakpoint { addr };
                    if self.breakpoints.contains(&addr) && judge.stops(self, &stop) {
                        self.before = Some(place);
                        return stop;
                    }
                    judged = Some(place);
                }
                Exit::Watchpoint { watch, addr } => {
                    let stop = Stop::Watchpoint { watch, addr };
                    if judge.stops(self, &stop) {
                        return stop;
                    }
                }
                Exit::Caught(occurrence) => {
                    let is_before = comes_before(occurrence);
                    if is_before {
                        self.before_event = Some(place);
                    }
                    let stop = Stop::Caught(occurrence);
                    if judge.stops(self, &stop) {
                        self.before = Some(place);
                        return stop;
                    }
                    // What comes after one instruction says nothing of the next, which may have a breakpoint.
                    if is_before {
                        (self.before, judged) = (Some(place), Some(place));
                    }
                }
                Exit::TripleFault { first } => return Stop::TripleFault { first },
            }
        }
    }

    /// The CPU whose turn it is stands before this instruction, which may have to be noted, and the host told.
    fn passes(&mut self, addr: LinearAddr, host: &mut dyn Host) {
        let now = (self.now_ns, addr);
        if self.told.contains(&addr) && self.told_last != Some(now) {
            self.told_last = Some(now);
            self.entered = self.schedule.current();
            host.noticed(self, Notice::Place(addr));
        }
        if self.timeline.noted_since(addr.0).is_some() {
            let number = self.schedule.current();
            let registers = [Gpr::Eax, Gpr::Ecx, Gpr::Edx].map(|gpr| self.cpus[number].state.gpr(gpr));
            self.timeline.passes(self.now_ns, number, addr.0, registers);
        }
    }

    /// A CPU and how far it has come.
    fn place(&self, number: usize) -> (usize, u64) {
        (number, self.cpus[number].state.retired)
    }

    /// Whether whoever lets the machine run knows that the CPU whose turn it is rests before its instruction: it
    /// is the first to run, the machine stopped there, or it is to be stepped.
    fn is_known(&self, goal: Goal, is_first: bool) -> bool {
        let (number, retired) = self.place(self.schedule.current());
        let is_stepped = goal.of_cpu == Some((number, retired + 1));
        is_first && goal.of_cpu.is_none() || is_stepped || self.before == Some((number, retired))
    }

    fn has_reached(&self, goal: Goal) -> bool {
        goal.limit.retired.is_some_and(|retired| self.retired() >= retired)
            || goal.of_cpu.is_some_and(|(cpu, retired)| self.cpus[cpu].state.retired >= retired)
    }

    /// One entry into the engine, until the next deadline or the end of the turn at most.
    fn enter(&mut self, goal: Goal, pass_breakpoint: bool) -> Exit {
        let number = self.schedule.current();
        self.entered = number;
        let deadline = self.chipset.apics.deadline_ns().map_or(self.chips_due_ns, |at| at.min(self.chips_due_ns));
        let to_deadline = deadline.saturating_sub(self.now_ns).max(1);
        let to_limit = goal.limit.retired.map_or(u64::MAX, |retired| retired - self.retired());
        let before = self.cpus[number].state.retired;
        let of_cpu = goal.of_cpu.filter(|&(cpu, _)| cpu == number);
        let to_goal = of_cpu.map_or(u64::MAX, |(_, retired)| retired - before);
        let budget = to_deadline.min(to_limit).min(to_goal).min(self.schedule.instructions()).min(SLICE);
        let mut bus = MachineBus {
            cpu: number,
            intr: self.chipset.apics.intr(number),
            chipset: &mut self.chipset,
            disks: &mut self.disks,
            signals: &mut self.signals,
            ports: &self.ports,
            config: &self.config,
            stats: &mut self.stats,
            timeline: &mut self.timeline,
            scheduled_ns: deadline,
            stirred: false,
        };
        bus.stats.entries += 1;
        let pauses = self.schedule.pauses();
        let pass_event = self.before_event == Some((number, before));
        let switch = self.schedule.switch();
        let now = self.now_ns;
        let request = RunRequest { budget, now, pass_breakpoint, pass_event, cpu: number, pauses, switch };
        let cpu = &mut self.cpus[number];
        let exit = self.engine.run(cpu, &mut self.mem, &mut bus, request);
        if bus.stirred {
            self.chips_due_ns = 0;
        }
        let ran = cpu.state.retired - before;
        assert!(ran <= budget, "the engine ran {ran} instructions of {budget}");
        self.now_ns += ran;
        self.schedule.ran(ran, cpu.pauses_left());
        if cpu.has_switched() {
            self.schedule.switched(cpu.state.eflags.contains(Eflags::IF));
        }
        if exit == Exit::Halted {
            self.schedule.end();
        } else if cpu.state.cpl == 3 {
            self.schedule.goes_on_in_user_mode();
        }
        self.settle();
        exit
    }

    /// Brings everything up to now: chips, what is on the interrupt bus, whose turn it is. Whenever the
    /// machine rests it is settled, so that no stop shows in its state.
    fn settle(&mut self) {
        for (number, cpu) in self.cpus.iter().enumerate() {
            self.chipset.apics.follow(number, cpu.state.msr.apic_base);
        }
        let board = &mut BoardView { now_ns: self.now_ns, signals: &mut self.signals };
        if self.chips_due_ns <= self.now_ns {
            self.chipset.wake(board);
            self.chips_due_ns = self.chipset.chips_deadline_ns().unwrap_or(u64::MAX);
        } else {
            self.chipset.wake_apics(board);
        }
        for (number, signal) in self.chipset.apics.take_signals() {
            self.drive_pin(number, signal);
        }
        if !self.is_awake(self.schedule.current()) {
            self.schedule.end();
        }
        if self.schedule.is_over() {
            let (cpus, apics) = (&self.cpus, &self.chipset.apics);
            self.schedule.next(cpus.len(), |number| cpus[number].state.is_awake(apics.intr(number)));
            if !self.schedule.is_over() {
                self.stats.turns_by_cpu[self.schedule.current()] += 1;
            }
        }
    }

    /// What the interrupt bus does to a CPU beside interrupting it.
    fn drive_pin(&mut self, number: usize, signal: CpuSignal) {
        let state = &mut self.cpus[number].state;
        match signal {
            CpuSignal::Nmi => state.nmi_pending = true,
            CpuSignal::Init => {
                state.init();
                self.chipset.apics.lapics[number].init();
                self.engine.release(number);
            }
            CpuSignal::Startup { vector } => state.start_up(vector),
            // DEVIATION: there is no system management mode.
            CpuSignal::Smi => log::debug!("CPU {number}: an SMI, which it ignores"),
        }
    }

    fn is_awake(&self, number: usize) -> bool {
        self.cpus[number].state.is_awake(self.chipset.apics.intr(number))
    }

    /// No CPU has anything to do: time jumps to the next deadline, or the machine has come to its end.
    fn rest(&mut self, host: &mut dyn Host) -> Option<IdleReason> {
        if self.signals.pressing() {
            return None;
        }
        let cpus = &self.cpus;
        let listens = |number: usize| is_interruptible(&cpus[number].state);
        // An INIT or a start-up IPI on its way reaches whoever rests, and so does an NMI.
        let busy = self.chipset.apics.is_busy();
        if !busy && !(0..cpus.len()).any(listens) {
            return Some(IdleReason::InterruptsOff);
        }
        let deadline = self.chipset.deadline_ns().filter(|_| busy || self.chipset.may_wake(listens));
        if deadline.is_none() && !self.chipset.input_may_wake(&self.config, listens) {
            return Some(IdleReason::NothingToCome);
        }
        // Whoever waits for the guest's answer must see it first.
        self.hand_out_output(host);
        let Some(until) = host.idle(self.now_ns, deadline) else { return Some(IdleReason::NothingToCome) };
        let until = deadline.map_or(until, |deadline| until.min(deadline)).max(self.now_ns);
        self.stats.skipped_ns += until - self.now_ns;
        self.now_ns = until;
        self.settle();
        None
    }

    fn take_signals(&mut self) -> Option<Stop> {
        // The end of the machine wins over its beginning anew.
        let reset = self.signals.reset.take();
        match self.signals.power_off.take() {
            Some(status) => Some(Stop::PowerOff { status }),
            None => reset.map(|cause| Stop::Reset { cause }),
        }
    }

    /// Delivers what came in by itself.
    fn take_input(&mut self, host: &mut dyn Host) {
        while let Some(event) = host.poll_input() {
            self.push_input(event);
        }
    }

    /// Delivers what came in, and fetches what the guest asks for; `false` if the host has none now.
    fn take_demanded(&mut self, host: &mut dyn Host) -> bool {
        self.deliver_input();
        while let Some(port) = self.chipset.demanded_input(&self.config) {
            self.hand_out_output(host);
            let Some(event) = host.demand_input(port) else { return false };
            if matches!(&event, InputEvent::Serial { bytes, .. } if bytes.is_empty()) {
                return false;
            }
            self.push_input(event);
            self.deliver_input();
        }
        true
    }

    fn deliver_input(&mut self) {
        let mut came = false;
        while let Some(stamped) = self.input.pop() {
            log::trace!("input {} at {} ns", stamped.sequence, stamped.now_ns);
            let mut board = BoardView { now_ns: self.now_ns, signals: &mut self.signals };
            self.chipset.deliver(stamped.event, &mut board);
            came = true;
        }
        if came {
            self.chips_due_ns = 0;
            self.settle();
        }
    }

    /// Gives the host what gathered, in runs of bytes for the same outlet.
    fn hand_out_output(&mut self, host: &mut dyn Host) {
        for run in self.signals.output.chunk_by(|(a, _), (b, _)| a == b) {
            let outlet: Outlet = run[0].0;
            let bytes: Vec<u8> = run.iter().map(|&(_, byte)| byte).collect();
            host.output(outlet, &bytes);
        }
        self.signals.output.clear();
    }
}

/// Whether an event is told before its instruction.
fn comes_before(occurrence: Occurrence) -> bool {
    matches!(occurrence, Occurrence::SoftwareInterrupt { .. } | Occurrence::SystemEnter | Occurrence::Exception(_))
}

/// Whether an interrupt of some kind would end the CPU's rest.
fn is_interruptible(state: &CpuState) -> bool {
    state.activity == Activity::Halted && (state.eflags.contains(Eflags::IF) || state.nmi_pending && !state.nmi_blocked)
}
