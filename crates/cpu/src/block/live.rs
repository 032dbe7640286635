//! Which status flags anybody can still see.
//!
//! Only inside a block: where it is left, by a branch within it too, and before whatever may fault or be looked at from
//! outside, all six are live.

use iced_x86::{Instruction, Mnemonic, OpKind, RflagsBits};

/// The six status flags, as the decoder numbers them.
const ALL: u32 = RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

/// The flags that are live, going backwards through a block from its end.
pub(super) struct Live(u32);

impl Live {
    /// At the end of a block.
    pub(super) fn at_end() -> Self {
        Live(ALL)
    }

    /// Whether `insn` may leave its flags unset: it sets some, and none of them is live behind it.
    pub(super) fn are_dead(&self, insn: &Instruction) -> bool {
        self.0 & insn.rflags_modified() == 0 && insn.rflags_modified() & ALL != 0
    }

    /// Goes back over `insn`, which is `quiet` if it runs by a handler that neither faults nor leaves
    /// the block once its memory operand, if any, was reached.
    pub(super) fn step_back(&mut self, insn: &Instruction, quiet: bool) {
        let touches_memory = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory)
            && insn.mnemonic() != Mnemonic::Lea
            || insn.is_stack_instruction()
            || insn.is_string_instruction();
        let leaves = insn.is_jcc_short_or_near();
        let seen = touches_memory || leaves || !quiet || matches!(insn.mnemonic(), Mnemonic::Div | Mnemonic::Idiv);
        self.0 = if seen { ALL } else { self.0 & !overwritten(insn) | insn.rflags_read() & ALL };
    }
}

/// The flags that an instruction sets whatever its operands.
fn overwritten(insn: &Instruction) -> u32 {
    use Mnemonic as M;
    match insn.mnemonic() {
        M::Add | M::Adc | M::Sub | M::Sbb | M::And | M::Or | M::Xor | M::Cmp | M::Test | M::Neg => ALL,
        M::Inc | M::Dec => ALL & !RflagsBits::CF,
        M::Shl | M::Sal | M::Shr | M::Sar if insn.op1_kind() != OpKind::Register && insn.immediate(1) & 31 != 0 => ALL,
        M::Shld | M::Shrd if insn.op2_kind() != OpKind::Register && insn.immediate(2) & 31 != 0 => ALL,
        _ => 0,
    }
}
