//! How the code came to where it faulted.

use cpu::{Gpr, SegmentRegister, mmu::Paging};
use serde_json::{Value, json};
use x86::{LinearAddr, SegReg};

use crate::{
    Reader, Target,
    lens::{Registers, frames, symbol_at},
};

/// Frames in the line.
const SHOWN: usize = 8;

/// A call stack in words.
pub struct Stack {
    /// Innermost first.
    pub line: String,
    pub json: Value,
}

/// By the chain of frame pointers from EBP on. Where there is no code, whoever called it has left the address to
/// return to on top of the stack.
pub fn of(target: &Target<'_>, paging: Paging, pc: u32, gpr: &[u32], seg: &[SegmentRegister; 6]) -> Stack {
    let [esp, ebp] = [Gpr::Esp, Gpr::Ebp].map(|reg| gpr[reg as usize]);
    let [cs, ss] = [SegReg::Cs, SegReg::Ss].map(|reg| seg[reg as usize].base);
    let mut frames = frames(target, Registers { paging, pc, ebp, cs, ss });
    let memory = Reader::new(target.mem, paging);
    if memory.bytes(LinearAddr(pc), 1).is_none()
        && let Some(ret) = memory.u32(LinearAddr(ss.wrapping_add(esp)))
        && memory.bytes(LinearAddr(cs.wrapping_add(ret)), 1).is_some()
    {
        let ret = cs.wrapping_add(ret);
        frames.insert(1, (ret, symbol_at(target, paging, LinearAddr(ret))));
    }
    let mut words: Vec<String> = Vec::new();
    for (addr, symbol) in frames.iter().take(SHOWN) {
        words.push(symbol.clone().unwrap_or_else(|| format!("{addr:#010x}")));
    }
    if frames.len() > SHOWN {
        words.push(format!("{} more", frames.len() - SHOWN));
    }
    let json = frames.iter().map(|(addr, symbol)| json!({"addr": addr, "symbol": symbol})).collect();
    Stack { line: words.join(" < "), json }
}
