//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT, IMUL, MUL, DIV, IDIV, XADD, CMPXCHG.

use super::{
    access::{EAX, EDX, effective, flags, get, host, load, place, set},
    go, handlers,
    slow::slow,
};
use crate::{
    Cpu,
    alu::Word,
    block::{Handler, Op},
};

/// The operations, numbered as opcodes encode the first eight.
pub(crate) const ADD: u8 = 0;
pub(crate) const OR: u8 = 1;
pub(crate) const ADC: u8 = 2;
pub(crate) const SBB: u8 = 3;
pub(crate) const AND: u8 = 4;
pub(crate) const SUB: u8 = 5;
pub(crate) const XOR: u8 = 6;
pub(crate) const CMP: u8 = 7;
pub(crate) const TEST: u8 = 8;

/// The result of `a OP b`; notes what the flags follow from where they are live.
/// `cf` matters to ADC and SBB.
#[inline(always)]
pub(super) unsafe fn apply<W: Word, const OP: u8, const FLAGS: bool>(cpu: *mut Cpu, a: W, b: W, cf: bool) -> W {
    let (wide_a, wide_b, cf) = (a.zext(), b.zext(), u64::from(cf));
    let (result, carry) = match OP {
        ADD => (a.wrapping_add(b), a.wrapping_add(b).zext() < wide_a),
        ADC => {
            let wide = wide_a + wide_b + cf;
            (W::truncate(wide), wide >> W::BITS != 0)
        }
        SUB | CMP => (a.wrapping_sub(b), wide_a < wide_b),
        SBB => {
            let wide = wide_a.wrapping_sub(wide_b + cf);
            (W::truncate(wide), wide >> 63 != 0)
        }
        OR => (a | b, false),
        XOR => (a ^ b, false),
        _ => (a & b, false),
    };
    if FLAGS {
        // SAFETY: by the caller, a handler.
        let flags = unsafe { flags(cpu) };
        match OP {
            ADD | ADC | SUB | SBB | CMP => flags.set_sum(a, b, result, carry),
            _ => flags.set_logic(result),
        }
    }
    result
}

pub(super) const fn keeps_result(op: u8) -> bool {
    op != CMP && op != TEST
}

const fn needs_carry(op: u8) -> bool {
    op == ADC || op == SBB
}

macro_rules! carry_in {
    ($cpu:ident, $OP:ident) => {
        needs_carry($OP) && flags($cpu).cf()
    };
}

/// The low half of a signed product. Live flags are CF and OF; the others stay.
macro_rules! product {
    ($cpu:ident, $FLAGS:ident, $a:expr, $b:expr) => {{
        let (a, b): (u32, u32) = ($a, $b);
        let (product, lost) = (a as i32).overflowing_mul(b as i32);
        if $FLAGS {
            flags($cpu).set_cf_of(lost, lost);
        }
        product as u32
    }};
}

/// The result of MUL.
#[inline(always)]
unsafe fn multiplied<const FLAGS: bool>(cpu: *mut Cpu, product: u64) {
    let high = (product >> 32) as u32;
    // SAFETY: by the caller, a handler.
    unsafe {
        set(cpu, EAX, product as u32);
        set(cpu, EDX, high);
        if FLAGS {
            flags(cpu).set_cf_of(high != 0, high != 0);
        }
    }
}

handlers! {
    fn rr[W: Word]<const OP: u8, const FLAGS: bool>(cpu, op) {
        let cf = carry_in!(cpu, OP);
        let result = apply::<W, OP, FLAGS>(cpu, get(cpu, (*op).dst), get(cpu, (*op).src), cf);
        if keeps_result(OP) {
            set(cpu, (*op).dst, result);
        }
        go(cpu, op.add(1))
    }

    fn ri[W: Word]<const OP: u8, const FLAGS: bool>(cpu, op) {
        let cf = carry_in!(cpu, OP);
        let imm = W::truncate((*op).imm.into());
        let result = apply::<W, OP, FLAGS>(cpu, get(cpu, (*op).dst), imm, cf);
        if keeps_result(OP) {
            set(cpu, (*op).dst, result);
        }
        go(cpu, op.add(1))
    }

    fn rm[W: Word]<const OP: u8, const FLAGS: bool, const INDEXED: bool>(cpu, op) {
        let cf = carry_in!(cpu, OP);
        let src = load!(cpu, op, W, effective::<INDEXED>(cpu, op));
        let result = apply::<W, OP, FLAGS>(cpu, get(cpu, (*op).dst), src, cf);
        if keeps_result(OP) {
            set(cpu, (*op).dst, result);
        }
        go(cpu, op.add(1))
    }

    fn mr[W: Word]<const OP: u8, const FLAGS: bool, const INDEXED: bool>(cpu, op) {
        let cf = carry_in!(cpu, OP);
        let addr = effective::<INDEXED>(cpu, op);
        let src = get(cpu, (*op).src);
        if keeps_result(OP) {
            let place = place!(cpu, op, W, addr);
            place.write_unaligned(apply::<W, OP, FLAGS>(cpu, place.read_unaligned(), src, cf));
        } else {
            apply::<W, OP, FLAGS>(cpu, load!(cpu, op, W, addr), src, cf);
        }
        go(cpu, op.add(1))
    }

    fn mi[W: Word]<const OP: u8, const FLAGS: bool, const INDEXED: bool>(cpu, op) {
        let cf = carry_in!(cpu, OP);
        let addr = effective::<INDEXED>(cpu, op);
        let src = W::truncate((*op).imm.into());
        if keeps_result(OP) {
            let place = place!(cpu, op, W, addr);
            place.write_unaligned(apply::<W, OP, FLAGS>(cpu, place.read_unaligned(), src, cf));
        } else {
            apply::<W, OP, FLAGS>(cpu, load!(cpu, op, W, addr), src, cf);
        }
        go(cpu, op.add(1))
    }

    /// XADD of memory of 32 bits.
    fn xadd_mr<>(cpu, op) {
        let place = place!(cpu, op, u32, effective::<true>(cpu, op));
        let dst = place.read_unaligned();
        let sum = apply::<u32, ADD, true>(cpu, dst, get(cpu, (*op).src), false);
        set(cpu, (*op).src, dst);
        place.write_unaligned(sum);
        go(cpu, op.add(1))
    }

    /// CMPXCHG of memory of 32 bits.
    fn cmpxchg_mr<>(cpu, op) {
        let place = place!(cpu, op, u32, effective::<true>(cpu, op));
        let dst = place.read_unaligned();
        if apply::<u32, CMP, true>(cpu, get(cpu, EAX), dst, false) == 0 {
            place.write_unaligned(get::<u32>(cpu, (*op).src));
        } else {
            set(cpu, EAX, dst);
        }
        go(cpu, op.add(1))
    }

    fn step_r[W: Word]<const DOWN: bool, const FLAGS: bool>(cpu, op) {
        let a = get::<W>(cpu, (*op).dst);
        let one = W::from_bool(true);
        let result = if DOWN { a.wrapping_sub(one) } else { a.wrapping_add(one) };
        if FLAGS {
            flags(cpu).set_step(a, result, if DOWN { a == W::ZERO } else { result == W::ZERO });
        }
        set(cpu, (*op).dst, result);
        go(cpu, op.add(1))
    }

    fn step_m[W: Word]<const DOWN: bool, const FLAGS: bool>(cpu, op) {
        let place = place!(cpu, op, W, effective::<true>(cpu, op));
        let a = place.read_unaligned();
        let one = W::from_bool(true);
        let result = if DOWN { a.wrapping_sub(one) } else { a.wrapping_add(one) };
        if FLAGS {
            flags(cpu).set_step(a, result, if DOWN { a == W::ZERO } else { result == W::ZERO });
        }
        place.write_unaligned(result);
        go(cpu, op.add(1))
    }

    fn neg_r[W: Word]<const FLAGS: bool>(cpu, op) {
        let result = apply::<W, SUB, FLAGS>(cpu, W::ZERO, get(cpu, (*op).dst), false);
        set(cpu, (*op).dst, result);
        go(cpu, op.add(1))
    }

    fn not_r[W: Word]<>(cpu, op) {
        set::<W>(cpu, (*op).dst, !get::<W>(cpu, (*op).dst));
        go(cpu, op.add(1))
    }

    fn imul_rri<const FLAGS: bool>(cpu, op) {
        let product = product!(cpu, FLAGS, get(cpu, (*op).src), (*op).imm);
        set(cpu, (*op).dst, product);
        go(cpu, op.add(1))
    }

    fn imul_rr<const FLAGS: bool>(cpu, op) {
        let product = product!(cpu, FLAGS, get(cpu, (*op).dst), get(cpu, (*op).src));
        set(cpu, (*op).dst, product);
        go(cpu, op.add(1))
    }

    fn imul_rm<const FLAGS: bool>(cpu, op) {
        let src = load!(cpu, op, u32, effective::<true>(cpu, op));
        let product = product!(cpu, FLAGS, get(cpu, (*op).dst), src);
        set(cpu, (*op).dst, product);
        go(cpu, op.add(1))
    }

    fn imul_rmi<const FLAGS: bool>(cpu, op) {
        let src = load!(cpu, op, u32, effective::<true>(cpu, op));
        let product = product!(cpu, FLAGS, src, (*op).imm);
        set(cpu, (*op).dst, product);
        go(cpu, op.add(1))
    }

    /// MUL: `EDX:EAX = EAX * src`.
    fn mul_r<const FLAGS: bool>(cpu, op) {
        let product = u64::from(get::<u32>(cpu, EAX)) * u64::from(get::<u32>(cpu, (*op).src));
        multiplied::<FLAGS>(cpu, product);
        go(cpu, op.add(1))
    }

    /// IMUL: `EDX:EAX = EAX * src`.
    fn imul_wide_r<const FLAGS: bool>(cpu, op) {
        let product = i64::from(get::<u32>(cpu, EAX) as i32) * i64::from(get::<u32>(cpu, (*op).src) as i32);
        set(cpu, EAX, product as u32);
        set(cpu, EDX, (product >> 32) as u32);
        if FLAGS {
            let lost = i64::from(product as i32) != product;
            flags(cpu).set_cf_of(lost, lost);
        }
        go(cpu, op.add(1))
    }

    /// MUL: `EDX:EAX = EAX * [memory]`.
    fn mul_m<const FLAGS: bool>(cpu, op) {
        let src = load!(cpu, op, u32, effective::<true>(cpu, op));
        multiplied::<FLAGS>(cpu, u64::from(get::<u32>(cpu, EAX)) * u64::from(src));
        go(cpu, op.add(1))
    }

    /// IDIV of EDX:EAX where neither the divisor nor the quotient makes it fault.
    fn idiv_r<const FLAGS: bool>(cpu, op) {
        let dividend = (u64::from(get::<u32>(cpu, EDX)) << 32 | u64::from(get::<u32>(cpu, EAX))) as i64;
        let divisor = i64::from(get::<u32>(cpu, (*op).src) as i32);
        let (Some(quotient), Some(remainder)) = (dividend.checked_div(divisor), dividend.checked_rem(divisor)) else {
            return slow(cpu, op);
        };
        let Ok(quotient) = i32::try_from(quotient) else { return slow(cpu, op) };
        set(cpu, EAX, quotient as u32);
        set(cpu, EDX, remainder as u32);
        if FLAGS {
            flags(cpu).set_division();
        }
        go(cpu, op.add(1))
    }

    /// DIV of EDX:EAX where neither the divisor nor the quotient makes it fault.
    fn div_r<const FLAGS: bool>(cpu, op) {
        let dividend = u64::from(get::<u32>(cpu, EDX)) << 32 | u64::from(get::<u32>(cpu, EAX));
        let divisor = u64::from(get::<u32>(cpu, (*op).src));
        if divisor <= dividend >> 32 {
            return slow(cpu, op);
        }
        set(cpu, EAX, (dividend / divisor) as u32);
        set(cpu, EDX, (dividend % divisor) as u32);
        if FLAGS {
            flags(cpu).set_division();
        }
        go(cpu, op.add(1))
    }
}

/// The handler of `$f` for operation `$op` with live or dead flags.
macro_rules! by_op {
    ($f:ident, $W:ty, $op:expr, $flags:expr $(, $indexed:literal)?) => {
        match ($op, $flags) {
            (ADD, true) => $f::<$W, ADD, true $(, $indexed)?> as Handler,
            (ADD, false) => $f::<$W, ADD, false $(, $indexed)?>,
            (OR, true) => $f::<$W, OR, true $(, $indexed)?>,
            (OR, false) => $f::<$W, OR, false $(, $indexed)?>,
            (ADC, true) => $f::<$W, ADC, true $(, $indexed)?>,
            (ADC, false) => $f::<$W, ADC, false $(, $indexed)?>,
            (SBB, true) => $f::<$W, SBB, true $(, $indexed)?>,
            (SBB, false) => $f::<$W, SBB, false $(, $indexed)?>,
            (AND, true) => $f::<$W, AND, true $(, $indexed)?>,
            (AND, false) => $f::<$W, AND, false $(, $indexed)?>,
            (SUB, true) => $f::<$W, SUB, true $(, $indexed)?>,
            (SUB, false) => $f::<$W, SUB, false $(, $indexed)?>,
            (XOR, true) => $f::<$W, XOR, true $(, $indexed)?>,
            (XOR, false) => $f::<$W, XOR, false $(, $indexed)?>,
            (CMP, _) => $f::<$W, CMP, true $(, $indexed)?>,
            _ => $f::<$W, TEST, true $(, $indexed)?>,
        }
    };
}

/// The operand forms of an operation with two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    RegReg,
    RegImm,
    RegMem { indexed: bool },
    MemReg { indexed: bool },
    MemImm { indexed: bool },
}

/// The handler of an operation of `size` bytes.
pub(crate) fn binary(op: u8, form: Form, size: u32, flags: bool) -> Handler {
    macro_rules! sized {
        ($W:ty) => {
            match form {
                Form::RegReg => by_op!(rr, $W, op, flags),
                Form::RegImm => by_op!(ri, $W, op, flags),
                Form::RegMem { indexed: false } => by_op!(rm, $W, op, flags, false),
                Form::RegMem { indexed: true } => by_op!(rm, $W, op, flags, true),
                Form::MemReg { indexed: false } => by_op!(mr, $W, op, flags, false),
                Form::MemReg { indexed: true } => by_op!(mr, $W, op, flags, true),
                Form::MemImm { indexed: false } => by_op!(mi, $W, op, flags, false),
                Form::MemImm { indexed: true } => by_op!(mi, $W, op, flags, true),
            }
        };
    }
    match size {
        1 => sized!(u8),
        2 => match form {
            // Rare: the indexed form serves both.
            Form::RegReg => by_op!(rr, u16, op, flags),
            Form::RegImm => by_op!(ri, u16, op, flags),
            Form::RegMem { .. } => by_op!(rm, u16, op, flags, true),
            Form::MemReg { .. } => by_op!(mr, u16, op, flags, true),
            Form::MemImm { .. } => by_op!(mi, u16, op, flags, true),
        },
        _ => sized!(u32),
    }
}

/// The handler of XADD of memory and a register of 32 bits.
pub(crate) const XADD: Handler = xadd_mr;
/// The handler of CMPXCHG of memory and a register of 32 bits.
pub(crate) const CMPXCHG: Handler = cmpxchg_mr;

/// The handler of INC or DEC of `size` bytes.
pub(crate) fn step(down: bool, memory: bool, size: u32, flags: bool) -> Handler {
    macro_rules! sized {
        ($W:ty) => {
            match (memory, down, flags) {
                (false, false, false) => step_r::<$W, false, false> as Handler,
                (false, false, true) => step_r::<$W, false, true>,
                (false, true, false) => step_r::<$W, true, false>,
                (false, true, true) => step_r::<$W, true, true>,
                (true, false, false) => step_m::<$W, false, false>,
                (true, false, true) => step_m::<$W, false, true>,
                (true, true, false) => step_m::<$W, true, false>,
                (true, true, true) => step_m::<$W, true, true>,
            }
        };
    }
    match size {
        1 => sized!(u8),
        2 => sized!(u16),
        _ => sized!(u32),
    }
}

/// The handler of NEG of a register of `size` bytes.
pub(crate) fn neg(size: u32, flags: bool) -> Handler {
    match (size, flags) {
        (1, false) => neg_r::<u8, false>,
        (1, true) => neg_r::<u8, true>,
        (2, false) => neg_r::<u16, false>,
        (2, true) => neg_r::<u16, true>,
        (_, false) => neg_r::<u32, false>,
        (_, true) => neg_r::<u32, true>,
    }
}

/// The handler of NOT of a register of `size` bytes.
pub(crate) fn not(size: u32) -> Handler {
    match size {
        1 => not_r::<u8>,
        2 => not_r::<u16>,
        _ => not_r::<u32>,
    }
}

/// The handler of IMUL of registers and an immediate, or memory.
pub(crate) fn imul(memory: bool, immediate: bool, flags: bool) -> Handler {
    match (memory, immediate, flags) {
        (false, false, false) => imul_rr::<false>,
        (false, false, true) => imul_rr::<true>,
        (false, true, false) => imul_rri::<false>,
        (false, true, true) => imul_rri::<true>,
        (true, false, false) => imul_rm::<false>,
        (true, false, true) => imul_rm::<true>,
        (true, true, false) => imul_rmi::<false>,
        (true, true, true) => imul_rmi::<true>,
    }
}

/// The handler of MUL of 32 bits.
pub(crate) fn mul(memory: bool, flags: bool) -> Handler {
    match (memory, flags) {
        (false, false) => mul_r::<false>,
        (false, true) => mul_r::<true>,
        (true, false) => mul_m::<false>,
        (true, true) => mul_m::<true>,
    }
}

/// The handler of IMUL of EAX by a register into EDX:EAX.
pub(crate) fn imul_wide(flags: bool) -> Handler {
    if flags { imul_wide_r::<true> } else { imul_wide_r::<false> }
}

/// The handler of DIV or IDIV of 32 bits by a register.
pub(crate) fn div(signed: bool, flags: bool) -> Handler {
    match (signed, flags) {
        (false, false) => div_r::<false>,
        (false, true) => div_r::<true>,
        (true, false) => idiv_r::<false>,
        (true, true) => idiv_r::<true>,
    }
}
