use serde::{Deserialize, Serialize};

use super::{
    arith::{Env, Outcome},
    flags::{self, C1, Flags},
};

/// An 80-bit value in the double extended-precision format (SDM Vol. 1, "Floating-Point Data Types").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct F80 {
    /// Bits 63:0, with the explicit integer bit at 63.
    pub significand: u64,
    /// Bits 79:64: sign and biased exponent.
    pub sign_exponent: u16,
}

/// The x87 registers (SDM Vol. 1, "x87 FPU Execution Environment"). MMX registers alias the significands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(C)]
pub struct Fpu {
    /// The physical registers R0–R7; ST(i) is `r[(top + i) % 8]`.
    pub r: [F80; 8],
    /// Control word.
    pub control: u16,
    /// Status word, TOP in bits 13:11.
    pub status: u16,
    /// The abridged tag word, as FXSAVE has it: bit i set: Ri is not empty.
    pub tag: u8,
    /// Opcode of the last non-control instruction, 11 bits.
    pub opcode: u16,
    /// Its instruction pointer and code selector.
    pub ip: u32,
    /// See `ip`.
    pub cs: u16,
    /// Its data pointer and selector.
    pub dp: u32,
    /// See `dp`.
    pub ds: u16,
}

impl Default for Fpu {
    /// As after FNINIT.
    fn default() -> Self {
        Fpu { r: [F80::default(); 8], control: 0x37f, status: 0, tag: 0, opcode: 0, ip: 0, cs: 0, dp: 0, ds: 0 }
    }
}

/// The stack and its words.
impl Fpu {
    /// Status: the exception summary, set while an unmasked exception's flag is set.
    pub const ES: u16 = 1 << 7;
    /// Status: ES and B, which is a copy of it.
    pub const SUMMARY: u16 = Self::ES | 1 << 15;
    /// Status: the three bits of TOP.
    pub const TOP: u16 = 7 << 11;

    /// TOP: the physical register that is ST(0).
    pub const fn top(&self) -> u8 {
        (self.status >> 11) as u8 & 7
    }

    /// The physical register that is ST(i).
    const fn physical(&self, i: usize) -> usize {
        (self.top() as usize + i) & 7
    }

    /// ST(i), whatever its tag.
    pub const fn st(&self, i: usize) -> F80 {
        self.r[self.physical(i)]
    }

    /// ST(i) is empty.
    pub const fn is_empty(&self, i: usize) -> bool {
        self.tag >> self.physical(i) & 1 == 0
    }

    /// Writes ST(i); the tag stays.
    pub(crate) fn set_st(&mut self, i: usize, value: F80) {
        self.r[self.physical(i)] = value;
    }

    /// Writes ST(i), which then is not empty.
    pub(crate) fn fill(&mut self, i: usize, value: F80) {
        self.set_st(i, value);
        self.tag |= 1 << self.physical(i);
    }

    /// Marks ST(i) empty.
    pub(crate) fn free(&mut self, i: usize) {
        self.tag &= !(1 << self.physical(i));
    }

    /// Adds to TOP.
    pub(crate) fn rotate(&mut self, by: u16) {
        self.status = self.status & !Self::TOP | self.status.wrapping_add(by << 11) & Self::TOP;
    }

    /// Pushes onto a stack that has room.
    pub(crate) fn push(&mut self, value: F80) {
        self.rotate(7);
        self.fill(0, value);
    }

    /// Pops.
    pub(crate) fn pop(&mut self) {
        self.free(0);
        self.rotate(1);
    }

    /// Loads the control word; its reserved bits read as hardware has them.
    pub(crate) fn set_control(&mut self, control: u16) {
        self.control = control & 0x1f7f | 0x40;
        self.summarize();
    }

    /// Loads the status word; ES and B follow from flags and masks.
    pub(crate) fn set_status(&mut self, status: u16) {
        self.status = status;
        self.summarize();
    }

    /// What governs arithmetic.
    pub(crate) fn env(&self) -> Env {
        Env::of_control(self.control)
    }

    /// An unmasked exception waits for the next x87 or MMX instruction.
    pub(crate) const fn pending(&self) -> bool {
        self.status & Self::ES != 0
    }

    fn summarize(&mut self) {
        let unmasked = self.status & !self.control & flags::ALL != 0;
        self.status = if unmasked { self.status | Self::SUMMARY } else { self.status & !Self::SUMMARY };
    }
}

/// Exceptions (SDM Vol. 1, "x87 FPU Exception Handling").
impl Fpu {
    /// Accumulates `flags` and sets C1 to `c1`. False if an exception that is found before the
    /// operation is unmasked: then only those flags count, and nothing else may change.
    pub(crate) fn raise(&mut self, flags: Flags, c1: bool) -> bool {
        let stopped = flags & flags::BEFORE & !self.control != 0;
        self.status |= if stopped { flags & (flags::BEFORE | flags::SF) } else { flags };
        self.set_c1(c1);
        self.summarize();
        !stopped
    }

    /// Accumulates `flags` of an operation that is done.
    pub(crate) fn raise_after(&mut self, flags: Flags) {
        self.status |= flags;
        self.summarize();
    }

    /// Accounts for an outcome; the value, unless it must not be stored.
    pub(crate) fn settle(&mut self, outcome: Outcome) -> Option<F80> {
        let stopped = outcome.flags & flags::BEFORE & !self.control != 0;
        self.raise(outcome.flags, outcome.up && !stopped).then_some(outcome.value)
    }

    /// An empty register was read. True if masked: the default NaN stands in.
    pub(crate) fn underflow(&mut self) -> bool {
        self.raise(flags::IE | flags::SF, false)
    }

    /// A register that is not empty would be pushed over. True if masked: the default NaN is pushed.
    pub(crate) fn overflow(&mut self) -> bool {
        self.raise(flags::IE | flags::SF, true)
    }

    /// Sets or clears C1.
    pub(crate) fn set_c1(&mut self, c1: bool) {
        self.set_codes(C1, if c1 { C1 } else { 0 });
    }

    /// Replaces the condition codes in `mask`.
    pub(crate) fn set_codes(&mut self, mask: u16, codes: u16) {
        self.status = self.status & !mask | codes & mask;
    }
}

/// The MMX view (SDM Vol. 1, "Effect of MMX Instructions on x87 FPU Tag Word").
impl Fpu {
    /// MMi.
    pub const fn mmx(&self, index: usize) -> u64 {
        self.r[index].significand
    }

    /// Writes MMi.
    pub(crate) fn set_mmx(&mut self, index: usize, value: u64) {
        self.enter_mmx();
        self.r[index] = F80 { significand: value, sign_exponent: 0xffff };
    }

    /// What every MMX instruction but EMMS does: TOP is 0 and no register is empty.
    pub(crate) fn enter_mmx(&mut self) {
        self.status &= !Self::TOP;
        self.tag = 0xff;
    }
}
