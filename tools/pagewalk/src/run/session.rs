//! A run from its first instruction to its exit status.

use std::{path::Path, time::Duration, time::Instant};

use machine::{Machine, RunLimit, Stop};

use super::{
    build, finish,
    host::{Surroundings, Want},
    monitor,
    prepare::{self, Mode, Stream, Streams, cannot_start},
    signals, stats,
    terminal::Terminal,
};
use crate::{
    cli::RunArgs,
    error::{Error, status},
    lens::control,
};

/// A machine with its surroundings.
pub struct Session<'a> {
    args: &'a RunArgs,
    machine: Machine,
    host: Surroundings,
    control: Option<control::Server>,
    mode: Mode,
    /// GUEST's name, for messages.
    name: String,
    began: Instant,
}

/// How a run ended.
enum End {
    Stopped(Stop),
    Wanted(Want),
}

impl<'a> Session<'a> {
    /// A machine at its first instruction.
    pub fn new(args: &'a RunArgs, boot: prepare::Boot, streams: Streams, verbose: u8) -> Result<Self, Error> {
        let mode = boot.mode;
        let name = match &boot.program {
            Some(path) => path.display().to_string(),
            None => "the guest".to_owned(),
        };
        let machine = build::machine(args, boot, streams)?;
        Self::around(args, machine, mode, name, streams, verbose)
    }

    /// A saved machine, to go on.
    pub fn restore(args: &'a RunArgs, file: &Path, streams: Streams, verbose: u8) -> Result<Self, Error> {
        let machine = Machine::restore(file, machine::EngineConfig::default()).map_err(cannot_start)?;
        let mode = if machine.config().serial[1].is_some() { Mode::Program } else { Mode::Kernel };
        Self::around(args, machine, mode, file.display().to_string(), streams, verbose)
    }

    fn around(
        args: &'a RunArgs,
        machine: Machine,
        mode: Mode,
        name: String,
        streams: Streams,
        verbose: u8,
    ) -> Result<Self, Error> {
        if let Some(file) = &args.save {
            finish::check_writable(file)?;
        }
        let timeout = match args.timeout {
            Some(seconds) => Some(
                Duration::try_from_secs_f64(seconds)
                    .map_err(|_| Error::Usage(format!("--timeout wants seconds, not {seconds}")))?,
            ),
            None => None,
        };
        let control = match &args.name {
            Some(name) => Some(control::Server::open(name).map_err(cannot_start)?),
            None => None,
        };
        if let Some(server) = &control {
            signals::remove_at_end(server.path().to_owned());
        }
        let waiting = control.as_ref().map(control::Server::waiting);
        let mut host = Surroundings::new(
            mode,
            streams,
            verbose > 0,
            signals::watch()?,
            timeout,
            Box::new(move || waiting.as_ref().is_some_and(|waiting| waiting.get())),
        );
        if streams.stdin == Stream::Terminal {
            host.set_terminal(Terminal::open()?);
        }
        Ok(Session { args, machine, host, control, mode, name, began: Instant::now() })
    }

    /// Runs to the end and tells the exit status.
    pub fn run(mut self) -> Result<u8, Error> {
        let end = self.run_to_end()?;
        self.host.flush();
        super::terminal::restore();
        let status = self.status(&end)?;
        if let Some(file) = &self.args.save {
            finish::save(&self.machine, file)?;
        }
        if let Some(format) = self.args.stats {
            stats::print(&self.machine, self.began.elapsed(), format);
        }
        Ok(status)
    }

    fn run_to_end(&mut self) -> Result<End, Error> {
        let limit = [self.args.max_instructions, self.args.save_at].into_iter().flatten().min();
        let limit = RunLimit { retired: limit, ..RunLimit::default() };
        loop {
            let stop = self.machine.run(limit, &mut self.host);
            if stop != Stop::Interrupted {
                if let Stop::Reset { cause } = stop
                    && !self.args.no_reboot
                    && self.mode == Mode::Kernel
                {
                    crate::say(&format!("reset by {cause}: the machine starts again"));
                    self.machine.reboot().map_err(cannot_start)?;
                    continue;
                }
                return Ok(End::Stopped(stop));
            }
            if let Some(server) = &mut self.control
                && server.serve(&mut self.machine) == control::After::Quit
            {
                return Ok(End::Wanted(Want::Quit));
            }
            match self.host.take_want() {
                None => {}
                Some(Want::Monitor) => {
                    if monitor::run(&mut self.machine, &mut self.host) == monitor::After::Quit {
                        return Ok(End::Wanted(Want::Quit));
                    }
                }
                Some(want) => return Ok(End::Wanted(want)),
            }
        }
    }

    /// The exit status, and on standard error what the user must know.
    fn status(&mut self, end: &End) -> Result<u8, Error> {
        let stop = match end {
            End::Stopped(stop) => stop,
            End::Wanted(Want::Timeout) => {
                crate::say(&format!("{}: the time limit is reached", self.name));
                return Ok(status::LIMIT);
            }
            End::Wanted(Want::OutputFailed(why)) => return Err(Error::CannotStart(why.clone())),
            // What a shell reports of a program that SIGPIPE ended.
            End::Wanted(Want::Closed) => return Ok(128 + 13),
            End::Wanted(Want::Quit | Want::Monitor) => return Ok(status::INTERRUPTED),
        };
        let status = finish::status(*stop, self.args, &self.machine);
        if let Some(line) = finish::report(*stop, self.args, self.mode, &self.name) {
            crate::say(&line);
        }
        if finish::is_crash(*stop) {
            finish::show_console(&self.host);
            if !matches!(stop, Stop::PowerOff { .. }) {
                eprint!("{}", finish::registers(&self.machine));
            }
        }
        Ok(status)
    }
}
