//! Which status flags anybody can still see.
//!
//! Only inside a block: where it is left, and before whatever may fault or be looked at from
//! outside, all six are live.

use iced_x86::{Mnemonic, OpKind, RflagsBits};

use super::{Insn, lower};
use crate::engine::mode::Mode;

/// The six status flags, as the decoder numbers them.
const ALL: u32 = RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

/// For each instruction, whether a flag that it sets is live after it.
pub(super) fn after_each(insns: &[Insn], mode: Mode) -> Vec<bool> {
    let mut live = ALL;
    let mut answer = vec![true; insns.len()];
    for (place, Insn { insn, .. }) in insns.iter().enumerate().rev() {
        answer[place] = live != 0;
        let touches_memory = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory)
            && insn.mnemonic() != Mnemonic::Lea
            || insn.is_stack_instruction();
        let seen = touches_memory || !lower::is_quiet(insn, mode);
        live = if seen { ALL } else { live & !overwritten(insn) | insn.rflags_read() & ALL };
    }
    answer
}

/// The flags that an instruction sets whatever its operands.
fn overwritten(insn: &iced_x86::Instruction) -> u32 {
    use Mnemonic as M;
    match insn.mnemonic() {
        M::Add | M::Adc | M::Sub | M::Sbb | M::And | M::Or | M::Xor | M::Cmp | M::Test | M::Neg => ALL,
        M::Inc | M::Dec => ALL & !RflagsBits::CF,
        M::Shl | M::Sal | M::Shr | M::Sar if insn.op1_kind() != OpKind::Register && insn.immediate(1) & 31 != 0 => ALL,
        _ => 0,
    }
}
