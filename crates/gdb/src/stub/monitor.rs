//! `monitor` commands: every lens, and what gdb has no words for.

use std::convert::Infallible;

use gdbstub::outputln;
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd};
use inspect::{Books, Error, HELP, Request, look, parse_address};

use super::Stub;
use super::breakpoints::Condition;

/// Commands beside the lenses.
const OWN: [(&str, &str); 7] = [
    ("help", "this list"),
    ("proc [N]", "the process whose files and user memory gdb sees; without N, the automatic choice"),
    ("break ADDR [pid=N] [cr3=HEX] [ring=N] [cpu=N]", "a breakpoint with conditions that cost nothing while they fail"),
    ("unbreak ADDR", "takes it away"),
    ("break-any on|off", "breakpoints in user space stop in every process, not in the debugged program only"),
    ("step-kernel on|off", "a step follows the CPU into the kernel at an interrupt, fault or system call"),
    ("phys on|off", "memory is read and written by physical address"),
];

impl MonitorCmd for Stub<'_> {
    fn handle_monitor_cmd(&mut self, command: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Infallible> {
        let command = String::from_utf8_lossy(command);
        let words: Vec<&str> = command.split_whitespace().collect();
        match self.monitor(&words) {
            Ok(text) => out.write_raw(&text),
            Err(error) => outputln!(out, "{error}"),
        }
        Ok(())
    }
}

impl Stub<'_> {
    fn monitor(&mut self, words: &[&str]) -> Result<Vec<u8>, Error> {
        match words {
            [] | ["help"] => Ok(help().into_bytes()),
            ["proc"] => {
                self.view.pid = None;
                Ok(self.say_process())
            }
            ["proc", pid] => {
                let pid: u32 = pid.parse().map_err(|_| usage("proc: give a process number"))?;
                Books::of(&self.target())?.task(pid)?;
                self.view.pid = Some(pid);
                Ok(self.say_process())
            }
            ["break", addr, conditions @ ..] => {
                let condition = parse_condition(conditions)?;
                let addr = parse_address(&self.target(), 0, addr)?.linear.0;
                self.change_breakpoint(addr, |wishes| wishes.monitor = Some(condition));
                Ok(format!("breakpoint at {addr:#010x}\n").into_bytes())
            }
            ["unbreak", addr] => {
                let addr = parse_address(&self.target(), 0, addr)?.linear.0;
                self.change_breakpoint(addr, |wishes| wishes.monitor = None);
                Ok(Vec::new())
            }
            ["break-any", word] => switch(&mut self.view.break_any, word),
            ["step-kernel", word] => switch(&mut self.view.step_kernel, word),
            ["phys", word] => switch(&mut self.view.physical, word),
            [name, ..] if OWN.iter().any(|(usage, _)| usage.split(' ').next() == Some(*name)) => {
                let form = OWN.iter().find(|(usage, _)| usage.starts_with(name)).map_or("", |(usage, _)| usage);
                Err(usage(&format!("usage: {form}")))
            }
            words => look(&self.target(), &Request::from_words(words)?).map(|answer| answer.text),
        }
    }

    fn say_process(&self) -> Vec<u8> {
        let how = if self.view.pid.is_some() { "chosen" } else { "automatic" };
        match self.viewed_process() {
            Some(pid) => format!("process {pid} ({how})\n").into_bytes(),
            None => format!("no process ({how})\n").into_bytes(),
        }
    }
}

fn usage(text: &str) -> Error {
    Error::Usage(text.to_owned())
}

fn help() -> String {
    let line = |(usage, what): &(&str, &str)| format!("{usage:<36} {what}\n");
    OWN.iter().chain(&HELP).map(line).collect()
}

fn switch(flag: &mut bool, word: &str) -> Result<Vec<u8>, Error> {
    *flag = match word {
        "on" => true,
        "off" => false,
        _ => return Err(usage("give on or off")),
    };
    Ok(Vec::new())
}

fn parse_condition(words: &[&str]) -> Result<Condition, Error> {
    let mut condition = Condition::default();
    for word in words {
        let bad = || usage(&format!("break: `{word}` is none of pid=N, cr3=HEX, ring=N, cpu=N"));
        let (name, value) = word.split_once('=').ok_or_else(bad)?;
        match name {
            "pid" => condition.pid = Some(value.parse().map_err(|_| bad())?),
            "cr3" => {
                let digits = value.strip_prefix("0x").unwrap_or(value);
                condition.cr3 = Some(u32::from_str_radix(digits, 16).map_err(|_| bad())?);
            }
            "ring" => condition.ring = Some(value.parse().map_err(|_| bad())?),
            "cpu" => condition.cpu = Some(value.parse().map_err(|_| bad())?),
            _ => return Err(bad()),
        }
    }
    Ok(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_refused() {
        let want = Condition { pid: Some(3), cr3: Some(0x1f3d000), ring: Some(0), cpu: None };
        assert_eq!(parse_condition(&["pid=3", "cr3=0x01f3d000", "ring=0"]), Ok(want));
        for bad in ["pid", "pid=x", "color=3"] {
            assert!(parse_condition(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_help_lists_every_lens() {
        assert!(HELP.iter().all(|(usage, _)| help().contains(usage)));
    }
}
