//! `--trace exec`: every instruction.

use cpu::{Occurrence, mmu::Paging};
use iced_x86::{Decoder, DecoderOptions};
use serde_json::json;
use x86::{LinearAddr, SegReg};

use super::{
    events::{exception_words, vector_name},
    told::{Row, Told},
};
use crate::{
    Reader, Target,
    lens::{MAX_INSTRUCTION, instruction_words, symbol_at},
};

/// A CPU before it goes on.
struct Before {
    pc: u32,
    paging: Paging,
    bits: u32,
    bytes: [u8; MAX_INSTRUCTION],
    read: usize,
    retired: u64,
}

/// The function that a CPU is in.
struct Inside {
    name: String,
    since_ns: u64,
    instructions: u64,
}

/// Tells of each instruction, or iteration of a repeated one, that the machine is let run by itself.
#[derive(Default)]
pub struct ExecTrace {
    before: Vec<Before>,
    inside: Vec<Option<Inside>>,
    told: Vec<Told>,
}

impl ExecTrace {
    /// The machine is about to run one instruction, of whichever CPU.
    pub fn before(&mut self, target: &Target<'_>) {
        self.before.clear();
        self.before.extend(target.cpus.iter().map(|state| {
            let (pc, paging) = (state.pc(), state.paging());
            let mut bytes = [0; MAX_INSTRUCTION];
            let read = Reader::new(target.mem, paging).read(LinearAddr(pc), &mut bytes);
            let bits = if state.seg(SegReg::Cs).big() { 32 } else { 16 };
            Before { pc, paging, bits, bytes, read, retired: state.retired }
        }));
    }

    /// It has, unless it stopped before; what else happened meanwhile is in `occurrences`.
    pub fn after(&mut self, target: &Target<'_>, now_ns: u64, occurrences: &[Occurrence]) {
        for (number, (before, state)) in self.before.iter().zip(&target.cpus).enumerate() {
            if state.retired == before.retired {
                continue;
            }
            let at_ns = now_ns.saturating_sub(state.retired - before.retired);
            let symbol = symbol_at(target, before.paging, LinearAddr(before.pc));
            let delivered = occurrences.iter().find_map(|occurrence| match occurrence {
                Occurrence::Delivered { vector } => Some(*vector),
                _ => None,
            });
            let raised = occurrences.iter().find_map(|occurrence| match occurrence {
                Occurrence::Exception(exception) => Some(*exception),
                _ => None,
            });
            let words = match (raised, delivered) {
                (Some(exception), _) => format!("{}  ! {}", before.words(), exception_words(exception)),
                (None, Some(vector)) => format!("(takes {})", vector_name(vector)),
                (None, None) => before.words(),
            };
            let place = symbol.as_ref().map_or(String::new(), |symbol| format!(" <{symbol}>"));
            let line = format!("{at_ns} CPU {number} {:08x}{place}  {words}", before.pc);
            self.told.push(Told::line(at_ns, &line));
            if self.inside.len() <= number {
                self.inside.resize_with(number + 1, || None);
            }
            let name = symbol.unwrap_or_else(|| "(no symbol)".to_owned());
            let name = name.rsplit_once('+').map_or(name.as_str(), |(name, _)| name);
            let inside = &mut self.inside[number];
            match inside {
                Some(inside) if inside.name == name => inside.instructions += 1,
                _ => {
                    let next = Inside { name: name.to_owned(), since_ns: at_ns, instructions: 1 };
                    self.told.extend(inside.replace(next).map(|left| left.bar(at_ns, number)));
                }
            }
        }
    }

    /// What there is to tell since the last call.
    pub fn take(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// The run has ended.
    pub fn finish(&mut self, now_ns: u64) {
        let inside = std::mem::take(&mut self.inside).into_iter().enumerate();
        self.told.extend(inside.filter_map(|(number, inside)| inside.map(|inside| inside.bar(now_ns, number))));
    }
}

impl Before {
    fn words(&self) -> String {
        let bytes = &self.bytes[..self.read];
        let insn = Decoder::with_ip(self.bits, bytes, u64::from(self.pc), DecoderOptions::NONE).decode();
        if insn.is_invalid() { "(not readable)".to_owned() } else { instruction_words(&insn) }
    }
}

impl Inside {
    fn bar(self, now_ns: u64, number: usize) -> Told {
        let args = json!({ "instructions": self.instructions });
        Told::span([self.since_ns, now_ns], Row::Code(number as u8), "exec", &self.name, args)
    }
}
