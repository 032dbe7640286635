//! Heads and exits of blocks.

use super::{go, handlers};
use crate::{
    Cpu,
    block::{Handler, Op},
};

/// Head, where the dispatcher enters: takes the block's length from the budget, or leaves at EIP `disp`.
pub(crate) const HEAD: Handler = head;
/// Head of a block whose instruction crosses a page, which [`SECOND_PAGE`] begins: the dispatcher has looked already.
pub(crate) const HEAD_PAST: Handler = head_past;
/// The first operation of such a block: leaves unless the projection for fetches says of the second page what it said
/// when the block was made, which `imm` and `disp` hold.
pub(crate) const SECOND_PAGE: Handler = second_page;
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

    fn head_past<>(cpu, op) {
        let left = (*cpu).run.left - i64::from((*op.add(1)).count);
        if left < 0 {
            (*cpu).state.eip = (*op).disp;
            return;
        }
        (*cpu).run.left = left;
        go(cpu, op.add(2))
    }

    fn second_page<>(cpu, op) {
        let eip = (*op.sub(1)).disp;
        let page = (eip >> 12).wrapping_add(1) & 0xf_ffff;
        if *(*cpu).run.exec.add(page as usize) == u64::from((*op).disp) << 32 | u64::from((*op).imm) {
            go(cpu, op.add(1))
        } else {
            (*cpu).run.left += i64::from((*op).count);
            (*cpu).state.eip = eip;
        }
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
