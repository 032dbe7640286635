//! The call stack, by frame pointers.

use cpu::{Gpr, mmu::Paging};
use serde_json::json;
use x86::{LinearAddr, SegReg};

use super::{Answer, symbol_at};
use crate::{Reader, Result, Target};

/// Frames shown at most.
const MAX_FRAMES: usize = 64;

/// The call stack of a CPU.
pub fn backtrace(target: &Target<'_>, cpu: usize) -> Result<Answer> {
    let state = target.cpu(cpu)?;
    let base = |reg| state.seg(reg).base;
    let registers = Registers {
        paging: state.paging(),
        pc: state.pc(),
        ebp: state.gpr(Gpr::Ebp),
        cs: base(SegReg::Cs),
        ss: base(SegReg::Ss),
    };
    let mut text = String::new();
    let mut rows = Vec::new();
    for (number, (addr, name)) in frames(target, registers).into_iter().enumerate() {
        text += &format!("#{number:<2} {addr:#010x}  {}\n", name.as_deref().unwrap_or("?"));
        rows.push(json!({"frame": number, "addr": addr, "symbol": name}));
    }
    Ok(Answer::new(text, rows))
}

/// Where a chain of frames begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub paging: Paging,
    /// Linear address of the innermost instruction.
    pub pc: u32,
    pub ebp: u32,
    /// Base of the code segment.
    pub cs: u32,
    /// Base of the stack segment.
    pub ss: u32,
}

/// The chain of EBP, innermost first, each address with its symbol. It ends where a frame pointer does not grow,
/// leads nowhere or is null; code built without frame pointers shows its first frame only.
pub(crate) fn frames(target: &Target<'_>, registers: Registers) -> Vec<(u32, Option<String>)> {
    let Registers { paging, pc, ebp, cs, ss } = registers;
    let memory = Reader::new(target.mem, paging);
    let mut frames = vec![pc];
    let mut frame = ebp;
    while frames.len() < MAX_FRAMES && frame != 0 && frame % 4 == 0 {
        let at = LinearAddr(ss.wrapping_add(frame));
        let (Some(caller), Some(ret)) = (memory.u32(at), memory.u32(at.wrapping_add(4))) else { break };
        if ret == 0 {
            break;
        }
        frames.push(cs.wrapping_add(ret));
        if caller <= frame {
            break;
        }
        frame = caller;
    }
    let named = |(number, addr): (usize, u32)| {
        // A return address may be the first of the next function: look at the call before it.
        let inside = LinearAddr(addr.wrapping_sub(u32::from(number > 0)));
        let name = symbol_at(target, paging, inside).map(|name| if number > 0 { after_call(&name) } else { name });
        (addr, name)
    };
    frames.into_iter().enumerate().map(named).collect()
}

/// Undoes the step back of one byte in `name+0x12`.
fn after_call(name: &str) -> String {
    let (name, module) = match name.rsplit_once(" [") {
        Some((name, module)) => (name, format!(" [{module}")),
        None => (name, String::new()),
    };
    match name.rsplit_once("+0x").map(|(base, offset)| (base, u32::from_str_radix(offset, 16))) {
        Some((base, Ok(offset))) => format!("{base}+{:#x}{module}", offset.wrapping_add(1)),
        _ => format!("{name}+0x1{module}"),
    }
}
