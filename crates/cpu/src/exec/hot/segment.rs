//! Operations on memory of FS and GS, through which threads and CPUs reach what is their own.

use super::{
    access::{effective, flags, get, host, load, place, set},
    alu::{ADD, AND, CMP, OR, SUB, TEST, XOR, apply, keeps_result},
    go, handlers,
    slow::slow,
};
use crate::{
    Cpu,
    block::{Handler, Op},
};

/// The linear address of the memory operand in segment `$number`; hands over to the slow form if the segment
/// must be looked at.
macro_rules! linear {
    ($cpu:ident, $op:ident, $number:expr) => {{
        let segment = &(*$cpu).state.seg[usize::from($number & 7)];
        if !segment.unlimited() {
            return slow($cpu, $op);
        }
        effective::<true>($cpu, $op).wrapping_add(segment.base)
    }};
}

handlers! {
    /// Of a register and memory in segment `src`.
    fn rm<const OP: u8>(cpu, op) {
        let b = load!(cpu, op, u32, linear!(cpu, op, (*op).src));
        let result = apply::<u32, OP, true>(cpu, get(cpu, (*op).dst), b, false);
        if keeps_result(OP) {
            set(cpu, (*op).dst, result);
        }
        go(cpu, op.add(1))
    }

    /// Of memory in segment `dst` and a register or a constant: one of the two is 0.
    fn m<const OP: u8>(cpu, op) {
        let addr = linear!(cpu, op, (*op).dst);
        let b = get::<u32>(cpu, (*op).src).wrapping_add((*op).imm);
        if keeps_result(OP) {
            let place = place!(cpu, op, u32, addr);
            let result = apply::<u32, OP, true>(cpu, place.read_unaligned(), b, false);
            place.write_unaligned(result);
        } else {
            apply::<u32, OP, true>(cpu, load!(cpu, op, u32, addr), b, false);
        }
        go(cpu, op.add(1))
    }

    /// INC or DEC of memory in segment `dst`.
    fn step<const DOWN: bool>(cpu, op) {
        let place = place!(cpu, op, u32, linear!(cpu, op, (*op).dst));
        let a = place.read_unaligned();
        let result = if DOWN { a.wrapping_sub(1) } else { a.wrapping_add(1) };
        flags(cpu).set_step(a, result, if DOWN { a == 0 } else { result == 0 });
        place.write_unaligned(result);
        go(cpu, op.add(1))
    }
}

/// The handler of an operation of 32 bits: into a register if `load`, else on memory. ADC and SBB have none.
pub(crate) fn binary(op: u8, load: bool) -> Option<Handler> {
    macro_rules! by_op {
        ($($op:ident),*) => {
            match op {
                $($op => Some(if load { rm::<$op> as Handler } else { m::<$op> }),)*
                _ => None,
            }
        };
    }
    by_op!(ADD, OR, AND, SUB, XOR, CMP, TEST)
}

/// The handler of INC or DEC of 32 bits of memory.
pub(crate) fn step_memory(down: bool) -> Handler {
    if down { step::<true> } else { step::<false> }
}
