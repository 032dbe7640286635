//! Runs cases on both processors and adds up what they say.

use std::collections::BTreeMap;

use iced_x86::{InstructionInfoFactory, Register};
use x86::SegReg;

use crate::{
    aim, catalogue,
    catalogue::Catalogue,
    compare,
    compare::Comparison,
    forms,
    generate::{Case, Generator},
    line::{self, Line},
    native::{self, Native},
    ours::{Ours, Pace},
    random::Random,
    state::{DATA, DATA_LEN, End, Outcome, State, TF},
    table::Table,
    text,
};

/// Both processors and a source of cases.
pub struct Run {
    native: Native,
    engines: [Ours; 3],
    generator: Generator,
    random: Random,
    data: Vec<u8>,
}

impl Run {
    /// From `seed`.
    ///
    /// # Errors
    /// What the host lacks, in words that follow "needs".
    pub fn new(seed: u64) -> Result<Run, &'static str> {
        let native = Native::new()?;
        let mut engines = [Pace::Slow, Pace::One, Pace::Block].map(Ours::new);
        let generator = Generator::new(Catalogue::new(&mut engines[0]));
        Ok(Run { native, engines, generator, random: Random::new(seed), data: vec![0; DATA_LEN] })
    }

    /// The cases' source.
    pub fn generator(&mut self) -> &mut Generator {
        &mut self.generator
    }

    /// Tries `cases` cases of instructions whose name begins with `only`.
    pub fn go(&mut self, cases: u64, only: &str, table: &mut Table) {
        let mut tried = 0;
        while tried < cases {
            let case = self.generator.next(&mut self.random);
            if !format!("{:?}", case.code()).to_lowercase().starts_with(only) {
                continue;
            }
            self.refill();
            line::patch(&mut self.data, &case.patches);
            let ours = &mut self.engines[tried as usize % 3];
            let found = ours.run(&case.bytes, &case.state, &self.data, case.iterations());
            if native::is_runner(found.end) {
                continue;
            }
            tried += 1;
            let expected = self.native.run(&case.bytes, &case.state, &self.data, case.is_fast());
            let row = table.rows.entry(catalogue::family(case.code()).to_owned()).or_default();
            *row.forms.entry(format!("{:?}/{}", case.code(), case.state.bits())).or_default() += 1;
            row.faults += u64::from(matches!(expected.end, End::Fault { .. }));
            match compare::compare(&case, &self.data, &expected, &found) {
                Comparison::Equal => {}
                Comparison::Excused(why) => *table.excused.entry(why.to_owned()).or_default() += 1,
                Comparison::Different(what) => {
                    row.differences += 1;
                    let key = format!("{:?}", case.code());
                    if !table.differences.contains_key(&key) {
                        let line = self.line(&case);
                        table.differences.insert(key.clone(), (0, what, line.print()));
                    }
                    table.differences.get_mut(&key).expect("just inserted").0 += 1;
                }
            }
        }
    }

    /// One line of data for each of the next `count` cases of instructions whose name begins with `only`.
    pub fn lines(&mut self, count: u64, only: &str) -> Vec<(&'static str, Line)> {
        let mut lines = Vec::new();
        while (lines.len() as u64) < count {
            let mut case = self.generator.next(&mut self.random);
            if !format!("{:?}", case.code()).to_lowercase().starts_with(only) {
                continue;
            }
            self.refill();
            line::patch(&mut self.data, &case.patches);
            simplify(&mut case);
            let line = self.line(&case);
            let ours = &mut self.engines[0];
            let found = ours.run(&line.bytes, &line.before, &line.data(), case.iterations());
            if line.difference(&found).is_none() {
                lines.push((catalogue::family(case.code()), line));
            }
        }
        lines
    }

    /// Runs a line `times` times on the host and once by each of our engines; who left what that the line does not
    /// say, in words.
    pub fn replay(&mut self, line: &Line, times: u32) -> Vec<String> {
        let instruction = forms::decode(line.bits, &line.bytes, line.before.eip);
        let case = Case { bytes: line.bytes.clone(), instruction, state: line.before.clone(), patches: Vec::new() };
        let data = line.data();
        let mut told: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..times {
            let mut found = self.native.run(&case.bytes, &case.state, &data, case.is_fast());
            // The way by signals sets it.
            found.state.eflags &= !TF | line.before.eflags;
            if line.difference(&found).is_some() {
                let mut as_found = Line { text: text(&instruction), ..line.clone() };
                as_found.finish(&found);
                *told.entry(as_found.print()).or_default() += 1;
            }
        }
        let host = told.into_iter().map(|(line, count)| format!("the host, {count} of {times}: {line}"));
        let mut words: Vec<String> = host.collect();
        for ours in &mut self.engines {
            let found = ours.run(&case.bytes, &case.state, &data, case.iterations());
            if let Some(what) = line.difference(&found) {
                words.push(format!("we, by {:?}: {what}", ours.pace()));
            }
        }
        words
    }

    /// The case as a line of data, with the memory that it reads and what the host's processor makes of it.
    pub fn line(&mut self, case: &Case) -> Line {
        let mut line = Line {
            bits: case.state.bits(),
            bytes: case.bytes.clone(),
            text: text(&case.instruction),
            before: case.state.clone(),
            memory: read_memory(case, &self.data),
            end: End::Retired,
            after: State::plain(),
            changed: Vec::new(),
            undefined: case.instruction.rflags_undefined() != 0,
        };
        let outcome: Outcome = self.native.run(&case.bytes, &case.state, &line.data(), case.is_fast());
        line.finish(&outcome);
        line
    }

    /// Some fresh data: numbers here and there.
    fn refill(&mut self) {
        for _ in 0..8 {
            let at = self.random.below(DATA_LEN as u64 - 16) as usize;
            let number = crate::state::xmm(&mut self.random).to_le_bytes();
            self.data[at..at + 16].copy_from_slice(&number);
        }
    }
}

/// Makes plain what the instruction has nothing to do with, so that a line shows what matters.
fn simplify(case: &mut Case) {
    let mut info = InstructionInfoFactory::new();
    let used: Vec<Register> =
        info.info(&case.instruction).used_registers().iter().map(|used| used.register()).collect();
    let plain = State::plain();
    let state = &mut case.state;
    let stack = case.instruction.is_stack_instruction();
    for i in 0..8 {
        let gpr = |reg: &Register| reg.is_gpr() && reg.full_register32().number() == i;
        if !(used.iter().any(gpr) || i == 4 && stack) {
            state.gpr[i] = 0;
        }
        if !used.iter().any(|reg| reg.is_xmm() && reg.number() == i) {
            state.xmm[i] = 0;
        }
    }
    for i in [SegReg::Es, SegReg::Ds, SegReg::Fs, SegReg::Gs].map(|reg| reg as usize) {
        if !used.iter().any(|reg| reg.is_segment_register() && reg.number() == i) {
            state.seg[i] = plain.seg[i];
        }
    }
    let floating = matches!(catalogue::family(case.instruction.code()), "x87" | "MMX")
        || used.iter().any(|reg| reg.is_mm() || reg.is_st());
    if !floating {
        (state.control, state.status, state.tag, state.st) = (plain.control, plain.status, plain.tag, plain.st);
    }
    if !used.iter().any(|reg| reg.is_xmm()) {
        state.mxcsr = plain.mxcsr;
    }
    state.eflags &= !TF;
    if !case.is_fast() {
        case.state.eflags |= TF;
    }
}

/// The bytes of the data that an instruction may read, without zeros at the ends.
fn read_memory(case: &Case, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut info = InstructionInfoFactory::new();
    let mut memory = Vec::new();
    let state = &case.state;
    for used in info.info(&case.instruction).used_memory() {
        let addr = used.virtual_address(0, |reg, _, _| {
            Some(match reg {
                _ if reg.is_segment_register() => crate::segments::base(state.seg[reg.number()]).into(),
                _ if reg.is_gpr16() => (state.gpr[reg.number()] & 0xffff).into(),
                _ if reg.is_gpr32() => state.gpr[reg.number()].into(),
                _ => 0,
            })
        });
        let size = used.memory_size().size().max(8);
        let size = if case.iterations() > 1 { size * 64 } else { size };
        let from = (addr.unwrap_or(0) as u32).wrapping_sub(DATA) as usize;
        push(&mut memory, data, from, size);
    }
    if matches!(case.instruction.mnemonic(), iced_x86::Mnemonic::Fxrstor) {
        push(&mut memory, data, aim::linear(&case.instruction, state).wrapping_sub(DATA) as usize, 512);
    }
    memory.extend(case.patches.iter().cloned());
    memory
}

fn push(memory: &mut Vec<(u32, Vec<u8>)>, data: &[u8], from: usize, size: usize) {
    let bytes: Vec<u8> = data.iter().skip(from.min(data.len())).take(size).copied().collect();
    let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if len > 0 {
        memory.push((DATA + from as u32, bytes[..len].to_vec()));
    }
}
