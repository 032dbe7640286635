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
    /// TOP: the physical register that is ST(0).
    pub const fn top(&self) -> u8 {
        (self.status >> 11) as u8 & 7
    }
}
