//! `monitor` commands: every lens, and what gdb has no words for. A group of commands a file.

mod process;
mod stops;
mod switches;

use std::convert::Infallible;

use gdbstub::outputln;
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd};
use inspect::{Error, HELP, Request};

use super::Stub;

/// Commands of one subject.
struct Group {
    /// How each is called, and what it does.
    rows: &'static [(&'static str, &'static str)],
    /// Does one of them; nothing, if the words do not have the form of the row.
    run: fn(&mut Stub<'_>, &[&str]) -> Option<Outcome>,
}

/// What a command prints, or why it did not do what it was asked.
type Outcome = Result<Vec<u8>, Error>;

/// The widest form that moves the others' words aside in the help.
const WIDTH: usize = 36;

/// Commands beside the lenses.
const GROUPS: [Group; 3] = [process::GROUP, stops::GROUP, switches::GROUP];

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
    fn monitor(&mut self, words: &[&str]) -> Outcome {
        let Some(&name) = words.first() else { return Ok(help().into_bytes()) };
        if words == ["help"] {
            return Ok(help().into_bytes());
        }
        for group in &GROUPS {
            if let Some((form, _)) = group.rows.iter().find(|(form, _)| form.split(' ').next() == Some(name)) {
                return (group.run)(self, words).unwrap_or_else(|| Err(usage(&format!("usage: {form}"))));
            }
        }
        let mut request = Request::from_words(words)?;
        if !words.contains(&"--cpu") {
            self.place(&mut request);
        }
        let answer = self.keeper.look(self.machine, &request)?;
        let note = answer.note.map(|note| format!("note: {note}\n")).unwrap_or_default();
        Ok([note.into_bytes(), answer.text].concat())
    }

    /// A lens that is told of no CPU looks from where gdb does: through the tables of the process
    /// that was chosen, or of the CPU that stopped the machine.
    fn place(&self, request: &mut Request) {
        match request {
            Request::Walk { cpu, pid, .. }
            | Request::Pagetable { cpu, pid }
            | Request::Disas { cpu, pid, .. }
            | Request::X { cpu, pid, .. } => {
                *cpu = self.machine.current_cpu();
                *pid = pid.or(self.view.pid);
            }
            Request::Bt { cpu } => *cpu = self.machine.current_cpu(),
            _ => {}
        }
    }
}

fn usage(text: &str) -> Error {
    Error::Usage(text.to_owned())
}

fn help() -> String {
    let own = GROUPS.iter().flat_map(|group| group.rows);
    let rows = || [("help", "this list")].iter().chain(own.clone()).chain(&HELP);
    let width = rows().map(|(usage, _)| usage.len()).filter(|&width| width <= WIDTH).max().unwrap_or(0);
    rows().map(|(usage, what)| format!("{usage:<width$}  {what}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_lens() {
        assert!(HELP.iter().all(|(usage, _)| help().contains(usage)));
    }
}
