//! Memory operands.

use std::mem::offset_of;

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};

use super::{
    super::plan::{Address, EBP, ESP, Place, Reg, Source},
    Crossing, Emitter, HOST, RAX, RCX, RDX, SEGMENTS, emit,
};
use crate::SegmentRegister;

/// Where an operand lies on the host: a distance from where a host register points.
#[derive(Clone, Copy)]
pub(super) struct HostPlace {
    base: u8,
    disp: i32,
}

/// What an instruction of 32 bits changes, once it was found.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Reg(u8),
    Mem(HostPlace),
}

/// Emits an instruction with a memory operand, which stands for `[]`, in the shortest form.
macro_rules! at {
    ($self:ident, $place:expr, $name:ident [] $(, $($rest:tt)+)?) => {
        match i8::try_from($place.disp) {
            Ok(disp) => emit!($self ; $name [BYTE Rq($place.base) + disp] $(, $($rest)+)?),
            Err(_) => emit!($self ; $name [Rq($place.base) + $place.disp] $(, $($rest)+)?),
        }
    };
    ($self:ident, $place:expr, $name:ident $size:ident [], $($rest:tt)+) => {
        match i8::try_from($place.disp) {
            Ok(disp) => emit!($self ; $name $size [BYTE Rq($place.base) + disp], $($rest)+),
            Err(_) => emit!($self ; $name $size [Rq($place.base) + $place.disp], $($rest)+),
        }
    };
    ($self:ident, $place:expr, $name:ident $family:ident($reg:expr), []) => {
        match i8::try_from($place.disp) {
            Ok(disp) => emit!($self ; $name $family($reg), [BYTE Rq($place.base) + disp]),
            Err(_) => emit!($self ; $name $family($reg), [Rq($place.base) + $place.disp]),
        }
    };
    ($self:ident, $place:expr, $name:ident $family:ident($reg:expr), $size:ident []) => {
        match i8::try_from($place.disp) {
            Ok(disp) => emit!($self ; $name $family($reg), $size [BYTE Rq($place.base) + disp]),
            Err(_) => emit!($self ; $name $family($reg), $size [Rq($place.base) + $place.disp]),
        }
    };
}

impl Emitter<'_> {
    /// Finds what an instruction of 32 bits changes, or leaves the run. Takes RAX and RCX, as [`Emitter::reach`].
    pub(super) fn reach_target(&mut self, to: Place) -> Target {
        match to {
            Place::Reg(to) => Target::Reg(to.number()),
            Place::Mem(address) => Target::Mem(self.reach(&address, 4, true)),
        }
    }

    /// The host register with its value: a guest's, or RAX.
    pub(super) fn take(&mut self, target: Target) -> u8 {
        match target {
            Target::Reg(to) => self.change(to),
            Target::Mem(place) => {
                self.load(place, 4, false, RAX);
                RAX
            }
        }
    }

    /// Stores what [`Emitter::take`] took to RAX.
    pub(super) fn put_back(&mut self, target: Target) {
        if let Target::Mem(place) = target {
            self.store_host(place, 4, RAX);
        }
    }

    /// Puts the linear address of a memory operand of a flat segment, and `more`, into EAX.
    pub(super) fn address(&mut self, address: &Address, more: u32) {
        let disp = address.disp.wrapping_add(more) as i32;
        let base = address.base.map(|base| self.read(base));
        let index = address.index.map(|(index, scale)| (self.read(index), scale));
        match (base, index) {
            (None, None) => emit!(self ; mov eax, DWORD disp),
            (Some(base), None) => emit!(self ; lea eax, [Rq(base) + disp]),
            (None, Some((index, 0))) => emit!(self ; lea eax, [Rq(index) + disp]),
            (None, Some((index, 1))) => emit!(self ; lea eax, [Rq(index) * 2 + disp]),
            (None, Some((index, 2))) => emit!(self ; lea eax, [Rq(index) * 4 + disp]),
            (None, Some((index, _))) => emit!(self ; lea eax, [Rq(index) * 8 + disp]),
            (Some(base), Some((index, 0))) => emit!(self ; lea eax, [Rq(base) + Rq(index) + disp]),
            (Some(base), Some((index, 1))) => emit!(self ; lea eax, [Rq(base) + Rq(index) * 2 + disp]),
            (Some(base), Some((index, 2))) => emit!(self ; lea eax, [Rq(base) + Rq(index) * 4 + disp]),
            (Some(base), Some((index, _))) => emit!(self ; lea eax, [Rq(base) + Rq(index) * 8 + disp]),
        }
    }

    /// Finds the current instruction's memory operand, or leaves the run. Takes RAX and RCX; the place is good
    /// until RCX is taken again.
    pub(super) fn reach(&mut self, address: &Address, size: u32, write: bool) -> HostPlace {
        if let Some(member) = self.members[self.at] {
            if let Some(base) = self.bases[member.window] {
                return HostPlace { base, disp: member.at as i32 };
            }
            let window = self.windows[member.window];
            if window.accesses > 1
                && let Some(base) = self.take_free()
            {
                self.look(address, member.at, window.len(), window.written, base);
                self.bases[member.window] = Some(base);
                return HostPlace { base, disp: member.at as i32 };
            }
        }
        self.reach_alone(address, size, write)
    }

    /// Finds a memory operand that no window has, or leaves the run. Takes RAX and RCX, as [`Emitter::reach`].
    pub(super) fn reach_alone(&mut self, address: &Address, size: u32, write: bool) -> HostPlace {
        let leave = self.way_out();
        self.address(address, 0);
        if let Some(segment) = address.segment {
            self.add_base(segment);
        }
        if size > 1 {
            let (label, back) = (self.asm.new_dynamic_label(), self.asm.new_dynamic_label());
            self.crossings.push(Crossing { label, back, leave, size });
            emit!(self ; test al, BYTE size as i8 - 1 ; jnz =>label ; =>back);
        }
        self.project(write, RCX);
        emit!(self ; jz =>leave ; add rcx, rax);
        HostPlace { base: RCX, disp: 0 }
    }

    /// Looks at a window, `at` bytes of which lie before the operand at `address`.
    fn look(&mut self, address: &Address, at: u32, len: u32, write: bool, base: u8) {
        let leave = self.way_out();
        self.address(address, at.wrapping_neg());
        emit!(self ; mov ecx, eax ; and ecx, 0xfff ; cmp ecx, (0x1000 - len) as i32 ; ja =>leave);
        self.project(write, base);
        emit!(self ; jz =>leave ; add Rq(base), rax);
    }

    /// What the projection says of the page at EAX, and whether it is 0.
    fn project(&mut self, write: bool, into: u8) {
        emit!(self ; mov ecx, eax ; shr ecx, 12);
        if write {
            emit!(self ; mov Rq(into), [r13 + rcx * 8]);
        } else {
            emit!(self ; mov Rq(into), [r12 + rcx * 8]);
        }
        emit!(self ; test Rq(into), Rq(into));
    }

    /// Adds the base of a segment to EAX, or leaves the run if not all of the segment can be used.
    fn add_base(&mut self, segment: u8) {
        let place = SEGMENTS + usize::from(segment) * size_of::<SegmentRegister>();
        let field = |offset: usize| (place + offset) as i32;
        if self.wide >> segment & 1 == 0 {
            let leave = self.way_out();
            emit!(self
                ; cmp DWORD [rdi + field(offset_of!(SegmentRegister, limit))], BYTE -1
                ; jne =>leave
                ; mov ecx, [rdi + field(offset_of!(SegmentRegister, rights))]
                ; and ecx, SegmentRegister::UNLIMITED_MASK as i32
                ; cmp ecx, SegmentRegister::UNLIMITED as i32
                ; jne =>leave
            );
            self.wide |= 1 << segment;
        }
        emit!(self ; add eax, [rdi + field(offset_of!(SegmentRegister, base))]);
    }

    /// Lets go of the registers of windows that nothing behind the current instruction uses.
    pub(super) fn release_windows(&mut self) {
        for (window, base) in self.windows.iter().zip(&mut self.bases) {
            if window.last < self.at
                && let Some(host) = base.take()
            {
                self.free |= 1 << host;
            }
        }
    }

    /// The host register of a guest register that is about to be loaded from `place`, which stays good.
    pub(super) fn define_from(&mut self, register: u8, place: HostPlace) -> u8 {
        if place.base == RCX && self.pending.follows_from(HOST[usize::from(register)]) {
            emit!(self ; mov rax, rcx);
            self.settle_flags();
            emit!(self ; mov rcx, rax);
        }
        self.define(register)
    }

    /// Loads `size` bytes, extended.
    pub(super) fn load(&mut self, place: HostPlace, size: u32, signed: bool, into: u8) {
        match (size, signed) {
            (1, false) => at!(self, place, movzx Rd(into), BYTE []),
            (1, true) => at!(self, place, movsx Rd(into), BYTE []),
            (2, false) => at!(self, place, movzx Rd(into), WORD []),
            (2, true) => at!(self, place, movsx Rd(into), WORD []),
            _ => at!(self, place, mov Rd(into), []),
        }
    }

    /// Loads an operand of 32 bits from wherever it is, or leaves the run. Takes RAX and RCX.
    pub(super) fn fetch(&mut self, source: Source, into: u8) {
        match source {
            Source::Mem(address) => {
                let place = self.reach(&address, 4, false);
                self.load(place, 4, false, into);
            }
            Source::Reg(reg) => {
                let host = self.read(reg.number());
                emit!(self ; mov Rd(into), Rd(host));
            }
            Source::Imm(value) => emit!(self ; mov Rd(into), DWORD value as i32),
        }
    }

    /// Stores the low bytes of a host register.
    pub(super) fn store_host(&mut self, place: HostPlace, size: u32, from: u8) {
        match size {
            1 => at!(self, place, mov [], Rb(from)),
            2 => at!(self, place, mov [], Rw(from)),
            _ => at!(self, place, mov [], Rd(from)),
        }
    }

    /// Stores a constant of `size` bytes.
    pub(super) fn store_constant(&mut self, place: HostPlace, size: u32, value: u32) {
        match size {
            1 => at!(self, place, mov BYTE [], value as i8),
            2 => at!(self, place, mov WORD [], value as i16),
            _ => at!(self, place, mov DWORD [], value as i32),
        }
    }

    /// XCHG of 32 bits or of a byte.
    pub(super) fn exchange(&mut self, size: u32, reg: Reg, with: Place) -> bool {
        if reg.is_high() || !matches!(size, 1 | 4) {
            return false;
        }
        match with {
            Place::Reg(with) if size == 4 => {
                let (a, b) = (self.change(reg.number()), self.change(with.number()));
                emit!(self ; xchg Rd(a), Rd(b));
            }
            Place::Reg(_) => return false,
            Place::Mem(address) => {
                let host = self.read(reg.number());
                let place = self.reach(&address, size, true);
                self.load(place, size, false, RAX);
                // Perhaps a lock that another CPU holds: the handler looks at it.
                let leave = self.way_out();
                if size == 1 {
                    emit!(self ; cmp al, Rb(host) ; je =>leave);
                } else {
                    emit!(self ; cmp eax, Rd(host) ; je =>leave);
                }
                self.store_host(place, size, host);
                self.write_narrow(reg, size, RAX);
            }
        }
        true
    }

    pub(super) fn push(&mut self, source: Source) {
        if let Source::Mem(address) = source {
            let place = self.reach_alone(&address, 4, false);
            self.load(place, 4, false, RDX);
        }
        let place = self.reach(&Address::at(ESP, -4), 4, true);
        match source {
            Source::Reg(reg) => {
                let host = self.read(reg.number());
                self.store_host(place, 4, host);
            }
            Source::Imm(value) => self.store_constant(place, 4, value),
            Source::Mem(_) => self.store_host(place, 4, RDX),
        }
        self.move_top(-4);
    }

    /// Moves the top of the stack.
    pub(super) fn move_top(&mut self, by: i32) {
        let esp = self.change(ESP);
        emit!(self ; lea Rd(esp), [Rq(esp) + by]);
    }

    pub(super) fn pop(&mut self, to: u8) {
        let place = self.reach(&Address::at(ESP, 0), 4, false);
        self.load(place, 4, false, RAX);
        self.move_top(4);
        self.write(to, RAX); // last: POP ESP
    }

    pub(super) fn leave_frame(&mut self) {
        let place = self.reach(&Address::at(EBP, 0), 4, false);
        self.load(place, 4, false, RAX);
        let ebp = self.read(EBP);
        let esp = self.define(ESP);
        emit!(self ; lea Rd(esp), [Rq(ebp) + 4]);
        self.write(EBP, RAX);
    }
}
