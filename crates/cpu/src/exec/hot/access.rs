//! What handlers are made of: registers, memory by the projections, flags.

use x86::Eflags;

use crate::{Cpu, alu::Word, block::Op, lazy::Kind};

/// Byte offsets of the registers that instructions imply.
pub(super) const EAX: u8 = 0;
pub(super) const ECX: u8 = 4;
pub(super) const EDX: u8 = 8;
pub(super) const ESP: u8 = 16;
pub(super) const EBP: u8 = 20;

/// A general-purpose register by the byte offset of its lowest byte.
///
/// # Safety
/// As for handlers; `offset` is that of a register of the width of `W`.
#[inline(always)]
pub(super) unsafe fn get<W: Word>(cpu: *const Cpu, offset: u8) -> W {
    // SAFETY: the registers are the first field of the state, and that of the CPU.
    unsafe { cpu.cast::<u8>().add(offset.into()).cast::<W>().read() }
}

/// Sets a general-purpose register; the rest of the full register stays.
///
/// # Safety
/// As [`get`].
#[inline(always)]
pub(super) unsafe fn set<W: Word>(cpu: *mut Cpu, offset: u8, value: W) {
    // SAFETY: as in `get`.
    unsafe { cpu.cast::<u8>().add(offset.into()).cast::<W>().write(value) }
}

/// The offset of the memory operand in its flat segment.
///
/// # Safety
/// As for handlers.
#[inline(always)]
pub(super) unsafe fn effective<const INDEXED: bool>(cpu: *const Cpu, op: *const Op) -> u32 {
    // SAFETY: by the caller.
    unsafe {
        let base = get::<u32>(cpu, (*op).base).wrapping_add((*op).disp);
        if INDEXED { base.wrapping_add(get::<u32>(cpu, (*op).index) << ((*op).scale & 31)) } else { base }
    }
}

/// Where `W` at `addr` lies on the host, if the access need not be looked at.
///
/// # Safety
/// `table` is a projection of the current view.
#[inline(always)]
pub(super) unsafe fn host<W: Word>(table: *const u64, addr: u32) -> Option<*mut W> {
    // SAFETY: a projection has 2^20 entries.
    let page = unsafe { *table.add((addr >> 12) as usize) };
    let crosses = W::BITS > 8 && addr & 0xfff > 0x1000 - W::BITS / 8;
    if page == 0 || crosses {
        return None;
    }
    Some(std::ptr::with_exposed_provenance_mut(page.wrapping_add(u64::from(addr)) as usize))
}

/// `W` at linear address `$addr`; hands over to the slow form if it must be looked at.
macro_rules! load {
    ($cpu:ident, $op:ident, $W:ty, $addr:expr) => {
        match host::<$W>((*$cpu).run.read, $addr) {
            Some(place) => place.read_unaligned(),
            None => return slow($cpu, $op),
        }
    };
}
pub(super) use load;

/// Where `W` at linear address `$addr` can be written (and read); hands over to the slow form
/// if it must be looked at.
macro_rules! place {
    ($cpu:ident, $op:ident, $W:ty, $addr:expr) => {
        match host::<$W>((*$cpu).run.write, $addr) {
            Some(place) => place,
            None => return slow($cpu, $op),
        }
    };
}
pub(super) use place;

/// Notes the operation that the status flags follow from.
///
/// # Safety
/// As for handlers.
#[inline(always)]
pub(super) unsafe fn note<W: Word>(cpu: *mut Cpu, kind: Kind, a: W, b: W, result: W) {
    // SAFETY: by the caller.
    let lazy = unsafe { &mut (*cpu).run.lazy };
    lazy.kind = kind;
    lazy.a = a.sext() as u32;
    lazy.b = b.sext() as u32;
    lazy.result = result.sext() as u32;
}

/// Sets CF and OF alone; the flags are in EFLAGS.
///
/// # Safety
/// As for handlers.
#[inline(always)]
pub(super) unsafe fn set_carry_and_overflow(cpu: *mut Cpu, cf: bool, of: bool) {
    // SAFETY: by the caller.
    let eflags = unsafe { &mut (*cpu).state.eflags };
    let bits = eflags.bits() & !(1 | 1 << 11) | u32::from(cf) | u32::from(of) << 11;
    *eflags = Eflags::from_bits_retain(bits);
}

/// CF, if it is cheap to tell.
///
/// # Safety
/// As for handlers.
#[inline(always)]
pub(super) unsafe fn carry(cpu: *const Cpu) -> Option<bool> {
    // SAFETY: by the caller.
    let (lazy, eflags) = unsafe { (&(*cpu).run.lazy, (*cpu).state.eflags.bits()) };
    let (a, b, result) = (lazy.a, lazy.b, lazy.result);
    match lazy.kind {
        Kind::Sub => Some(((!a & b) | ((!a | b) & result)) >> 31 != 0),
        Kind::Add => Some(((a & b) | ((a | b) & !result)) >> 31 != 0),
        Kind::Logic => Some(false),
        Kind::Inc | Kind::Dec => Some(lazy.cf != 0),
        Kind::Eager => Some(eflags & 1 != 0),
        _ => None,
    }
}

/// Whether the condition that an opcode's low bits name is met, if it is cheap to tell
/// (SDM Vol. 1, "EFLAGS Condition Codes").
///
/// # Safety
/// As for handlers.
#[inline(always)]
pub(super) unsafe fn condition<const CODE: u8>(cpu: *const Cpu) -> Option<bool> {
    // SAFETY: by the caller.
    let (lazy, eflags) = unsafe { (&(*cpu).run.lazy, (*cpu).state.eflags.bits()) };
    let (a, b, result) = (lazy.a, lazy.b, lazy.result);
    let flag = |bit: u32| eflags >> bit & 1 != 0;
    let eager = lazy.kind == Kind::Eager;
    let met = match CODE >> 1 {
        0 if eager => flag(11),
        0 => return None,
        // SAFETY: by the caller.
        1 => unsafe { carry(cpu)? },
        2 if eager => flag(6),
        2 => result == 0,
        3 => match lazy.kind {
            Kind::Sub => result == 0 || ((!a & b) | ((!a | b) & result)) >> 31 != 0,
            Kind::Logic => result == 0,
            Kind::Eager => flag(0) || flag(6),
            _ => return None,
        },
        4 if eager => flag(7),
        4 => (result as i32) < 0,
        5 if eager => flag(2),
        5 => (result as u8).count_ones() & 1 == 0,
        code => {
            let less = match lazy.kind {
                Kind::Sub => ((result ^ ((a ^ b) & (a ^ result))) as i32) < 0,
                Kind::Logic => (result as i32) < 0,
                Kind::Eager => flag(7) != flag(11),
                _ => return None,
            };
            let zero = if eager { flag(6) } else { result == 0 };
            less || (code == 7 && zero)
        }
    };
    Some(met != (CODE & 1 != 0))
}

/// The value of an `Option` that says what is cheap to tell of the flags; works them out and
/// starts the operation again where it is not.
macro_rules! cheap {
    ($cpu:ident, $op:ident, $option:expr) => {
        match $option {
            Some(value) => value,
            None => return settle($cpu, $op),
        }
    };
}
pub(super) use cheap;
