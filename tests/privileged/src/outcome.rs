//! What the monitor says of a case.

use std::{collections::BTreeMap, fmt::Write};

use super::layout::{WORD_NAMES, at};

/// The lines of one run, put together from pieces; whatever a display library says between them is dropped.
#[derive(Default)]
pub struct Lines {
    /// By number of the case.
    pub of: BTreeMap<u32, String>,
    rest: Vec<u8>,
}

impl Lines {
    /// The next piece of output.
    pub fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = self.rest.split_off(end + 1);
        for line in std::mem::replace(&mut self.rest, rest).split(|byte| *byte == b'\n') {
            let Some(start) = line.iter().position(|byte| *byte == b'~') else { continue };
            let line = String::from_utf8_lossy(&line[start + 1..]).trim_end().to_owned();
            if let Some((number, text)) = line.split_once(' ')
                && let Ok(number) = u32::from_str_radix(number, 16)
            {
                self.of.insert(number, text.to_owned());
            }
        }
    }
}

/// A line, taken apart.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The case ended in a reset.
    pub reset: bool,
    /// Words of state that changed, by index.
    pub words: BTreeMap<usize, u32>,
    /// Doublewords of the arena that changed, by offset.
    pub arena: BTreeMap<u32, u32>,
}

impl Outcome {
    /// `None` if the line is no line of the monitor's.
    pub fn parse(line: &str) -> Option<Outcome> {
        let mut outcome = Outcome::default();
        if line == "R" {
            outcome.reset = true;
            return Some(outcome);
        }
        let (words, arena) = line.split_once('|')?;
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        for item in pieces(words, 10)? {
            outcome.words.insert(hex(&item[..2])? as usize, hex(&item[2..])?);
        }
        for item in pieces(arena, 12)? {
            outcome.arena.insert(hex(&item[..4])? * 4, hex(&item[4..])?);
        }
        Some(outcome)
    }

    /// The exception or interrupt that ended the case.
    pub fn vector(&self) -> Option<u32> {
        self.words.get(&0).copied()
    }

    /// In words.
    pub fn text(&self) -> String {
        if self.reset {
            return "reset".to_owned();
        }
        let mut text = String::new();
        for (index, value) in &self.words {
            let _ = write!(text, "{}={value:x} ", WORD_NAMES.get(*index).unwrap_or(&"?"));
        }
        for (offset, value) in &self.arena {
            let _ = write!(text, "{}={value:08x} ", place(*offset));
        }
        text
    }

    /// Where the two differ: names with both values.
    pub fn differences(&self, other: &Outcome) -> Vec<(String, Option<u32>, Option<u32>)> {
        let mut found = Vec::new();
        if self.reset != other.reset {
            found.push(("reset".to_owned(), Some(self.reset.into()), Some(other.reset.into())));
        }
        for index in self.words.keys().chain(other.words.keys()) {
            let (a, b) = (self.words.get(index), other.words.get(index));
            let name = WORD_NAMES.get(*index).unwrap_or(&"?").to_string();
            if a != b && !found.iter().any(|(known, ..)| *known == name) {
                found.push((name, a.copied(), b.copied()));
            }
        }
        for offset in self.arena.keys().chain(other.arena.keys()) {
            let (a, b) = (self.arena.get(offset), other.arena.get(offset));
            let name = place(*offset);
            if a != b && !found.iter().any(|(known, ..)| *known == name) {
                found.push((name, a.copied(), b.copied()));
            }
        }
        found
    }
}

fn pieces(text: &str, len: usize) -> Option<Vec<&str>> {
    if !text.is_ascii() || !text.len().is_multiple_of(len) {
        return None;
    }
    Some((0..text.len() / len).map(|i| &text[i * len..(i + 1) * len]).collect())
}

/// A doubleword of the arena by name.
pub fn place(offset: u32) -> String {
    let (name, start) = match offset {
        at::GDT..at::LDT => ("gdt", at::GDT),
        at::LDT..at::TSS => ("ldt", at::LDT),
        at::TSS..at::OTHER_TSS => ("tss", at::TSS),
        at::OTHER_TSS..at::OPERANDS => ("task", at::OTHER_TSS),
        at::OPERANDS..at::IDT => ("mem", 0),
        at::IDT..at::PAGING => ("idt", at::IDT),
        at::PAGING..at::CODE => ("paging", at::PAGING),
        at::CODE..at::STACKS => ("mem", 0),
        _ => ("stack", at::STACKS),
    };
    format!("{name}+{:x}", offset - start)
}
