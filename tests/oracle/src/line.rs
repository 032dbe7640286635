//! Instruction cases as data, one a line: `bits | bytes | text | before => after`.
//!
//! What is before differs from [`State::plain`] and from memory full of zeros; what is after differs from
//! before. EIP is told only if it is not that behind the instruction (or, after an exception, at it).
//! `[address]=bytes` is memory, `#GP(18)` an exception with its error code and `cr2=` its address, all in hexadecimal.
//! A last word `UNDEFINED` says that the manual leaves part of the result open; it is that of the silicon
//! we tested on, and ours.

use std::fmt::Write;

use crate::{
    forms, generate,
    state::{DATA, DATA_LEN, End, LastX87, Outcome, State},
};

/// One case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Default size of the code segment.
    pub bits: u32,
    /// The instruction.
    pub bytes: Vec<u8>,
    /// In assembly.
    pub text: String,
    /// What it starts from.
    pub before: State,
    /// Memory that is not 0.
    pub memory: Vec<(u32, Vec<u8>)>,
    /// How it ends.
    pub end: End,
    /// The registers then.
    pub after: State,
    /// Memory that has changed.
    pub changed: Vec<(u32, Vec<u8>)>,
    /// Part of it is undefined.
    pub undefined: bool,
}

const GPR: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
const SEG: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];
const EXCEPTIONS: [(&str, u8); 15] = [
    ("DE", 0),
    ("DB", 1),
    ("BP", 3),
    ("OF", 4),
    ("BR", 5),
    ("UD", 6),
    ("NM", 7),
    ("TS", 10),
    ("NP", 11),
    ("SS", 12),
    ("GP", 13),
    ("PF", 14),
    ("MF", 16),
    ("AC", 17),
    ("XM", 19),
];

impl Line {
    /// The data that it starts from.
    pub fn data(&self) -> Vec<u8> {
        let mut data = vec![0; DATA_LEN];
        patch(&mut data, &self.memory);
        data
    }

    /// Fills in what the instruction did; a line does not say what the FPU keeps of it.
    pub fn finish(&mut self, outcome: &Outcome) {
        self.end = outcome.end;
        self.after = State { last: LastX87::default(), ..outcome.state.clone() };
        self.changed = differences(&self.data(), &outcome.data);
    }

    /// How many iterations it may take, if it repeats.
    pub fn iterations(&self) -> u64 {
        let instruction = forms::decode(self.bits, &self.bytes, self.before.eip);
        generate::iterations(&instruction, &self.before)
    }

    /// What differs from the case's end, in words.
    pub fn difference(&self, found: &Outcome) -> Option<String> {
        let mut line = self.clone();
        line.finish(found);
        // The resume flag is cleared at different moments of a fault's delivery.
        line.after.eflags = line.after.eflags & !RF | self.after.eflags & RF;
        (line != *self).then(|| line.print().rsplit("=> ").next().unwrap_or_default().to_owned())
    }

    fn expected_eip(&self) -> u32 {
        let retired = matches!(self.end, End::Retired);
        self.before.eip.wrapping_add(if retired { self.bytes.len() as u32 } else { 0 })
    }

    /// As text.
    pub fn print(&self) -> String {
        let bytes: Vec<String> = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut line = format!("{} | {} | {} |", self.bits, bytes.join(" "), self.text);
        registers(&mut line, &State::plain(), &self.before, State::plain().eip);
        memory(&mut line, &self.memory);
        line.push_str(" =>");
        if let End::Fault { vector, code, addr } = self.end {
            let name = EXCEPTIONS.iter().find(|(_, v)| *v == vector).map_or("??", |(name, _)| name);
            _ = write!(line, " #{name}");
            if matches!(vector, 8 | 10..=14 | 17) {
                _ = write!(line, "({code:x})");
            }
            if vector == 14 {
                _ = write!(line, " cr2={addr:x}");
            }
        }
        registers(&mut line, &self.before, &self.after, self.expected_eip());
        memory(&mut line, &self.changed);
        if self.undefined {
            line.push_str(" UNDEFINED");
        }
        line
    }

    /// From text.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn parse(text: &str) -> Result<Line, String> {
        let fields: Vec<&str> = text.splitn(4, '|').map(str::trim).collect();
        let [bits, bytes, name, rest] = fields[..] else { return Err("not four fields between |".to_owned()) };
        let (before, after) = rest.split_once("=>").ok_or("no =>")?;
        let bytes = bytes.split_whitespace().map(|byte| hex(byte).map(|byte| byte as u8)).collect::<Result<_, _>>()?;
        let mut line = Line {
            bits: bits.parse().map_err(|_| format!("{bits} is no size of code"))?,
            bytes,
            text: name.to_owned(),
            before: State::plain(),
            memory: Vec::new(),
            end: End::Retired,
            after: State::plain(),
            changed: Vec::new(),
            undefined: false,
        };
        for word in before.split_whitespace() {
            assign(&mut line.before, &mut line.memory, word)?;
        }
        line.after = line.before.clone();
        let mut eip = None;
        for word in after.split_whitespace() {
            if word == "UNDEFINED" {
                line.undefined = true;
            } else if let Some(exception) = word.strip_prefix('#') {
                line.end = exception_named(exception)?;
            } else if let (Some(value), End::Fault { addr, .. }) = (word.strip_prefix("cr2="), &mut line.end) {
                *addr = hex(value)? as u32;
            } else {
                assign(&mut line.after, &mut line.changed, word)?;
                eip = word.starts_with("eip=").then_some(line.after.eip).or(eip);
            }
        }
        line.after.eip = eip.unwrap_or_else(|| line.expected_eip());
        Ok(line)
    }
}

const RF: u32 = 1 << 16;

fn exception_named(word: &str) -> Result<End, String> {
    let (name, code) = word.split_once('(').unwrap_or((word, "0)"));
    let vector = EXCEPTIONS.iter().find(|(n, _)| *n == name).ok_or_else(|| format!("#{name} is no exception"))?.1;
    Ok(End::Fault { vector, code: hex(code.trim_end_matches(')'))? as u32, addr: 0 })
}

fn hex(word: &str) -> Result<u128, String> {
    u128::from_str_radix(word, 16).map_err(|_| format!("{word} is no hexadecimal number"))
}

fn assign(state: &mut State, memory: &mut Vec<(u32, Vec<u8>)>, word: &str) -> Result<(), String> {
    let (key, value) = word.split_once('=').ok_or_else(|| format!("{word} assigns nothing"))?;
    if let Some(addr) = key.strip_prefix('[') {
        let digits: Vec<char> = value.chars().collect();
        let bytes = digits.chunks(2).map(|pair| hex(&pair.iter().collect::<String>()).map(|byte| byte as u8));
        memory.push((hex(addr.trim_end_matches(']'))? as u32, bytes.collect::<Result<_, _>>()?));
        return Ok(());
    }
    if let Some(i) = key.strip_prefix("st").and_then(|i| i.parse::<usize>().ok()).filter(|&i| i < 8) {
        let (high, low) = value.split_once(':').ok_or_else(|| format!("{word} has no :"))?;
        state.st[i] = (hex(low)? as u64, hex(high)? as u16);
        return Ok(());
    }
    let number = hex(value)?;
    if let Some(i) = GPR.iter().position(|name| *name == key) {
        state.gpr[i] = number as u32;
    } else if let Some(i) = SEG.iter().position(|name| *name == key) {
        state.seg[i] = number as u16;
    } else if let Some(i) = key.strip_prefix("xmm").and_then(|i| i.parse::<usize>().ok()).filter(|&i| i < 8) {
        state.xmm[i] = number;
    } else {
        match key {
            "eip" => state.eip = number as u32,
            "eflags" => state.eflags = number as u32,
            "fcw" => state.control = number as u16,
            "fsw" => state.status = number as u16,
            "ftw" => state.tag = number as u8,
            "mxcsr" => state.mxcsr = number as u32,
            _ => return Err(format!("{key} is no register")),
        }
    }
    Ok(())
}

fn registers(line: &mut String, from: &State, to: &State, eip: u32) {
    for (i, name) in GPR.iter().enumerate().filter(|&(i, _)| from.gpr[i] != to.gpr[i]) {
        _ = write!(line, " {name}={:x}", to.gpr[i]);
    }
    if to.eip != eip {
        _ = write!(line, " eip={:x}", to.eip);
    }
    if from.eflags != to.eflags {
        _ = write!(line, " eflags={:x}", to.eflags);
    }
    for (i, name) in SEG.iter().enumerate().filter(|&(i, _)| from.seg[i] != to.seg[i]) {
        _ = write!(line, " {name}={:x}", to.seg[i]);
    }
    for (name, from, to) in [
        ("fcw", u32::from(from.control), u32::from(to.control)),
        ("fsw", from.status.into(), to.status.into()),
        ("ftw", from.tag.into(), to.tag.into()),
        ("mxcsr", from.mxcsr, to.mxcsr),
    ] {
        if from != to {
            _ = write!(line, " {name}={to:x}");
        }
    }
    for i in (0..8).filter(|&i| from.st[i] != to.st[i]) {
        _ = write!(line, " st{i}={:x}:{:x}", to.st[i].1, to.st[i].0);
    }
    for i in (0..8).filter(|&i| from.xmm[i] != to.xmm[i]) {
        _ = write!(line, " xmm{i}={:x}", to.xmm[i]);
    }
}

fn memory(line: &mut String, patches: &[(u32, Vec<u8>)]) {
    for (addr, bytes) in patches {
        _ = write!(line, " [{addr:x}]=");
        for byte in bytes {
            _ = write!(line, "{byte:02x}");
        }
    }
}

/// Writes what of `patches` lies in the data.
pub fn patch(data: &mut [u8], patches: &[(u32, Vec<u8>)]) {
    for (addr, bytes) in patches {
        for (i, &byte) in bytes.iter().enumerate() {
            if let Some(place) = data.get_mut(addr.wrapping_add(i as u32).wrapping_sub(DATA) as usize) {
                *place = byte;
            }
        }
    }
}

/// Runs of bytes that differ.
fn differences(before: &[u8], after: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut runs: Vec<(u32, Vec<u8>)> = Vec::new();
    for (i, (old, new)) in before.iter().zip(after).enumerate() {
        if old == new {
            continue;
        }
        let addr = DATA + i as u32;
        match runs.last_mut() {
            Some((start, bytes)) if *start + bytes.len() as u32 == addr => bytes.push(*new),
            _ => runs.push((addr, vec![*new])),
        }
    }
    runs
}
