//! CLI and PUSHFD, as kernels use them around each short lock.

use x86::Eflags;

use super::{
    access::{ESP, get, host, place, set},
    go, handlers,
    slow::slow,
};
use crate::{
    Cpu,
    block::{Handler, Op},
};

handlers! {
    fn cli<>(cpu, op) {
        let state = &mut (*cpu).state;
        if state.cpl != 0 {
            return slow(cpu, op);
        }
        state.eflags -= Eflags::IF;
        go(cpu, op.add(1))
    }

    /// On a flat 32-bit stack, not in virtual-8086 mode.
    fn pushfd<>(cpu, op) {
        let top = get::<u32>(cpu, ESP).wrapping_sub(4);
        let place = place!(cpu, op, u32, top);
        let value = (*cpu).eflags() - (Eflags::VM | Eflags::RF);
        place.write_unaligned(value.bits());
        set(cpu, ESP, top);
        go(cpu, op.add(1))
    }
}

/// CLI.
pub(crate) const CLI: Handler = cli;
/// PUSHFD.
pub(crate) const PUSH_FLAGS: Handler = pushfd;
