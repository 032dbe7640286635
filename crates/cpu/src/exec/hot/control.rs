//! Heads and exits of blocks.

use super::{go, handlers};
use crate::{
    Cpu,
    block::{Handler, Op},
};

/// Head: takes the block's length `imm` from the budget, or leaves at EIP `disp`.
pub(crate) const HEAD: Handler = head;
/// Exit whose target is not linked: leaves at EIP `imm` and names itself.
pub(crate) const EXIT: Handler = exit;
/// Exit linked to a block of the same page.
pub(crate) const JUMP_DIRECT: Handler = jump_direct;
/// Exit linked to a block of another page.
pub(crate) const JUMP_CHECKED: Handler = jump_checked;

handlers! {
    fn head<>(cpu, op) {
        let left = (*cpu).run.left - i64::from((*op).imm);
        if left < 0 {
            (*cpu).state.eip = (*op).disp;
            return;
        }
        (*cpu).run.left = left;
        go(cpu, op.add(1))
    }

    fn exit<>(cpu, op) {
        (*cpu).state.eip = (*op).imm;
        (*cpu).run.exit_op = op;
    }

    fn jump_direct<>(cpu, op) {
        go(cpu, (*op).link)
    }

    fn jump_checked<>(cpu, op) {
        let head = (*op).link;
        let expected = (*head.sub(1)).link.addr() as u64;
        if *(*cpu).run.exec.add(((*op).imm >> 12) as usize) == expected {
            go(cpu, head)
        } else {
            exit(cpu, op)
        }
    }
}
