//! Repeated string instructions, as far as a page goes, on the host.

#![allow(unsafe_code)]

use memory::line_mask;
use x86::{Eflags, LinearAddr, SegReg};

use super::string::{Kind, Pointers, advance};
use crate::{
    Cpu, Gpr, IoSize,
    alu::{self, Word},
    decode,
    mmu::access::{self, View},
    operand, seg,
};

/// Does as many of `count` iterations at once as can be done without looking, at most those up to the
/// one that ends a comparison, and moves the pointers; the count register is left to the caller.
/// 0 where an iteration must be looked at.
pub(super) fn run<W: Word>(cpu: &mut Cpu, kind: Kind, pointers: &Pointers, count: u32, until_equal: bool) -> u32 {
    if kind == Kind::Lods || cpu.run.single {
        return 0;
    }
    let budget = cpu.budget_left().saturating_add(1).min(u64::from(count)) as u32;
    let mut stretch = Stretch { count: budget, len: W::BITS / 8, down: cpu.state.eflags.contains(Eflags::DF) };
    let writes = matches!(kind, Kind::Movs | Kind::Stos);
    let mut from = std::ptr::null_mut();
    if matches!(kind, Kind::Movs | Kind::Cmps) {
        let offset = operand::read_reg(cpu, pointers.source);
        let Some(place) = stretch.reach(cpu, pointers.source_seg, offset, false) else { return 0 };
        from = host(cpu.run.read, place);
    }
    let offset = operand::read_reg(cpu, pointers.destination);
    let Some(place) = stretch.reach(cpu, SegReg::Es, offset, writes) else { return 0 };
    if from.is_null() && matches!(kind, Kind::Movs | Kind::Cmps) {
        return 0;
    }
    let mut to = host(if writes { cpu.run.write } else { cpu.run.read }, place);
    if to.is_null() && writes {
        to = overwrite_code(cpu, place, &stretch);
    }
    if to.is_null() {
        return 0;
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

/// Moves as many of `count` elements of INS (`input`) or OUTS between a port and what begins at `offset` of a
/// segment, going up, as memory and the device allow without looking. The registers are left to the caller.
pub(crate) fn ports(
    cpu: &mut Cpu,
    input: bool,
    (seg, offset): (SegReg, u32),
    (port, size): (u16, u32),
    count: u32,
) -> u32 {
    let breakpoints = cpu.state.dr[7] & 0xff != 0;
    let told = cpu.stops().is_some_and(|stops| stops.catches.ports(port, size));
    if size == 1 || cpu.run.single || breakpoints || told || cpu.state.eflags.contains(Eflags::DF) {
        return 0;
    }
    let budget = cpu.budget_left().saturating_add(1).min(u64::from(count)) as u32;
    let mut stretch = Stretch { count: budget, len: size, down: false };
    let Some(place) = stretch.reach(cpu, seg, offset, input) else { return 0 };
    let memory = host(if input { cpu.run.write } else { cpu.run.read }, place);
    if memory.is_null() {
        return 0;
    }
    let mut buffer = [0; 0x1000];
    let bytes = &mut buffer[..(stretch.count * size) as usize];
    let size = if size == 2 { IoSize::Word } else { IoSize::Dword };
    // SAFETY: the stretch lies within a frame of guest memory, to which the projection leads, and no Rust
    // reference into guest memory exists; the buffer is as long as the stretch.
    unsafe {
        if input {
            let done = cpu.bus().port_in_string(port, size, bytes);
            memory.copy_from(bytes.as_ptr(), done as usize * size as usize);
            done
        } else {
            memory.copy_to(bytes.as_mut_ptr(), bytes.len());
            cpu.bus().port_out_string(port, size, bytes)
        }
    }
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
    /// The linear address of the first element, at `offset` in `seg`. Cuts the stretch where its page or its
    /// offsets' page ends; `None` if not even one element can be reached without looking.
    fn reach(&mut self, cpu: &Cpu, seg: SegReg, offset: u32, write: bool) -> Option<LinearAddr> {
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
        Some(first)
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
            } else if self.down {
                let lowest = self.count - 1;
                std::ptr::copy(self.at::<u8>(from, lowest), self.at::<u8>(to, lowest), bytes);
            } else {
                copy_up(from, to, bytes);
            }
        }
    }
}

/// Copies from the lowest byte to the highest, by pieces. The C library's way, an instruction of the host for
/// all, takes four times as long on some where the addresses differ by a little, modulo a page.
///
/// # Safety
/// Both places lie in guest memory, into which no Rust reference exists; `to` does not lie less than `bytes`
/// above `from`.
unsafe fn copy_up(from: *const u8, to: *mut u8, bytes: usize) {
    type Piece = [u64; 8];
    let pieces = bytes / size_of::<Piece>();
    let (last_from, last_to) = (from.cast::<Piece>().wrapping_add(pieces), to.cast::<Piece>().wrapping_add(pieces));
    // SAFETY: by the caller; a piece is read before it is written.
    unsafe {
        for n in 0..pieces {
            to.cast::<Piece>().add(n).write_unaligned(from.cast::<Piece>().add(n).read_unaligned());
        }
        std::ptr::copy(last_from.cast::<u8>(), last_to.cast::<u8>(), bytes % size_of::<Piece>());
    }
}

/// Where the stretch whose first element is at `first` lies on the host, if only the code in its page asks
/// for a look; that code is dead then. Null where it may be the code that is running.
fn overwrite_code(cpu: &mut Cpu, first: LinearAddr, stretch: &Stretch) -> *mut u8 {
    let privilege = access::privilege(&cpu.state, View::Current);
    let Some(beside) = cpu.beside_code(privilege, first) else { return std::ptr::null_mut() };
    let pc = LinearAddr(cpu.state.pc());
    let running = host(cpu.run.exec, pc);
    let in_frame = (running.addr().wrapping_sub(cpu.mem().host_base().addr()) >> 12) as u32 == beside.frame;
    if pc.page_offset() > 0x1000 - decode::MAX_BYTES as u32 || running.is_null() || in_frame {
        return std::ptr::null_mut();
    }
    let bytes = stretch.count * stretch.len;
    let offset = first.page_offset();
    let lowest = if stretch.down { offset - (bytes - stretch.len) } else { offset };
    cpu.mem().kill_code(beside.frame, line_mask(lowest, bytes));
    std::ptr::with_exposed_provenance_mut(beside.value.wrapping_add(u64::from(first.0)) as usize)
}

/// Where `addr` lies on the host, if its page needs no looking; else null.
fn host(table: *const u64, addr: LinearAddr) -> *mut u8 {
    // SAFETY: the projections of the current view have 2^20 entries.
    let page = unsafe { *table.add(addr.page_number() as usize) };
    let place = if page == 0 { 0 } else { page.wrapping_add(u64::from(addr.0)) };
    std::ptr::with_exposed_provenance_mut(place as usize)
}
