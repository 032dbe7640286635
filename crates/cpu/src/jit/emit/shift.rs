//! Shifts, rotations, and what looks for bits.

use dynasmrt::{DynasmApi, dynasm};

use super::{
    super::plan::{ECX, Place},
    CARRIES, CARRY, Emitter, RESULT, emit,
    flags::Pending,
};
use crate::exec::hot::shift::{ROL, ROR, SAR, SHL, SHR};

/// AF as [`crate::lazy::LazyFlags`] has it.
const AF: i32 = 1 << 4;

/// Emits one of the operations on a host register, by a constant or by CL.
macro_rules! operate {
    ($self:ident, $op:expr, $dst:expr, $($count:tt)+) => {
        match $op {
            SHL => emit!($self ; shl Rd($dst), $($count)+),
            SHR => emit!($self ; shr Rd($dst), $($count)+),
            SAR => emit!($self ; sar Rd($dst), $($count)+),
            ROL => emit!($self ; rol Rd($dst), $($count)+),
            _ => emit!($self ; ror Rd($dst), $($count)+),
        }
    };
}

impl Emitter<'_> {
    /// A shift or rotation by 1 to 31.
    pub(super) fn shift(&mut self, op: u8, to: Place, count: u32) {
        let dead = self.flags_are_dead();
        let rotates = matches!(op, ROL | ROR);
        if rotates && !dead {
            // All but CF and OF stay.
            self.settle_flags_before();
        }
        let target = self.reach_target(to);
        if !rotates {
            self.expect(Pending::Nothing);
        }
        let host = self.take(target);
        let count = count as i8;
        operate!(self, op, host, count);
        self.put_back(target);
        match op {
            _ if dead => {}
            ROL | ROR => self.put_rotation(op, host),
            _ => {
                // Bit 31 of the carries is OF xor CF.
                self.put_carry();
                match op {
                    SHL => emit!(self ; mov edx, Rd(host)),
                    SHR => emit!(self ; lea edx, [Rq(host) * 2] ; shl ecx, 31 ; xor edx, ecx),
                    _ => emit!(self ; mov edx, ecx ; shl edx, 31),
                }
                self.put_shift(host);
            }
        }
    }

    /// The flags after a shift; EDX has those carries that the result does not tell.
    fn put_shift(&mut self, result: u8) {
        emit!(self
            ; and edx, DWORD i32::MIN
            ; or edx, BYTE AF as i8
            ; mov [rdi + CARRIES], edx
            ; mov [rdi + RESULT], Rd(result)
        );
    }

    /// CF and OF after a rotation.
    fn put_rotation(&mut self, op: u8, result: u8) {
        emit!(self ; mov ecx, Rd(result));
        match op {
            ROL => emit!(self ; mov edx, Rd(result) ; and ecx, BYTE 1),
            _ => emit!(self ; lea edx, [Rq(result) * 2] ; shr ecx, 31),
        }
        emit!(self
            ; and edx, DWORD i32::MIN
            ; and DWORD [rdi + CARRIES], DWORD i32::MAX
            ; or [rdi + CARRIES], edx
            ; and DWORD [rdi + CARRY], BYTE -2
            ; or [rdi + CARRY], ecx
        );
    }

    /// A shift or rotation by CL, where nobody sees the flags.
    pub(super) fn shift_by(&mut self, op: u8, to: u8) -> bool {
        if !self.flags_are_dead() {
            return false;
        }
        let host = self.change(to);
        let count = self.read(ECX);
        emit!(self ; mov ecx, Rd(count));
        operate!(self, op, host, cl);
        true
    }

    /// SHLD and SHRD; by CL where nobody sees the flags.
    pub(super) fn double_shift(&mut self, right: bool, to: u8, from: u8, count: Option<u32>) -> bool {
        let dead = self.flags_are_dead();
        if count.is_none() && !dead {
            return false;
        }
        self.expect(Pending::Nothing);
        let from = self.read(from);
        let host = self.change(to);
        match (right, count) {
            (false, Some(count)) => emit!(self ; shld Rd(host), Rd(from), count as i8),
            (true, Some(count)) => emit!(self ; shrd Rd(host), Rd(from), count as i8),
            (_, None) => {
                let count = self.read(ECX);
                emit!(self ; mov ecx, Rd(count));
                if right {
                    emit!(self ; shrd Rd(host), Rd(from), cl);
                } else {
                    emit!(self ; shld Rd(host), Rd(from), cl);
                }
            }
        }
        if !dead {
            self.put_carry();
            if right {
                emit!(self ; lea edx, [Rq(host) * 2] ; xor edx, Rd(host) ; shl ecx, 31 ; xor edx, ecx);
            } else {
                emit!(self ; mov edx, Rd(host));
            }
            self.put_shift(host);
        }
        true
    }

    /// BSF and BSR, where nobody sees the flags. Nothing is written if there is no bit.
    pub(super) fn scan(&mut self, reverse: bool, to: u8, from: u8) -> bool {
        if !self.flags_are_dead() {
            return false;
        }
        self.expect(Pending::Nothing);
        let from = self.read(from);
        let host = self.change(to);
        if reverse {
            emit!(self ; bsr eax, Rd(from));
        } else {
            emit!(self ; bsf eax, Rd(from));
        }
        emit!(self ; cmovnz Rd(host), eax);
        true
    }
}
