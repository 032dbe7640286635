//! The first instructions of a block, where the budget does not suffice for all.

use super::{control::EXIT, enter_at};
use crate::{
    Cpu,
    block::{Block, Op},
};

/// Runs as many of the block's instructions as the budget has left, which are not all: one operation at a time, each
/// in a place of its own with an exit behind it.
pub(crate) fn run_part(cpu: &mut Cpu, block: &Block) {
    let count = cpu.run.left as u32;
    cpu.run.left = 0;
    let exit = |eip| Op { imm: eip, ..Op::new(EXIT) };
    let mut ops = [exit(0); 5];
    // As in a block: the head leads to the block, and says how many instructions were taken from the budget.
    ops[Block::HEAD] = Op { imm: count, link: std::ptr::from_ref(block).cast(), ..exit(0) };
    const PLACE: usize = Block::HEAD + 1;
    for (index, (op, insn)) in block.plain(count as usize).enumerate() {
        ops[PLACE] = Op { pos: PLACE as u8, ..*op };
        ops[PLACE + 1] = exit(insn.next_ip32());
        if insn.is_jcc_short_or_near() {
            // Where it leads, and what it gives back then.
            ops[PLACE].imm = count - 1 - index as u32;
            ops[PLACE + 2] = exit(insn.near_branch32());
            ops[PLACE].link = &raw const ops[PLACE + 2];
        }
        let behind = &raw const ops[PLACE + 1];
        enter_at(cpu, &raw const ops[PLACE]);
        let goes_on = std::mem::replace(&mut cpu.run.exit_op, std::ptr::null()) == behind;
        if !goes_on {
            return;
        }
    }
}
