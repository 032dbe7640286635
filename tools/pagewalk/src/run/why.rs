//! The fault explainer of a run: tells of each fault that the guest's kernel does not resolve, when it says so.

use std::io::{IsTerminal, Write};

use inspect::why::{Points, explanation, last_seen};
use machine::{Explanation, Machine, Notice, Stop, Unresolved, Verdict};

use crate::lens::Known;

/// Faults of one run that are told in full; what comes after is named and no more, so that a program that
/// dies in each of a thousand processes stays readable.
const TOLD: u32 = 8;

/// What is known of a run's kernel, and how much was told.
#[derive(Default)]
pub struct Explainer {
    points: Option<Points>,
    /// Read at the first fault.
    known: Option<Known>,
    told: u32,
}

impl Explainer {
    /// Has the machine tell of the faults that its kernel names.
    pub fn begin(machine: &mut Machine) -> Self {
        let points = machine.boot_images().kernel().and_then(|image| Points::of_elf(&image.bytes));
        points.iter().flat_map(Points::places).for_each(|place| machine.tell_at(place));
        Explainer { points, ..Explainer::default() }
    }

    /// What there is to say of something that the machine noticed.
    pub fn noticed(&mut self, machine: &mut Machine, notice: Notice) -> Option<String> {
        let known = self.known.get_or_insert_with(|| Known::of(machine));
        let found = known.look(machine, |target| match notice {
            Notice::Place(place) => self.points?.unresolved(target, place),
            Notice::DoubleFault { .. } => {
                // A third fault ends the run, and is told of then.
                last_seen(target).filter(|fault| fault.verdict == Verdict::DoubleFault)
            }
        });
        let fault = found?;
        if is_the_end_of(machine.unresolved(), &fault) {
            return None;
        }
        // A program that handles its faults may have many: it is explained when somebody asks.
        if matches!(fault.verdict, Verdict::Signal { is_handled: true, .. }) {
            machine.keep_unresolved(fault);
            return None;
        }
        self.explain(machine, fault)
    }

    /// What there is to say at the end of a run: of a processor that shut down.
    pub fn end(&mut self, machine: &mut Machine, stop: Stop) -> Option<String> {
        if !matches!(stop, Stop::TripleFault { .. }) {
            return None;
        }
        let known = self.known.get_or_insert_with(|| Known::of(machine));
        let fault = known.look(machine, last_seen)?;
        self.explain(machine, fault)
    }

    /// Finds the words for a fault that nobody has asked about, before the machine is saved.
    pub fn keep(&mut self, machine: &mut Machine) {
        if machine.explanation().is_some() {
            return;
        }
        let known = self.known.get_or_insert_with(|| Known::of(machine));
        let words = known.look(machine, |target| {
            let fault = target.unresolved.cloned().or_else(|| last_seen(target))?;
            Some(explanation(target, &fault))
        });
        if let Some(words) = words {
            machine.keep_explanation(words);
        }
    }

    fn explain(&mut self, machine: &mut Machine, fault: Unresolved) -> Option<String> {
        let known = self.known.get_or_insert_with(|| Known::of(machine));
        let words = known.look(machine, |target| explanation(target, &fault));
        machine.keep_unresolved(fault);
        machine.keep_explanation(words.clone());
        self.told += 1;
        let Explanation { text, .. } = words;
        match self.told.saturating_sub(TOLD) {
            0 => Some(text),
            1 => {
                Some(format!("{}\n  (of further faults of this run only the first line is told)\n", first_line(&text)))
            }
            _ => Some(format!("{}\n", first_line(&text))),
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The kernel's panic is only the end of what was told of already.
fn is_the_end_of(last: Option<&Unresolved>, fault: &Unresolved) -> bool {
    let of_kernel = |last: &Unresolved| matches!(last.verdict, Verdict::Oops | Verdict::DoubleFault);
    matches!(fault.verdict, Verdict::Panic(_)) && last.is_some_and(|last| of_kernel(last) && last.cpu == fault.cpu)
}

/// Prints what was said, with colour on a terminal only.
pub fn print(text: &str) {
    let mut err = std::io::stderr();
    let text = if err.is_terminal() { coloured(text) } else { text.to_owned() };
    let _ = write!(err, "pagewalk: {text}");
}

/// The first line bold, and what refused red.
fn coloured(text: &str) -> String {
    const BOLD: &str = "\x1b[1m";
    const RED: &str = "\x1b[31m";
    const PLAIN: &str = "\x1b[0m";
    let mut out = String::new();
    for (number, line) in text.lines().enumerate() {
        match (number, line.split_once("   <- ")) {
            (0, _) => out += &format!("{BOLD}{line}{PLAIN}\n"),
            (_, Some((before, why))) => out += &format!("{before}   {RED}<- {why}{PLAIN}\n"),
            _ => out += &format!("{line}\n"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_marks_the_first_line_and_what_refused() {
        let text = coloured("CPU 0: x\n  PTE      y   <- refuses: P = 0\n  TLB      z\n");
        assert_eq!(text, "\x1b[1mCPU 0: x\x1b[0m\n  PTE      y   \x1b[31m<- refuses: P = 0\x1b[0m\n  TLB      z\n");
    }
}
