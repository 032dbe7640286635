//! Status flags: remembered as what they follow from, and worked out where somebody may look.

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};

use super::{CARRIES, CARRY, Emitter, RESULT, emit};

/// A value that flags follow from: in a host register, or a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operand {
    Host(u8),
    Imm(i32),
}

/// What the flags follow from that are not yet where the CPU has them.
///
/// Operands of one or two bytes are sign-extended, those of a `Difference` and those of a `Logic` result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pending {
    /// They are there.
    Nothing,
    /// A logic operation with this result.
    Logic(Operand),
    /// `a & b`, of 32 bits.
    Test { a: u8, b: Operand },
    /// `a - b`; both are there still.
    Difference { a: u8, b: Operand, size: u32 },
    /// `result` is what `b` was subtracted from, less `b`.
    Subtracted { result: u8, b: Operand },
    /// `result` is what `b` was added to, and `b`.
    Added { result: u8, b: Operand },
}

impl Pending {
    /// Whether the host register holds something that it needs.
    pub(super) fn follows_from(&self, host: u8) -> bool {
        let is = |operand: Operand| operand == Operand::Host(host);
        match *self {
            Pending::Nothing => false,
            Pending::Logic(result) => is(result),
            Pending::Test { a, b } | Pending::Difference { a, b, .. } => a == host || is(b),
            Pending::Subtracted { result, b } | Pending::Added { result, b } => result == host || is(b),
        }
    }
}

impl Pending {
    /// The same with what is in one host register moved to another.
    pub(super) fn moved(self, from: u8, to: u8) -> Self {
        let host = |host| if host == from { to } else { host };
        let operand = |operand| if operand == Operand::Host(from) { Operand::Host(to) } else { operand };
        match self {
            Pending::Nothing => self,
            Pending::Logic(result) => Pending::Logic(operand(result)),
            Pending::Test { a, b } => Pending::Test { a: host(a), b: operand(b) },
            Pending::Difference { a, b, size } => Pending::Difference { a: host(a), b: operand(b), size },
            Pending::Subtracted { result, b } => Pending::Subtracted { result: host(result), b: operand(b) },
            Pending::Added { result, b } => Pending::Added { result: host(result), b: operand(b) },
        }
    }
}

/// A condition of the host's flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Condition(pub u8);

/// Condition codes of equality, of a borrow and of a sign.
const EQUAL: u8 = 4;
const BELOW: u8 = 2;
const SIGN: u8 = 8;
const LESS: u8 = 12;

/// Emits an instruction whose last operand is a register or a constant.
macro_rules! with {
    // The assembler knows no short form of this one.
    ($self:ident, cmp $dst:expr, $operand:expr) => {
        match $operand {
            Operand::Host(host) => emit!($self ; cmp Rd($dst), Rd(host)),
            Operand::Imm(value) => emit!($self ; cmp Rd($dst), DWORD value),
        }
    };
    ($self:ident, $name:ident $dst:expr, $operand:expr) => {
        match $operand {
            Operand::Host(host) => emit!($self ; $name Rd($dst), Rd(host)),
            Operand::Imm(value) => match i8::try_from(value) {
                Ok(value) => emit!($self ; $name Rd($dst), BYTE value),
                Err(_) => emit!($self ; $name Rd($dst), DWORD value),
            },
        }
    };
}
pub(super) use with;

impl Emitter<'_> {
    /// The flags follow from this from now on.
    pub(super) fn expect(&mut self, pending: Pending) {
        self.pending = pending;
        self.release_extra();
    }

    /// A host register for what flags will follow from; free again once they do not.
    pub(super) fn take_extra(&mut self) -> Option<u8> {
        let host = self.take_free()?;
        self.extra |= 1 << host;
        Some(host)
    }

    /// Gives back the registers that no flags follow from.
    fn release_extra(&mut self) {
        let needed = (0..16).filter(|&host| self.pending.follows_from(host)).fold(0, |all, host| all | 1u16 << host);
        self.free |= self.extra & !needed;
        self.extra &= needed;
    }

    /// Works the flags out and puts them where the CPU has them. Takes RCX and RDX.
    pub(super) fn settle_flags(&mut self) {
        let pending = self.pending;
        self.put_flags(pending);
        self.expect(Pending::Nothing);
    }

    /// The same before anything of an instruction that keeps some flags: who leaves at it finds them there.
    pub(super) fn settle_flags_before(&mut self) {
        self.settle_flags();
        self.before.1 = Pending::Nothing;
    }

    /// Puts these flags where the CPU has them. Takes RCX and RDX.
    pub(super) fn put_flags(&mut self, pending: Pending) {
        match pending {
            Pending::Nothing => {}
            Pending::Logic(result) => {
                match result {
                    Operand::Host(host) => emit!(self ; mov [rdi + RESULT], Rd(host)),
                    Operand::Imm(value) => emit!(self ; mov DWORD [rdi + RESULT], value),
                }
                emit!(self ; mov QWORD [rdi + CARRIES], 0);
            }
            Pending::Test { a, b } => {
                emit!(self ; mov edx, Rd(a));
                with!(self, and super::RDX, b);
                emit!(self ; mov [rdi + RESULT], edx ; mov QWORD [rdi + CARRIES], 0);
            }
            Pending::Difference { a, b, size: 4 } => {
                emit!(self ; mov edx, Rd(a));
                with!(self, sub super::RDX, b);
                self.put_carry();
                emit!(self ; mov [rdi + RESULT], edx ; xor edx, Rd(a));
                self.put_carries(b);
            }
            Pending::Difference { a, b, size } => {
                self.compare(a, b, size);
                self.put_carry();
                emit!(self ; mov edx, Rd(a));
                with!(self, sub super::RDX, b);
                self.extend_host(super::RDX, size, true, super::RDX);
                emit!(self ; mov [rdi + RESULT], edx ; xor edx, Rd(a));
                self.put_carries(b);
            }
            Pending::Subtracted { result, b } => {
                emit!(self ; mov edx, Rd(result));
                with!(self, add super::RDX, b);
                with!(self, cmp super::RDX, b);
                self.put_carry();
                emit!(self ; mov [rdi + RESULT], Rd(result) ; xor edx, Rd(result));
                self.put_carries(b);
            }
            Pending::Added { result, b } => {
                with!(self, cmp result, b);
                self.put_carry();
                emit!(self ; mov edx, Rd(result));
                with!(self, sub super::RDX, b);
                emit!(self ; mov [rdi + RESULT], Rd(result) ; xor edx, Rd(result));
                self.put_carries(b);
            }
        }
    }

    /// Stores the host's carry as the guest's. Takes RCX.
    pub(super) fn put_carry(&mut self) {
        emit!(self ; sbb ecx, ecx ; neg ecx ; mov [rdi + CARRY], ecx);
    }

    /// Stores the carries into each bit: `b`, xor the two others in EDX.
    fn put_carries(&mut self, b: Operand) {
        with!(self, xor super::RDX, b);
        emit!(self ; mov [rdi + CARRIES], edx);
    }

    fn compare(&mut self, a: u8, b: Operand, size: u32) {
        match (b, size) {
            (Operand::Host(b), 1) => emit!(self ; cmp Rb(a), Rb(b)),
            (Operand::Host(b), 2) => emit!(self ; cmp Rw(a), Rw(b)),
            (Operand::Imm(b), 1) => emit!(self ; cmp Rb(a), BYTE b as i8),
            (Operand::Imm(b), 2) => emit!(self ; cmp Rw(a), WORD b as i16),
            _ => with!(self, cmp a, b),
        }
    }

    /// Lets the host's flags have a condition of the guest's, by the code that opcodes have for it, and tells
    /// which condition of the host it is then. `None`, and nothing is emitted, if there is no short way.
    /// Takes RCX and RDX.
    pub(super) fn condition(&mut self, pending: Pending, code: u8) -> Option<Condition> {
        let by_result = matches!(code & !1, EQUAL | SIGN);
        match pending {
            Pending::Nothing => return self.settled_condition(code),
            Pending::Logic(Operand::Host(result)) => emit!(self ; test Rd(result), Rd(result)),
            Pending::Logic(Operand::Imm(value)) => emit!(self ; mov ecx, DWORD value ; test ecx, ecx),
            Pending::Test { a, b: Operand::Host(b) } => emit!(self ; test Rd(a), Rd(b)),
            Pending::Test { a, b: Operand::Imm(b) } => emit!(self ; test Rd(a), DWORD b),
            Pending::Difference { a, b, size } => self.compare(a, b, size),
            Pending::Subtracted { result, .. } | Pending::Added { result, .. } if by_result => {
                emit!(self ; test Rd(result), Rd(result));
            }
            Pending::Subtracted { result, b } => {
                emit!(self ; mov ecx, Rd(result));
                with!(self, add super::RCX, b);
                with!(self, cmp super::RCX, b);
            }
            Pending::Added { result, b } => {
                emit!(self ; mov ecx, Rd(result));
                with!(self, sub super::RCX, b);
                with!(self, add super::RCX, b);
            }
        }
        Some(Condition(code))
    }

    /// As [`Emitter::condition`], of the flags that the CPU has (see [`crate::lazy::LazyFlags`]).
    fn settled_condition(&mut self, code: u8) -> Option<Condition> {
        let inverse = code & 1;
        Some(match code & !1 {
            EQUAL => {
                emit!(self ; cmp DWORD [rdi + RESULT], BYTE 0);
                Condition(code)
            }
            BELOW => {
                emit!(self ; test BYTE [rdi + CARRY], BYTE 1);
                Condition(EQUAL | (inverse ^ 1)) // set: not 0
            }
            SIGN => {
                emit!(self ; mov ecx, [rdi + RESULT] ; xor ecx, [rdi + CARRY]);
                Condition(SIGN | inverse)
            }
            LESS => {
                emit!(self
                    ; mov ecx, [rdi + CARRY]
                    ; mov edx, ecx
                    ; shl edx, 31
                    ; xor ecx, [rdi + RESULT]
                    ; xor edx, [rdi + CARRIES]
                    ; xor ecx, edx
                );
                Condition(SIGN | inverse)
            }
            _ => return None,
        })
    }

    /// Lets the host's carry be the guest's. Takes RCX.
    pub(super) fn carry(&mut self) {
        let pending = self.pending;
        match pending {
            Pending::Nothing => emit!(self ; bt DWORD [rdi + CARRY], BYTE 0),
            _ => {
                // In every other form the host's carry is the guest's.
                self.condition(pending, BELOW);
            }
        }
    }

    /// Sets a byte register of the host to whether the condition is met.
    pub(super) fn set_byte(&mut self, Condition(code): Condition, host: u8) {
        match code {
            0 => emit!(self ; seto Rb(host)),
            1 => emit!(self ; setno Rb(host)),
            2 => emit!(self ; setb Rb(host)),
            3 => emit!(self ; setae Rb(host)),
            4 => emit!(self ; sete Rb(host)),
            5 => emit!(self ; setne Rb(host)),
            6 => emit!(self ; setbe Rb(host)),
            7 => emit!(self ; seta Rb(host)),
            8 => emit!(self ; sets Rb(host)),
            9 => emit!(self ; setns Rb(host)),
            10 => emit!(self ; setp Rb(host)),
            11 => emit!(self ; setnp Rb(host)),
            12 => emit!(self ; setl Rb(host)),
            13 => emit!(self ; setge Rb(host)),
            14 => emit!(self ; setle Rb(host)),
            _ => emit!(self ; setg Rb(host)),
        }
    }

    /// Jumps if the condition is met.
    pub(super) fn jump_if(&mut self, Condition(code): Condition, label: dynasmrt::DynamicLabel) {
        match code {
            0 => emit!(self ; jo =>label),
            1 => emit!(self ; jno =>label),
            2 => emit!(self ; jb =>label),
            3 => emit!(self ; jae =>label),
            4 => emit!(self ; je =>label),
            5 => emit!(self ; jne =>label),
            6 => emit!(self ; jbe =>label),
            7 => emit!(self ; ja =>label),
            8 => emit!(self ; js =>label),
            9 => emit!(self ; jns =>label),
            10 => emit!(self ; jp =>label),
            11 => emit!(self ; jnp =>label),
            12 => emit!(self ; jl =>label),
            13 => emit!(self ; jge =>label),
            14 => emit!(self ; jle =>label),
            _ => emit!(self ; jg =>label),
        }
    }
}
