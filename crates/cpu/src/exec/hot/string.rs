//! MOVS, STOS and LODS, one at a time, in flat segments.

use x86::Eflags;

use super::{
    access::{EAX, EDI, ESI, get, host, load, place, set},
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
