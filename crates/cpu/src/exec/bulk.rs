//! Repeated MOVS and STOS, as far as a page goes, by host copies.

#![allow(unsafe_code)]

use x86::{Eflags, LinearAddr, SegReg};

use super::string::{Kind, Pointers, advance};
use crate::{Cpu, Gpr, alu::Word, operand, seg};

/// Does as many of `count` iterations at once as can be done without looking, and moves the
/// pointers; the count register is left to the caller. 0 where an iteration must be looked at.
pub(super) fn run<W: Word>(cpu: &mut Cpu, kind: Kind, pointers: &Pointers, count: u32) -> u32 {
    let len = W::BITS / 8;
    let eligible = matches!(kind, Kind::Movs | Kind::Stos)
        && !cpu.run.single
        && !cpu.watching()
        && !cpu.state.eflags.contains(Eflags::DF);
    if !eligible {
        return 0;
    }
    let budget = cpu.budget_left().saturating_add(1).min(u64::from(count)) as u32;
    let mut chunk = (budget as usize).min(0x1000 / len as usize) as u32;
    let mut side = |cpu: &mut Cpu, seg, register, table: *const u64, write| -> Option<*mut u8> {
        let offset = operand::read_reg(cpu, register);
        let page_left = 0x1000 - (offset & 0xfff);
        let addr = seg::linear(cpu, seg, offset, 1, write).ok()?;
        chunk = chunk.min(page_left / len).min((0x1000 - addr.page_offset()) / len);
        if chunk == 0 {
            return None;
        }
        // The last byte must lie within the limit too.
        seg::linear(cpu, seg, offset, chunk * len, write).ok()?;
        host(table, addr)
    };
    let (read, write) = (cpu.run.read, cpu.run.write);
    let Some(to) = side(cpu, SegReg::Es, pointers.destination, write, true) else { return 0 };
    let from = match kind {
        Kind::Movs => {
            let Some(from) = side(cpu, pointers.source_seg, pointers.source, read, false) else { return 0 };
            Some(from.cast_const())
        }
        _ => None,
    };
    let bytes = (chunk * len) as usize;
    // SAFETY: both ranges lie within a frame of guest memory, to which the projection leads, and
    // no Rust reference into guest memory exists.
    unsafe {
        match from {
            // An overlap that repeats what it has just written must go element by element.
            Some(from) if to.addr().wrapping_sub(from.addr()) < bytes => {
                for n in 0..chunk as usize {
                    let element = from.cast::<W>().add(n).read_unaligned();
                    to.cast::<W>().add(n).write_unaligned(element);
                }
            }
            Some(from) => std::ptr::copy(from, to, bytes),
            None => {
                let element = W::truncate(cpu.state.gpr(Gpr::Eax).into());
                for n in 0..chunk as usize {
                    to.cast::<W>().add(n).write_unaligned(element);
                }
            }
        }
    }
    advance(cpu, pointers.destination, chunk * len);
    if kind == Kind::Movs {
        advance(cpu, pointers.source, chunk * len);
    }
    chunk
}

/// Where `addr` lies on the host, if its page needs no looking.
fn host(table: *const u64, addr: LinearAddr) -> Option<*mut u8> {
    // SAFETY: the projections of the current view have 2^20 entries.
    let page = unsafe { *table.add(addr.page_number() as usize) };
    (page != 0).then(|| std::ptr::with_exposed_provenance_mut(page.wrapping_add(u64::from(addr.0)) as usize))
}
