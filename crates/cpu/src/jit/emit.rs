//! Host code for a run of instructions, one after the other.
//!
//! | host register | holds |
//! |---|---|
//! | RDI, RSI | CPU and the run's first operation, as in every handler |
//! | R12, R13 | the projections for loads and for stores ([`super::chain`]) |
//! | R8–R11, R14, R15, RBX, RBP | guest registers that the run touches; where it looks at memory; values that flags follow from |
//! | RAX, RCX, RDX | whatever is at hand |
//!
//! A guest register is loaded where it is first read, and stored where the run is left. Whatever
//! must be looked at leaves the run for the operation's own handler, in the state before the
//! instruction: everything that can leave comes before anything that an instruction changes.

// The assembler's macro converts what is converted already.
#![allow(clippy::useless_conversion)]

mod branch;
mod compute;
mod flags;
mod memory;
mod shift;

use std::mem::offset_of;

use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, VecAssembler, dynasm, x64::X64Relocation};

use self::flags::{Operand, Pending};
use super::{
    plan::{Place, Plan, Reg, Source},
    windows::{self, Member, Window},
};
use crate::{
    Cpu, CpuState,
    block::{Handler, Op},
    cpu::RunContext,
    lazy::LazyFlags,
};

/// Emits instructions of the host.
macro_rules! emit {
    ($self:ident ; $($code:tt)*) => { dynasm!($self.asm ; .arch x64 ; $($code)*) };
}
use emit;

/// Host registers by number.
const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;

/// The host registers of guest registers.
const HOST: [u8; 8] = [8, 9, 10, 11, 14, 15, 3, 5];

const LEFT: i32 = (offset_of!(Cpu, run) + offset_of!(RunContext, left)) as i32;
const EXEC: i32 = (offset_of!(Cpu, run) + offset_of!(RunContext, exec)) as i32;
const TARGETS: i32 = (offset_of!(Cpu, run) + offset_of!(RunContext, targets)) as i32;
const MODE_KEY: i32 = (offset_of!(Cpu, run) + offset_of!(RunContext, mode_key)) as i32;
const LAZY: usize = offset_of!(Cpu, run) + offset_of!(RunContext, lazy);
const CARRIES: i32 = (LAZY + offset_of!(LazyFlags, carries)) as i32;
const CARRY: i32 = (LAZY + offset_of!(LazyFlags, carry)) as i32;
const RESULT: i32 = (LAZY + offset_of!(LazyFlags, result)) as i32;
const EIP: i32 = (offset_of!(Cpu, state) + offset_of!(CpuState, eip)) as i32;
const SEGMENTS: usize = offset_of!(Cpu, state) + offset_of!(CpuState, seg);

const _: () = assert!(offset_of!(Cpu, state) + offset_of!(CpuState, gpr) == 0, "registers begin where the CPU does");
const _: () = assert!(CARRY == CARRIES + 4, "both are set at once");

/// Where a guest register lies in the CPU.
fn home(register: u8) -> i32 {
    4 * i32::from(register)
}

/// A way out of the run: for an instruction that must be looked at, or by a branch within the block that is taken.
struct Leaving {
    label: DynamicLabel,
    /// The instruction.
    at: usize,
    /// Guest registers that have to be stored, a bit each.
    dirty: u8,
    pending: Pending,
}

/// A check that an access lies in one page, where its place alone did not tell.
struct Crossing {
    label: DynamicLabel,
    back: DynamicLabel,
    leave: DynamicLabel,
    size: u32,
}

/// Host code for the instructions from one on, as far as it goes.
pub(super) struct Emitter<'a> {
    asm: VecAssembler<X64Relocation>,
    /// From the first instruction of the run.
    plans: &'a [Plan],
    /// Instructions from the first of the run to the end of the block.
    to_end: usize,
    /// Flags that nobody sees: a bit for each instruction of the run.
    dead: u64,
    /// The handler of the run's first operation, which this code replaces.
    first: Handler,
    windows: Vec<Window>,
    members: Vec<Option<Member>>,
    /// Where windows begin on the host, in this register, once they were looked at.
    bases: Vec<Option<u8>>,
    /// Guest registers that are in host registers, a bit each.
    loaded: u8,
    /// Those that are not stored yet.
    dirty: u8,
    /// Host registers that are free.
    free: u16,
    /// Those that are not because flags follow from them.
    extra: u16,
    /// Segments that were found to be as wide as the address space, a bit each.
    wide: u8,
    pending: Pending,
    leaving: Vec<Leaving>,
    away: Vec<Leaving>,
    crossings: Vec<Crossing>,
    /// The way out of the current instruction, if it needs one, and what it finds.
    leave: Option<DynamicLabel>,
    before: (u8, Pending),
    /// The current instruction.
    at: usize,
}

impl<'a> Emitter<'a> {
    /// For a run that begins with the first of `plans`, from which there are `to_end` instructions to the end of the
    /// block, to be placed at `place`.
    pub(super) fn new(plans: &'a [Plan], to_end: usize, dead: u64, first: Handler, place: *const u8) -> Self {
        let (windows, members) = windows::find(plans);
        let touched = plans.iter().fold(0, |touched, plan| touched | plan.touched());
        let free = (0..8).filter(|n| touched >> n & 1 == 0).fold(0, |free, n| free | 1u16 << HOST[n]);
        Emitter {
            asm: VecAssembler::new(place.addr()),
            plans,
            to_end,
            dead,
            first,
            bases: vec![None; windows.len()],
            windows,
            members,
            loaded: 0,
            dirty: 0,
            free,
            extra: 0,
            wide: 0,
            pending: Pending::Nothing,
            leaving: Vec::new(),
            away: Vec::new(),
            crossings: Vec::new(),
            leave: None,
            before: (0, Pending::Nothing),
            at: 0,
        }
    }

    /// The code, and for how many instructions it is.
    pub(super) fn run(mut self) -> (Vec<u8>, usize) {
        let mut ended = false;
        while self.at < self.plans.len() && !ended {
            self.leave = None;
            self.before = (self.dirty, self.pending);
            let plan = self.plans[self.at];
            if !self.instruction(&plan) {
                break;
            }
            ended = plan.is_way_out() && self.at + 1 == self.to_end;
            self.at += 1;
            self.release_windows();
        }
        if !ended {
            self.settle();
            self.go_to(self.at);
        }
        for Crossing { label, back, leave, size } in std::mem::take(&mut self.crossings) {
            emit!(self
                ; =>label
                ; mov ecx, eax
                ; and ecx, 0xfff
                ; cmp ecx, (0x1000 - size) as i32
                ; jbe =>back
                ; jmp =>leave
            );
        }
        for Leaving { label, at, dirty, pending } in std::mem::take(&mut self.leaving) {
            emit!(self ; =>label);
            self.store(dirty);
            self.put_flags(pending);
            if at == 0 {
                emit!(self ; mov rax, QWORD self.first as usize as i64 ; jmp rax);
            } else {
                self.go_to(at);
            }
        }
        for away in std::mem::take(&mut self.away) {
            self.go_away(&away);
        }
        (self.asm.finalize().expect("all labels are defined and near"), self.at)
    }

    /// Emits one. Says false, and has changed nothing, if there is no code for it here.
    fn instruction(&mut self, plan: &Plan) -> bool {
        match *plan {
            Plan::Nop => {}
            Plan::Move { size, to, from } => return self.movement(size, to, from),
            Plan::Extend { signed, size, to, from } => return self.extend(signed, size, to, from),
            Plan::Lea { to, address } => {
                self.address(&address, 0);
                self.write(to, RAX);
            }
            Plan::Binary { op, size, to, from } => return self.binary(op, size, to, from),
            Plan::Step { down, to } => self.step(down, to),
            Plan::Not(to) => {
                let register = self.change(to);
                emit!(self ; not Rd(register));
            }
            Plan::Neg(to) => self.negate(to),
            Plan::Shift { op, to, count } => self.shift(op, to, count),
            Plan::ShiftBy { op, to } => return self.shift_by(op, to),
            Plan::DoubleShift { right, to, from, count } => return self.double_shift(right, to, from, count),
            Plan::Scan { reverse, to, from } => return self.scan(reverse, to, from),
            Plan::Exchange { size, reg, with } => return self.exchange(size, reg, with),
            Plan::Swap(to) => {
                let register = self.change(to);
                emit!(self ; bswap Rd(register));
            }
            Plan::Product { signed, by } => return self.product(signed, by),
            Plan::Multiply { to, a, b } => self.multiply(to, a, b),
            Plan::Sign => {
                let eax = self.read(super::plan::EAX);
                emit!(self ; mov eax, Rd(eax) ; sar eax, 31);
                self.write(super::plan::EDX, RAX);
            }
            Plan::SetIf { code, to } => return self.set_if(code, to),
            Plan::MoveIf { code, to, from } => return self.move_if(code, to, from),
            Plan::Push(source) => self.push(source),
            Plan::Pop(to) => self.pop(to),
            Plan::Leave => self.leave_frame(),
            Plan::Branch { code } => return self.branch(code),
            Plan::Jump => self.jump(),
            Plan::Call { back } => self.call(back),
            Plan::CallBy { to, back } => self.call_by(to, back),
            Plan::JumpBy { to } => self.jump_by(to),
            Plan::Return { release } => self.give_back(release),
        }
        true
    }

    /// The plan behind the current one.
    fn follower(&self) -> Option<&Plan> {
        self.plans.get(self.at + 1)
    }

    /// Whether the current instruction is the last one of its block.
    fn is_last(&self) -> bool {
        self.at + 1 == self.to_end
    }

    /// Whether nobody sees the flags that the current instruction sets.
    fn flags_are_dead(&self) -> bool {
        self.dead >> self.at & 1 != 0
    }

    /// The host register with a guest register's value.
    fn read(&mut self, register: u8) -> u8 {
        let host = HOST[usize::from(register)];
        if self.loaded >> register & 1 == 0 {
            self.loaded |= 1 << register;
            emit!(self ; mov Rd(host), [rdi + home(register)]);
        }
        host
    }

    /// The host register of a guest register that is about to get another value, all of it: flags no longer
    /// follow from it.
    fn define(&mut self, register: u8) -> u8 {
        let host = HOST[usize::from(register)];
        if self.pending.follows_from(host) {
            self.settle_flags();
        }
        self.loaded |= 1 << register;
        self.dirty |= 1 << register;
        host
    }

    /// As [`Emitter::define`], but with its present value in it.
    fn change(&mut self, register: u8) -> u8 {
        self.read(register);
        self.define(register)
    }

    /// Gives a guest register the value of a host register.
    fn write(&mut self, register: u8, from: u8) {
        let host = self.define(register);
        emit!(self ; mov Rd(host), Rd(from));
    }

    /// A register or a constant of 32 bits.
    fn operand(&mut self, source: Source) -> Option<Operand> {
        Some(match source {
            Source::Reg(reg) => Operand::Host(self.read(reg.number())),
            Source::Imm(value) => Operand::Imm(value as i32),
            Source::Mem(_) => return None,
        })
    }

    /// Puts a register of `size` bytes into a host register, extended.
    fn narrow(&mut self, reg: Reg, size: u32, signed: bool, into: u8) {
        let host = self.read(reg.number());
        if reg.is_high() {
            emit!(self ; mov Rd(into), Rd(host) ; shr Rd(into), 8);
            self.extend_host(into, 1, signed, into);
        } else {
            self.extend_host(host, size, signed, into);
        }
    }

    /// Extends the low bytes of a host register.
    fn extend_host(&mut self, from: u8, size: u32, signed: bool, into: u8) {
        match (size, signed) {
            (1, false) => emit!(self ; movzx Rd(into), Rb(from)),
            (1, true) => emit!(self ; movsx Rd(into), Rb(from)),
            (2, false) => emit!(self ; movzx Rd(into), Rw(from)),
            (2, true) => emit!(self ; movsx Rd(into), Rw(from)),
            _ => emit!(self ; mov Rd(into), Rd(from)),
        }
    }

    /// Gives the low bytes of a register, not of AH to BH, the value of a host register.
    fn write_narrow(&mut self, reg: Reg, size: u32, from: u8) {
        let host = self.change(reg.number());
        match size {
            1 => emit!(self ; mov Rb(host), Rb(from)),
            2 => emit!(self ; mov Rw(host), Rw(from)),
            _ => emit!(self ; mov Rd(host), Rd(from)),
        }
    }

    /// A host register that nobody uses.
    fn take_free(&mut self) -> Option<u8> {
        (self.free != 0).then(|| {
            let host = self.free.trailing_zeros() as u8;
            self.free &= !(1 << host);
            host
        })
    }

    /// Stores guest registers, a bit each.
    fn store(&mut self, registers: u8) {
        for register in (0..8u8).filter(|register| registers >> register & 1 != 0) {
            emit!(self ; mov [rdi + home(register)], Rd(HOST[usize::from(register)]));
        }
    }

    /// Puts registers and flags where the CPU has them.
    fn settle(&mut self) {
        self.store(self.dirty);
        self.dirty = 0;
        self.settle_flags();
    }

    /// Goes on with the operation of instruction `at` of the run, by whatever handler it has.
    fn go_to(&mut self, at: usize) {
        let distance = (at * size_of::<Op>()) as i32;
        emit!(self ; add rsi, distance ; jmp QWORD [rsi + offset_of!(Op, handler) as i32]);
    }

    /// Where to leave the run, before the current instruction.
    fn way_out(&mut self) -> DynamicLabel {
        if let Some(label) = self.leave {
            return label;
        }
        let label = self.asm.new_dynamic_label();
        let (dirty, pending) = self.before;
        self.leaving.push(Leaving { label, at: self.at, dirty, pending });
        self.leave = Some(label);
        label
    }

    fn movement(&mut self, size: u32, to: Place, from: Source) -> bool {
        match (to, from) {
            (Place::Reg(to), Source::Reg(from)) if size == 4 => {
                let host = self.read(from.number());
                self.write(to.number(), host);
            }
            (Place::Reg(to), Source::Imm(value)) if size == 4 => {
                let host = self.define(to.number());
                emit!(self ; mov Rd(host), DWORD value as i32);
            }
            (Place::Reg(to), Source::Mem(address)) if size == 4 => {
                let place = self.reach(&address, 4, false);
                let host = self.define_from(to.number(), place);
                self.load(place, 4, false, host);
            }
            (Place::Reg(to), _) if to.is_high() => return false,
            (Place::Reg(to), Source::Reg(from)) => {
                self.narrow(from, size, false, RAX);
                self.write_narrow(to, size, RAX);
            }
            (Place::Reg(to), Source::Imm(value)) => {
                emit!(self ; mov eax, DWORD value as i32);
                self.write_narrow(to, size, RAX);
            }
            (Place::Reg(to), Source::Mem(address)) => {
                let place = self.reach(&address, size, false);
                self.load(place, size, false, RAX);
                self.write_narrow(to, size, RAX);
            }
            (Place::Mem(address), Source::Reg(from)) => {
                let place = self.reach(&address, size, true);
                if from.is_high() {
                    self.narrow(from, size, false, RAX);
                    self.store_host(place, size, RAX);
                } else {
                    let host = self.read(from.number());
                    self.store_host(place, size, host);
                }
            }
            (Place::Mem(address), Source::Imm(value)) => {
                let place = self.reach(&address, size, true);
                self.store_constant(place, size, value);
            }
            (Place::Mem(_), Source::Mem(_)) => return false,
        }
        true
    }

    fn extend(&mut self, signed: bool, size: u32, to: u8, from: Source) -> bool {
        match from {
            Source::Reg(from) => {
                self.narrow(from, size, signed, RAX);
                self.write(to, RAX);
            }
            Source::Mem(address) => {
                let place = self.reach(&address, size, false);
                let host = self.define_from(to, place);
                self.load(place, size, signed, host);
            }
            Source::Imm(_) => return false,
        }
        true
    }
}
