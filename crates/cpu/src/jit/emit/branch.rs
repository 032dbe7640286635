//! Ways out of a block.

use std::mem::offset_of;

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};

use super::{
    super::plan::{Address, ESP, Plan, Source},
    EIP, EXEC, Emitter, LEFT, Leaving, MODE_KEY, RAX, RDX, TARGETS, emit,
};
use crate::block::{Op, Target, Targets};

const SIZE: i32 = size_of::<Op>() as i32;
const LINK: i32 = offset_of!(Op, link) as i32;
const HANDLER: i32 = offset_of!(Op, handler) as i32;
const COUNT: i32 = offset_of!(Op, count) as i32;
/// From a block's first operation to where its head has the block's EIP.
const HEAD_EIP: i32 = offset_of!(Op, disp) as i32 - SIZE;

const _: () = assert!(size_of::<Target>() == 24 && Targets::COUNT == 4096, "as the code below has it");

impl Emitter<'_> {
    /// Goes on at RSI, the first operation of a block or an exit, if the budget suffices
    /// (as `jump` of the handlers).
    fn go_on(&mut self) {
        let short = self.asm.new_dynamic_label();
        emit!(self
            ; movzx eax, BYTE [rsi + COUNT]
            ; sub [rdi + LEFT], rax
            ; js =>short
            ; jmp QWORD [rsi + HANDLER]
            ; =>short
            ; add [rdi + LEFT], rax
            ; mov eax, [rsi + HEAD_EIP]
            ; mov [rdi + EIP], eax
            ; ret
        );
    }

    /// Goes on where the link of an instruction's operation leads.
    fn follow_link(&mut self, at: usize) {
        emit!(self ; mov rsi, [rsi + at as i32 * SIZE + LINK]);
        self.go_on();
    }

    /// Whether the operation before a way out has a link for it: it belongs to the run, and is no branch.
    fn has_link_before(&self) -> bool {
        self.at > 0 && !matches!(self.plans[self.at - 1], Plan::Branch { .. })
    }

    /// Jcc within a block: what follows keeps registers and flags as they are.
    fn branch_within(&mut self, code: u8) -> bool {
        let pending = self.pending;
        let Some(condition) = self.condition(pending, code) else { return false };
        let label = self.asm.new_dynamic_label();
        self.jump_if(condition, label);
        self.away.push(Leaving { label, at: self.at, dirty: self.dirty, pending });
        self.keep_operands();
        true
    }

    /// Where a branch within the block leads.
    pub(super) fn go_away(&mut self, away: &Leaving) {
        emit!(self ; =>away.label);
        self.store(away.dirty);
        self.put_flags(away.pending);
        let behind = (self.to_end - 1 - away.at) as i32;
        emit!(self ; add QWORD [rdi + LEFT], DWORD behind);
        self.follow_link(away.at);
    }

    /// Jcc. At the end of its block, the operation before it has the link behind it, if it has one.
    pub(super) fn branch(&mut self, code: u8) -> bool {
        if !self.is_last() {
            return self.branch_within(code);
        }
        let pending = self.pending;
        if pending == super::Pending::Nothing && !matches!(code & !1, 2 | 4 | 8 | 12) {
            return false;
        }
        self.settle();
        let Some(condition) = self.condition(pending, code) else { return false };
        let met = self.asm.new_dynamic_label();
        self.jump_if(condition, met);
        if self.has_link_before() {
            self.follow_link(self.at - 1);
        } else {
            self.go_to(self.at + 1);
        }
        emit!(self ; =>met);
        self.follow_link(self.at);
        true
    }

    /// JMP, by the link of the operation before it if that belongs to the run: it has none itself.
    pub(super) fn jump(&mut self) {
        self.settle();
        if self.has_link_before() {
            self.follow_link(self.at - 1);
        } else {
            self.go_to(self.at);
        }
    }

    fn push_back(&mut self, back: u32) {
        let place = self.reach(&Address::at(ESP, -4), 4, true);
        self.store_constant(place, 4, back);
        self.move_top(-4);
    }

    pub(super) fn call(&mut self, back: u32) {
        self.push_back(back);
        self.settle();
        self.follow_link(self.at);
    }

    pub(super) fn call_by(&mut self, to: Source, back: u32) {
        // Before anything is changed: CALL ESP, or memory that cannot be read.
        match to {
            Source::Mem(address) => {
                let place = self.reach_alone(&address, 4, false);
                self.load(place, 4, false, RDX);
            }
            _ => self.fetch(to, RDX),
        }
        let place = self.reach(&Address::at(ESP, -4), 4, true);
        self.store_constant(place, 4, back);
        emit!(self ; mov eax, edx);
        self.move_top(-4);
        self.settle();
        self.go_indirect();
    }

    pub(super) fn jump_by(&mut self, to: Source) {
        self.fetch(to, RAX);
        self.settle();
        self.go_indirect();
    }

    pub(super) fn give_back(&mut self, release: u32) {
        let place = self.reach(&Address::at(ESP, 0), 4, false);
        self.load(place, 4, false, RAX);
        self.move_top(release as i32);
        self.settle();
        self.go_indirect();
    }

    /// Goes on at EIP in EAX, by the known targets or by the dispatcher (as `indirect` of the handlers).
    fn go_indirect(&mut self) {
        let unknown = self.asm.new_dynamic_label();
        emit!(self
            ; mov ecx, eax
            ; shr ecx, 12
            ; mov r8, [rdi + EXEC]
            ; mov r8, [r8 + rcx * 8]
            ; xor ecx, eax
            ; and ecx, Targets::COUNT as i32 - 1
            ; lea rcx, [rcx + rcx * 2]
            ; mov rdx, [rdi + TARGETS]
            ; lea rcx, [rdx + rcx * 8]
            ; mov rdx, [rdi + MODE_KEY]
            ; or rdx, rax
            ; cmp rdx, [rcx + offset_of!(Target, key) as i32]
            ; jne =>unknown
            ; cmp r8, [rcx + offset_of!(Target, expected) as i32]
            ; jne =>unknown
            ; mov rsi, [rcx + offset_of!(Target, first) as i32]
        );
        self.go_on();
        emit!(self ; =>unknown ; mov [rdi + EIP], eax ; ret);
    }
}
