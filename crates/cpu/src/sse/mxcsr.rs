//! MXCSR, and what an SSE floating-point exception does (SDM Vol. 1, "SSE, SSE2, and SSE3 Exceptions").

use std::ops::BitOr;

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
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// Rounding control.
    pub(crate) fn rounding(self) -> Rounding {
        Rounding::of_bits(self.0 >> 13)
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
    const BEFORE: u32 = 7;
    const UNDERFLOW: u32 = 1 << 4;

    /// IE.
    pub(crate) const INVALID: Flags = Flags(1);
    /// PE.
    pub(crate) const PRECISION: Flags = Flags(1 << 5);

    /// The flags in an MXCSR value.
    pub(crate) fn of_mxcsr(mxcsr: u32) -> Self {
        Flags(mxcsr & Self::ALL)
    }

    /// With underflow, for an exact tiny result, which counts only when unmasked.
    pub(crate) fn with_exact_underflow(self, tiny: bool) -> Self {
        Flags(if tiny { self.0 | Self::UNDERFLOW } else { self.0 })
    }

    /// Without the inexact flag, for ROUNDPS and its kin.
    pub(crate) fn without_precision(self) -> Self {
        Flags(self.0 & !Self::PRECISION.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// Whether an exact tiny result raises underflow.
pub(crate) fn underflow_unmasked(cpu: &Cpu) -> bool {
    cpu.state.mxcsr & UNDERFLOW_MASK == 0
}

/// Accumulates `flags`; `Err` if one is unmasked, and then nothing else may be committed.
pub(crate) fn raise(cpu: &mut Cpu, flags: Flags) -> Result<(), Exception> {
    let unmasked = flags.0 & !(cpu.state.mxcsr >> 7);
    if unmasked == 0 {
        cpu.state.mxcsr |= flags.0;
        return Ok(());
    }
    cpu.state.mxcsr |= if unmasked & Flags::BEFORE != 0 { flags.0 & Flags::BEFORE } else { flags.0 };
    Err(if cpu.state.cr4().contains(Cr4::OSXMMEXCPT) { Exception::xm() } else { Exception::ud() })
}
