//! The floating-point state of user programs. The kernel itself uses neither x87 nor SSE.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::arch::asm;

use x86::{Cr0, Cr4};

use super::cpu::{self, feature};

/// The FXSAVE image, or, on a CPU without it, the FNSAVE image in its first 108 bytes.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct FpuState(pub [u8; 512]);

impl FpuState {
    /// What FNINIT and reset leave: all exceptions masked, registers empty.
    pub fn initial() -> Self {
        let mut state = FpuState([0; 512]);
        state.reset();
        state
    }

    /// The same on the heap. It never lies on the kernel stack, of which 512 bytes are much.
    pub fn boxed() -> Box<Self> {
        // SAFETY: zeros are an image.
        let mut state = unsafe { Box::<Self>::new_zeroed().assume_init() };
        state.reset();
        state
    }

    fn reset(&mut self) {
        self.0.fill(0);
        if cpu::has(feature::FXSR) {
            self.0[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
            self.0[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
        } else {
            for (at, word) in [(0, 0xffff_037fu32), (4, 0xffff_0000), (8, 0xffff_ffff)] {
                self.0[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
        }
    }

    /// Stores the registers of this CPU here; the registers stay as they are.
    pub fn save(&mut self) {
        let at = self.0.as_mut_ptr();
        // SAFETY: 512 bytes, 16-byte aligned; FNSAVE needs 108. FNSAVE resets the registers.
        unsafe {
            if cpu::has(feature::FXSR) {
                asm!("fxsave [{}]", in(reg) at, options(nostack, preserves_flags));
            } else {
                asm!("fnsave [{0}]", "frstor [{0}]", in(reg) at, options(nostack, preserves_flags));
            }
        }
    }

    /// Loads the registers of this CPU from here. The image is one that `save` or `initial`
    /// made, or was checked by `sanitize`.
    pub fn restore(&self) {
        let at = self.0.as_ptr();
        // SAFETY: no reserved MXCSR bit is set, so nothing faults.
        unsafe {
            if cpu::has(feature::FXSR) {
                asm!("fxrstor [{}]", in(reg) at, options(nostack, preserves_flags));
            } else {
                asm!("frstor [{}]", in(reg) at, options(nostack, preserves_flags));
            }
        }
    }

    /// Clears what would make FXRSTOR fault, in an image that comes from a program.
    pub fn sanitize(&mut self) {
        if cpu::has(feature::FXSR) {
            let mask = {
                let mut now = FpuState([0; 512]);
                now.save();
                match u32::from_le_bytes([now.0[28], now.0[29], now.0[30], now.0[31]]) {
                    0 => 0xffbf,
                    mask => mask,
                }
            };
            let mxcsr = u32::from_le_bytes([self.0[24], self.0[25], self.0[26], self.0[27]]) & mask;
            self.0[24..28].copy_from_slice(&mxcsr.to_le_bytes());
        }
    }
}

/// Switches the FPU on for ring 3.
pub fn init() {
    let cr0 = (cpu::read_cr0() | Cr0::MP | Cr0::NE) & !(Cr0::EM | Cr0::TS);
    // SAFETY: only the FPU bits differ from what is loaded.
    unsafe { asm!("mov cr0, {}", "fninit", in(reg) cr0.bits(), options(nostack, preserves_flags)) };
    if cpu::has(feature::FXSR) {
        let mut bits = Cr4::OSFXSR;
        if cpu::has(feature::SSE) {
            bits |= Cr4::OSXMMEXCPT;
        }
        // SAFETY: the CPU has FXSR (and SSE).
        unsafe { cpu::set_cr4_bits(bits) };
    }
}

/// Exceptions that are raised and not masked: the six status bits.
pub fn pending_exceptions(simd: bool) -> u32 {
    let mut state = FpuState([0; 512]);
    state.save();
    let half = |at: usize| u32::from(u16::from_le_bytes([state.0[at], state.0[at + 1]]));
    let (control, status) = match (simd, cpu::has(feature::FXSR)) {
        (true, _) => (half(24) >> 7, half(24)),
        (false, true) => (half(0), half(2)),
        (false, false) => (half(0), half(4)),
    };
    status & !control & 0x3f
}
