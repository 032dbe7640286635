//! Running the machine a slice at a time, and what is worth a stop.

use std::mem;

use gdbstub::common::Signal;
use gdbstub::stub::MultiThreadStopReason;
use machine::{Machine, RunLimit, Stop};

use super::resume::Plan;
use super::stops::{Judge, Reason};
use super::{Stub, breakpoints, stops, tid};
use crate::server::{Keeper, Verdict};

/// Instructions between two looks for a packet.
const SLICE: u64 = 1 << 20;
/// Steps of a range between two looks.
const STEPS: usize = 1000;

/// What a slice came to.
#[derive(Debug)]
pub enum Event {
    /// Nothing yet: run another.
    None,
    /// A stop for gdb.
    Stopped(MultiThreadStopReason<u32>),
    /// The machine has ended, with this status.
    Ended(u8),
}

/// What a stop of the machine means here.
enum Meaning {
    Event(Event),
    /// The slice went by.
    Done,
    /// Nothing that gdb is told: it goes on.
    GoOn,
    /// The detour is over.
    Back,
}

const STEPPED: Signal = Signal::SIGTRAP;

impl Stub<'_> {
    /// Runs on as gdb asked, for a while.
    pub fn run_slice(&mut self) -> Event {
        let (cpu, range) = match self.resume.plan.clone() {
            Plan::Continue => return self.run_on(),
            Plan::Step { cpu } => (cpu, None),
            Plan::Range { cpu, range } => (cpu, Some(range)),
        };
        for _ in 0..STEPS {
            let event = match self.resume.detour {
                Some(_) => self.run_on(),
                None => match self.step_once(cpu) {
                    Some(event) => event,
                    None => return Event::None,
                },
            };
            if !matches!(event, Event::None) || self.resume.detour.is_some() {
                return event;
            }
            if self.resume.pass_breakpoint {
                // Back from a detour with the instruction still to do.
                continue;
            }
            let eip = self.machine.cpu(cpu).eip;
            if !range.as_ref().is_some_and(|range| range.contains(&eip)) || self.wants_stop_here(cpu) {
                return self.stepped(cpu);
            }
        }
        Event::None
    }

    fn stepped(&mut self, cpu: usize) -> Event {
        let (machine, _, mut judge) = self.parts();
        let reason = judge.at_instruction(machine, cpu).filter(|reason| *reason != Reason::Mark);
        Event::Stopped(reason_for_gdb(cpu, reason.unwrap_or(Reason::Told)))
    }

    /// One instruction, or the beginning of a detour. `None` if the CPU rests and had none to do for a slice of
    /// the others' instructions.
    fn step_once(&mut self, cpu: usize) -> Option<Event> {
        self.resume.pass_breakpoint = false;
        let before = self.machine.cpu(cpu).clone();
        let limit = RunLimit { retired: Some(self.slice_end()), pass_breakpoint: true };
        let (machine, keeper, mut judge) = self.parts();
        let stop = machine.step_cpu_judged(cpu, limit, keeper.host(), &mut judge);
        let is_done = self.machine.cpu(cpu).retired != before.retired;
        Some(match self.meaning(stop) {
            Meaning::Event(event) => event,
            // Interrupted before it could: once more.
            Meaning::GoOn | Meaning::Back if !is_done => {
                self.resume.pass_breakpoint = true;
                Event::None
            }
            Meaning::Done if !is_done => return None,
            Meaning::Done | Meaning::GoOn | Meaning::Back => {
                if let Some(detour) = self.detour_taken(cpu, &before) {
                    self.begin_detour(detour);
                }
                Event::None
            }
        })
    }

    /// The count of instructions at which to look for a packet.
    fn slice_end(&self) -> u64 {
        let slice = self.machine.retired() + SLICE;
        self.keeper.limit().map_or(slice, |limit| slice.min(limit))
    }

    /// A slice without steps.
    fn run_on(&mut self) -> Event {
        let pass_breakpoint = mem::take(&mut self.resume.pass_breakpoint);
        let limit = RunLimit { retired: Some(self.slice_end()), pass_breakpoint };
        let before = self.machine.retired();
        let (machine, keeper, mut judge) = self.parts();
        let stop = machine.run_judged(limit, keeper.host(), &mut judge);
        match self.meaning(stop) {
            Meaning::Event(event) => {
                if !matches!(event, Event::None) {
                    self.end_detour();
                }
                event
            }
            Meaning::Done => Event::None,
            Meaning::GoOn => {
                // Interrupted before it could run: the breakpoint is still to be passed.
                self.resume.pass_breakpoint |= pass_breakpoint && self.machine.retired() == before;
                Event::None
            }
            Meaning::Back => {
                let detour = self.resume.detour;
                self.end_detour();
                match detour {
                    Some(detour) if detour.step_again => {
                        self.resume.pass_breakpoint = true;
                        Event::None
                    }
                    Some(detour) => self.arrived(detour.cpu),
                    None => Event::None,
                }
            }
        }
    }

    /// Back from a system call: the step is done, unless it goes on in its range.
    fn arrived(&mut self, cpu: usize) -> Event {
        let eip = self.machine.cpu(cpu).eip;
        let is_within = matches!(&self.resume.plan, Plan::Range { range, .. } if range.contains(&eip));
        match is_within && !self.wants_stop_here(cpu) {
            true => {
                self.resume.pass_breakpoint = true;
                Event::None
            }
            false => self.stepped(cpu),
        }
    }

    fn meaning(&mut self, stop: Stop) -> Meaning {
        let cpu = self.machine.current_cpu();
        match stop {
            Stop::Limit if self.keeper.limit().is_none_or(|limit| self.machine.retired() < limit) => Meaning::Done,
            Stop::Breakpoint { .. } | Stop::Watchpoint { .. } | Stop::Caught(_) => {
                self.follow_entries();
                match self.stops.take_reason() {
                    Some(Reason::Back) => Meaning::Back,
                    Some(Reason::Mark) => match self.syscall_stop(cpu) {
                        Some(reason) => Meaning::Event(Event::Stopped(reason)),
                        None => {
                            self.resume.pass_breakpoint = true;
                            Meaning::GoOn
                        }
                    },
                    Some(Reason::Follow) | None => Meaning::GoOn,
                    Some(reason) => Meaning::Event(Event::Stopped(reason_for_gdb(cpu, reason))),
                }
            }
            other => match self.keeper.stopped(self.machine, other) {
                Verdict::GoOn => Meaning::GoOn,
                Verdict::End(status) => Meaning::Event(Event::Ended(status)),
            },
        }
    }

    /// The machine, its keeper, and what its stops are judged by.
    fn parts(&mut self) -> (&mut Machine, &mut dyn Keeper, Judge<'_>) {
        let Stub { machine, keeper, setup, kernel, breakpoints, watchpoints, stops, resume, view, catch, .. } = self;
        let (detour, marks) = (resume.detour, catch.marks());
        (machine, *keeper, Judge { stops, breakpoints, watchpoints, setup, kernel, view, detour, marks })
    }

    /// Whether a user-space address belongs to the program that is debugged.
    pub(super) fn is_ours(&self, cpu: usize, addr: u32) -> bool {
        stops::is_ours(self.machine, self.kernel, self.setup, &self.view, cpu, addr)
    }

    /// Whether something that gdb set wants a stop at the instruction that comes next.
    fn wants_stop_here(&mut self, cpu: usize) -> bool {
        let (machine, _, judge) = self.parts();
        judge.would_stop(machine, cpu)
    }
}

fn reason_for_gdb(cpu: usize, reason: Reason) -> MultiThreadStopReason<u32> {
    let tid = tid(cpu);
    match reason {
        Reason::Software => MultiThreadStopReason::SwBreak(tid),
        Reason::Hardware => MultiThreadStopReason::HwBreak(tid),
        Reason::Watch(watch) => {
            MultiThreadStopReason::Watch { tid, kind: breakpoints::gdb_kind(watch.kind), addr: watch.first }
        }
        Reason::Told | Reason::Back | Reason::Arrived | Reason::Follow | Reason::Mark => {
            MultiThreadStopReason::SignalWithThread { tid, signal: STEPPED }
        }
    }
}
