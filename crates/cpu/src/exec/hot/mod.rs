//! Handlers of micro-operations.
//!
//! A handler gets the CPU and its operation, and its last act is [`go`]: a jump to the
//! next operation's handler where the build makes it one. So a handler must own nothing that
//! is dropped, and anything long is either a plain function that answers in a register, or
//! another handler that it hands over to.

#![allow(unsafe_code)]

mod access;
pub(crate) mod alu;
pub(crate) mod branch;
mod control;
pub(crate) mod data;
#[cfg(test)]
mod float_agree;
pub(crate) mod fuse;
pub(crate) mod interrupt;
mod part;
pub(crate) mod segment;
pub(crate) mod selector;
pub(crate) mod shift;
mod slow;
#[cfg(target_arch = "x86_64")]
pub(crate) mod sse;
#[cfg(target_arch = "x86_64")]
mod sse_kernels;
pub(crate) mod stack;
pub(crate) mod string;
mod wide;
pub(crate) mod x87;

use crate::{
    Cpu,
    block::{Block, Op},
    jit::chain,
};

pub(crate) use control::{EXIT, HEAD, HEAD_PAST, JUMP_CHECKED, JUMP_DIRECT, SECOND_PAGE};
pub(crate) use part::run_part;
pub(crate) use slow::SLOW;

/// Defines handlers with the calling convention of the host. Type parameters stand in
/// brackets, constant parameters in angle brackets.
macro_rules! handlers {
    ($($(#[$attr:meta])* fn $name:ident $([$($W:ident: $bound:ident),+])? <$(const $param:ident: $t:ty),*>
       ($cpu:ident, $op:ident) $body:block)*) => {$(
        $(#[$attr])*
        #[cfg(target_arch = "x86_64")]
        pub(crate) unsafe extern "sysv64-unwind" fn $name<$($($W: $bound,)+)? $(const $param: $t),*>(
            $cpu: *mut Cpu,
            $op: *const Op,
        ) {
            // SAFETY: `$cpu` is the CPU of the running `Engine::run`, `$op` an operation of a live block
            // that was made for this handler: `enter` and `go` are the only callers.
            unsafe { $body }
        }
        $(#[$attr])*
        #[cfg(not(target_arch = "x86_64"))]
        pub(crate) unsafe extern "C-unwind" fn $name<$($($W: $bound,)+)? $(const $param: $t),*>(
            $cpu: *mut Cpu,
            $op: *const Op,
        ) {
            // SAFETY: as above.
            unsafe { $body }
        }
    )*};
}
use handlers;

/// Goes on with `op`.
///
/// # Safety
/// `op` is an operation of a live block, `cpu` as in [`handlers`].
#[inline(always)]
unsafe fn go(cpu: *mut Cpu, op: *const Op) {
    // SAFETY: by the caller.
    unsafe {
        #[cfg(tail_calls)]
        ((*op).handler)(cpu, op);
        // Without optimisation calls are no jumps.
        #[cfg(not(tail_calls))]
        {
            (*cpu).run.next = op;
        }
    }
}

/// Puts the flags and pointers that SSE and x87 instructions left elsewhere where they belong.
///
/// # Safety
/// `cpu` is valid and nobody else uses it.
#[inline(always)]
unsafe fn take_float_flags(cpu: *mut Cpu) {
    // SAFETY: by the caller.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if (*cpu).run.sse_flags_on_host {
            sse::take_flags(cpu);
        }
        if !(*cpu).run.x87.op.is_null() {
            x87::take_notes(cpu);
        }
    }
}

/// Runs from the head of `block`, which is alive, until something leaves to the dispatcher.
pub(crate) fn enter(cpu: &mut Cpu, block: *const Block) {
    // SAFETY: the dispatcher hands over a live block; blocks die only in the dispatcher.
    enter_at(cpu, unsafe { (*block).head() });
}

/// As [`enter`], from the instruction `from` of the block on, for whose rest the budget suffices.
pub(crate) fn enter_within(cpu: &mut Cpu, block: &Block, from: u32) {
    cpu.run.left -= i64::from(block.count() - from);
    enter_at(cpu, block.op(from));
}

/// Runs from `op`, of a live block, until something leaves to the dispatcher.
fn enter_at(cpu: &mut Cpu, op: *const Op) {
    #[cfg(test)]
    depth::begin();
    let cpu: *mut Cpu = cpu;
    // SAFETY: by the callers. `next` is null unless a handler has set it to an operation of a live block.
    unsafe {
        chain::call(cpu, op);
        while !(*cpu).run.next.is_null() {
            let op = std::mem::replace(&mut (*cpu).run.next, std::ptr::null());
            chain::call(cpu, op);
        }
        take_float_flags(cpu);
    }
}

/// How deep the stack gets in a chain of handlers: calls that are no jumps would show here.
#[cfg(test)]
pub(crate) mod depth {
    use std::cell::Cell;

    thread_local! {
        static BEGIN: Cell<usize> = const { Cell::new(0) };
        static DEEPEST: Cell<usize> = const { Cell::new(0) };
    }

    #[inline(never)]
    fn here() -> usize {
        let local = 0u8;
        (&raw const local).addr()
    }

    pub(super) fn begin() {
        BEGIN.set(here());
    }

    pub(super) fn note() {
        DEEPEST.set(DEEPEST.get().max(BEGIN.get().saturating_sub(here())));
    }

    /// Bytes between the entry of a chain and the deepest slow function in it, on this thread.
    pub(crate) fn deepest() -> usize {
        DEEPEST.get()
    }
}
