//! How gdb lets the machine run.

use std::convert::Infallible;
use std::ops::Range;

use gdbstub::common::{Signal, Tid};
use gdbstub::target::ext::base::multithread::{
    MultiThreadRangeStepping, MultiThreadRangeSteppingOps, MultiThreadResume, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};

use super::detour::Detour;
use super::{Stub, cpu_of};

/// How far the machine goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Plan {
    /// Until something stops it.
    #[default]
    Continue,
    /// One instruction of a CPU.
    Step {
        /// Which CPU.
        cpu: usize,
    },
    /// Instruction by instruction, as long as a CPU is in a range of EIP.
    Range {
        /// Which CPU.
        cpu: usize,
        /// The range.
        range: Range<u32>,
    },
}

/// A run as gdb asked for it, and how far it has come.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// How far.
    pub plan: Plan,
    /// The instruction at which the machine rests may have a breakpoint: it was reported.
    pub pass_breakpoint: bool,
    /// The step left its context, and this is the way back.
    pub detour: Option<Detour>,
}

impl MultiThreadResume for Stub<'_> {
    fn resume(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Infallible> {
        self.end_detour();
        self.mark_syscalls();
        self.resume = Resume { pass_breakpoint: true, ..Resume::default() };
        Ok(())
    }

    /// Signals have no meaning for a CPU.
    fn set_resume_action_continue(&mut self, _tid: Tid, _signal: Option<Signal>) -> Result<(), Infallible> {
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<MultiThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Stub<'_> {
    fn set_resume_action_step(&mut self, tid: Tid, _signal: Option<Signal>) -> Result<(), Infallible> {
        if let Some(cpu) = cpu_of(tid, self.machine.cpu_count()) {
            self.resume.plan = Plan::Step { cpu };
        }
        Ok(())
    }
}

impl MultiThreadRangeStepping for Stub<'_> {
    fn set_resume_action_range_step(&mut self, tid: Tid, start: u32, end: u32) -> Result<(), Infallible> {
        if let Some(cpu) = cpu_of(tid, self.machine.cpu_count()) {
            self.resume.plan = Plan::Range { cpu, range: start..end };
        }
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Stub<'_> {
    /// Whose turn it is belongs to the machine, so that what gdb sees is what happens without it: the others
    /// take their turns whatever gdb locks.
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
