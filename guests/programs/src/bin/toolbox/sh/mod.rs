//! `sh`: a shell with pipelines, redirections, variables, functions and the usual compound
//! commands, after POSIX. Without job control.

mod arithmetic;
mod ast;
mod builtins;
mod execute;
mod expand;
mod parser;
mod pattern;
mod source;

use std::{collections::BTreeMap, io, rc::Rc};

use ast::Command;
use execute::Unwind;
use pagewalk_programs::sys::{self, Disposition, Fork, Pid};
use parser::{ParseError, Parser};
use source::Source;

use crate::{Outcome, args::Args};

/// Status of a command that could not be parsed or expanded.
const SYNTAX_ERROR: i32 = 2;

/// A shell variable.
#[derive(Default)]
struct Variable {
    value: String,
    exported: bool,
    readonly: bool,
}

/// What `set` switches.
#[derive(Clone, Copy, Default)]
struct Options {
    errexit: bool,
    nounset: bool,
    xtrace: bool,
}

impl Options {
    /// The letters of `$-`.
    fn letters(self) -> String {
        let letters = [('e', self.errexit), ('u', self.nounset), ('x', self.xtrace)];
        letters.into_iter().filter(|(_, on)| *on).map(|(letter, _)| letter).collect()
    }

    /// Switches an option by letter; whether there is such an option.
    fn switch(&mut self, letter: char, on: bool) -> bool {
        match letter {
            'e' => self.errexit = on,
            'u' => self.nounset = on,
            'x' => self.xtrace = on,
            _ => return false,
        }
        true
    }
}

/// The state of a shell.
struct Shell {
    variables: BTreeMap<String, Variable>,
    functions: BTreeMap<String, Rc<Command>>,
    /// `$1` and those that follow.
    params: Vec<String>,
    /// `$0`
    name: String,
    options: Options,
    /// `$?`
    status: i32,
    pid: u32,
    last_background: Option<Pid>,
    /// Processes in the background that have not been waited for.
    background: Vec<Pid>,
    interactive: bool,
    /// Whether a command substitution has run since a command began: its status is then
    /// that of a command that has only assignments.
    substituted: bool,
    /// What `trap` set: commands by signal, 0 for the end of the shell.
    traps: BTreeMap<i32, String>,
    /// Nesting of loops, for `break` and `continue`.
    loops: usize,
    /// For each function being called, what its local variables were before.
    locals: Vec<builtins::Before>,
}

/// `sh [-eux] [-c SCRIPT [NAME ARGS…] | FILE [ARGS…]]`
pub fn sh(args: Args) -> Outcome {
    let (mut script, mut operands) = (None, Vec::new());
    let mut options = Options::default();
    let mut wants_prompt = false;
    let mut args = args.text().into_iter();
    for arg in args.by_ref() {
        let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            operands.push(arg);
            break;
        };
        if letters == "-" {
            break;
        }
        for letter in letters.chars() {
            match letter {
                'c' => script = Some(String::new()),
                'i' => wants_prompt = true,
                's' | 'l' => {}
                _ if options.switch(letter, true) => {}
                _ => return Err(format!("unknown option -{letter}")),
            }
        }
    }
    operands.extend(args);
    let source = match script {
        Some(_) if operands.is_empty() => return Err("-c needs a script".into()),
        Some(_) => Source::text(operands.remove(0)),
        None if operands.is_empty() => Source::standard_input(wants_prompt),
        None => match Source::file(&operands[0]) {
            Ok(source) => source,
            Err(error) => {
                eprintln!("sh: {}: {}", operands[0], sys::reason(&error));
                return Ok(127);
            }
        },
    };
    let own_name = || std::env::args_os().next().map_or("sh".into(), |name| name.to_string_lossy().into_owned());
    let name = if operands.is_empty() { own_name() } else { operands.remove(0) };
    let mut shell = Shell::new(name, operands, options);
    shell.interactive = source.prompts();
    if shell.interactive {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
            sys::set_signal(signal, Disposition::Ignore);
        }
    }
    let status = shell.run_source(source);
    Ok(shell.exit_trap(status) as u8)
}

impl Shell {
    fn new(name: String, params: Vec<String>, options: Options) -> Self {
        let variables = std::env::vars_os().map(|(name, value)| {
            let value = value.to_string_lossy().into_owned();
            (name.to_string_lossy().into_owned(), Variable { value, exported: true, readonly: false })
        });
        let mut variables: BTreeMap<String, Variable> = variables.collect();
        if let Ok(cwd) = std::env::current_dir() {
            variables.entry("PWD".into()).or_default().value = cwd.to_string_lossy().into_owned();
        }
        Shell {
            variables,
            functions: BTreeMap::new(),
            params,
            name,
            options,
            status: 0,
            pid: std::process::id(),
            last_background: None,
            background: Vec::new(),
            interactive: false,
            substituted: false,
            traps: BTreeMap::new(),
            loops: 0,
            locals: Vec::new(),
        }
    }

    /// Runs all commands of a source; the status to exit with.
    fn run_source(&mut self, mut source: Source) -> i32 {
        let mut parser = Parser::default();
        loop {
            match parser.next_command() {
                Ok(Some(list)) => match self.list(&list) {
                    Ok(()) => {}
                    Err(Unwind::Exit(status)) => return status,
                    Err(Unwind::Failed(message)) => {
                        self.complain(&message);
                        self.status = SYNTAX_ERROR;
                        if !self.interactive {
                            return self.status;
                        }
                        parser.discard();
                    }
                    // Outside of a loop or function they end the line.
                    Err(Unwind::Break(_) | Unwind::Continue(_) | Unwind::Return) => {}
                },
                Err(ParseError::Syntax(message)) => {
                    self.syntax_error(&message);
                    if !self.interactive {
                        return self.status;
                    }
                    parser.discard();
                }
                incomplete => {
                    let is_continuation = incomplete.is_err();
                    if !is_continuation {
                        self.announce_ended();
                    }
                    match source.next_line(is_continuation) {
                        Ok(Some(line)) => parser.feed(&line),
                        Ok(None) if is_continuation => {
                            self.syntax_error("unexpected end of input");
                            return self.status;
                        }
                        Ok(None) => return self.status,
                        Err(error) => {
                            self.complain(&format!("cannot read commands: {}", sys::reason(&error)));
                            return SYNTAX_ERROR;
                        }
                    }
                }
            }
        }
    }

    fn syntax_error(&mut self, message: &str) {
        self.complain(&format!("syntax error: {message}"));
        self.status = SYNTAX_ERROR;
    }

    /// Prints a message about the shell itself.
    fn complain(&self, message: &str) {
        eprintln!("{}: {message}", self.name);
    }

    /// Makes a process that goes on as a shell without a prompt.
    fn fork(&mut self) -> io::Result<Fork> {
        use io::Write;
        io::stdout().flush()?;
        let fork = sys::fork()?;
        if fork == Fork::Child {
            if self.interactive {
                for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                    sys::set_signal(signal, Disposition::Default);
                }
            }
            self.interactive = false;
            self.background.clear();
            for (signal, action) in std::mem::take(&mut self.traps) {
                // What is ignored stays so.
                if signal != 0 && !action.is_empty() {
                    sys::set_signal(signal, Disposition::Default);
                }
            }
        }
        Ok(fork)
    }

    /// The value of a variable.
    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|variable| variable.value.as_str())
    }

    /// Sets a variable, unless it is read-only.
    fn set_variable(&mut self, name: &str, value: String) -> Result<(), String> {
        let is_name = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
            && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
        if !is_name {
            return Err(format!("{name}: not a name"));
        }
        let variable = self.variables.entry(name.to_string()).or_default();
        if variable.readonly {
            return Err(format!("{name}: is read-only"));
        }
        variable.value = value;
        Ok(())
    }

    /// Waits for a process and says so if a signal ended it; its status as in `$?`.
    fn wait_for(&mut self, pid: Pid) -> i32 {
        match sys::wait(pid) {
            Ok((_, ended)) => {
                execute::say_signal(ended);
                ended.status()
            }
            Err(_) => 127,
        }
    }

    /// Tells a person at the prompt which background processes have ended.
    fn announce_ended(&mut self) {
        if !self.interactive {
            // A script may still ask `wait` for their status.
            return;
        }
        self.background.retain(|&pid| match sys::try_wait(pid) {
            Ok(None) => true,
            Ok(Some((pid, ended))) => {
                eprintln!("[{pid}] ended with status {}", ended.status());
                false
            }
            Err(_) => false,
        });
    }
}
