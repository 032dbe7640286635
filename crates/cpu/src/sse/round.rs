//! Rounding as MXCSR governs it.

use super::mxcsr::{Control, Flags};
use crate::fpu::exact::{Exact, Format, Rounded, round};

/// An exact number rounded to `format`, and its flags; `None` for a tiny one of which FTZ makes a zero.
pub(super) fn rounded(value: Exact, format: Format, control: Control) -> (Option<Rounded>, Flags) {
    let rounded = round(value, format, control.rounding(), control.unmasked().bits() as u16);
    let flags = Flags::of_mxcsr(rounded.flags.into());
    let tiny = flags.intersects(Flags::UNDERFLOW) || rounded.sig >> 63 == 0;
    if control.flushes_to_zero() && tiny {
        return (None, Flags::UNDERFLOW | Flags::PRECISION);
    }
    (Some(rounded), flags)
}
