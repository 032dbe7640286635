//! A command of words: settings, redirections, and a function, builtin or program.

use std::io::{self, Write};

use pagewalk_programs::sys::{self, Fork};

use super::{Process, Run, Unwind, restore};
use crate::sh::{
    Shell,
    ast::{Command, Redirect, Word},
    builtins,
};

/// Deepest nesting of functions; a guard for the stack.
const MAX_CALLS: usize = 200;

impl Shell {
    pub(super) fn simple(
        &mut self,
        assignments: &[(String, Word)],
        words: &[Word],
        redirects: &[Redirect],
        process: Process,
    ) -> Run {
        self.substituted = false;
        let args = self.expand_words(words)?;
        let mut settings = Vec::new();
        for (name, word) in assignments {
            let value = self.expand_string(word)?;
            if args.is_empty() {
                // At once: the next assignment may use it.
                self.set_variable(name, value.clone())?;
            }
            settings.push((name.clone(), value));
        }
        if self.options.xtrace {
            let settings = settings.iter().map(|(name, value)| format!("{name}={value}"));
            eprintln!("+ {}", settings.chain(args.iter().cloned()).collect::<Vec<_>>().join(" "));
        }
        let Some(command) = args.first() else {
            let status = if self.substituted { self.status } else { 0 };
            if let Some(saved) = self.redirect(redirects)? {
                restore(saved);
                self.status = status;
            }
            return Ok(());
        };
        if command == "exec" {
            return self.exec_builtin(settings, &args[1..], redirects);
        }
        if let Some(body) = self.functions.get(command).cloned() {
            return self.call_function(&body, settings, args, redirects);
        }
        if let Some(builtin) = builtins::find(command) {
            let Some(saved) = self.redirect(redirects)? else { return Ok(()) };
            let before = self.assign_for_now(settings);
            let run = before.and_then(|before| {
                let run = builtin(self, &args);
                // A command that fails to write its output has said so, or dies of the signal.
                let _ = io::stdout().flush();
                if !builtins::is_special(command) {
                    self.take_back(before);
                }
                run
            });
            restore(saved);
            return run;
        }
        match process {
            Process::Own => Err(Unwind::Exit(self.become_command(settings, args, redirects))),
            Process::Shell => match self.fork() {
                Ok(Fork::Child) => sys::exit_now(self.become_command(settings, args, redirects)),
                Ok(Fork::Parent(pid)) => {
                    self.status = self.wait_for(pid);
                    Ok(())
                }
                Err(error) => Err(Unwind::Failed(format!("fork: {}", sys::reason(&error)))),
            },
        }
    }

    fn call_function(
        &mut self,
        body: &Command,
        settings: Vec<(String, String)>,
        mut args: Vec<String>,
        redirects: &[Redirect],
    ) -> Run {
        if self.locals.len() == MAX_CALLS {
            return Err(Unwind::Failed(format!("{}: functions are nested too deeply", args[0])));
        }
        let Some(saved) = self.redirect(redirects)? else { return Ok(()) };
        let before = self.assign_for_now(settings)?;
        args.remove(0);
        let outer = std::mem::replace(&mut self.params, args);
        let loops = std::mem::take(&mut self.loops);
        self.locals.push(Vec::new());
        let run = self.command(body);
        let locals = self.locals.pop().unwrap_or_default();
        self.take_back(locals);
        self.loops = loops;
        self.params = outer;
        self.take_back(before);
        restore(saved);
        match run {
            Err(Unwind::Return) => Ok(()),
            other => other,
        }
    }

    /// `exec`: redirections of the shell itself, or a program in its place.
    fn exec_builtin(&mut self, settings: Vec<(String, String)>, args: &[String], redirects: &[Redirect]) -> Run {
        if args.is_empty() {
            if self.redirect(redirects)?.is_some() {
                self.status = 0;
            }
            return Ok(());
        }
        Err(Unwind::Exit(self.become_command(settings, args.to_vec(), redirects)))
    }

    /// Sets variables for the time of one command, as exported; what they were before.
    pub(super) fn assign_for_now(&mut self, settings: Vec<(String, String)>) -> Result<builtins::Before, Unwind> {
        let mut before = Vec::new();
        for (name, value) in settings {
            let old = self.variables.get(&name).map(|old| (old.value.clone(), old.exported));
            self.set_variable(&name, value)?;
            self.variables.entry(name.clone()).or_default().exported = true;
            before.push((name, old));
        }
        Ok(before)
    }

    fn take_back(&mut self, before: builtins::Before) {
        for (name, old) in before.into_iter().rev() {
            match old {
                Some((value, exported)) => {
                    let variable = self.variables.entry(name).or_default();
                    (variable.value, variable.exported) = (value, exported);
                }
                None => {
                    self.variables.remove(&name);
                }
            }
        }
    }
}
