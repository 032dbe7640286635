//! Integer instructions: micro-operation handlers, and the slow forms by family.

mod arithmetic;
mod bits;
mod branch;
pub(crate) mod bulk;
mod data;
pub(crate) mod hot;
mod place;
mod shift;
mod stack;
mod string;

use iced_x86::Instruction;

use crate::slow::Slow;

/// The function that executes `insn`, if this family has it.
pub(crate) fn lookup(insn: &Instruction) -> Option<Slow> {
    let mnemonic = insn.mnemonic();
    arithmetic::lookup(mnemonic)
        .or_else(|| data::lookup(insn))
        .or_else(|| shift::lookup(mnemonic))
        .or_else(|| bits::lookup(mnemonic))
        .or_else(|| branch::lookup(insn))
        .or_else(|| stack::lookup(insn))
        .or_else(|| string::lookup(insn))
}

/// Calls a generic function with the integer type that is `$size` bytes wide.
macro_rules! by_width {
    ($size:expr, $f:ident ( $($arg:expr),* )) => {
        match $size {
            1 => $f::<u8>($($arg),*),
            2 => $f::<u16>($($arg),*),
            _ => $f::<u32>($($arg),*),
        }
    };
}
use by_width;
