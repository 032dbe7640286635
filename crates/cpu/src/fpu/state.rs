use serde::{Deserialize, Serialize};

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
}

/// The stack and its words.
impl Fpu {
    /// ST(i), whatever its tag.
    pub(crate) const fn st(&self, i: usize) -> F80 {
        self.r[(self.top() as usize + i) & 7]
    }

    /// Writes ST(i); the tag stays.
    pub(crate) const fn set_st(&mut self, i: usize, value: F80) {
        self.r[(self.top() as usize + i) & 7] = value;
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

    /// Sets ES and B from the exception flags and masks.
    pub(crate) fn summarize(&mut self) {
        let unmasked = self.status & !self.control & 0x3f != 0;
        self.status = if unmasked { self.status | Self::SUMMARY } else { self.status & !Self::SUMMARY };
    }
}

/// The MMX view (SDM Vol. 1, "MMX Instructions", "Effect of MMX Instructions on x87 FPU Tag Word").
impl Fpu {
    /// An unmasked exception waits for the next x87 or MMX instruction.
    pub(crate) const fn pending(&self) -> bool {
        self.status & Self::ES != 0
    }

    /// MMi.
    pub(crate) const fn mmx(&self, index: usize) -> u64 {
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
