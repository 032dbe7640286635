//! Blocks: straight runs of guest code, translated into micro-operations.
//!
//! Much code runs once. So what is met for the first time is translated in the cheapest way, in one place
//! that serves all such blocks, runs and is gone; what is met again ([`Seen`]) is translated with all effort
//! and kept.
//!
//! A block never leaves its page of linear addresses; an instruction that crosses a page is a
//! block of its own. A block dies when a line of memory that it was translated from is
//! written ([`memory::PhysMem::take_killed`]). Blocks are joined by links (see [`link`]).

#![allow(unsafe_code)]

mod cache;
mod link;
mod live;
pub(crate) mod lower;
mod op;
mod seen;
mod translate;

use std::{cell::Cell, ops::Range};

use iced_x86::Instruction;
use memory::line_mask;

use crate::slow::Slow;

pub(crate) use cache::Cache;
pub(crate) use link::{Target, Targets};
pub(crate) use op::{Handler, Op};
pub(crate) use seen::Seen;
pub(crate) use translate::Translator;

/// What a block is found by. Micro-operations hold absolute targets, so EIP belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// Physical address of the first byte.
    pub phys: u32,
    /// Offset of the first byte in CS.
    pub eip: u32,
    /// Base of CS.
    pub cs_base: u32,
    /// See [`crate::engine::mode`].
    pub mode: u32,
}

impl Key {
    /// Linear address of the first byte.
    pub(crate) fn linear(self) -> u32 {
        self.cs_base.wrapping_add(self.eip)
    }
}

/// A guest instruction of a block: what the slow path needs.
#[derive(Clone)]
pub(crate) struct Insn {
    /// Decoded, with absolute branch targets.
    pub insn: Instruction,
    /// What executes it.
    pub slow: Cell<Slow>,
}

/// A translated block. Its operations stay where they are until it dies.
pub(crate) struct Block {
    pub key: Key,
    /// Guest bytes.
    pub len: u32,
    /// The frame of the second page of an instruction that crosses one.
    pub second: Option<u32>,
    /// Other blocks may jump here without the dispatcher.
    pub linkable: bool,
    /// Instructions whose flags nobody sees: a bit each.
    dead: u64,
    insns: Vec<Insn>,
    /// The instructions' operations, before anything was done to make them faster; empty if nothing was.
    plain: Vec<Op>,
    /// Links are patched through `base`.
    ops: Vec<Op>,
    /// Where the operations lie.
    base: *mut Op,
    /// The links that lead here.
    incoming: Vec<link::Incoming>,
    /// The blocks that links of this one lead to.
    outgoing: Vec<*mut Block>,
}

impl Block {
    /// Place of the head among the operations: where the block is entered. The one before it
    /// holds in `link` what the projection for fetches must say of the page for a jump from
    /// another page to be right, or 0.
    pub(crate) const HEAD: usize = 1;

    /// A block without code.
    fn empty() -> Self {
        Block {
            key: Key { phys: 0, eip: 0, cs_base: 0, mode: 0 },
            len: 0,
            second: None,
            linkable: false,
            dead: 0,
            insns: Vec::new(),
            plain: Vec::new(),
            ops: Vec::new(),
            base: std::ptr::null_mut(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
        }
    }

    /// Makes a block of its operations, whose first two are the page's expectation and the head. An
    /// operation whose `link` leads to an exit of the block has the distance to it in `link`'s place.
    ///
    /// # Safety
    /// `this` is valid and nobody else uses it; the block stays there as long as it is used.
    unsafe fn finish(this: *mut Self) {
        // SAFETY: by the caller.
        let block = unsafe { &mut *this };
        assert!(block.ops.len() <= 0x100, "places fit a byte: {} operations", block.ops.len());
        block.base = block.ops.as_mut_ptr();
        for (place, op) in block.ops.iter_mut().enumerate() {
            op.pos = place as u8;
            let distance = op.link.addr();
            if place > Self::HEAD && distance != 0 {
                op.link = block.base.wrapping_add(place + distance);
            }
        }
        block.ops[Self::HEAD].link = this.cast_const().cast();
        block.ops[Self::HEAD].imm = block.insns.len() as u32;
        block.ops[Self::HEAD + 1].count = block.insns.len() as u8;
    }

    /// The instructions, the operations behind the head, and by a bit for each instruction whether nobody sees
    /// its flags.
    pub(crate) fn parts(&mut self) -> (&[Insn], &mut [Op], u64) {
        (&self.insns, &mut self.ops[Self::HEAD + 1..], self.dead)
    }

    /// Whether instruction `number` of the block, not its first, begins at `eip`.
    pub(crate) fn begins(&self, number: u32, eip: u32) -> bool {
        number > 0 && self.insns.get(number as usize).is_some_and(|insn| insn.insn.ip32() == eip)
    }

    /// The operation of an instruction.
    pub(crate) fn op(&self, number: u32) -> *const Op {
        self.first().wrapping_add(number as usize)
    }

    /// The operation where the block is entered.
    pub(crate) fn head(&self) -> *const Op {
        self.base.wrapping_add(Self::HEAD)
    }

    /// The first operation after the head: where links lead to.
    fn first(&self) -> *const Op {
        self.head().wrapping_add(1)
    }

    /// The first `count` instructions and their operations, each for itself and with live flags.
    pub(crate) fn plain(&self, count: usize) -> impl Iterator<Item = (&Op, &Instruction)> {
        let ops = if self.plain.is_empty() { &self.ops[Self::HEAD + 1..] } else { &self.plain[..] };
        ops.iter().zip(&self.insns).take(count).map(|(op, insn)| (op, &insn.insn))
    }

    /// How many instructions the block has.
    pub(crate) fn count(&self) -> u32 {
        self.insns.len() as u32
    }

    fn op_count(&self) -> usize {
        self.ops.len() + self.plain.len()
    }

    fn op_range(&self) -> Range<*const Op> {
        let first = self.base.cast_const();
        first..first.wrapping_add(self.ops.len())
    }

    /// Whether it can be reached from other pages without the dispatcher.
    fn expects_page(&self) -> bool {
        !self.ops[0].link.is_null()
    }

    /// The lines of frame `pfn` that the block was translated from.
    fn lines(&self, pfn: u32) -> u64 {
        let offset = self.key.phys & 0xfff;
        let first_len = self.len.min(0x1000 - offset);
        let first = if self.key.phys >> 12 == pfn { line_mask(offset, first_len) } else { 0 };
        let second = if self.second == Some(pfn) { line_mask(0, self.len - first_len) } else { 0 };
        first | second
    }

    /// The frames that the block was translated from, each once: two pages may be one frame.
    fn frames(&self) -> impl Iterator<Item = u32> + use<> {
        let first = self.key.phys >> 12;
        [Some(first), self.second.filter(|&second| second != first)].into_iter().flatten()
    }
}
