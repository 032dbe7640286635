//! MOVS, STOS and LODS in flat segments: one at a time, and short repetitions of the first two.

use x86::Eflags;

use super::{
    access::{EAX, ECX, EDI, ESI, get, host, load, place, set, span},
    go, handlers,
    slow::slow,
};
use crate::{
    Cpu,
    alu::Word,
    block::{Handler, Op},
};

/// Moves a pointer register behind an element, in the direction that DF says.
#[inline(always)]
unsafe fn advance<W: Word>(cpu: *mut Cpu, pointer: u8) {
    let bytes = W::BITS / 8;
    // SAFETY: by the caller, a handler.
    unsafe {
        let down = (*cpu).state.eflags.contains(Eflags::DF);
        let step = if down { bytes.wrapping_neg() } else { bytes };
        set(cpu, pointer, get::<u32>(cpu, pointer).wrapping_add(step));
    }
}

handlers! {
    fn movs_one[W: Word]<>(cpu, op) {
        let value = load!(cpu, op, W, get::<u32>(cpu, ESI));
        let place = place!(cpu, op, W, get::<u32>(cpu, EDI));
        place.write_unaligned(value);
        advance::<W>(cpu, ESI);
        advance::<W>(cpu, EDI);
        go(cpu, op.add(1))
    }

    fn stos_one[W: Word]<>(cpu, op) {
        let place = place!(cpu, op, W, get::<u32>(cpu, EDI));
        place.write_unaligned(get::<W>(cpu, EAX));
        advance::<W>(cpu, EDI);
        go(cpu, op.add(1))
    }

    fn lods_one[W: Word]<>(cpu, op) {
        let value = load!(cpu, op, W, get::<u32>(cpu, ESI));
        set::<W>(cpu, EAX, value);
        advance::<W>(cpu, ESI);
        go(cpu, op.add(1))
    }
}

/// Repetitions that are done here, element by element; what has more goes by whole pages.
const FEW: u32 = 64;

/// How many iterations a repeated instruction has, if all of them are done at once, but in order.
///
/// # Safety
/// As for handlers.
#[inline(always)]
unsafe fn few(cpu: *const Cpu) -> Option<u32> {
    // SAFETY: by the caller.
    unsafe {
        let count = get::<u32>(cpu, ECX);
        // The first one has been counted with the block.
        let fits = count <= FEW && !(*cpu).run.single && i64::from(count) - 1 <= (*cpu).run.left;
        fits.then_some(count)
    }
}

/// Where the first of `count` elements at a pointer lies, if all lie in one page that need not be looked at, and
/// the distance from one to the next.
///
/// # Safety
/// As for handlers; `table` is a projection of the current view, `count` at least 1 and at most [`FEW`].
#[inline(always)]
unsafe fn run_of<W: Word>(cpu: *const Cpu, table: *const u64, pointer: u8, count: u32) -> Option<(*mut u8, isize)> {
    let len = W::BITS / 8;
    // SAFETY: by the caller.
    unsafe {
        let first = get::<u32>(cpu, pointer);
        let rest = (count - 1) * len;
        let down = (*cpu).state.eflags.contains(Eflags::DF);
        let lowest = if down { first.wrapping_sub(rest) } else { first };
        let place = span(table, lowest, rest + len)?.cast::<u8>();
        let step = len as isize;
        Some(if down { (place.add(rest as usize), -step) } else { (place, step) })
    }
}

/// Ends a repetition: counts its iterations but the first.
///
/// # Safety
/// As for handlers.
#[inline(always)]
unsafe fn end(cpu: *mut Cpu, count: u32) {
    // SAFETY: by the caller.
    unsafe {
        set(cpu, ECX, 0u32);
        (*cpu).run.left -= i64::from(count) - 1;
    }
}

/// Moves a pointer register behind `count` elements, in the direction that DF says.
///
/// # Safety
/// As for handlers.
#[inline(always)]
unsafe fn advance_by<W: Word>(cpu: *mut Cpu, pointer: u8, count: u32) {
    // SAFETY: by the caller.
    unsafe {
        let bytes = count * (W::BITS / 8);
        let down = (*cpu).state.eflags.contains(Eflags::DF);
        let bytes = if down { bytes.wrapping_neg() } else { bytes };
        set(cpu, pointer, get::<u32>(cpu, pointer).wrapping_add(bytes));
    }
}

handlers! {
    fn rep_movs[W: Word]<>(cpu, op) {
        let Some(count) = few(cpu) else { return slow(cpu, op) };
        if count == 0 {
            return go(cpu, op.add(1));
        }
        let Some((mut from, step)) = run_of::<W>(cpu, (*cpu).run.read, ESI, count) else { return slow(cpu, op) };
        let Some((mut to, _)) = run_of::<W>(cpu, (*cpu).run.write, EDI, count) else { return slow(cpu, op) };
        for _ in 0..count {
            // What is read may just have been written.
            to.cast::<W>().write_unaligned(from.cast::<W>().read_unaligned());
            (from, to) = (from.wrapping_offset(step), to.wrapping_offset(step));
        }
        advance_by::<W>(cpu, ESI, count);
        advance_by::<W>(cpu, EDI, count);
        end(cpu, count);
        go(cpu, op.add(1))
    }

    fn rep_stos[W: Word]<>(cpu, op) {
        let Some(count) = few(cpu) else { return slow(cpu, op) };
        if count == 0 {
            return go(cpu, op.add(1));
        }
        let Some((mut to, step)) = run_of::<W>(cpu, (*cpu).run.write, EDI, count) else { return slow(cpu, op) };
        let value = get::<W>(cpu, EAX);
        for _ in 0..count {
            to.cast::<W>().write_unaligned(value);
            to = to.wrapping_offset(step);
        }
        advance_by::<W>(cpu, EDI, count);
        end(cpu, count);
        go(cpu, op.add(1))
    }
}

/// The handler of REP MOVS of 4 bytes, or of 1.
pub(crate) fn repeated_movs(wide: bool) -> Handler {
    if wide { rep_movs::<u32> } else { rep_movs::<u8> }
}

/// The handler of REP STOS of 4 bytes, or of 1.
pub(crate) fn repeated_stos(wide: bool) -> Handler {
    if wide { rep_stos::<u32> } else { rep_stos::<u8> }
}

/// The handler of MOVS of 4 bytes, or of 1.
pub(crate) fn movs(wide: bool) -> Handler {
    if wide { movs_one::<u32> } else { movs_one::<u8> }
}

/// The handler of STOS of 4 bytes, or of 1.
pub(crate) fn stos(wide: bool) -> Handler {
    if wide { stos_one::<u32> } else { stos_one::<u8> }
}

/// The handler of LODS of 4 bytes, or of 1.
pub(crate) fn lods(wide: bool) -> Handler {
    if wide { lods_one::<u32> } else { lods_one::<u8> }
}
