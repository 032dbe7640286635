//! Runs what has been parsed.

mod end;
mod program;
mod redirect;
mod simple;

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use pagewalk_programs::sys::{self, Fork, Pid};

use super::{
    Shell,
    ast::{Chain, Command, Joint, Kind, List, Pipeline},
    pattern,
};

pub use end::say_signal;
pub use program::run_applet;
use redirect::connect;
pub use redirect::restore;

/// Why execution leaves the commands that it is in.
pub enum Unwind {
    /// Out of so many loops.
    Break(usize),
    /// To the next turn of a loop, so many loops out.
    Continue(usize),
    /// Out of a function or file.
    Return,
    /// Out of the shell.
    Exit(i32),
    /// A command can't be carried out, for this reason.
    Failed(String),
}

impl From<String> for Unwind {
    fn from(message: String) -> Self {
        Unwind::Failed(message)
    }
}

/// The status is left in the shell.
pub type Run = Result<(), Unwind>;

impl Shell {
    /// Commands in sequence.
    pub fn list(&mut self, list: &List) -> Run {
        for item in &list.0 {
            if item.background {
                self.start_in_background(&item.chain)?;
            } else {
                self.chain(&item.chain)?;
            }
            self.run_traps()?;
        }
        Ok(())
    }

    fn start_in_background(&mut self, chain: &Chain) -> Run {
        match self.fork() {
            Ok(Fork::Child) => {
                sys::set_signal(libc::SIGINT, sys::Disposition::Ignore);
                sys::set_signal(libc::SIGQUIT, sys::Disposition::Ignore);
                if let Ok(null) = File::open("/dev/null") {
                    // It keeps the shell's input if there is no such device.
                    let _ = sys::dup2(null.as_raw_fd(), 0);
                }
                let status = self.exit_status_of(|shell| shell.chain(chain));
                sys::exit_now(status);
            }
            Ok(Fork::Parent(pid)) => {
                self.last_background = Some(pid);
                self.background.push(pid);
                if self.interactive {
                    eprintln!("[{pid}]");
                }
                self.status = 0;
                Ok(())
            }
            Err(error) => Err(Unwind::Failed(format!("fork: {}", sys::reason(&error)))),
        }
    }

    fn chain(&mut self, chain: &Chain) -> Run {
        let mut last = &chain.first;
        // Only the last command of a chain ends the shell under `set -e`.
        self.pipeline(last, !chain.rest.is_empty())?;
        for (index, (joint, pipeline)) in chain.rest.iter().enumerate() {
            if (*joint == Joint::And) == (self.status == 0) {
                last = pipeline;
                self.pipeline(pipeline, index + 1 < chain.rest.len())?;
            }
        }
        let is_last = chain.rest.last().is_none_or(|(_, pipeline)| std::ptr::eq(pipeline, last));
        if self.options.errexit && self.status != 0 && is_last && !last.negated {
            return Err(Unwind::Exit(self.status));
        }
        Ok(())
    }

    /// A pipeline; `tested` if `&&` or `||` follows, whose failures `set -e` forgives.
    fn pipeline(&mut self, pipeline: &Pipeline, tested: bool) -> Run {
        let errexit = self.options.errexit;
        if tested || pipeline.negated {
            self.options.errexit = false;
        }
        let run = match &pipeline.commands[..] {
            [command] => self.command(command),
            commands => self.piped(commands),
        };
        if tested || pipeline.negated {
            self.options.errexit = errexit;
        }
        run?;
        if pipeline.negated {
            self.status = i32::from(self.status == 0);
        }
        Ok(())
    }

    /// Commands of which each reads what the one before writes, every one in a process of
    /// its own.
    fn piped(&mut self, commands: &[Command]) -> Run {
        let failed = |error: io::Error| Unwind::Failed(format!("pipeline: {}", sys::reason(&error)));
        let mut children: Vec<Pid> = Vec::new();
        let mut input: Option<OwnedFd> = None;
        for (index, command) in commands.iter().enumerate() {
            let is_last = index + 1 == commands.len();
            let (next_input, output) = match is_last {
                true => (None, None),
                false => sys::pipe().map(|(reading, writing)| (Some(reading), Some(writing))).map_err(failed)?,
            };
            match self.fork().map_err(failed)? {
                Fork::Child => {
                    drop(next_input);
                    let connected = connect(&input, 0).and_then(|()| connect(&output, 1));
                    drop((input, output));
                    let status = match connected {
                        Ok(()) => self.exit_status_of(|shell| shell.command_in_own_process(command)),
                        Err(_) => 1,
                    };
                    sys::exit_now(status);
                }
                Fork::Parent(pid) => children.push(pid),
            }
            input = next_input;
        }
        for pid in children {
            self.status = self.wait_for(pid);
        }
        Ok(())
    }

    fn command(&mut self, command: &Command) -> Run {
        match &command.kind {
            Kind::Simple { assignments, words } => self.simple(assignments, words, &command.redirects, Process::Shell),
            Kind::Function { name, body } => {
                self.functions.insert(name.clone(), body.clone());
                self.status = 0;
                Ok(())
            }
            Kind::Subshell(_) => match self.fork() {
                Ok(Fork::Child) => {
                    let status = self.exit_status_of(|shell| shell.command_in_own_process(command));
                    sys::exit_now(status);
                }
                Ok(Fork::Parent(pid)) => {
                    self.status = self.wait_for(pid);
                    Ok(())
                }
                Err(error) => Err(Unwind::Failed(format!("fork: {}", sys::reason(&error)))),
            },
            _ => {
                let Some(saved) = self.redirect(&command.redirects)? else { return Ok(()) };
                let run = self.compound(&command.kind);
                restore(saved);
                run
            }
        }
    }

    /// A command in a process that ends with it: a program takes the place of the shell.
    fn command_in_own_process(&mut self, command: &Command) -> Run {
        match &command.kind {
            Kind::Simple { assignments, words } => self.simple(assignments, words, &command.redirects, Process::Own),
            Kind::Subshell(list) => {
                let Some(saved) = self.redirect(&command.redirects)? else { return Ok(()) };
                let run = self.list(list);
                restore(saved);
                run
            }
            _ => self.command(command),
        }
    }

    fn compound(&mut self, kind: &Kind) -> Run {
        match kind {
            Kind::Group(list) => self.list(list),
            Kind::If { arms, otherwise } => {
                for (condition, body) in arms {
                    self.condition(condition)?;
                    if self.status == 0 {
                        return self.list(body);
                    }
                }
                self.status = 0;
                otherwise.as_ref().map_or(Ok(()), |list| self.list(list))
            }
            Kind::Loop { until, condition, body } => {
                let mut status = 0;
                loop {
                    self.condition(condition)?;
                    if (self.status == 0) == *until {
                        break;
                    }
                    if !self.loop_body(body)? {
                        return Ok(());
                    }
                    status = self.status;
                }
                self.status = status;
                Ok(())
            }
            Kind::For { name, words, body } => {
                let values = match words {
                    Some(words) => self.expand_words(words)?,
                    None => self.params.clone(),
                };
                self.status = 0;
                for value in values {
                    self.set_variable(name, value)?;
                    if !self.loop_body(body)? {
                        break;
                    }
                }
                Ok(())
            }
            Kind::Case { word, arms } => {
                let text: Vec<char> = self.expand_string(word)?.chars().collect();
                self.status = 0;
                for (patterns, body) in arms {
                    for pattern in patterns {
                        let pattern = self.expand_pattern(pattern)?;
                        if pattern::matches(&pattern, &text) {
                            return self.list(body);
                        }
                    }
                }
                Ok(())
            }
            Kind::Simple { .. } | Kind::Subshell(_) | Kind::Function { .. } => Ok(()),
        }
    }

    /// Commands whose failure is an answer.
    fn condition(&mut self, list: &List) -> Run {
        let errexit = std::mem::take(&mut self.options.errexit);
        let run = self.list(list);
        self.options.errexit = errexit;
        run
    }

    /// One turn of a loop; whether there may be another.
    fn loop_body(&mut self, body: &List) -> Result<bool, Unwind> {
        self.loops += 1;
        let run = self.list(body);
        self.loops -= 1;
        match run {
            Ok(()) | Err(Unwind::Continue(1)) => Ok(true),
            Err(Unwind::Break(1)) => Ok(false),
            Err(Unwind::Break(levels)) => Err(Unwind::Break(levels - 1)),
            Err(Unwind::Continue(levels)) => Err(Unwind::Continue(levels - 1)),
            Err(other) => Err(other),
        }
    }
}

/// Whether a simple command has the process for itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    Shell,
    Own,
}
