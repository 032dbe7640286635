//! Repeated string instructions, as far as a page goes, on the host.

#![allow(unsafe_code)]

use x86::{Eflags, LinearAddr, SegReg};

use super::string::{Kind, Pointers, advance};
use crate::{
    Cpu, Gpr,
    alu::{self, Word},
    operand, seg,
};

/// Does as many of `count` iterations at once as can be done without looking, at most those up to the
/// one that ends a comparison, and moves the pointers; the count register is left to the caller.
/// 0 where an iteration must be looked at.
pub(super) fn run<W: Word>(cpu: &mut Cpu, kind: Kind, pointers: &Pointers, count: u32, until_equal: bool) -> u32 {
    if kind == Kind::Lods || cpu.run.single || cpu.watching() {
        return 0;
    }
    let budget = cpu.budget_left().saturating_add(1).min(u64::from(count)) as u32;
    let mut stretch = Stretch { count: budget, len: W::BITS / 8, down: cpu.state.eflags.contains(Eflags::DF) };
    let writes = matches!(kind, Kind::Movs | Kind::Stos);
    let table = if writes { cpu.run.write } else { cpu.run.read };
    let Some(to) = stretch.reach(cpu, SegReg::Es, operand::read_reg(cpu, pointers.destination), table, writes) else {
        return 0;
    };
    let mut from = std::ptr::null_mut();
    if matches!(kind, Kind::Movs | Kind::Cmps) {
        let offset = operand::read_reg(cpu, pointers.source);
        let Some(place) = stretch.reach(cpu, pointers.source_seg, offset, cpu.run.read, false) else { return 0 };
        from = place;
    }
    let accumulator = W::truncate(cpu.state.gpr(Gpr::Eax).into());
    // SAFETY: both stretches lie within a frame of guest memory, to which the projection leads, and
    // no Rust reference into guest memory exists.
    let done = unsafe {
        match kind {
            Kind::Movs => stretch.copy::<W>(from, to),
            Kind::Stos => (0..stretch.count).for_each(|n| stretch.at::<W>(to, n).write_unaligned(accumulator)),
            _ => {}
        }
        if writes {
            stretch.count
        } else {
            let pair = |n: u32| {
                let second = stretch.at::<W>(to, n).read_unaligned();
                let first = if kind == Kind::Cmps { stretch.at::<W>(from, n).read_unaligned() } else { accumulator };
                (first, second)
            };
            let ends = |&n: &u32| {
                let (first, second) = pair(n);
                (first == second) == until_equal
            };
            let done = (0..stretch.count).find(ends).map_or(stretch.count, |n| n + 1);
            let (first, second) = pair(done - 1);
            cpu.set_flags(alu::sub(first, second).1);
            done
        }
    };
    let bytes = done * stretch.len;
    let bytes = if stretch.down { bytes.wrapping_neg() } else { bytes };
    advance(cpu, pointers.destination, bytes);
    if matches!(kind, Kind::Movs | Kind::Cmps) {
        advance(cpu, pointers.source, bytes);
    }
    done
}

/// Elements in a row.
struct Stretch {
    count: u32,
    /// Bytes of an element.
    len: u32,
    /// Towards lower addresses.
    down: bool,
}

impl Stretch {
    /// Where the first element, at `offset` in `seg`, lies on the host. Cuts the stretch where its page or its
    /// offsets' page ends; `None` if not even one element can be reached without looking.
    fn reach(&mut self, cpu: &Cpu, seg: SegReg, offset: u32, table: *const u64, write: bool) -> Option<*mut u8> {
        let first = seg::linear(cpu, seg, offset, self.len, write).ok()?;
        for place in [offset & 0xfff, first.page_offset()] {
            let room = if place > 0x1000 - self.len {
                0
            } else if self.down {
                place / self.len + 1
            } else {
                (0x1000 - place) / self.len
            };
            self.count = self.count.min(room);
        }
        if self.count == 0 {
            return None;
        }
        // The last byte must lie within the limit too.
        let lowest = if self.down { offset - (self.count - 1) * self.len } else { offset };
        seg::linear(cpu, seg, lowest, self.count * self.len, write).ok()?;
        host(table, first)
    }

    /// Element `n` of the stretch that begins with the element at `first`.
    ///
    /// # Safety
    /// The stretch lies within one allocation.
    #[inline(always)]
    unsafe fn at<W: Word>(&self, first: *mut u8, n: u32) -> *mut W {
        let distance = (n * self.len) as usize;
        // SAFETY: by the caller.
        unsafe { if self.down { first.sub(distance) } else { first.add(distance) } }.cast()
    }

    /// Copies element by element, or at once where that comes to the same.
    ///
    /// # Safety
    /// Both stretches lie in guest memory, into which no Rust reference exists.
    unsafe fn copy<W: Word>(&self, from: *mut u8, to: *mut u8) {
        let bytes = (self.count * self.len) as usize;
        // An overlap that repeats what was just written must go element by element.
        let ahead = if self.down { from.addr().wrapping_sub(to.addr()) } else { to.addr().wrapping_sub(from.addr()) };
        // SAFETY: by the caller.
        unsafe {
            if ahead < bytes && ahead != 0 {
                for n in 0..self.count {
                    self.at::<W>(to, n).write_unaligned(self.at::<W>(from, n).read_unaligned());
                }
            } else if self.count != 0 {
                let lowest = if self.down { self.count - 1 } else { 0 };
                std::ptr::copy(self.at::<u8>(from, lowest), self.at::<u8>(to, lowest), bytes);
            }
        }
    }
}

/// Where `addr` lies on the host, if its page needs no looking.
fn host(table: *const u64, addr: LinearAddr) -> Option<*mut u8> {
    // SAFETY: the projections of the current view have 2^20 entries.
    let page = unsafe { *table.add(addr.page_number() as usize) };
    (page != 0).then(|| std::ptr::with_exposed_provenance_mut(page.wrapping_add(u64::from(addr.0)) as usize))
}
