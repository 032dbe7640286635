//! The call stack, by frame pointers.

use cpu::Gpr;
use serde_json::json;
use x86::{LinearAddr, SegReg};

use super::{Answer, symbol_at};
use crate::{Reader, Result, Target};

/// Frames shown at most.
const MAX_FRAMES: usize = 64;

/// The chain of EBP from a CPU's registers on. It ends where a frame pointer does not grow,
/// leads nowhere or is null; code built without frame pointers shows its first frame only.
pub fn backtrace(target: &Target<'_>, cpu: usize) -> Result<Answer> {
    let state = target.cpu(cpu)?;
    let (paging, memory) = (state.paging(), Reader::new(target.mem, state.paging()));
    let stack = state.seg(SegReg::Ss).base;
    let mut frames = vec![state.pc()];
    let mut frame = state.gpr(Gpr::Ebp);
    while frames.len() < MAX_FRAMES && frame != 0 && frame % 4 == 0 {
        let at = LinearAddr(stack.wrapping_add(frame));
        let (Some(caller), Some(ret)) = (memory.u32(at), memory.u32(at.wrapping_add(4))) else { break };
        if ret == 0 {
            break;
        }
        frames.push(state.seg(SegReg::Cs).base.wrapping_add(ret));
        if caller <= frame {
            break;
        }
        frame = caller;
    }
    let mut text = String::new();
    let mut rows = Vec::new();
    for (number, &addr) in frames.iter().enumerate() {
        // A return address may be the first of the next function: look at the call before it.
        let inside = LinearAddr(addr.wrapping_sub(u32::from(number > 0)));
        let name = symbol_at(target, paging, inside).map(|name| if number > 0 { after_call(&name) } else { name });
        text += &format!("#{number:<2} {addr:#010x}  {}\n", name.as_deref().unwrap_or("?"));
        rows.push(json!({"frame": number, "addr": addr, "symbol": name}));
    }
    Ok(Answer::new(text, rows))
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
