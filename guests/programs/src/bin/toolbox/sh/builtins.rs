//! Commands that the shell carries out itself.

use pagewalk_programs::sys::{self, Disposition};

use super::{
    Shell,
    ast::{Chain, Command, Item, Kind, List, Part, Pipeline},
    execute::{Run, Unwind, run_applet},
    source::{self, Source},
};
use crate::{
    APPLETS,
    process::{SIGNALS, signal_number},
};

/// A built-in command: gets its name and arguments.
pub type Builtin = fn(&mut Shell, &[String]) -> Run;

/// Variables as they were: value and whether exported, or not set.
pub type Before = Vec<(String, Option<(String, bool)>)>;

/// Commands of this program that need no process of their own.
const QUICK_APPLETS: [&str; 9] = ["[", "echo", "false", "kill", "printf", "pwd", "test", "true", "tty"];

/// The built-in of that name.
pub fn find(name: &str) -> Option<Builtin> {
    Some(match name {
        ":" => |shell, _| shell.done(0),
        "." => dot,
        "break" => |shell, args| shell.leave_loop(args, Unwind::Break),
        "cd" => cd,
        "command" => command,
        "continue" => |shell, args| shell.leave_loop(args, Unwind::Continue),
        "eval" => eval,
        "exit" => |shell, args| Err(Unwind::Exit(shell.status_argument(args)? & 0xff)),
        "export" => |shell, args| declare(shell, args, |variable| variable.exported = true),
        "local" => local,
        "read" => read,
        "readonly" => |shell, args| declare(shell, args, |variable| variable.readonly = true),
        "return" => |shell, args| {
            shell.status = shell.status_argument(args)?;
            Err(Unwind::Return)
        },
        "set" => set,
        "shift" => shift,
        "trap" => trap,
        "type" => type_of,
        "umask" => umask,
        "unset" => unset,
        "wait" => wait,
        _ if QUICK_APPLETS.contains(&name) => quick_applet,
        _ => return None,
    })
}

/// Whether assignments before the command outlive it.
pub fn is_special(name: &str) -> bool {
    [":", ".", "break", "continue", "eval", "exit", "export", "readonly", "return", "set", "shift", "trap", "unset"]
        .contains(&name)
}

impl Shell {
    fn done(&mut self, status: i32) -> Run {
        self.status = status;
        Ok(())
    }

    /// Says why a built-in failed.
    fn failed(&mut self, name: &str, message: impl std::fmt::Display) -> Run {
        self.complain(&format!("{name}: {message}"));
        self.done(1)
    }

    /// The status that `exit` and `return` are given, or the present one.
    fn status_argument(&self, args: &[String]) -> Result<i32, Unwind> {
        match args.get(1) {
            None => Ok(self.status),
            Some(text) => text.parse().map_err(|_| Unwind::Failed(format!("{}: `{text}` is not a number", args[0]))),
        }
    }

    fn leave_loop(&mut self, args: &[String], how: fn(usize) -> Unwind) -> Run {
        let levels = match args.get(1) {
            None => 1,
            Some(text) => match text.parse::<usize>() {
                Ok(levels) if levels > 0 => levels,
                _ => return Err(Unwind::Failed(format!("{}: `{text}` is not a number of loops", args[0]))),
            },
        };
        self.status = 0;
        if self.loops == 0 { Ok(()) } else { Err(how(levels.min(self.loops))) }
    }

    /// Runs text as commands, in this shell.
    pub fn run_text(&mut self, text: String) -> Run {
        let interactive = std::mem::take(&mut self.interactive);
        let mut parser = super::Parser::new(&text);
        let run = loop {
            match parser.next_command() {
                Ok(Some(list)) => {
                    if let Err(unwind) = self.list(&list) {
                        break Err(unwind);
                    }
                }
                Ok(None) => break Ok(()),
                Err(super::ParseError::Incomplete) => {
                    break Err("syntax error: unexpected end of input".to_string().into());
                }
                Err(super::ParseError::Syntax(message)) => break Err(format!("syntax error: {message}").into()),
            }
        };
        self.interactive = interactive;
        run
    }
}

fn quick_applet(shell: &mut Shell, args: &[String]) -> Run {
    let applet = APPLETS.iter().find(|(name, _)| *name == args[0]);
    let status = applet.map_or(127, |(_, applet)| run_applet(*applet, args.to_vec()));
    shell.done(status)
}

fn dot(shell: &mut Shell, args: &[String]) -> Run {
    let Some(path) = args.get(1) else { return shell.failed(".", "missing operand: FILE") };
    let Ok(mut source) = Source::file(path) else { return Err(Unwind::Failed(format!(".: cannot read {path}"))) };
    let text = source.next_line(false).ok().flatten().unwrap_or_default();
    shell.status = 0;
    match shell.run_text(text) {
        Err(Unwind::Return) => Ok(()),
        run => run,
    }
}

fn eval(shell: &mut Shell, args: &[String]) -> Run {
    let text = args[1..].join(" ");
    if text.trim().is_empty() {
        return shell.done(0);
    }
    shell.run_text(text)
}

fn cd(shell: &mut Shell, args: &[String]) -> Run {
    let home = shell.get("HOME").unwrap_or("/").to_string();
    let old = shell.get("OLDPWD").unwrap_or_default().to_string();
    let target = match args.get(1).map(String::as_str) {
        None => home,
        Some("-") => old,
        Some(path) => path.to_string(),
    };
    let path_of_cwd = || std::env::current_dir().map(|cwd| cwd.to_string_lossy().into_owned()).unwrap_or_default();
    let before = path_of_cwd();
    if let Err(error) = std::env::set_current_dir(&target) {
        return shell.failed("cd", format!("{target}: {}", sys::reason(&error)));
    }
    if args.get(1).is_some_and(|arg| arg == "-") {
        println!("{}", path_of_cwd());
    }
    shell.set_variable("OLDPWD", before)?;
    shell.set_variable("PWD", path_of_cwd())?;
    shell.done(0)
}

/// `command [-v] NAME…`
fn command(shell: &mut Shell, args: &[String]) -> Run {
    if args.get(1).is_some_and(|arg| arg == "-v") {
        let Some(name) = args.get(2) else { return shell.done(1) };
        let found = match find(name) {
            Some(_) => Some(name.clone()),
            None if shell.functions.contains_key(name) => Some(name.clone()),
            None => shell.find_program(name),
        };
        if let Some(found) = &found {
            println!("{found}");
        }
        return shell.done(i32::from(found.is_none()));
    }
    let words: Vec<_> = args[1..].iter().map(|arg| vec![Part::Quoted(arg.clone())]).collect();
    if words.is_empty() {
        return shell.done(0);
    }
    // Without the function of that name, if there is one.
    let function = shell.functions.remove_entry(&args[1]);
    let kind = Kind::Simple { assignments: Vec::new(), words };
    let pipeline = Pipeline { negated: false, commands: vec![Command { kind, redirects: Vec::new() }] };
    let chain = Chain { first: pipeline, rest: Vec::new() };
    let run = shell.list(&List(vec![Item { chain, background: false }]));
    shell.functions.extend(function);
    run
}

fn type_of(shell: &mut Shell, args: &[String]) -> Run {
    let mut status = 0;
    for name in &args[1..] {
        if shell.functions.contains_key(name) {
            println!("{name} is a function");
        } else if find(name).is_some() || name == "exec" {
            println!("{name} is a shell builtin");
        } else if let Some(path) = shell.find_program(name) {
            println!("{name} is {path}");
        } else {
            eprintln!("{name}: not found");
            status = 127;
        }
    }
    shell.done(status)
}

/// `export` and `readonly`: names, each with or without a value.
fn declare(shell: &mut Shell, args: &[String], mark: fn(&mut super::Variable)) -> Run {
    let names: Vec<&String> = args[1..].iter().filter(|arg| *arg != "-p").collect();
    if names.is_empty() {
        for (name, variable) in shell.variables.iter().filter(|(_, variable)| variable.exported) {
            println!("export {name}='{}'", variable.value.replace('\'', "'\\''"));
        }
    }
    for arg in names {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (arg.as_str(), None),
        };
        let value = value.map_or_else(|| shell.get(name).unwrap_or_default().to_string(), str::to_string);
        shell.set_variable(name, value)?;
        mark(shell.variables.entry(name.to_string()).or_default());
    }
    shell.done(0)
}

/// `local NAME[=VALUE]…`: the variables are as before when the function returns.
fn local(shell: &mut Shell, args: &[String]) -> Run {
    for arg in &args[1..] {
        let (name, value) = arg.split_once('=').map_or((arg.as_str(), None), |(name, value)| (name, Some(value)));
        let old = shell.variables.get(name).map(|old| (old.value.clone(), old.exported));
        let Some(frame) = shell.locals.last_mut() else { return shell.failed("local", "not in a function") };
        frame.push((name.to_string(), old));
        if let Some(value) = value {
            shell.set_variable(name, value.to_string())?;
        }
    }
    shell.done(0)
}

/// `read [-r] NAME…`
fn read(shell: &mut Shell, args: &[String]) -> Run {
    let raw = args.get(1).is_some_and(|arg| arg == "-r");
    let names: Vec<&str> = args[1 + usize::from(raw)..].iter().map(String::as_str).collect();
    let names = if names.is_empty() { vec!["REPLY"] } else { names };
    let mut text = String::new();
    let mut complete = false;
    loop {
        let line = match source::read_line() {
            Ok(line) => line.unwrap_or_default(),
            Err(error) => return shell.failed("read", sys::reason(&error)),
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        let body = line.strip_suffix('\n');
        complete |= body.is_some();
        text += body.unwrap_or(&line);
        // A backslash at the end of a line joins the next one.
        if raw || !text.ends_with('\\') || body.is_none() {
            break;
        }
        text.pop();
        complete = false;
    }
    if !raw {
        text = unescape(&text);
    }
    let separators = shell.get("IFS").unwrap_or(" \t\n").to_string();
    let is_blank = |c: char| c.is_whitespace() && separators.contains(c);
    let mut rest = text.trim_matches(is_blank);
    for (index, name) in names.iter().enumerate() {
        let end = if index + 1 == names.len() { None } else { rest.find(|c| separators.contains(c)) };
        let (value, after) = match end {
            None => (rest, ""),
            Some(end) => {
                let after = rest[end..].trim_start_matches(is_blank);
                let is_other = |c: char| separators.contains(c) && !c.is_whitespace();
                (&rest[..end], after.strip_prefix(is_other).unwrap_or(after).trim_start_matches(is_blank))
            }
        };
        shell.set_variable(name, value.to_string())?;
        rest = after;
    }
    shell.done(i32::from(!complete))
}

/// Takes the backslashes out of a line that was read.
fn unescape(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::new();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// `set [-eux] [+eux] [--] [ARG…]`
fn set(shell: &mut Shell, args: &[String]) -> Run {
    if args.len() == 1 {
        for (name, variable) in &shell.variables {
            println!("{name}='{}'", variable.value.replace('\'', "'\\''"));
        }
    }
    let mut rest = &args[1..];
    while let Some(arg) = rest.first() {
        let on = match arg.chars().next() {
            Some('-') if arg == "--" => {
                shell.params = rest[1..].to_vec();
                break;
            }
            Some('-') if arg.len() > 1 => true,
            Some('+') if arg.len() > 1 => false,
            _ => {
                shell.params = rest.to_vec();
                break;
            }
        };
        for letter in arg[1..].chars() {
            if !shell.options.switch(letter, on) {
                return Err(Unwind::Failed(format!("set: unknown option {letter}")));
            }
        }
        rest = &rest[1..];
    }
    shell.done(0)
}

fn shift(shell: &mut Shell, args: &[String]) -> Run {
    let count = args.get(1).map_or(Ok(1), |text| text.parse::<usize>());
    match count {
        Ok(count) if count <= shell.params.len() => {
            shell.params.drain(..count);
            shell.done(0)
        }
        _ => shell.failed("shift", "can't shift that many"),
    }
}

/// `trap [ACTION] SIGNAL…`: runs `ACTION` when a signal comes; `EXIT` is the end of the shell.
fn trap(shell: &mut Shell, args: &[String]) -> Run {
    let args = &args[1..];
    let args = if args.first().is_some_and(|arg| arg == "--") { &args[1..] } else { args };
    let Some((action, signals)) = args.split_first() else {
        for (signal, action) in &shell.traps {
            let name = if *signal == 0 { "EXIT" } else { SIGNALS.get(*signal as usize - 1).unwrap_or(&"?") };
            println!("trap -- '{}' {name}", action.replace('\'', "'\\''"));
        }
        return shell.done(0);
    };
    // A lone signal, or a number first, means that all of them get back their default.
    let resets = signals.is_empty() || action == "-" || action.parse::<u8>().is_ok();
    let signals = if resets && action != "-" { args } else { signals };
    for name in signals {
        let signal = if name == "EXIT" { Ok(0) } else { signal_number(name) };
        let signal = match signal {
            Ok(signal) => signal,
            Err(error) => return shell.failed("trap", error),
        };
        let disposition = match () {
            () if resets => Disposition::Default,
            () if action.is_empty() => Disposition::Ignore,
            () => Disposition::Note,
        };
        if signal != 0 {
            sys::set_signal(signal, disposition);
        }
        if resets {
            shell.traps.remove(&signal);
        } else {
            shell.traps.insert(signal, action.clone());
        }
    }
    shell.done(0)
}

fn umask(shell: &mut Shell, args: &[String]) -> Run {
    match args.get(1) {
        None => {
            let mask = sys::umask(0);
            sys::umask(mask);
            println!("{mask:04o}");
            shell.done(0)
        }
        Some(text) => match u32::from_str_radix(text, 8) {
            Ok(mask) if mask <= 0o777 => {
                sys::umask(mask);
                shell.done(0)
            }
            _ => shell.failed("umask", format!("`{text}` is not a mask")),
        },
    }
}

/// `unset [-v|-f] NAME…`
fn unset(shell: &mut Shell, args: &[String]) -> Run {
    let functions = args.get(1).is_some_and(|arg| arg == "-f");
    for name in args[1..].iter().filter(|arg| !arg.starts_with('-')) {
        if functions {
            shell.functions.remove(name);
        } else if shell.variables.get(name).is_some_and(|variable| variable.readonly) {
            return shell.failed("unset", format!("{name}: is read-only"));
        } else {
            shell.variables.remove(name);
        }
    }
    shell.done(0)
}

/// `wait [PID…]`
fn wait(shell: &mut Shell, args: &[String]) -> Run {
    if args.len() == 1 {
        for pid in std::mem::take(&mut shell.background) {
            shell.wait_for(pid);
        }
        return shell.done(0);
    }
    for arg in &args[1..] {
        let Ok(pid) = arg.parse() else { return shell.failed("wait", format!("`{arg}` is not a process")) };
        let known = shell.background.contains(&pid);
        shell.background.retain(|&other| other != pid);
        shell.status = if known { shell.wait_for(pid) } else { 127 };
    }
    Ok(())
}
