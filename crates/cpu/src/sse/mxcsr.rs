//! MXCSR, and what an SSE floating-point exception does (SDM Vol. 1, "SSE, SSE2, and SSE3 Exceptions").

use std::ops::{BitAnd, BitOr};

use x86::Cr4;

use crate::{Cpu, Exception, fpu::Rounding};

/// Bits that may be set: the processor has DAZ, and no misaligned mode.
pub(crate) const MASK: u32 = 0xffff;

const UNDERFLOW_MASK: u32 = 1 << 11;
const FLUSH_TO_ZERO: u32 = 1 << 15;

/// What of MXCSR governs an operation: rounding, FTZ, DAZ, masks; the flags are clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Control(u32);

impl Control {
    /// The control bits of `mxcsr`. FTZ counts only while underflow is masked.
    pub(crate) fn of_mxcsr(mxcsr: u32) -> Self {
        let control = mxcsr & MASK & !Flags::ALL;
        Control(if mxcsr & UNDERFLOW_MASK == 0 { control & !FLUSH_TO_ZERO } else { control })
    }

    /// As MXCSR has them.
    #[cfg(any(test, target_arch = "x86_64"))]
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// The exceptions that are not masked.
    pub(crate) fn unmasked(self) -> Flags {
        Flags(!(self.0 >> 7) & Flags::ALL)
    }

    /// Rounding control.
    pub(crate) fn rounding(self) -> Rounding {
        Rounding::of_bits(self.0 >> 13)
    }

    /// FTZ.
    pub(crate) fn flushes_to_zero(self) -> bool {
        self.0 & FLUSH_TO_ZERO != 0
    }

    /// DAZ.
    pub(crate) fn denormals_are_zero(self) -> bool {
        self.0 & 1 << 6 != 0
    }
}

/// The exception flags that an operation raised, as MXCSR has them: IE, DE, ZE, OE, UE, PE.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Flags(u32);

impl Flags {
    const ALL: u32 = 0x3f;
    /// IE, DE and ZE are found before the operation: unmasked, they keep the others from being looked for.
    pub(crate) const BEFORE: Flags = Flags(7);
    /// IE.
    pub(crate) const INVALID: Flags = Flags(1);
    /// DE.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    pub(crate) const DENORMAL: Flags = Flags(1 << 1);
    /// ZE.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    pub(crate) const DIVISION: Flags = Flags(1 << 2);
    /// UE.
    pub(crate) const UNDERFLOW: Flags = Flags(1 << 4);
    /// OE and UE.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const OVERFLOW_AND_UNDERFLOW: Flags = Flags(3 << 3);
    /// PE.
    pub(crate) const PRECISION: Flags = Flags(1 << 5);

    /// The flags in an MXCSR value.
    pub(crate) fn of_mxcsr(mxcsr: u32) -> Self {
        Flags(mxcsr & Self::ALL)
    }

    /// As MXCSR has them.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// Whether they have one in common.
    pub(crate) fn intersects(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// Without the inexact flag, for ROUNDPS and its kin.
    pub(crate) fn without_precision(self) -> Self {
        Flags(self.0 & !Self::PRECISION.0)
    }
}

impl BitAnd for Flags {
    type Output = Flags;

    fn bitand(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// Accumulates `flags`; `Err` if one is unmasked, and then nothing else may be committed.
pub(crate) fn raise(cpu: &mut Cpu, flags: Flags) -> Result<(), Exception> {
    let unmasked = flags.0 & !(cpu.state.mxcsr >> 7);
    if unmasked == 0 {
        cpu.state.mxcsr |= flags.0;
        return Ok(());
    }
    cpu.state.mxcsr |= if unmasked & Flags::BEFORE.0 != 0 { flags.0 & Flags::BEFORE.0 } else { flags.0 };
    Err(if cpu.state.cr4().contains(Cr4::OSXMMEXCPT) { Exception::xm() } else { Exception::ud() })
}
