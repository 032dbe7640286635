//! Jcc, alone and fused with the comparison before it; LOOP; indirect jumps.

use super::{
    access::{ECX, condition, effective, flags, get, host, load, set},
    alu::{ADD, AND, CMP, OR, SUB, TEST, XOR, apply},
    control::jump,
    data::by_code,
    go, handlers,
    slow::slow,
};
use crate::{
    Cpu,
    alu::Word,
    block::{Handler, Op, Targets},
};

/// Goes on at EIP `target`, by the known targets or by the dispatcher.
#[inline(always)]
pub(super) unsafe fn indirect(cpu: *mut Cpu, target: u32) {
    // SAFETY: by the caller, a handler; what a known target names is alive.
    unsafe {
        let known = (*cpu).run.targets.add(Targets::place(target));
        if (*known).key == (*cpu).run.mode_key | u64::from(target)
            && *(*cpu).run.exec.add((target >> 12) as usize) == (*known).expected
        {
            return jump(cpu, (*known).first);
        }
        (*cpu).state.eip = target;
    }
}

/// Whether the condition is met after `a OP b` with this result.
#[inline(always)]
pub(super) fn met_after<W: Word, const OP: u8, const CODE: u8>(a: W, b: W, result: W) -> bool {
    let compares = OP == CMP || OP == SUB;
    let (signed_a, signed_b) = (a.sext() as i32, b.sext() as i32);
    let met = match CODE >> 1 {
        1 if compares => a.zext() < b.zext(),
        1 if OP == ADD => result.zext() < a.zext(),
        1 => false,
        2 => result == W::ZERO,
        3 if compares => a.zext() <= b.zext(),
        3 if OP == ADD => result.zext() < a.zext() || result == W::ZERO,
        3 => result == W::ZERO,
        4 => result.msb(),
        6 if compares => signed_a < signed_b,
        6 => result.msb(),
        7 if compares => signed_a <= signed_b,
        _ => result.msb() || result == W::ZERO,
    };
    met != (CODE & 1 != 0)
}

/// Goes to the target of the Jcc after `$op`, or behind that by the link of `$op`. By a branch of the host and never by
/// a conditional move: what comes next must not wait for what the guest compares.
macro_rules! branch {
    ($cpu:ident, $op:ident, $met:expr) => {
        if $met {
            std::arch::asm!("", options(nomem, nostack, preserves_flags));
            leave($cpu, $op.add(1))
        } else {
            jump($cpu, (*$op).link)
        }
    };
}

pub(super) use branch;

/// Goes where a Jcc leads, and gives back what of the budget its block has taken for what lies behind it.
///
/// # Safety
/// `op` is the operation of a Jcc.
#[inline(always)]
pub(super) unsafe fn leave(cpu: *mut Cpu, op: *const Op) {
    // SAFETY: by the caller, a handler.
    unsafe {
        (*cpu).run.left += i64::from((*op).imm);
        jump(cpu, (*op).link)
    }
}

handlers! {
    fn jcc<const CODE: u8>(cpu, op) {
        if condition::<CODE>(cpu) { leave(cpu, op) } else { go(cpu, op.add(1)) }
    }

    fn loop_ecx<>(cpu, op) {
        let count = get::<u32>(cpu, ECX).wrapping_sub(1);
        set(cpu, ECX, count);
        if count != 0 { jump(cpu, (*op).link) } else { go(cpu, op.add(1)) }
    }

    fn jump_r<>(cpu, op) {
        indirect(cpu, get::<u32>(cpu, (*op).src))
    }

    fn jump_m<>(cpu, op) {
        let target = load!(cpu, op, u32, effective::<true>(cpu, op));
        indirect(cpu, target)
    }

    fn rr_jcc[W: Word]<const OP: u8, const CODE: u8>(cpu, op) {
        let (a, b) = (get::<W>(cpu, (*op).dst), get::<W>(cpu, (*op).src));
        let result = apply::<W, OP, true>(cpu, a, b, false);
        if OP != CMP && OP != TEST {
            set(cpu, (*op).dst, result);
        }
        branch!(cpu, op, met_after::<W, OP, CODE>(a, b, result))
    }

    fn ri_jcc[W: Word]<const OP: u8, const CODE: u8>(cpu, op) {
        let (a, b) = (get::<W>(cpu, (*op).dst), W::truncate((*op).imm.into()));
        let result = apply::<W, OP, true>(cpu, a, b, false);
        if OP != CMP && OP != TEST {
            set(cpu, (*op).dst, result);
        }
        branch!(cpu, op, met_after::<W, OP, CODE>(a, b, result))
    }

    fn rm_jcc[W: Word]<const OP: u8, const CODE: u8>(cpu, op) {
        let b = load!(cpu, op, W, effective::<true>(cpu, op));
        let a = get::<W>(cpu, (*op).dst);
        let result = apply::<W, OP, true>(cpu, a, b, false);
        branch!(cpu, op, met_after::<W, OP, CODE>(a, b, result))
    }

    fn mr_jcc[W: Word]<const OP: u8, const CODE: u8>(cpu, op) {
        let a = load!(cpu, op, W, effective::<true>(cpu, op));
        let b = get::<W>(cpu, (*op).src);
        let result = apply::<W, OP, true>(cpu, a, b, false);
        branch!(cpu, op, met_after::<W, OP, CODE>(a, b, result))
    }

    fn mi_jcc[W: Word]<const OP: u8, const CODE: u8>(cpu, op) {
        let a = load!(cpu, op, W, effective::<true>(cpu, op));
        let b = W::truncate((*op).imm.into());
        let result = apply::<W, OP, true>(cpu, a, b, false);
        branch!(cpu, op, met_after::<W, OP, CODE>(a, b, result))
    }

    /// INC or DEC of a register of 32 bits.
    fn step_jcc<const DOWN: bool, const CODE: u8>(cpu, op) {
        let a = get::<u32>(cpu, (*op).dst);
        let result = if DOWN { a.wrapping_sub(1) } else { a.wrapping_add(1) };
        flags(cpu).set_step(a, result, if DOWN { a == 0 } else { result == 0 });
        set(cpu, (*op).dst, result);
        let met = if CODE >> 1 == 2 { result == 0 } else { (result as i32) < 0 };
        branch!(cpu, op, met != (CODE & 1 != 0))
    }
}

/// The handler of Jcc.
pub(crate) fn jump_if(code: u8) -> Handler {
    by_code!(jcc, code)
}

/// LOOP by ECX.
pub(crate) const LOOP: Handler = loop_ecx;
/// JMP through a register.
pub(crate) const JUMP_REG: Handler = jump_r;
/// JMP through memory.
pub(crate) const JUMP_MEM: Handler = jump_m;

/// What a fused operation compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operands {
    RegReg,
    RegImm,
    RegMem,
    MemReg,
    MemImm,
}

/// The handlers of `$f` by the conditions that are fused: all but overflow and parity.
macro_rules! fused {
    ($f:ident, $code:expr $(, $param:tt)*) => {{
        const HANDLERS: [Option<Handler>; 16] = [
            None, None,
            Some($f::<$($param,)* 2>), Some($f::<$($param,)* 3>), Some($f::<$($param,)* 4>),
            Some($f::<$($param,)* 5>), Some($f::<$($param,)* 6>), Some($f::<$($param,)* 7>),
            Some($f::<$($param,)* 8>), Some($f::<$($param,)* 9>),
            None, None,
            Some($f::<$($param,)* 12>), Some($f::<$($param,)* 13>), Some($f::<$($param,)* 14>),
            Some($f::<$($param,)* 15>),
        ];
        HANDLERS[usize::from($code)]
    }};
}

/// The handler of CMP or TEST of 1 or 4 bytes with the Jcc that follows.
pub(crate) fn compare_jump(op: u8, operands: Operands, size: u32, code: u8) -> Option<Handler> {
    macro_rules! all {
        ($W:tt, $OP:tt) => {
            match operands {
                Operands::RegReg => fused!(rr_jcc, code, $W, $OP),
                Operands::RegImm => fused!(ri_jcc, code, $W, $OP),
                Operands::RegMem => fused!(rm_jcc, code, $W, $OP),
                Operands::MemReg => fused!(mr_jcc, code, $W, $OP),
                Operands::MemImm => fused!(mi_jcc, code, $W, $OP),
            }
        };
    }
    match (op, size) {
        (CMP, 1) => all!(u8, CMP),
        (CMP, 4) => all!(u32, CMP),
        (TEST, 1) => all!(u8, TEST),
        (TEST, 4) => all!(u32, TEST),
        _ => None,
    }
}

/// The handler of an operation on a register of 32 bits with the Jcc that follows.
pub(crate) fn compute_jump(op: u8, immediate: bool, code: u8) -> Option<Handler> {
    // The signed comparisons after ADD depend on overflow.
    if op == ADD && code >= 12 {
        return None;
    }
    macro_rules! both {
        ($OP:tt) => {
            if immediate { fused!(ri_jcc, code, u32, $OP) } else { fused!(rr_jcc, code, u32, $OP) }
        };
    }
    match op {
        ADD => both!(ADD),
        SUB => both!(SUB),
        AND => both!(AND),
        OR => both!(OR),
        XOR => both!(XOR),
        _ => None,
    }
}

/// The handler of INC or DEC of a register of 32 bits with JZ, JNZ, JS or JNS.
pub(crate) fn step_jump(down: bool, code: u8) -> Option<Handler> {
    Some(match (down, code) {
        (false, 4) => step_jcc::<false, 4>,
        (false, 5) => step_jcc::<false, 5>,
        (false, 8) => step_jcc::<false, 8>,
        (false, 9) => step_jcc::<false, 9>,
        (true, 4) => step_jcc::<true, 4>,
        (true, 5) => step_jcc::<true, 5>,
        (true, 8) => step_jcc::<true, 8>,
        (true, 9) => step_jcc::<true, 9>,
        _ => return None,
    })
}
