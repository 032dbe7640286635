//! Ctrl-A c: every lens by name, on the stopped machine.

use machine::Machine;

use super::host::Surroundings;
use crate::lens;

/// What the user wants after the monitor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// The machine goes on.
    Resume,
    /// The run ends.
    Quit,
}

/// Reads commands until the user lets the machine go on.
pub fn run(machine: &mut Machine, host: &mut Surroundings) -> After {
    host.flush();
    let display = host.close_display();
    println!("\r\nThe machine is stopped. A lens by name (`help` lists them), `c` goes on, `q` quits.\r");
    let after = loop {
        let Some(line) = host.terminal().and_then(|terminal| terminal.line("(pagewalk) ")) else {
            break After::Quit;
        };
        match line.as_str() {
            "" => {}
            "c" | "cont" | "continue" | "resume" => break After::Resume,
            "q" | "quit" | "x" => break After::Quit,
            words => match lens::on_machine(machine, words) {
                Ok(text) => print!("{text}"),
                Err(e) => println!("{e}"),
            },
        }
    };
    if let Some(terminal) = host.terminal() {
        terminal.resume();
    }
    if display && after == After::Resume {
        host.open_display();
    }
    after
}
