//! The run loop: between two looks at the chips the engine runs for exactly as many
//! instructions as there is time until the next deadline.

#[cfg(test)]
mod tests;

use cpu::{Activity, Exit, RunRequest};
use devices::Outlet;
use x86::Eflags;

use crate::{
    Host, InputEvent, Machine,
    board::BoardView,
    bus::MachineBus,
    stop::{IdleReason, Stop},
};

/// The host is asked at least so often whether it wants something. Where an entry ends
/// changes nothing in the machine.
const SLICE: u64 = 1 << 20;

/// How far a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RunLimit {
    /// Stop when this many instructions are retired, counted from power-on.
    pub retired: Option<u64>,
    /// Do not stop at a breakpoint on the first instruction.
    pub pass_breakpoint: bool,
}

impl Machine {
    /// Runs until something stops the machine.
    pub fn run(&mut self, limit: RunLimit, host: &mut dyn Host) -> Stop {
        let stop = self.run_on(limit, host);
        self.hand_out_output(host);
        stop
    }

    /// Runs one instruction, or the delivery of one interrupt, however long the CPU rests
    /// before it. [`Stop::Limit`] says that it is done.
    pub fn step(&mut self, host: &mut dyn Host) -> Stop {
        let limit = RunLimit { retired: Some(self.retired() + 1), pass_breakpoint: true };
        self.run(limit, host)
    }

    fn run_on(&mut self, limit: RunLimit, host: &mut dyn Host) -> Stop {
        let mut pass_breakpoint = limit.pass_breakpoint;
        loop {
            self.hand_out_output(host);
            if let Some(stop) = self.take_signals() {
                return stop;
            }
            if self.cpu.state.activity == Activity::Shutdown {
                return Stop::Idle(IdleReason::Shutdown);
            }
            if limit.retired.is_some_and(|retired| self.retired() >= retired) {
                return Stop::Limit;
            }
            if host.interrupted() || !self.take_input(host) {
                return Stop::Interrupted;
            }
            self.wake_chips();
            let exit = self.enter(limit, pass_breakpoint);
            pass_breakpoint = false;
            match exit {
                Exit::Budget | Exit::Bus => {}
                Exit::Halted => {
                    if let Some(reason) = self.rest(host) {
                        return Stop::Idle(reason);
                    }
                }
                Exit::Breakpoint { addr } => return Stop::Breakpoint { addr },
                Exit::Watchpoint { addr, kind } => return Stop::Watchpoint { addr, kind },
                Exit::TripleFault { first } => return Stop::TripleFault { first },
            }
        }
    }

    /// One entry into the engine, until the next deadline at most.
    fn enter(&mut self, limit: RunLimit, pass_breakpoint: bool) -> Exit {
        let deadline = self.chipset.deadline_ns().unwrap_or(u64::MAX);
        let to_deadline = deadline.saturating_sub(self.now_ns).max(1);
        let to_limit = limit.retired.map_or(u64::MAX, |retired| retired - self.retired());
        let budget = to_deadline.min(to_limit).min(SLICE);
        let before = self.retired();
        let mut bus = MachineBus {
            chipset: &mut self.chipset,
            disks: &mut self.disks,
            signals: &mut self.signals,
            ports: &self.ports,
            config: &self.config,
            stats: &mut self.stats,
            scheduled_ns: deadline,
        };
        bus.stats.entries += 1;
        let request = RunRequest { budget, now: self.now_ns, pass_breakpoint };
        let exit = self.engine.run(&mut self.cpu, &mut self.mem, &mut bus, request);
        let ran = self.retired() - before;
        assert!(ran <= budget, "the engine ran {ran} instructions of {budget}");
        self.now_ns += ran;
        exit
    }

    /// The CPU is halted: time jumps to the next deadline, or the machine has come to its end.
    fn rest(&mut self, host: &mut dyn Host) -> Option<IdleReason> {
        if self.signals.pressing() || self.chipset.pic.intr() && self.interruptible() {
            return None;
        }
        if !self.interruptible() {
            return Some(IdleReason::InterruptsOff);
        }
        let deadline = self.chipset.deadline_ns().filter(|_| self.chipset.may_wake());
        if deadline.is_none() && !self.chipset.input_may_wake(&self.config) {
            return Some(IdleReason::NothingToCome);
        }
        // Whoever waits for the guest's answer must see it first.
        self.hand_out_output(host);
        let Some(until) = host.idle(self.now_ns, deadline) else { return Some(IdleReason::NothingToCome) };
        let until = deadline.map_or(until, |deadline| until.min(deadline)).max(self.now_ns);
        self.stats.skipped_ns += until - self.now_ns;
        self.now_ns = until;
        None
    }

    fn interruptible(&self) -> bool {
        self.cpu.state.eflags.contains(Eflags::IF) || self.cpu.state.nmi_pending
    }

    fn take_signals(&mut self) -> Option<Stop> {
        // The end of the machine wins over its beginning anew.
        let reset = self.signals.reset.take();
        match self.signals.power_off.take() {
            Some(status) => Some(Stop::PowerOff { status }),
            None => reset.map(|cause| Stop::Reset { cause }),
        }
    }

    /// Delivers what came in by itself and fetches what the guest asks for; `false` if the host
    /// has none now.
    fn take_input(&mut self, host: &mut dyn Host) -> bool {
        while let Some(event) = host.poll_input() {
            self.push_input(event);
        }
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
        while let Some(stamped) = self.input.pop() {
            log::trace!("input {} at {} ns", stamped.sequence, stamped.now_ns);
            let mut board = BoardView { now_ns: self.now_ns, signals: &mut self.signals };
            self.chipset.deliver(stamped.event, &mut board);
        }
    }

    fn wake_chips(&mut self) {
        self.chipset.wake(&mut BoardView { now_ns: self.now_ns, signals: &mut self.signals });
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
