//! What a run does between two runs of the machine, with or without a debugger.

use inspect::{Answer, Request};
use machine::{Host, Machine, Stop};

use super::{
    check::TlbCheck,
    finish,
    host::{Surroundings, Want},
    monitor,
    prepare::{Mode, cannot_start},
};
use crate::{
    cli::RunArgs,
    error::{Error, status},
    lens::{self, control},
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
    pub mode: Mode,
    pub host: &'s mut Surroundings,
    pub control: Option<&'s mut control::Server>,
    check: Option<&'s mut TlbCheck>,
    /// How the run ended while gdb had the machine.
    end: Option<Result<End, Error>>,
}

impl<'s> Keeper<'s> {
    /// For a run with these surroundings.
    pub fn new(
        args: &'s RunArgs,
        mode: Mode,
        host: &'s mut Surroundings,
        control: Option<&'s mut control::Server>,
        check: Option<&'s mut TlbCheck>,
    ) -> Self {
        Keeper { args, mode, host, control, check, end: None }
    }

    /// The instruction count at which the run ends.
    pub fn limit(&self) -> Option<u64> {
        [self.args.max_instructions, self.args.save_at].into_iter().flatten().min()
    }

    /// Does what a stop asks for; the end of the run if it is one.
    pub fn attend(&mut self, machine: &mut Machine, stop: Stop) -> Result<Option<End>, Error> {
        if let Some(check) = &mut self.check {
            check.tell(machine);
        }
        match stop {
            Stop::Interrupted => Ok(self.look_around(machine)),
            Stop::Reset { cause } if !self.args.no_reboot && self.mode == Mode::Kernel => {
                crate::say(&format!("reset by {cause}: the machine starts again"));
                machine.reboot().map_err(cannot_start)?;
                Ok(None)
            }
            other => Ok(Some(End::Stopped(other))),
        }
    }

    /// Answers lenses and does what the user typed.
    fn look_around(&mut self, machine: &mut Machine) -> Option<End> {
        if let Some(server) = &mut self.control
            && server.serve(machine) == control::After::Quit
        {
            return Some(End::Wanted(Want::Quit));
        }
        match self.host.take_want()? {
            Want::Monitor => match monitor::run(machine, self.host) {
                monitor::After::Quit => Some(End::Wanted(Want::Quit)),
                monitor::After::Resume => None,
            },
            want => Some(End::Wanted(want)),
        }
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
        Keeper::limit(self)
    }

    fn look(&self, machine: &Machine, request: &Request) -> Result<Answer, inspect::Error> {
        lens::look(machine, request)
    }

    fn file(&self, machine: &Machine, path: &[u8]) -> Option<Vec<u8>> {
        lens::guest_file(machine.boot_images(), path).map(<[u8]>::to_vec)
    }
}
