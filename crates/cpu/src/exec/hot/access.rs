//! What handlers are made of: registers, memory by the projections, flags.

use crate::{Cpu, alu::Word, block::Op, lazy::LazyFlags};

/// Byte offsets of the registers that instructions imply.
pub(super) const EAX: u8 = 0;
pub(super) const ECX: u8 = 4;
pub(super) const EDX: u8 = 8;
pub(super) const ESP: u8 = 16;
pub(super) const EBP: u8 = 20;
pub(super) const ESI: u8 = 24;
pub(super) const EDI: u8 = 28;

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
    if W::BITS > 8 && addr & 0xfff > 0x1000 - W::BITS / 8 {
        return None;
    }
    // Volatile, so that two branches stay two: both are foreseen, and their sum would have to
    // be worked out.
    // SAFETY: a projection has 2^20 entries.
    let page = unsafe { table.add((addr >> 12) as usize).read_volatile() };
    if page == 0 {
        return None;
    }
    Some(std::ptr::with_exposed_provenance_mut(page.wrapping_add(u64::from(addr)) as usize))
}

/// Where `bytes` bytes at `addr` lie on the host, if the access need not be looked at.
///
/// # Safety
/// As [`host`].
#[inline(always)]
pub(super) unsafe fn span(table: *const u64, addr: u32, bytes: u32) -> Option<*mut u32> {
    if addr & 0xfff > 0x1000 - bytes {
        return None;
    }
    // SAFETY: by the caller.
    unsafe { host::<u8>(table, addr) }.map(<*mut u8>::cast)
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

/// The status flags.
///
/// # Safety
/// As for handlers.
#[inline(always)]
pub(super) unsafe fn flags<'a>(cpu: *mut Cpu) -> &'a mut LazyFlags {
    // SAFETY: by the caller; the borrow ends before anything else touches the flags.
    unsafe { &mut (*cpu).run.lazy }
}

/// Whether the condition that an opcode's low bits name is met
/// (SDM Vol. 1, "EFLAGS Condition Codes").
///
/// # Safety
/// As for handlers.
#[inline(always)]
pub(super) unsafe fn condition<const CODE: u8>(cpu: *mut Cpu) -> bool {
    // SAFETY: by the caller.
    let flags = unsafe { flags(cpu) };
    let met = match CODE >> 1 {
        0 => flags.of(),
        1 => flags.cf(),
        2 => flags.zf(),
        3 => flags.cf() | flags.zf(),
        4 => flags.sf(),
        5 => flags.pf(),
        6 => flags.less(),
        _ => flags.less() | flags.zf(),
    };
    met != (CODE & 1 != 0)
}
