//! Moves of selectors into and out of segment registers, which kernels do at every entry and exit.

use x86::{Cr4, Descriptor, SegReg, Selector};

use super::{
    access::{ESP, get, host, load, place, set, span},
    go, handlers,
    slow::slow,
};
use crate::{
    Cpu, SegmentRegister,
    block::{Handler, Op},
    seg,
};

/// Bits of a descriptor's byte 5: present, S, and a type that is data and accessed.
const PRESENT_DATA: u8 = 0x91;
/// What of these, and CODE, is looked at.
const KIND: u8 = 0x99;

/// What a load of `selector` into a data segment register leaves there, if nothing of it must be looked at: in
/// protected mode at level 0, and a data segment of the GDT that is present and was loaded before, or none.
///
/// # Safety
/// As for handlers.
#[inline(always)]
unsafe fn loaded(cpu: *const Cpu, selector: u16) -> Option<SegmentRegister> {
    // SAFETY: by the caller.
    let (state, read) = unsafe { (&(*cpu).state, (*cpu).run.read) };
    // What an x87 instruction noted tells its operand's selector later: the slow function puts it away first.
    // SAFETY: by the caller.
    if unsafe { !(*cpu).run.x87.op.is_null() } {
        return None;
    }
    // The table is read with the supervisor's rights; SMAP knows two kinds of these.
    if state.cpl != 0 || !state.protected() || state.cr4().contains(Cr4::SMAP) {
        return None;
    }
    let selector = Selector(selector);
    if selector.is_null() {
        return Some(seg::null(selector));
    }
    if selector.local() || selector.offset() + 7 > u32::from(state.gdtr.limit) {
        return None;
    }
    // SAFETY: the projection is that of the current view, which is the supervisor's.
    let raw = unsafe { span(read, state.gdtr.base.wrapping_add(selector.offset()), 8)?.cast::<u64>().read_unaligned() };
    let descriptor = Descriptor(raw);
    let is_open = (raw >> 40) as u8 & KIND == PRESENT_DATA && descriptor.dpl() >= selector.rpl();
    is_open.then(|| SegmentRegister::from_descriptor(selector, descriptor))
}

/// Puts a register of the same kind in the place of another; `false` if its kind is another, of which translated
/// code must be told.
///
/// # Safety
/// As for handlers; `number` is that of ES, DS, FS or GS.
#[inline(always)]
unsafe fn commit(cpu: *mut Cpu, number: u8, loaded: SegmentRegister) -> bool {
    // SAFETY: by the caller.
    let register = unsafe { &mut (*cpu).state.seg[usize::from(number & 7)] };
    let is_flat = |seg: &SegmentRegister| seg.base == 0 && seg.unlimited();
    if number < SegReg::Fs as u8 && is_flat(register) != is_flat(&loaded) {
        return false;
    }
    *register = loaded;
    true
}

handlers! {
    /// Of register `src` into segment register `dst`.
    fn mov_to<>(cpu, op) {
        let selector = get::<u32>(cpu, (*op).src) as u16;
        match loaded(cpu, selector) {
            Some(register) if commit(cpu, (*op).dst, register) => go(cpu, op.add(1)),
            _ => slow(cpu, op),
        }
    }

    /// Of segment register `src` into the 32 bits of register `dst`.
    fn mov_from<>(cpu, op) {
        let selector = (*cpu).state.seg[usize::from((*op).src & 7)].selector;
        set::<u32>(cpu, (*op).dst, selector.into());
        go(cpu, op.add(1))
    }

    /// Of segment register `src`, on a flat 32-bit stack: of the slot 16 bits are written.
    fn push<>(cpu, op) {
        let top = get::<u32>(cpu, ESP).wrapping_sub(4);
        let place = place!(cpu, op, u16, top);
        place.write_unaligned((*cpu).state.seg[usize::from((*op).src & 7)].selector);
        set(cpu, ESP, top);
        go(cpu, op.add(1))
    }

    /// Into segment register `dst`, from a flat 32-bit stack.
    fn pop<>(cpu, op) {
        let top = get::<u32>(cpu, ESP);
        let selector = load!(cpu, op, u32, top) as u16;
        match loaded(cpu, selector) {
            Some(register) if commit(cpu, (*op).dst, register) => {
                set(cpu, ESP, top.wrapping_add(4));
                go(cpu, op.add(1))
            }
            _ => slow(cpu, op),
        }
    }
}

/// MOV from a 32-bit register to ES, DS, FS or GS.
pub(crate) const MOV_TO: Handler = mov_to;
/// MOV from a segment register to a 32-bit register.
pub(crate) const MOV_FROM: Handler = mov_from;
/// PUSH of a segment register.
pub(crate) const PUSH: Handler = push;
/// POP to ES, DS, FS or GS.
pub(crate) const POP: Handler = pop;
