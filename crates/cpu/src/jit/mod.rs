//! Host code for blocks that are kept.
//!
//! A block is run by a chain of handlers ([`crate::exec::hot`]). Host code takes the place of the first handler
//! of a run of instructions, does what all of them would have done, and goes on with the operation behind them. The
//! operations in between keep their handlers: an instruction that must be looked at is left to its own, and what
//! follows runs as it would without host code. So there is nothing here that handlers do not do, and nobody
//! else needs to know.
//!
//! [`plan`] says what an instruction does, [`windows`] which accesses can be looked at together, [`emit`]
//! makes the code, [`arena`] keeps it.

#![allow(unsafe_code)]

mod arena;
pub(crate) mod chain;
mod emit;
mod plan;
mod windows;

use self::{arena::Arena, emit::Emitter, plan::Plan};
use crate::block::{Handler, Insn, Op};

/// Makes host code, and keeps it.
pub(crate) struct Jit {
    arena: Arena,
    /// Bytes that the code of one block may take.
    most: usize,
    compiled: u64,
}

impl Jit {
    /// Bytes that the code of one block may take, and more than any takes.
    const MOST: usize = 64 << 10;
    /// Instructions for which code is worth while.
    const FEWEST: usize = 2;

    /// `None` where the host lets no code be made.
    pub(crate) fn new() -> Option<Self> {
        match Arena::new() {
            Ok(arena) => Some(Jit { arena, most: Self::MOST, compiled: 0 }),
            Err(error) => {
                log::info!("blocks run by handlers: the host gives no memory for code: {error}");
                None
            }
        }
    }

    /// Whether another block's code may not fit; [`Jit::clear`] makes room.
    pub(crate) fn is_full(&self) -> bool {
        !self.arena.has_room(self.most)
    }

    /// How many runs of instructions there was code made for.
    pub(crate) fn compiled(&self) -> u64 {
        self.compiled
    }

    /// Drops all code. No block that has some may be left.
    pub(crate) fn clear(&mut self) {
        self.arena.truncate(0);
    }

    /// Makes code for the runs among a block's instructions; `ops` are their operations, `dead` tells by a bit for
    /// each whether nobody sees its flags.
    pub(crate) fn compile(&mut self, insns: &[Insn], ops: &mut [Op], dead: u64) {
        if insns.len() < Self::FEWEST {
            return;
        }
        let plans: Vec<Option<Plan>> = insns.iter().zip(&*ops).map(|(insn, op)| Plan::of(&insn.insn, op)).collect();
        let mut run = Vec::new();
        let mut at = 0;
        while at < plans.len() {
            run.clear();
            run.extend(plans[at..].iter().map_while(|plan| *plan));
            let mut len = 0;
            if run.len() >= Self::FEWEST {
                let (code, done) =
                    Emitter::new(&run, plans.len() - at, dead >> at, ops[at].handler, self.arena.next()).run();
                len = done;
                if done >= Self::FEWEST && self.arena.has_room(code.len()) {
                    let place = self.arena.next();
                    self.arena.put(&code);
                    self.compiled += 1;
                    // SAFETY: the code keeps to what a handler may do, with the handlers' calling convention.
                    ops[at].handler = unsafe { std::mem::transmute::<*const u8, Handler>(place) };
                }
            }
            // Behind the run lies what has no code.
            at += len + 1;
        }
    }

    /// Acts from now on as if only so many bytes were left when there is no code.
    #[cfg(test)]
    pub(crate) fn leave_room(&mut self, bytes: usize) {
        self.most = Arena::SIZE - bytes;
    }
}

#[cfg(test)]
mod tests;
