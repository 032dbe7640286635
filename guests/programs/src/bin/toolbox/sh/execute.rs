//! Runs what has been parsed.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
};

use pagewalk_programs::sys::{self, Ended, Fork, Pid};

use super::{
    Shell,
    ast::{Chain, Command, Joint, Kind, List, Pipeline, Redirect, Target, Word},
    builtins, pattern,
};
use crate::{APPLETS, args::Args};

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

/// Deepest nesting of functions; a guard for the stack.
const MAX_CALLS: usize = 200;

/// Folder of the embedded commands, which are found even if `PATH` does not name it.
const OWN_COMMANDS: &str = "/.pagewalk/bin";

/// What descriptors were before a redirection, to be put back.
pub type Saved = Vec<(RawFd, Option<OwnedFd>)>;

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

    fn simple(
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
    fn assign_for_now(&mut self, settings: Vec<(String, String)>) -> Result<builtins::Before, Unwind> {
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

    /// Replaces this process by a program; if that fails, the status to end with.
    fn become_command(&mut self, settings: Vec<(String, String)>, args: Vec<String>, redirects: &[Redirect]) -> i32 {
        match self.redirect(redirects) {
            Ok(Some(_)) => {}
            Ok(None) => return self.status,
            Err(Unwind::Failed(message)) => {
                self.complain(&message);
                return 1;
            }
            Err(_) => return 1,
        }
        if let Err(Unwind::Failed(message)) = self.assign_for_now(settings).map(drop) {
            self.complain(&message);
            return 1;
        }
        // Text of the shell has no NUL; the parser took none and variables come from C strings.
        let c_string = |text: &str| CString::new(text.replace('\0', "")).unwrap_or_default();
        let mut c_args: Vec<CString> = args.iter().map(|arg| c_string(arg)).collect();
        let exported = self.variables.iter().filter(|(_, variable)| variable.exported);
        let env: Vec<CString> = exported.map(|(name, v)| c_string(&format!("{name}={}", v.value))).collect();
        let Some(path) = self.find_program(&args[0]) else {
            if let Some((_, applet)) = APPLETS.iter().find(|(name, _)| *name == args[0]) {
                return run_applet(*applet, args);
            }
            self.complain(&format!("{}: not found", args[0]));
            return 127;
        };
        let error = sys::execve(&c_string(&path), &c_args, &env);
        if error.raw_os_error() == Some(libc::ENOEXEC) && is_text(&path) {
            // No format that the kernel knows: a script without `#!`.
            c_args.splice(0..1, [c_string("sh"), c_string(&path)]);
            sys::execve(c"/proc/self/exe", &c_args, &env);
        }
        self.complain(&format!("{}: {}", args[0], sys::reason(&error)));
        if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
    }

    /// The path of a program, by `PATH` if its name has no slash.
    pub fn find_program(&self, name: &str) -> Option<String> {
        if name.contains('/') {
            return Some(name.to_string());
        }
        let path = self.get("PATH").unwrap_or("/bin:/usr/bin");
        let folders = path.split(':').map(|folder| if folder.is_empty() { "." } else { folder });
        let mut candidates = folders.chain([OWN_COMMANDS]).map(|folder| format!("{folder}/{name}"));
        candidates.find(|path| {
            let metadata = Path::new(path).metadata();
            metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
        })
    }

    /// Carries out redirections; what was before. Nothing if one failed, of which the user
    /// has been told: the command is then not run.
    pub fn redirect(&mut self, redirects: &[Redirect]) -> Result<Option<Saved>, Unwind> {
        let mut saved = Vec::new();
        if !redirects.is_empty() {
            // What was written so far belongs to the old place.
            let _ = io::stdout().flush();
        }
        for redirect in redirects {
            let result = self.redirect_one(redirect, &mut saved);
            match result {
                Ok(()) => {}
                Err(message) => {
                    restore(saved);
                    self.complain(&message);
                    self.status = 1;
                    return Ok(None);
                }
            }
        }
        Ok(Some(saved))
    }

    fn redirect_one(&mut self, redirect: &Redirect, saved: &mut Saved) -> Result<(), String> {
        let fd = redirect.fd;
        let mut save = || -> Result<(), String> {
            saved.push((fd, sys::save_fd(fd).map_err(|error| sys::reason(&error))?));
            Ok(())
        };
        let mut options = OpenOptions::new();
        let word = match &redirect.target {
            Target::Read(word) => {
                options.read(true);
                word
            }
            Target::Write(word) => {
                options.write(true).create(true).truncate(true);
                word
            }
            Target::Append(word) => {
                options.append(true).create(true);
                word
            }
            Target::ReadWrite(word) => {
                options.read(true).write(true).create(true);
                word
            }
            Target::Duplicate(word) => {
                let from = self.expand_string(word)?;
                save()?;
                if from == "-" {
                    sys::close(fd);
                    return Ok(());
                }
                let number: RawFd = from.parse().map_err(|_| format!("{from}: not a descriptor"))?;
                return sys::dup2(number, fd).map_err(|error| format!("{from}: {}", sys::reason(&error)));
            }
            Target::HereDocument(body) => {
                let text = match body.get() {
                    Some(body) => self.expand_string(body)?,
                    None => String::new(),
                };
                save()?;
                let failed = |error: io::Error| format!("here-document: {}", sys::reason(&error));
                let reading = self.here_document(&text).map_err(failed)?;
                return sys::install_fd(reading, fd).map_err(failed);
            }
        };
        let path = self.expand_string(word)?;
        save()?;
        let file = options.open(&path).map_err(|error| format!("{path}: {}", sys::reason(&error)))?;
        sys::install_fd(file.into(), fd).map_err(|error| format!("{path}: {}", sys::reason(&error)))
    }

    /// Runs something in a process made for it; the status with which to end.
    pub fn exit_status_of(&mut self, run: impl FnOnce(&mut Self) -> Run) -> i32 {
        let run = run(self);
        let status = self.settle(run);
        self.exit_trap(status)
    }

    /// The status of a run that ends the shell.
    fn settle(&mut self, run: Run) -> i32 {
        match run {
            Ok(()) | Err(Unwind::Break(_) | Unwind::Continue(_) | Unwind::Return) => self.status,
            Err(Unwind::Exit(status)) => status,
            Err(Unwind::Failed(message)) => {
                self.complain(&message);
                super::SYNTAX_ERROR
            }
        }
    }

    /// Runs the actions of `trap` for signals that have come.
    fn run_traps(&mut self) -> Run {
        for signal in sys::take_noted_signals() {
            if let Some(action) = self.traps.get(&signal).cloned() {
                let status = self.status;
                self.run_text(action)?;
                self.status = status;
            }
        }
        Ok(())
    }

    /// Runs the action of `trap … EXIT`, once; the status to exit with.
    pub fn exit_trap(&mut self, status: i32) -> i32 {
        let mut status = status;
        if let Some(action) = self.traps.remove(&0) {
            self.status = status;
            match self.run_text(action) {
                Err(Unwind::Exit(other)) => status = other,
                run => drop(self.settle(run)),
            }
        }
        // A write that fails has said so, or ended the process by its signal.
        let _ = io::stdout().flush();
        status
    }
}

/// Whether a simple command has the process for itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    Shell,
    Own,
}

/// Puts descriptors back as they were before a redirection.
pub fn restore(saved: Saved) {
    if !saved.is_empty() {
        let _ = io::stdout().flush();
    }
    for (fd, old) in saved.into_iter().rev() {
        match old {
            // The copy was made by the kernel a moment ago, so that this cannot fail.
            Some(old) => drop(sys::dup2(old.as_raw_fd(), fd)),
            None => sys::close(fd),
        }
    }
}

fn connect(end: &Option<OwnedFd>, fd: RawFd) -> io::Result<()> {
    match end {
        Some(end) => sys::dup2(end.as_raw_fd(), fd),
        None => Ok(()),
    }
}

/// Runs a command of this very program, where there is no file of that name.
pub fn run_applet(applet: crate::Applet, args: Vec<String>) -> i32 {
    let name = args[0].clone();
    let status = match applet(Args::new(args.into_iter().map(Into::into).collect())) {
        Ok(status) => i32::from(status),
        Err(message) => {
            eprintln!("{name}: {message}");
            1
        }
    };
    let _ = io::stdout().flush();
    status
}

/// Whether a file begins like text.
fn is_text(path: &str) -> bool {
    use io::Read;
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(256).read_to_end(&mut start));
    read.is_ok() && !start.contains(&0)
}

/// Says which signal ended a process, but not for those that everyone expects.
pub fn say_signal(ended: Ended) {
    let Ended::Signaled(signal) = ended else { return };
    let text = match signal {
        libc::SIGINT | libc::SIGPIPE => return,
        libc::SIGSEGV => "Segmentation fault",
        libc::SIGBUS => "Bus error",
        libc::SIGABRT => "Aborted",
        libc::SIGKILL => "Killed",
        libc::SIGILL => "Illegal instruction",
        libc::SIGFPE => "Floating point exception",
        libc::SIGTERM => "Terminated",
        libc::SIGHUP => "Hangup",
        libc::SIGTRAP => "Trace/breakpoint trap",
        other => {
            eprintln!("Signal {other}");
            return;
        }
    };
    eprintln!("{text}");
}
