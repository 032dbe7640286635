//! Instructions and memory.

use cpu::CpuState;
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};
use serde_json::json;
use x86::{LinearAddr, SegReg};

use super::{Answer, reader, symbol_at};
use crate::address::parse_address;
use crate::{Error, Reader, Result, Target};

/// Bytes of the longest instruction.
pub(crate) const MAX_INSTRUCTION: usize = 15;

/// `count` instructions from an address on, 16-bit or 32-bit as the CPU's CS is.
pub fn disas(target: &Target<'_>, addr: &str, count: u32, cpu: usize, pid: Option<u32>) -> Result<Answer> {
    let state = target.cpu(cpu)?;
    let start = parse_address(target, cpu, addr)?.linear;
    let memory = reader(target, cpu, pid)?;
    let paging = super::paging(target, cpu, pid)?;
    let bits = if pid.is_some() || state.seg(SegReg::Cs).big() { 32 } else { 16 };
    let mut formatter = intel();
    let mut text = String::new();
    let mut rows = Vec::new();
    let mut at = start;
    for _ in 0..count {
        let mut bytes = [0; MAX_INSTRUCTION];
        let read = memory.read(at, &mut bytes);
        if read == 0 {
            if rows.is_empty() {
                return Err(Error::Unmapped(at));
            }
            text += &format!("{:08x}  (not mapped)\n", at.0);
            break;
        }
        let mut insn = Instruction::default();
        Decoder::with_ip(bits, &bytes[..read], u64::from(at.0), DecoderOptions::NONE).decode_out(&mut insn);
        let len = if insn.is_invalid() { 1 } else { insn.len() };
        let mut words = String::new();
        match insn.is_invalid() {
            true => words += "(bad)",
            false => formatter.format(&insn, &mut words),
        }
        let target_symbol = branch_target(&insn).and_then(|to| symbol_at(target, paging, LinearAddr(to)));
        let comment = target_symbol.map_or(String::new(), |name| format!("  ; {name}"));
        let hex: String = bytes[..len].iter().map(|byte| format!("{byte:02x} ")).collect();
        let symbol = symbol_at(target, paging, at);
        if let Some(name) = symbol.as_deref().filter(|name| !name.contains('+') || rows.is_empty()) {
            text += &format!("<{name}>:\n");
        }
        let here = if at.0 == state.pc() { '>' } else { ' ' };
        text += &format!("{here}{:08x}  {hex:<31}{words}{comment}\n", at.0);
        rows.push(json!({"addr": at.0, "bytes": hex.trim_end(), "text": words, "symbol": symbol}));
        at = at.wrapping_add(len as u32);
    }
    Ok(Answer::new(text, rows))
}

/// The words of the instruction at a linear address, as CPU's code segment decodes it.
pub(crate) fn instruction_at(target: &Target<'_>, state: &CpuState, addr: u32) -> String {
    let mut bytes = [0; MAX_INSTRUCTION];
    let read = Reader::new(target.mem, state.paging()).read(LinearAddr(addr), &mut bytes);
    let bits = if state.seg(SegReg::Cs).big() { 32 } else { 16 };
    let insn = Decoder::with_ip(bits, &bytes[..read], u64::from(addr), DecoderOptions::NONE).decode();
    let mut words = String::new();
    match insn.is_invalid() {
        true => words += "(not readable)",
        false => words = instruction_words(&insn),
    }
    words
}

/// The words of an instruction.
pub(crate) fn instruction_words(insn: &Instruction) -> String {
    let mut words = String::new();
    intel().format(insn, &mut words);
    words
}

/// Intel's syntax with a space between operands.
fn intel() -> IntelFormatter {
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_space_after_operand_separator(true);
    formatter
}

fn branch_target(insn: &Instruction) -> Option<u32> {
    let near = insn.is_jmp_short_or_near() || insn.is_jcc_short_or_near() || insn.is_call_near();
    near.then(|| insn.near_branch_target() as u32)
}

/// `count` doublewords from an address on, four a line, with their characters.
pub fn examine(target: &Target<'_>, addr: &str, count: u32, cpu: usize, pid: Option<u32>) -> Result<Answer> {
    let start = parse_address(target, cpu, addr)?.linear;
    let memory = reader(target, cpu, pid)?;
    let mut bytes = vec![0; count as usize * 4];
    let read = memory.read(start, &mut bytes);
    bytes.truncate(read & !3);
    if bytes.is_empty() {
        return Err(Error::Unmapped(start));
    }
    let mut text = String::new();
    for (row, line) in bytes.chunks(16).enumerate() {
        let at = start.wrapping_add(row as u32 * 16);
        let words: String = line.chunks(4).map(|word| format!(" {:08x}", le(word))).collect();
        let printable = |&byte: &u8| if (0x20..0x7f).contains(&byte) { byte as char } else { '.' };
        text += &format!("{:08x} {words:<36}  {}\n", at.0, line.iter().map(printable).collect::<String>());
    }
    let words: Vec<u32> = bytes.chunks(4).map(le).collect();
    let complete = words.len() == count as usize;
    if !complete {
        text += &format!("{:08x}  (not mapped)\n", start.wrapping_add(bytes.len() as u32).0);
    }
    Ok(Answer::new(text, json!({"addr": start.0, "words": words, "complete": complete})))
}

fn le(word: &[u8]) -> u32 {
    word.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}
