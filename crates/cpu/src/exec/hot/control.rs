//! Heads and exits of blocks.

use super::{go, handlers};
use crate::{
    Cpu,
    block::{Handler, Op},
};

/// Head, where the dispatcher enters: takes the block's length from the budget, or leaves at EIP `disp`.
pub(crate) const HEAD: Handler = head;
/// Exit whose target is not linked: leaves at EIP `imm` and names itself.
pub(crate) const EXIT: Handler = exit;
/// Exit linked to a block of the same page.
pub(crate) const JUMP_DIRECT: Handler = jump_direct;
/// Exit linked to a block of another page.
pub(crate) const JUMP_CHECKED: Handler = jump_checked;

/// Goes on with `to`: the first operation of a block, for which the budget must suffice, or an exit.
///
/// # Safety
/// As [`go`].
#[inline(always)]
pub(super) unsafe fn jump(cpu: *mut Cpu, to: *const Op) {
    // SAFETY: by the caller. A first operation has its block's head before it; an exit takes nothing.
    unsafe {
        let left = (*cpu).run.left - i64::from((*to).count);
        if left < 0 {
            (*cpu).state.eip = (*to.sub(1)).disp;
            return;
        }
        (*cpu).run.left = left;
        go(cpu, to)
    }
}

handlers! {
    fn head<>(cpu, op) {
        jump(cpu, op.add(1))
    }

    fn exit<>(cpu, op) {
        (*cpu).state.eip = (*op).imm;
        (*cpu).run.exit_op = op;
    }

    fn jump_direct<>(cpu, op) {
        jump(cpu, (*op).link)
    }

    fn jump_checked<>(cpu, op) {
        let first = (*op).link;
        let expected = Op::expected_page(first);
        if *(*cpu).run.exec.add(((*op).imm >> 12) as usize) == expected {
            jump(cpu, first)
        } else {
            exit(cpu, op)
        }
    }
}
