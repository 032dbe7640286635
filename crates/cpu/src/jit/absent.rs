//! Stands for host code where none can be made.

use crate::block::{Insn, Op};

/// There is none.
pub(crate) enum Jit {}

impl Jit {
    /// `None`.
    pub(crate) fn new() -> Option<Self> {
        None
    }

    /// Never called.
    pub(crate) fn is_full(&self) -> bool {
        match *self {}
    }

    /// Never called.
    pub(crate) fn compiled(&self) -> u64 {
        match *self {}
    }

    /// Never called.
    pub(crate) fn clear(&mut self) {
        match *self {}
    }

    /// Never called.
    pub(crate) fn compile(&mut self, _: &[Insn], _: &mut [Op], _: u64) {
        match *self {}
    }
}

pub(crate) mod chain {
    #![allow(unsafe_code)]

    use crate::{Cpu, block::Op};

    /// Calls the handler of `op`.
    ///
    /// # Safety
    /// As for handlers.
    #[inline(always)]
    pub(crate) unsafe fn call(cpu: *mut Cpu, op: *const Op) {
        // SAFETY: by the caller.
        unsafe { ((*op).handler)(cpu, op) }
    }
}
