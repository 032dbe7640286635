//! Arithmetic, logic, conditions that become values.

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};

use super::{
    super::plan::{EAX, EDX, Place, Reg, Source},
    CARRIES, CARRY, Emitter, RAX, RCX, RDX, RESULT, emit,
    flags::{Operand, Pending, with},
};
use crate::exec::hot::alu::{ADC, ADD, AND, CMP, OR, SBB, SUB, TEST, XOR};

/// Emits one of the operations on a host register.
macro_rules! operate {
    ($self:ident, $op:expr, $dst:expr, $operand:expr) => {
        match $op {
            ADD => with!($self, add $dst, $operand),
            ADC => with!($self, adc $dst, $operand),
            SUB => with!($self, sub $dst, $operand),
            SBB => with!($self, sbb $dst, $operand),
            AND => with!($self, and $dst, $operand),
            OR => with!($self, or $dst, $operand),
            _ => with!($self, xor $dst, $operand),
        }
    };
}

impl Emitter<'_> {
    /// ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST.
    pub(super) fn binary(&mut self, op: u8, size: u32, to: Place, from: Source) -> bool {
        match (op, size) {
            (CMP | TEST, 4) => self.compare_full(op, to, from),
            (CMP | TEST, _) => return self.compare_narrow(op, size, to, from),
            (ADC | SBB, _) => return self.with_carry(op, to, from),
            (_, 4) => self.compute(op, to, from),
            _ => return self.logic_narrow(op, size, to, from),
        }
        true
    }

    /// Flags that follow from `pending` are those of the current instruction, if anybody sees them. What it
    /// has in EAX is kept as long as they need it.
    fn set_flags(&mut self, pending: Pending) {
        if self.flags_are_dead() {
            return self.expect(Pending::Nothing);
        }
        let followed_by_branch = self.follower().is_some_and(|plan| matches!(plan, super::Plan::Branch { .. }));
        self.expect(pending);
        if !followed_by_branch {
            self.keep_operands();
        }
    }

    /// Moves what flags follow from out of RAX, which is about to be taken, or works the flags out.
    pub(super) fn keep_operands(&mut self) {
        if !self.pending.follows_from(RAX) {
            return;
        }
        if let Some(host) = self.take_extra() {
            emit!(self ; mov Rd(host), eax);
            let moved = self.pending.moved(RAX, host);
            self.expect(moved);
        } else {
            self.settle_flags();
        }
    }

    fn compare_full(&mut self, op: u8, to: Place, from: Source) {
        let loaded = match (to, from) {
            (Place::Mem(address), _) | (_, Source::Mem(address)) => {
                let place = self.reach(&address, 4, false);
                self.load(place, 4, false, RAX);
                true
            }
            _ => false,
        };
        let a = if let Place::Reg(to) = to { self.read(to.number()) } else { RAX };
        let b = self.operand(from).unwrap_or(Operand::Host(RAX));
        let pending = match op {
            CMP => Pending::Difference { a, b, size: 4 },
            _ if b == Operand::Host(a) => Pending::Logic(b),
            _ if loaded => {
                // One register then, not two.
                let other = if a == RAX { b } else { Operand::Host(a) };
                with!(self, and RAX, other);
                Pending::Logic(Operand::Host(RAX))
            }
            _ => Pending::Test { a, b },
        };
        self.set_flags(pending);
    }

    /// Of one or two bytes: what they compare is sign-extended.
    fn compare_narrow(&mut self, op: u8, size: u32, to: Place, from: Source) -> bool {
        if let (TEST, Place::Reg(to), Source::Reg(from)) = (op, to, from)
            && to == from
        {
            self.narrow(to, size, true, RAX);
            self.set_flags(Pending::Logic(Operand::Host(RAX)));
            return true;
        }
        let other = match from {
            Source::Imm(value) if size == 1 => Operand::Imm(value as i8 as i32),
            Source::Imm(value) => Operand::Imm(value as i16 as i32),
            Source::Reg(from) => {
                if let (CMP, Place::Reg(_)) | (CMP, Place::Mem(_)) = (op, to) {
                    // The second operand needs a register of its own.
                    let Some(host) = self.take_extra() else { return false };
                    self.narrow(from, size, true, host);
                    Operand::Host(host)
                } else {
                    self.narrow(from, size, true, RDX);
                    Operand::Host(RDX)
                }
            }
            Source::Mem(_) => return false,
        };
        match to {
            Place::Reg(to) => self.narrow(to, size, true, RAX),
            Place::Mem(address) => {
                let place = self.reach(&address, size, false);
                self.load(place, size, true, RAX);
            }
        }
        if op == CMP {
            self.set_flags(Pending::Difference { a: RAX, b: other, size });
        } else {
            with!(self, and RAX, other);
            self.set_flags(Pending::Logic(Operand::Host(RAX)));
        }
        true
    }

    fn compute(&mut self, op: u8, to: Place, from: Source) {
        match (to, from) {
            (Place::Reg(to), Source::Mem(address)) => {
                let place = self.reach(&address, 4, false);
                self.load(place, 4, false, RAX);
                self.expect(Pending::Nothing);
                let host = self.change(to.number());
                operate!(self, op, host, Operand::Host(RAX));
                self.follow(op, host, Operand::Host(RAX));
            }
            (Place::Reg(to), _) => {
                let b = self.operand(from).expect("a register or a constant");
                self.expect(Pending::Nothing);
                let host = self.change(to.number());
                if b != Operand::Host(host) {
                    operate!(self, op, host, b);
                    self.follow(op, host, b);
                } else if op == ADD {
                    emit!(self ; mov eax, Rd(host) ; add Rd(host), Rd(host));
                    self.follow(op, host, Operand::Host(RAX));
                } else if op == SUB || op == XOR {
                    emit!(self ; xor Rd(host), Rd(host));
                    self.set_flags(Pending::Logic(Operand::Imm(0)));
                } else {
                    self.set_flags(Pending::Logic(b));
                }
            }
            (Place::Mem(address), _) => {
                let b = self.operand(from).expect("a register or a constant");
                let place = self.reach(&address, 4, true);
                self.load(place, 4, false, RAX);
                operate!(self, op, RAX, b);
                self.store_host(place, 4, RAX);
                self.expect(Pending::Nothing);
                self.follow(op, RAX, b);
            }
        }
    }

    /// The flags after `op` with `b` and this result.
    fn follow(&mut self, op: u8, result: u8, b: Operand) {
        self.set_flags(match op {
            ADD => Pending::Added { result, b },
            SUB => Pending::Subtracted { result, b },
            _ => Pending::Logic(Operand::Host(result)),
        });
    }

    /// AND, OR and XOR of one or two bytes.
    fn logic_narrow(&mut self, op: u8, size: u32, to: Place, from: Source) -> bool {
        let value = |value: u32| if size == 1 { value as i8 as i32 } else { value as i16 as i32 };
        match (to, from) {
            (Place::Reg(to), _) if to.is_high() => return false,
            (Place::Reg(to), _) => {
                let b = match from {
                    Source::Imm(imm) => Operand::Imm(value(imm)),
                    Source::Reg(from) => {
                        self.narrow(from, size, true, RDX);
                        Operand::Host(RDX)
                    }
                    Source::Mem(address) => {
                        let place = self.reach(&address, size, false);
                        self.load(place, size, true, RDX);
                        Operand::Host(RDX)
                    }
                };
                self.narrow(to, size, true, RAX);
                operate!(self, op, RAX, b);
                self.expect(Pending::Nothing);
                self.write_narrow(to, size, RAX);
            }
            (Place::Mem(address), _) => {
                let place = self.reach(&address, size, true);
                let b = match from {
                    Source::Imm(imm) => Operand::Imm(value(imm)),
                    Source::Reg(from) => {
                        self.narrow(from, size, true, RDX);
                        Operand::Host(RDX)
                    }
                    Source::Mem(_) => return false,
                };
                self.load(place, size, true, RAX);
                operate!(self, op, RAX, b);
                self.store_host(place, size, RAX);
                self.expect(Pending::Nothing);
            }
        }
        self.set_flags(Pending::Logic(Operand::Host(RAX)));
        true
    }

    /// ADC and SBB of 32 bits.
    fn with_carry(&mut self, op: u8, to: Place, from: Source) -> bool {
        match (to, from) {
            (Place::Reg(to), _) => {
                let host = self.read(to.number());
                let b = match from {
                    Source::Mem(address) => {
                        let place = self.reach(&address, 4, false);
                        self.load(place, 4, false, RAX);
                        Operand::Host(RAX)
                    }
                    _ => match self.operand(from).expect("a register or a constant") {
                        Operand::Host(b) if b == host => {
                            emit!(self ; mov eax, Rd(host));
                            Operand::Host(RAX)
                        }
                        b => b,
                    },
                };
                self.carry();
                self.expect(Pending::Nothing);
                self.change(to.number());
                emit!(self ; mov edx, Rd(host));
                operate!(self, op, host, b);
                self.put_sum(host, b);
            }
            (Place::Mem(address), _) => {
                let b = self.operand(from).expect("a register or a constant");
                // The place may be in a register that working them out takes.
                self.settle_flags_before();
                let place = self.reach(&address, 4, true);
                self.load(place, 4, false, RAX);
                emit!(self ; mov edx, eax ; bt DWORD [rdi + CARRY], BYTE 0);
                operate!(self, op, RAX, b);
                self.store_host(place, 4, RAX);
                self.put_sum(RAX, b);
            }
        }
        true
    }

    /// The flags after a sum or difference with the host's carry, of EDX and `b`, if anybody sees them.
    fn put_sum(&mut self, result: u8, b: Operand) {
        if !self.flags_are_dead() {
            self.put_carry();
            emit!(self ; mov [rdi + RESULT], Rd(result) ; xor edx, Rd(result));
            with!(self, xor RDX, b);
            emit!(self ; mov [rdi + CARRIES], edx);
        }
    }

    /// INC and DEC of 32 bits.
    pub(super) fn step(&mut self, down: bool, to: Place) {
        let dead = self.flags_are_dead();
        if !dead {
            // CF stays.
            self.settle_flags_before();
        }
        let target = self.reach_target(to);
        let host = self.take(target);
        if down {
            emit!(self ; sub Rd(host), BYTE 1);
        } else {
            emit!(self ; add Rd(host), BYTE 1);
        }
        self.put_back(target);
        if dead {
            return; // of what is pending somebody may see CF
        }
        let by = if down { 1 } else { -1 };
        emit!(self
            ; sbb ecx, ecx
            ; neg ecx
            ; lea edx, [Rq(host) + by]
            ; xor edx, Rd(host)
            ; xor edx, BYTE 1
            ; mov [rdi + RESULT], Rd(host)
            ; mov eax, [rdi + CARRY]
            ; and eax, BYTE 1
            ; mov [rdi + CARRY], eax
            ; xor ecx, eax
            ; shl ecx, 31
            ; xor edx, ecx
            ; mov [rdi + CARRIES], edx
        );
    }

    pub(super) fn negate(&mut self, to: u8) {
        let dead = self.flags_are_dead();
        self.expect(Pending::Nothing);
        let host = self.change(to);
        emit!(self ; mov eax, Rd(host) ; neg Rd(host));
        if !dead {
            self.put_carry();
            emit!(self ; mov [rdi + RESULT], Rd(host) ; xor eax, Rd(host) ; mov [rdi + CARRIES], eax);
        }
    }

    /// IMUL of 32 bits into a register.
    pub(super) fn multiply(&mut self, to: u8, a: Source, b: Source) {
        if let (Source::Mem(address), _) | (_, Source::Mem(address)) = (a, b) {
            let place = self.reach(&address, 4, false);
            self.load(place, 4, false, RAX);
        } else if let Source::Reg(reg) = b {
            let host = self.read(reg.number());
            emit!(self ; mov eax, Rd(host));
        } else if let Source::Reg(reg) = a {
            let host = self.read(reg.number());
            emit!(self ; mov eax, Rd(host));
        }
        let dead = self.flags_are_dead();
        if !dead {
            self.settle_flags();
        }
        match (a, b) {
            (_, Source::Imm(value)) => emit!(self ; imul eax, eax, value as i32),
            (Source::Reg(reg), _) => {
                let host = self.read(reg.number());
                emit!(self ; imul eax, Rd(host));
            }
            _ => unreachable!("the first operand is memory only beside a constant"),
        }
        if !dead {
            emit!(self
                ; seto cl
                ; movzx ecx, cl
                ; and DWORD [rdi + CARRIES], 0x7fff_ffff
                ; mov edx, [rdi + CARRY]
                ; and edx, BYTE -2
                ; or edx, ecx
                ; mov [rdi + CARRY], edx
            );
        }
        self.write(to, RAX);
    }

    /// MUL and IMUL of EAX into EDX:EAX, where nobody sees the flags.
    pub(super) fn product(&mut self, signed: bool, by: Source) -> bool {
        if !self.flags_are_dead() {
            return false;
        }
        let a = self.read(EAX);
        self.fetch(by, RDX);
        self.expect(Pending::Nothing);
        emit!(self ; mov eax, Rd(a));
        if signed {
            emit!(self ; imul edx);
        } else {
            emit!(self ; mul edx);
        }
        self.write(EAX, RAX);
        self.write(EDX, RDX);
        true
    }

    /// SETcc of a register.
    pub(super) fn set_if(&mut self, code: u8, to: Reg) -> bool {
        if to.is_high() {
            return false;
        }
        let pending = self.pending;
        let Some(condition) = self.condition(pending, code) else { return false };
        self.set_byte(condition, RAX);
        self.write_narrow(to, 1, RAX);
        true
    }

    /// CMOVcc, which reads its operand whatever the condition.
    pub(super) fn move_if(&mut self, code: u8, to: u8, from: Source) -> bool {
        let pending = self.pending;
        let to_host = self.read(to);
        self.fetch(from, RAX);
        let Some(condition) = self.condition(pending, code) else { return false };
        let met = self.asm.new_dynamic_label();
        self.jump_if(condition, met);
        emit!(self ; mov eax, Rd(to_host) ; =>met);
        self.write(to, RAX);
        true
    }
}

const _: () = assert!(RCX == 1 && RDX == 2, "scratch registers are named in the code above");
