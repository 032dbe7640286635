//! CLI, STI and PUSHFD, as kernels use them around each short lock, and CLD and STD.

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

    /// Where nothing is held off: what raises INTR leaves the block behind the instruction that did.
    fn sti<>(cpu, op) {
        if (*cpu).state.cpl != 0 {
            return slow(cpu, op);
        }
        if !(*cpu).state.eflags.contains(Eflags::IF) {
            if Op::ahead(op) <= 1 || waits(cpu) {
                return slow(cpu, op);
            }
            (*cpu).state.eflags |= Eflags::IF;
        }
        go(cpu, op.add(1))
    }

    fn direction<const DOWN: bool>(cpu, op) {
        (*cpu).state.eflags.set(Eflags::DF, DOWN);
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

/// Whether INTR is raised, or the run ends once interrupts are taken. By itself: only here does a handler ask the bus,
/// and through a pointer.
#[inline(never)]
unsafe fn waits(cpu: *mut Cpu) -> bool {
    // SAFETY: handlers get a CPU that is theirs alone.
    unsafe { (*cpu).has_switched() || (*cpu).bus().intr() }
}

/// CLI.
pub(crate) const CLI: Handler = cli;
/// STI.
pub(crate) const STI: Handler = sti;
/// CLD.
pub(crate) const CLD: Handler = direction::<false>;
/// STD.
pub(crate) const STD: Handler = direction::<true>;
/// PUSHFD.
pub(crate) const PUSH_FLAGS: Handler = pushfd;
