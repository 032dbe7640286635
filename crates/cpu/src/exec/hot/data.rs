//! MOV, MOVZX, MOVSX, LEA, XCHG, BSWAP, CMOVcc, SETcc, CDQ, CWDE, NOP.

use super::{
    access::{EAX, EDX, condition, effective, get, host, load, place, set},
    go, handlers,
    slow::slow,
};
use crate::{
    Cpu,
    alu::Word,
    block::{Handler, Op},
};

handlers! {
    fn mov_rr[W: Word]<>(cpu, op) {
        set::<W>(cpu, (*op).dst, get::<W>(cpu, (*op).src));
        go(cpu, op.add(1))
    }

    fn mov_ri[W: Word]<>(cpu, op) {
        set::<W>(cpu, (*op).dst, W::truncate((*op).imm.into()));
        go(cpu, op.add(1))
    }

    fn mov_rm[W: Word]<const INDEXED: bool>(cpu, op) {
        let value = load!(cpu, op, W, effective::<INDEXED>(cpu, op));
        set::<W>(cpu, (*op).dst, value);
        go(cpu, op.add(1))
    }

    fn mov_mr[W: Word]<const INDEXED: bool>(cpu, op) {
        let place = place!(cpu, op, W, effective::<INDEXED>(cpu, op));
        place.write_unaligned(get::<W>(cpu, (*op).src));
        go(cpu, op.add(1))
    }

    fn mov_mi[W: Word]<const INDEXED: bool>(cpu, op) {
        let place = place!(cpu, op, W, effective::<INDEXED>(cpu, op));
        place.write_unaligned(W::truncate((*op).imm.into()));
        go(cpu, op.add(1))
    }

    /// MOV between a register and memory in segment `imm`, which may have a base.
    fn mov_r_segment[W: Word]<const STORE: bool>(cpu, op) {
        let segment = &(*cpu).state.seg[usize::from((*op).imm as u8 & 7)];
        if !segment.unlimited() {
            return slow(cpu, op);
        }
        let addr = effective::<true>(cpu, op).wrapping_add(segment.base);
        if STORE {
            let place = place!(cpu, op, W, addr);
            place.write_unaligned(get::<W>(cpu, (*op).src));
        } else {
            let value = load!(cpu, op, W, addr);
            set::<W>(cpu, (*op).dst, value);
        }
        go(cpu, op.add(1))
    }

    /// Into 32 bits.
    fn extend_r[W: Word]<const SIGNED: bool>(cpu, op) {
        let value = get::<W>(cpu, (*op).src);
        set::<u32>(cpu, (*op).dst, if SIGNED { value.sext() as u32 } else { value.zext() as u32 });
        go(cpu, op.add(1))
    }

    /// Into 32 bits.
    fn extend_m[W: Word]<const SIGNED: bool, const INDEXED: bool>(cpu, op) {
        let value = load!(cpu, op, W, effective::<INDEXED>(cpu, op));
        set::<u32>(cpu, (*op).dst, if SIGNED { value.sext() as u32 } else { value.zext() as u32 });
        go(cpu, op.add(1))
    }

    fn lea<const INDEXED: bool>(cpu, op) {
        set::<u32>(cpu, (*op).dst, effective::<INDEXED>(cpu, op));
        go(cpu, op.add(1))
    }

    fn xchg_rr[W: Word]<>(cpu, op) {
        let (a, b) = (get::<W>(cpu, (*op).dst), get::<W>(cpu, (*op).src));
        set::<W>(cpu, (*op).dst, b);
        set::<W>(cpu, (*op).src, a);
        go(cpu, op.add(1))
    }

    fn xchg_mr[W: Word]<>(cpu, op) {
        let place = place!(cpu, op, W, effective::<true>(cpu, op));
        let value = place.read_unaligned();
        let brought = get::<W>(cpu, (*op).src);
        if value == brought && value != W::ZERO {
            return slow(cpu, op); // perhaps a lock that another CPU holds
        }
        place.write_unaligned(brought);
        set::<W>(cpu, (*op).src, value);
        go(cpu, op.add(1))
    }

    fn bswap<>(cpu, op) {
        set::<u32>(cpu, (*op).dst, get::<u32>(cpu, (*op).dst).swap_bytes());
        go(cpu, op.add(1))
    }

    fn cdq<>(cpu, op) {
        set::<u32>(cpu, EDX, (get::<u32>(cpu, EAX) as i32 >> 31) as u32);
        go(cpu, op.add(1))
    }

    fn nop<>(cpu, op) {
        go(cpu, op.add(1))
    }

    fn set_r<const CODE: u8>(cpu, op) {
        let met = condition::<CODE>(cpu);
        set::<u8>(cpu, (*op).dst, met.into());
        go(cpu, op.add(1))
    }

    fn set_m<const CODE: u8>(cpu, op) {
        let met = condition::<CODE>(cpu);
        let place = place!(cpu, op, u8, effective::<true>(cpu, op));
        place.write(met.into());
        go(cpu, op.add(1))
    }

    fn cmov_rr<const CODE: u8>(cpu, op) {
        if condition::<CODE>(cpu) {
            set::<u32>(cpu, (*op).dst, get::<u32>(cpu, (*op).src));
        }
        go(cpu, op.add(1))
    }

    fn cmov_rm<const CODE: u8>(cpu, op) {
        let met = condition::<CODE>(cpu);
        let value = load!(cpu, op, u32, effective::<true>(cpu, op));
        if met {
            set::<u32>(cpu, (*op).dst, value);
        }
        go(cpu, op.add(1))
    }
}

/// The handler of `$f` for width and indexing.
macro_rules! by_size {
    ($f:ident, $size:expr) => {
        match $size {
            1 => $f::<u8> as Handler,
            2 => $f::<u16>,
            _ => $f::<u32>,
        }
    };
    ($f:ident, $size:expr, $indexed:expr) => {
        match ($size, $indexed) {
            (1, false) => $f::<u8, false> as Handler,
            (1, true) => $f::<u8, true>,
            (2, _) => $f::<u16, true>,
            (_, false) => $f::<u32, false>,
            (_, true) => $f::<u32, true>,
        }
    };
}

/// The handler of MOV.
pub(crate) fn mov(form: super::alu::Form, size: u32) -> Handler {
    use super::alu::Form as F;
    match form {
        F::RegReg => by_size!(mov_rr, size),
        F::RegImm => by_size!(mov_ri, size),
        F::RegMem { indexed } => by_size!(mov_rm, size, indexed),
        F::MemReg { indexed } => by_size!(mov_mr, size, indexed),
        F::MemImm { indexed } => by_size!(mov_mi, size, indexed),
    }
}

/// The handler of MOV of `size` bytes, 1 or 4, between a register and memory in segment `imm`.
pub(crate) fn mov_segment(store: bool, size: u32) -> Handler {
    match (size, store) {
        (1, false) => mov_r_segment::<u8, false>,
        (1, true) => mov_r_segment::<u8, true>,
        (_, false) => mov_r_segment::<u32, false>,
        (_, true) => mov_r_segment::<u32, true>,
    }
}

/// The handler of MOVZX or MOVSX to 32 bits from `size` bytes.
pub(crate) fn extend(signed: bool, size: u32, memory: Option<bool>) -> Handler {
    match (size, signed, memory) {
        (1, false, None) => extend_r::<u8, false>,
        (1, true, None) => extend_r::<u8, true>,
        (_, false, None) => extend_r::<u16, false>,
        (_, true, None) => extend_r::<u16, true>,
        (1, false, Some(false)) => extend_m::<u8, false, false>,
        (1, false, Some(true)) => extend_m::<u8, false, true>,
        (1, true, Some(false)) => extend_m::<u8, true, false>,
        (1, true, Some(true)) => extend_m::<u8, true, true>,
        (_, false, Some(_)) => extend_m::<u16, false, true>,
        (_, true, Some(_)) => extend_m::<u16, true, true>,
    }
}

/// The handler of LEA of 32 bits.
pub(crate) fn load_address(indexed: bool) -> Handler {
    if indexed { lea::<true> } else { lea::<false> }
}

/// The handler of XCHG; of a register and memory if `memory`.
pub(crate) fn xchg(memory: bool, size: u32) -> Handler {
    if memory { by_size!(xchg_mr, size) } else { by_size!(xchg_rr, size) }
}

/// The handler of BSWAP of 32 bits.
pub(crate) const BSWAP: Handler = bswap;
/// The handler of CDQ.
pub(crate) const CDQ: Handler = cdq;
/// The handler of NOP.
pub(crate) const NOP: Handler = nop;

/// The handlers of `$f` by condition code.
macro_rules! by_code {
    ($f:ident, $code:expr) => {{
        const HANDLERS: [Handler; 16] = [
            $f::<0>, $f::<1>, $f::<2>, $f::<3>, $f::<4>, $f::<5>, $f::<6>, $f::<7>, $f::<8>, $f::<9>, $f::<10>,
            $f::<11>, $f::<12>, $f::<13>, $f::<14>, $f::<15>,
        ];
        HANDLERS[usize::from($code)]
    }};
}
pub(super) use by_code;

/// The handler of SETcc.
pub(crate) fn set_if(code: u8, memory: bool) -> Handler {
    if memory { by_code!(set_m, code) } else { by_code!(set_r, code) }
}

/// The handler of CMOVcc of 32 bits.
pub(crate) fn mov_if(code: u8, memory: bool) -> Handler {
    if memory { by_code!(cmov_rm, code) } else { by_code!(cmov_rr, code) }
}
