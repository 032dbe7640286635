//! SHL, SHR, SAR, ROL, ROR of 32 bits; SHLD, SHRD, BT, BTS, BTR, BTC, BSF, BSR of registers of 32 bits.

use super::{
    access::{ECX, effective, flags, get, host, place, set},
    go, handlers,
    slow::slow,
};
use crate::{
    Cpu, alu,
    block::{Handler, Op},
};

/// The operations.
pub(crate) const SHL: u8 = 0;
pub(crate) const SHR: u8 = 1;
pub(crate) const SAR: u8 = 2;
pub(crate) const ROL: u8 = 3;
pub(crate) const ROR: u8 = 4;

/// `value` shifted by `count`, 1 to 31.
#[inline(always)]
pub(super) const fn shifted<const OP: u8>(value: u32, count: u32) -> u32 {
    match OP {
        SHL => value << count,
        SHR => value >> count,
        SAR => (value as i32 >> count) as u32,
        ROL => value.rotate_left(count),
        _ => value.rotate_right(count),
    }
}

/// `$value` shifted by a count from 1 to 31.
macro_rules! shift {
    ($cpu:ident, $OP:ident, $FLAGS:expr, $value:expr, $count:expr) => {{
        let (value, count) = ($value, $count);
        let result = shifted::<$OP>(value, count);
        if $FLAGS {
            let bit = |n: u32| result >> n & 1 != 0;
            let last_right = value >> (count - 1) & 1 != 0;
            match $OP {
                SHL => {
                    let cf = value >> (32 - count) & 1 != 0;
                    flags($cpu).set_shift(result, cf, bit(31) != cf);
                }
                SHR => flags($cpu).set_shift(result, last_right, bit(30)),
                SAR => flags($cpu).set_shift(result, last_right, false),
                ROL => flags($cpu).set_cf_of(bit(0), bit(31) != bit(0)),
                _ => flags($cpu).set_cf_of(bit(31), bit(31) != bit(30)),
            }
        }
        result
    }};
}

handlers! {
    fn shift_ri<const OP: u8, const FLAGS: bool>(cpu, op) {
        let result = shift!(cpu, OP, FLAGS, get::<u32>(cpu, (*op).dst), (*op).imm & 31);
        set(cpu, (*op).dst, result);
        go(cpu, op.add(1))
    }

    fn shift_rc<const OP: u8, const FLAGS: bool>(cpu, op) {
        let count = get::<u32>(cpu, ECX) & 31;
        if count != 0 {
            let result = shift!(cpu, OP, FLAGS, get::<u32>(cpu, (*op).dst), count);
            set(cpu, (*op).dst, result);
        }
        go(cpu, op.add(1))
    }

    fn shift_mi<const OP: u8>(cpu, op) {
        let place = place!(cpu, op, u32, effective::<true>(cpu, op));
        place.write_unaligned(shift!(cpu, OP, true, place.read_unaligned(), (*op).imm & 31));
        go(cpu, op.add(1))
    }

    fn shift_mc<const OP: u8>(cpu, op) {
        let place = place!(cpu, op, u32, effective::<true>(cpu, op));
        let count = get::<u32>(cpu, ECX) & 31;
        if count != 0 {
            place.write_unaligned(shift!(cpu, OP, true, place.read_unaligned(), count));
        }
        go(cpu, op.add(1))
    }

    /// SHLD and SHRD whose flags are dead, by 1 to 31.
    fn double_shift<const RIGHT: bool>(cpu, op) {
        let (dst, src, count) = (get::<u32>(cpu, (*op).dst), get::<u32>(cpu, (*op).src), (*op).imm & 31);
        let result = match RIGHT {
            true => ((u64::from(src) << 32 | u64::from(dst)) >> count) as u32,
            false => ((u64::from(dst) << 32 | u64::from(src)) >> (32 - count)) as u32,
        };
        set(cpu, (*op).dst, result);
        go(cpu, op.add(1))
    }

    fn double_shift_flags<const RIGHT: bool>(cpu, op) {
        let (dst, src, count) = (get::<u32>(cpu, (*op).dst), get::<u32>(cpu, (*op).src), (*op).imm as u8);
        let before = alu::Flags::default(); // a shift by at least 1 keeps nothing of it
        let (result, flags) = match RIGHT {
            true => alu::shrd(dst, src, count, before),
            false => alu::shld(dst, src, count, before),
        };
        set(cpu, (*op).dst, result);
        (*cpu).run.lazy = flags.into();
        go(cpu, op.add(1))
    }

    /// SHLD and SHRD by CL.
    fn double_shift_cl<const RIGHT: bool>(cpu, op) {
        let (dst, src, count) = (get::<u32>(cpu, (*op).dst), get::<u32>(cpu, (*op).src), get::<u8>(cpu, ECX) & 31);
        if count != 0 {
            let before = alu::Flags::default();
            let (result, flags) = match RIGHT {
                true => alu::shrd(dst, src, count, before),
                false => alu::shld(dst, src, count, before),
            };
            set(cpu, (*op).dst, result);
            (*cpu).run.lazy = flags.into();
        }
        go(cpu, op.add(1))
    }

    fn bit_test<const OP: u8>(cpu, op) {
        let index = get::<u32>(cpu, (*op).src).wrapping_add((*op).imm) & 31;
        let dst = get::<u32>(cpu, (*op).dst);
        flags(cpu).set_cf(dst >> index & 1 != 0);
        match OP {
            BTS => set(cpu, (*op).dst, dst | 1 << index),
            BTR => set(cpu, (*op).dst, dst & !(1 << index)),
            BTC => set(cpu, (*op).dst, dst ^ 1 << index),
            _ => {}
        }
        go(cpu, op.add(1))
    }

    fn bit_scan<const REVERSE: bool>(cpu, op) {
        let src = get::<u32>(cpu, (*op).src);
        flags(cpu).set_zf(src == 0);
        if src != 0 {
            set(cpu, (*op).dst, if REVERSE { 31 - src.leading_zeros() } else { src.trailing_zeros() });
        }
        go(cpu, op.add(1))
    }
}

/// The handlers of `$f` by operation and liveness of the flags.
macro_rules! by_shift {
    ($f:ident, $op:expr, $flags:expr) => {
        match ($op, $flags) {
            (SHL, false) => $f::<SHL, false> as Handler,
            (SHL, true) => $f::<SHL, true>,
            (SHR, false) => $f::<SHR, false>,
            (SHR, true) => $f::<SHR, true>,
            (SAR, false) => $f::<SAR, false>,
            (SAR, true) => $f::<SAR, true>,
            (ROL, false) => $f::<ROL, false>,
            (ROL, true) => $f::<ROL, true>,
            (_, false) => $f::<ROR, false>,
            (_, true) => $f::<ROR, true>,
        }
    };
}

/// The handler of a shift by the constant `imm`, 1 to 31, or by CL.
pub(crate) fn shift(op: u8, by_cl: bool, flags: bool) -> Handler {
    if by_cl { by_shift!(shift_rc, op, flags) } else { by_shift!(shift_ri, op, flags) }
}

/// The handler of a shift of memory by the constant `imm`, 1 to 31, or by CL.
pub(crate) fn shift_memory(op: u8, by_cl: bool) -> Handler {
    match (op, by_cl) {
        (SHL, false) => shift_mi::<SHL>,
        (SHL, true) => shift_mc::<SHL>,
        (SHR, false) => shift_mi::<SHR>,
        (SHR, true) => shift_mc::<SHR>,
        (SAR, false) => shift_mi::<SAR>,
        (SAR, true) => shift_mc::<SAR>,
        (ROL, false) => shift_mi::<ROL>,
        (ROL, true) => shift_mc::<ROL>,
        (_, false) => shift_mi::<ROR>,
        (_, true) => shift_mc::<ROR>,
    }
}

/// The handler of SHLD or SHRD by the constant `imm`, 1 to 31.
pub(crate) fn double(right: bool, flags: bool) -> Handler {
    match (right, flags) {
        (false, false) => double_shift::<false>,
        (true, false) => double_shift::<true>,
        (false, true) => double_shift_flags::<false>,
        (true, true) => double_shift_flags::<true>,
    }
}

/// The handler of SHLD or SHRD by CL.
pub(crate) fn double_by_cl(right: bool) -> Handler {
    if right { double_shift_cl::<true> } else { double_shift_cl::<false> }
}

/// What becomes of the bit that is tested.
pub(crate) const BT: u8 = 0;
pub(crate) const BTS: u8 = 1;
pub(crate) const BTR: u8 = 2;
pub(crate) const BTC: u8 = 3;

/// The handler of BT, BTS, BTR or BTC of a register.
pub(crate) fn test_bit(op: u8) -> Handler {
    match op {
        BTS => bit_test::<BTS>,
        BTR => bit_test::<BTR>,
        BTC => bit_test::<BTC>,
        _ => bit_test::<BT>,
    }
}

/// The handler of BSF or BSR of a register.
pub(crate) fn scan(reverse: bool) -> Handler {
    if reverse { bit_scan::<true> } else { bit_scan::<false> }
}
