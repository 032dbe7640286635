//! What of a CPU's state translated code depends on.

use x86::{Cr0, Cr4, Efer, Eflags, SegReg};

use crate::CpuState;

/// CS.D: 32-bit operands and addresses by default.
pub(crate) const CODE32: u32 = 1 << 0;
/// SS.B: ESP rather than SP.
pub(crate) const STACK32: u32 = 1 << 1;
/// Virtual-8086 mode.
pub(crate) const V86: u32 = 1 << 2;
/// CPL 3.
pub(crate) const USER: u32 = 1 << 3;
/// CS is flat (see [`crate::SegmentRegister::flat`]).
pub(crate) const FLAT_CS: u32 = 1 << 4;
/// SS is flat and can be written.
pub(crate) const FLAT_SS: u32 = 1 << 5;
/// DS is flat and can be written.
pub(crate) const FLAT_DS: u32 = 1 << 6;
/// ES is flat and can be written.
pub(crate) const FLAT_ES: u32 = 1 << 7;
/// A page that can be read need not be executable: SMEP or NX is on.
pub(crate) const GUARDED_FETCH: u32 = 1 << 8;
/// Every access must be looked at: alignment checks or debug registers are armed, or the
/// configuration says so. Only slow functions run.
pub(crate) const CAREFUL: u32 = 1 << 9;
/// Blocks of one instruction.
pub(crate) const SINGLE: u32 = 1 << 10;

/// x87 and MMX instructions run: neither EM nor TS.
pub(crate) const FPU: u32 = 1 << 11;
/// SSE instructions run: neither EM nor TS, and OSFXSR.
pub(crate) const SSE: u32 = 1 << 12;
/// MXCSR masks all exceptions.
pub(crate) const MASKED_MXCSR: u32 = 1 << 13;

/// The masks in MXCSR.
const MXCSR_MASKS: u32 = 0x1f80;

/// Whether SMEP or NX is on, so that a page that can be read need not be executable.
#[inline]
pub(crate) fn guarded_fetch(state: &CpuState) -> bool {
    let nx = state.cr4().contains(Cr4::PAE) && state.efer().contains(Efer::NXE);
    state.cr0().contains(Cr0::PG) && (nx || state.cr4().contains(Cr4::SMEP))
}

/// A set of the bits above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mode(pub u32);

impl Mode {
    /// The mode of `state`; `careful` asks for [`CAREFUL`] in any case.
    pub(crate) fn of(state: &CpuState, careful: bool) -> Self {
        let cs = state.seg(SegReg::Cs);
        let flat = |reg, bit| match state.seg(reg) {
            seg if seg.base == 0 && seg.unlimited() => bit,
            _ => 0,
        };
        let when = |condition, bit| if condition { bit } else { 0 };
        let aligned = state.cpl == 3 && state.cr0().contains(Cr0::AM) && state.eflags.contains(Eflags::AC);
        let fpu = !state.cr0().intersects(Cr0::EM | Cr0::TS);
        Mode(
            when(cs.big(), CODE32)
                | when(state.seg(SegReg::Ss).big(), STACK32)
                | when(state.v86(), V86)
                | when(state.cpl == 3, USER)
                | when(cs.flat(), FLAT_CS)
                | flat(SegReg::Ss, FLAT_SS)
                | flat(SegReg::Ds, FLAT_DS)
                | flat(SegReg::Es, FLAT_ES)
                | when(guarded_fetch(state), GUARDED_FETCH)
                | when(fpu, FPU)
                | when(fpu && state.cr4().contains(Cr4::OSFXSR), SSE)
                | when(state.mxcsr & MXCSR_MASKS == MXCSR_MASKS, MASKED_MXCSR)
                | when(careful || aligned || state.dr[7] & 0xff != 0, CAREFUL),
        )
    }

    /// Whether `bit` is set.
    #[inline]
    pub(crate) fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// Whether a change of MXCSR changes the mode.
    pub(crate) fn governed_alike(old_mxcsr: u32, new_mxcsr: u32) -> bool {
        let masked = |mxcsr: u32| mxcsr & MXCSR_MASKS == MXCSR_MASKS;
        masked(old_mxcsr) == masked(new_mxcsr)
    }

    /// Width of the code segment, for the decoder.
    #[inline]
    pub(crate) fn bits(self) -> u32 {
        if self.has(CODE32) { 32 } else { 16 }
    }
}
