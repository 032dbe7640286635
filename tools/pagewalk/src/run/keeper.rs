//! What a run does between two runs of the machine, with or without a debugger.

use inspect::{Answer, Request};
use machine::{Host, Machine, Stop};

use super::{
    check::TlbCheck,
    finish,
    host::{Surroundings, Want},
    orders::Orders,
    prepare::{Mode, cannot_start},
    sampler::Sampler,
};
use crate::{
    cli::RunArgs,
    error::{Error, status},
    lens,
};

/// How a run ended.
pub enum End {
    /// The machine came to a stop that it does not leave.
    Stopped(Stop),
    /// Somebody outside wanted it.
    Wanted(Want),
    /// gdb's `kill`.
    Killed,
}

/// Serves lenses, signals, limits and resets.
pub struct Keeper<'s> {
    pub args: &'s RunArgs,
    pub host: &'s mut Surroundings,
    pub orders: Option<&'s mut Orders>,
    pub check: Option<&'s mut TlbCheck>,
    pub sampler: Option<&'s mut Sampler>,
    /// How the run ended while gdb had the machine.
    pub end: Option<Result<End, Error>>,
}

impl Keeper<'_> {
    /// The instruction count at which the run ends.
    pub fn last_instruction(&self) -> Option<u64> {
        [self.args.max_instructions, self.args.save_at].into_iter().flatten().min()
    }

    /// The instruction count at which there is something to do.
    pub fn limit(&self) -> Option<u64> {
        let goal = self.orders.as_ref().and_then(|orders| orders.goal());
        let sample = self.sampler.as_ref().map(|sampler| sampler.due());
        [self.last_instruction(), goal, sample].into_iter().flatten().min()
    }

    /// Does what a stop asks for; the end of the run if it is one.
    pub fn attend(&mut self, machine: &mut Machine, stop: Stop) -> Result<Option<End>, Error> {
        if let Some(check) = &mut self.check {
            check.tell(machine);
        }
        match stop {
            Stop::Interrupted => Ok(self.look_around(machine)),
            Stop::Limit if self.last_instruction().is_none_or(|last| machine.retired() < last) => {
                Ok(self.do_what_is_due(machine))
            }
            Stop::Reset { cause } if !self.args.machine.no_reboot && self.host.mode() == Mode::Kernel => {
                crate::say(&format!("reset by {cause}: the machine starts again"));
                machine.reboot().map_err(cannot_start)?;
                Ok(None)
            }
            other => Ok(Some(End::Stopped(other))),
        }
    }

    /// The machine has come to where a sample is due, or a step is over.
    fn do_what_is_due(&mut self, machine: &mut Machine) -> Option<End> {
        if let Some(sampler) = &mut self.sampler {
            sampler.attend(machine);
        }
        let goal = self.orders.as_ref().and_then(|orders| orders.goal());
        if goal.is_none_or(|goal| machine.retired() < goal) {
            return None;
        }
        self.end_step(machine);
        self.look_around(machine)
    }

    /// Keeps the end for the run loop and tells gdb of it.
    fn verdict(&mut self, machine: &Machine, end: Result<Option<End>, Error>) -> gdb::Verdict {
        let status = match &end {
            Ok(None) => return gdb::Verdict::GoOn,
            Ok(Some(End::Stopped(stop))) => finish::status(*stop, self.args, machine),
            Ok(Some(End::Wanted(Want::Timeout))) => status::LIMIT,
            Ok(Some(End::Wanted(_) | End::Killed)) => status::INTERRUPTED,
            Err(error) => error.status(),
        };
        self.end = end.transpose();
        gdb::Verdict::End(status)
    }

    /// What a session with gdb came to; `None` if the machine is to go on without it.
    pub fn after_gdb(self, ending: Result<Option<gdb::Ending>, gdb::Error>) -> Result<Option<End>, Error> {
        match ending.map_err(cannot_start)? {
            None | Some(gdb::Ending::Detached) => Ok(None),
            Some(gdb::Ending::Killed) => Ok(Some(End::Killed)),
            Some(gdb::Ending::Ended(_)) => self.end.transpose(),
        }
    }
}

impl gdb::Keeper for Keeper<'_> {
    fn host(&mut self) -> &mut dyn Host {
        self.host
    }

    fn stopped(&mut self, machine: &mut Machine, stop: Stop) -> gdb::Verdict {
        let end = self.attend(machine, stop);
        // What the guest printed comes before gdb's word of its end.
        self.host.flush();
        self.verdict(machine, end)
    }

    fn resting(&mut self, machine: &mut Machine) -> gdb::Verdict {
        self.host.attend_terminal();
        self.host.flush();
        if !self.host.interrupted() {
            return gdb::Verdict::GoOn;
        }
        let end = self.look_around(machine);
        self.verdict(machine, Ok(end))
    }

    fn limit(&self) -> Option<u64> {
        self.last_instruction()
    }

    fn look(&self, machine: &Machine, request: &Request) -> Result<Answer, inspect::Error> {
        lens::look(machine, request)
    }

    fn file(&self, machine: &Machine, path: &[u8]) -> Option<Vec<u8>> {
        lens::guest_file(machine.boot_images(), path).map(<[u8]>::to_vec)
    }
}
