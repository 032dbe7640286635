//! PUSH, POP, PUSHAD, POPAD, CALL, RET, LEAVE on a flat 32-bit stack.

use super::{
    access::{EBP, ESP, effective, get, host, load, place, set, span},
    branch::indirect,
    control::jump,
    go, handlers,
    slow::slow,
};
use crate::{
    Cpu,
    block::{Handler, Op},
};

/// Stores a doubleword below the top of the stack and moves the top there.
macro_rules! push {
    ($cpu:ident, $op:ident, $value:expr) => {{
        let top = get::<u32>($cpu, ESP).wrapping_sub(4);
        let place = place!($cpu, $op, u32, top);
        place.write_unaligned($value);
        set($cpu, ESP, top);
    }};
}

handlers! {
    /// Of a register or a constant: one of the two is 0.
    fn push<>(cpu, op) {
        push!(cpu, op, get::<u32>(cpu, (*op).src).wrapping_add((*op).imm));
        go(cpu, op.add(1))
    }

    fn push_m<>(cpu, op) {
        let value = load!(cpu, op, u32, effective::<true>(cpu, op));
        push!(cpu, op, value);
        go(cpu, op.add(1))
    }

    fn pop_r<>(cpu, op) {
        let top = get::<u32>(cpu, ESP);
        let value = load!(cpu, op, u32, top);
        set(cpu, ESP, top.wrapping_add(4));
        set(cpu, (*op).dst, value); // last: POP ESP
        go(cpu, op.add(1))
    }

    fn push_all<>(cpu, op) {
        let top = get::<u32>(cpu, ESP).wrapping_sub(32);
        let Some(place) = span((*cpu).run.write, top, 32) else { return slow(cpu, op) };
        // EAX at the highest address; of ESP what it was.
        for n in 0..8 {
            place.add(7 - n).write_unaligned(get::<u32>(cpu, 4 * n as u8));
        }
        set(cpu, ESP, top);
        go(cpu, op.add(1))
    }

    fn pop_all<>(cpu, op) {
        let top = get::<u32>(cpu, ESP);
        let Some(place) = span((*cpu).run.read, top, 32) else { return slow(cpu, op) };
        for n in 0..8 {
            if 4 * n as u8 != ESP {
                set(cpu, 4 * n as u8, place.add(7 - n).read_unaligned());
            }
        }
        set(cpu, ESP, top.wrapping_add(32));
        go(cpu, op.add(1))
    }

    fn leave<>(cpu, op) {
        let base = get::<u32>(cpu, EBP);
        let value = load!(cpu, op, u32, base);
        set(cpu, ESP, base.wrapping_add(4));
        set(cpu, EBP, value);
        go(cpu, op.add(1))
    }

    /// Pushes the return address `imm`.
    fn call<>(cpu, op) {
        push!(cpu, op, (*op).imm);
        jump(cpu, (*op).link)
    }

    /// Pushes the return address `imm`.
    fn call_r<>(cpu, op) {
        let target = get::<u32>(cpu, (*op).src);
        push!(cpu, op, (*op).imm);
        indirect(cpu, target)
    }

    /// Pushes the return address `imm`.
    fn call_m<>(cpu, op) {
        let target = load!(cpu, op, u32, effective::<true>(cpu, op));
        push!(cpu, op, (*op).imm);
        indirect(cpu, target)
    }

    /// Releases `imm` bytes, the return address included.
    fn ret<>(cpu, op) {
        let top = get::<u32>(cpu, ESP);
        let target = load!(cpu, op, u32, top);
        set(cpu, ESP, top.wrapping_add((*op).imm));
        indirect(cpu, target)
    }
}

/// PUSH of a register or a constant.
pub(crate) const PUSH: Handler = push;
/// PUSH of memory.
pub(crate) const PUSH_MEM: Handler = push_m;
/// POP into a register.
pub(crate) const POP_REG: Handler = pop_r;
/// PUSHAD.
pub(crate) const PUSH_ALL: Handler = push_all;
/// POPAD.
pub(crate) const POP_ALL: Handler = pop_all;
/// LEAVE.
pub(crate) const LEAVE: Handler = leave;
/// CALL whose target is linked.
pub(crate) const CALL: Handler = call;
/// CALL through a register.
pub(crate) const CALL_REG: Handler = call_r;
/// CALL through memory.
pub(crate) const CALL_MEM: Handler = call_m;
/// RET.
pub(crate) const RET: Handler = ret;
