//! The register stack as handlers see it: the control and the status word as one, and the tags.

use super::{DOUBLE_PC, PC, PE, RC};
use crate::{F80, Fpu};

/// The control word, and the status word above it: one load and one store.
#[derive(Clone, Copy)]
pub(super) struct Words(pub(super) u32);

impl Words {
    const PLACE: usize = std::mem::offset_of!(Fpu, control);
    const ES: u32 = (Fpu::ES as u32) << 16;
    /// TOP.
    const TOP: u32 = (Fpu::TOP as u32) << 16;
    /// What decides whether results can be worked out here.
    pub(super) const GOVERNING: u32 = Self::ES | (PC | RC | PE) as u32;
    /// As after FNINIT.
    pub(super) const EXTENDED: u32 = (PC | PE) as u32;
    /// The same with 53 bits.
    pub(super) const DOUBLE: u32 = (DOUBLE_PC | PE) as u32;

    #[inline(always)]
    pub(super) fn of(fpu: &Fpu) -> Self {
        // SAFETY: both words, side by side and aligned as one, are part of what is borrowed. Volatile, so that it
        // is as wide as the store in `put`: a load of what two stores have left waits for both.
        let raw = unsafe { std::ptr::from_ref(fpu).byte_add(Self::PLACE).cast::<u32>().read_volatile() };
        Words(if cfg!(target_endian = "big") { raw.rotate_left(16) } else { raw })
    }

    #[inline(always)]
    pub(super) fn put(self, fpu: &mut Fpu) {
        let raw = if cfg!(target_endian = "big") { self.0.rotate_left(16) } else { self.0 };
        // SAFETY: as in `of`.
        unsafe { std::ptr::from_mut(fpu).byte_add(Self::PLACE).cast::<u32>().write_volatile(raw) };
    }

    /// An exception is pending.
    #[inline(always)]
    pub(super) const fn pending(self) -> bool {
        self.0 & Self::ES != 0
    }

    /// To nearest, with the inexact result masked.
    #[inline(always)]
    pub(super) const fn plain(self) -> bool {
        self.0 & (RC | PE) as u32 == PE as u32
    }

    #[inline(always)]
    pub(super) const fn with_top(self, top: u8) -> Self {
        Words(self.0 & !Self::TOP | ((top & 7) as u32) << 27)
    }
}

const _: () = assert!(
    Words::PLACE.is_multiple_of(4)
        && std::mem::offset_of!(Fpu, status) == Words::PLACE + 2
        && align_of::<Fpu>().is_multiple_of(4)
);

/// Where the registers are.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    pub(super) words: Words,
    pub(super) top: u8,
    pub(super) tag: u8,
}

impl Stack {
    #[inline(always)]
    pub(super) fn of_words(fpu: &Fpu, words: Words) -> Self {
        Stack { words, top: (words.0 >> 27) as u8 & 7, tag: as_stored(&fpu.tag) }
    }

    /// `None` while an exception is pending.
    #[inline(always)]
    pub(super) fn of(fpu: &Fpu) -> Option<Self> {
        let words = Words::of(fpu);
        (!words.pending()).then_some(Self::of_words(fpu, words))
    }

    /// `None` also if results are not rounded as after FNINIT.
    #[inline(always)]
    pub(super) fn extended(fpu: &Fpu) -> Option<Self> {
        let words = Words::of(fpu);
        (words.0 & Words::GOVERNING == Words::EXTENDED).then_some(Self::of_words(fpu, words))
    }

    /// The physical number of ST(i).
    #[inline(always)]
    pub(super) fn physical(self, i: u8) -> u8 {
        self.top.wrapping_add(i) & 7
    }

    #[inline(always)]
    pub(super) fn is_full(self, i: u8) -> bool {
        self.tag >> self.physical(i) & 1 != 0
    }

    /// Pops a register that is not empty.
    #[inline(always)]
    pub(super) fn pop(self, fpu: &mut Fpu) {
        fpu.tag = self.tag & !(1 << self.top);
        self.words.with_top(self.top.wrapping_add(1)).put(fpu);
    }

    /// Pushes onto a register that is empty.
    #[inline(always)]
    pub(super) fn push(self, fpu: &mut Fpu, value: F80) {
        let physical = self.physical(7);
        put(fpu, physical, value);
        fpu.tag = self.tag | 1 << physical;
        self.words.with_top(physical).put(fpu);
    }
}

/// Loads what was likely just stored, and no more than that: a wider load, which the compiler would choose where
/// it is aligned, would have to wait until the store has reached the cache.
#[inline(always)]
fn as_stored<T: Copy>(place: &T) -> T {
    // SAFETY: a reference can be read.
    unsafe { std::ptr::from_ref(place).read_volatile() }
}

#[inline(always)]
pub(super) fn get(fpu: &Fpu, physical: u8) -> F80 {
    let register = &fpu.r[usize::from(physical & 7)];
    F80 { significand: register.significand, sign_exponent: as_stored(&register.sign_exponent) }
}

#[inline(always)]
pub(super) fn put(fpu: &mut Fpu, physical: u8, value: F80) {
    fpu.r[usize::from(physical & 7)] = value;
}
