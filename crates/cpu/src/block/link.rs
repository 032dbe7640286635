//! Links: how a block goes on to another without the dispatcher.
//!
//! Each way out of a block whose target is known is an exit operation. Unlinked, it leaves the
//! block and names itself; the dispatcher finds the target and patches it. Within a page
//! the link is direct: who executes in a page may go on executing in it, because
//! whatever removes a translation leaves the block. Across pages the exit compares what the
//! projection for fetches says of the target's page with what it said when the target was
//! translated.

#![allow(unsafe_code)]

use super::{Block, Op};
use crate::exec::hot;

/// A known target of indirect branches.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Target {
    /// Mode (high half) and EIP.
    pub key: u64,
    /// The first operation of the block that begins there.
    pub first: *const Op,
    /// See [`Op::expected_page`].
    pub expected: u64,
}

/// No code has a mode of all ones.
const NO_TARGET: Target = Target { key: !0, first: std::ptr::null(), expected: 0 };

/// A link that leads to a block.
pub(super) struct Incoming {
    /// The exit operation that the link belongs to.
    exit: *mut Op,
}

/// Places of known targets, direct-mapped by EIP.
pub(crate) struct Targets(Box<[Target]>);

impl Targets {
    /// How many there are.
    pub(crate) const COUNT: usize = 4096;

    /// Where the target with this EIP has its place.
    #[inline(always)]
    pub(crate) const fn place(eip: u32) -> usize {
        (eip ^ eip >> 12) as usize % Self::COUNT
    }

    pub(super) fn new() -> Self {
        Targets(vec![NO_TARGET; Self::COUNT].into())
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(NO_TARGET);
    }

    pub(super) fn as_ptr(&self) -> *const Target {
        self.0.as_ptr()
    }

    pub(super) fn set(&mut self, block: &Block) {
        let key = u64::from(block.key.mode) << 32 | u64::from(block.key.eip);
        let first = block.first();
        // SAFETY: an operation of a block that is alive.
        let expected = unsafe { Op::expected_page(first) };
        self.0[Self::place(block.key.eip)] = Target { key, first, expected };
    }

    /// The block that begins at EIP in this mode, if what the projection for fetches says of the page now is what
    /// the block expects.
    pub(super) fn get(&self, mode: u32, eip: u32, projected: u64) -> Option<*const Block> {
        let target = &self.0[Self::place(eip)];
        let is_it = target.key == u64::from(mode) << 32 | u64::from(eip) && target.expected == projected;
        // SAFETY: a known target is an operation of a block that is alive.
        is_it.then(|| unsafe { Op::block(target.first) }.cast_const())
    }

    pub(super) fn forget(&mut self, block: &Block) {
        let target = &mut self.0[Self::place(block.key.eip)];
        if target.first == block.first() {
            *target = NO_TARGET;
        }
    }
}

/// How an exit reaches its target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    SamePage,
    OtherPage,
}

/// Joins `exit`, an exit operation of the live block `from`, to the live block `to`.
///
/// # Safety
/// No operation of either block is being executed.
pub(super) unsafe fn join(from: *mut Block, exit: *mut Op, to: *mut Block, reach: Reach) {
    // SAFETY: blocks are alive and nobody else holds references into them, by the caller;
    // `from` and `to` may be the same, so no two references exist at a time.
    unsafe {
        if !(*exit).link.is_null() {
            let old = Op::block((*exit).link);
            (*old).incoming.retain(|i| i.exit != exit);
            part(exit);
        }
        (*exit).link = (*to).first();
        let patched = exit.sub((*exit).src.into());
        match reach {
            Reach::SamePage => {
                (*exit).handler = hot::JUMP_DIRECT;
                (*patched).link = (*to).first();
            }
            Reach::OtherPage => (*exit).handler = hot::JUMP_CHECKED,
        }
        (*to).incoming.push(Incoming { exit });
        (*from).outgoing.push(to);
    }
}

/// Makes `exit` lead to the dispatcher again.
///
/// # Safety
/// As [`join`].
unsafe fn part(exit: *mut Op) {
    // SAFETY: by the caller.
    unsafe {
        (*exit).handler = hot::EXIT;
        (*exit).link = std::ptr::null();
        let patched = exit.sub((*exit).src.into());
        if patched != exit {
            (*patched).link = exit;
        }
    }
}

/// Takes a dying block out of the web of links.
///
/// # Safety
/// As [`join`].
pub(super) unsafe fn isolate(block: *mut Block) {
    // SAFETY: by the caller. Blocks in `outgoing` are alive: one that died has removed itself below.
    unsafe {
        for incoming in std::mem::take(&mut (*block).incoming) {
            let source = Op::block(incoming.exit);
            part(incoming.exit);
            (*source).outgoing.retain(|&to| to != block);
        }
        let ops = (*block).op_range();
        for to in std::mem::take(&mut (*block).outgoing) {
            (*to).incoming.retain(|i| !ops.contains(&i.exit.cast_const()));
        }
    }
}
