//! Running the machine a slice at a time, and what is worth a stop.

use std::mem;

use cpu::WatchKind;
use gdbstub::common::Signal;
use gdbstub::stub::MultiThreadStopReason;
use machine::{RunLimit, Stop};
use x86::LinearAddr;

use super::detour::Detour;
use super::resume::Plan;
use super::{Stub, USER_END, breakpoints, tid};
use crate::server::Verdict;

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
    /// A place that only the way back from a detour wanted, or a breakpoint of another process.
    PassOn,
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

    fn stepped(&self, cpu: usize) -> Event {
        Event::Stopped(match self.wants_stop_here(cpu) {
            true => self.breakpoint_reason(cpu),
            false => MultiThreadStopReason::SignalWithThread { tid: tid(cpu), signal: STEPPED },
        })
    }

    /// One instruction, or the beginning of a detour. `None` if the CPU rests and had none to do for a slice of
    /// the others' instructions.
    fn step_once(&mut self, cpu: usize) -> Option<Event> {
        self.resume.pass_breakpoint = false;
        let before = self.machine.cpu(cpu).clone();
        let limit = RunLimit { retired: Some(self.slice_end()), pass_breakpoint: true };
        let stop = self.machine.step_cpu(cpu, limit, self.keeper.host());
        Some(match self.meaning(stop) {
            Meaning::Event(event) => event,
            // Interrupted before it could: once more.
            Meaning::PassOn | Meaning::Back => {
                self.resume.pass_breakpoint = true;
                Event::None
            }
            Meaning::Done if self.machine.cpu(cpu).retired == before.retired => return None,
            Meaning::Done => {
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
        let stop = self.machine.run(limit, self.keeper.host());
        match self.meaning(stop) {
            Meaning::Event(event) => {
                if !matches!(event, Event::None) {
                    self.end_detour();
                }
                event
            }
            Meaning::Done => Event::None,
            Meaning::PassOn => {
                self.resume.pass_breakpoint = true;
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
        match &self.resume.plan {
            Plan::Range { range, .. } if range.contains(&eip) && !self.wants_stop_here(cpu) => {
                self.resume.pass_breakpoint = true;
                Event::None
            }
            _ => self.stepped(cpu),
        }
    }

    fn meaning(&mut self, stop: Stop) -> Meaning {
        let cpu = self.machine.current_cpu();
        match stop {
            Stop::Limit if self.keeper.limit().is_none_or(|limit| self.machine.retired() < limit) => Meaning::Done,
            Stop::Breakpoint { .. } => {
                let is_back = |detour: Detour| detour.cpu == cpu && detour.is_over(self.machine.cpu(cpu));
                let back = self.resume.detour.is_some_and(is_back);
                match () {
                    _ if back => Meaning::Back,
                    _ if self.wants_stop_here(cpu) => Meaning::Event(Event::Stopped(self.breakpoint_reason(cpu))),
                    _ => {
                        self.syscall_stop(cpu).map_or(Meaning::PassOn, |reason| Meaning::Event(Event::Stopped(reason)))
                    }
                }
            }
            Stop::Watchpoint { addr, kind } => match self.is_ours(cpu, addr.0) {
                true => Meaning::Event(Event::Stopped(self.watch_reason(cpu, addr, kind))),
                false => Meaning::PassOn,
            },
            other => match self.keeper.stopped(self.machine, other) {
                Verdict::GoOn => Meaning::PassOn,
                Verdict::End(status) => Meaning::Event(Event::Ended(status)),
            },
        }
    }

    /// Whether something that gdb set wants a stop at the instruction that comes next.
    fn wants_stop_here(&self, cpu: usize) -> bool {
        let state = self.machine.cpu(cpu);
        let Some(wishes) = self.breakpoints.get(&state.pc()) else { return false };
        let of_gdb = (wishes.software > 0 || wishes.hardware > 0) && (state.cpl < 3 || self.is_ours(cpu, state.pc()));
        let of_monitor = wishes.monitor.is_some_and(|condition| {
            let same = |wanted: Option<u32>, is: u32| wanted.is_none_or(|wanted| wanted == is);
            same(condition.cr3.map(|cr3| cr3 & !0xfff), state.cr3 & !0xfff)
                && same(condition.ring.map(u32::from), state.cpl.into())
                && condition.cpu.is_none_or(|wanted| wanted == cpu)
                && condition.pid.is_none_or(|pid| self.process_on(cpu).is_some_and(|(current, _)| current == pid))
        });
        of_gdb || of_monitor
    }

    /// Whether a user-space address belongs to the program that is debugged: static programs
    /// all link at the same addresses.
    pub(super) fn is_ours(&self, cpu: usize, addr: u32) -> bool {
        let Some(program) = self.setup.program.as_ref().filter(|_| !self.view.break_any) else { return true };
        addr >= USER_END || self.process_on(cpu).is_some_and(|(_, path)| path == *program)
    }

    fn breakpoint_reason(&self, cpu: usize) -> MultiThreadStopReason<u32> {
        let wishes = self.breakpoints.get(&self.machine.cpu(cpu).pc());
        let (software, hardware) = wishes.map_or((0, 0), |wishes| (wishes.software, wishes.hardware));
        match () {
            _ if software > 0 => MultiThreadStopReason::SwBreak(tid(cpu)),
            _ if hardware > 0 => MultiThreadStopReason::HwBreak(tid(cpu)),
            _ => MultiThreadStopReason::SignalWithThread { tid: tid(cpu), signal: STEPPED },
        }
    }

    /// gdb knows its watchpoints by their first byte and kind, the engine reports the byte touched.
    fn watch_reason(&self, cpu: usize, touched: LinearAddr, kind: WatchKind) -> MultiThreadStopReason<u32> {
        let covers =
            |&&(addr, len, known): &&(u32, u32, WatchKind)| known == kind && touched.0.wrapping_sub(addr) < len;
        let addr = self.watchpoints.iter().find(covers).map_or(touched.0, |row| row.0);
        MultiThreadStopReason::Watch { tid: tid(cpu), kind: breakpoints::gdb_kind(kind), addr }
    }
}
