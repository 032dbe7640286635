//! Pure integer arithmetic with its flags; knows no CPU and no memory.
//!
//! Every function takes values and gives values. Those that leave some status flags alone take
//! the flags before and return the flags after. Flags that the manual leaves undefined are
//! what an AMD Zen 3 does, tagged `UNDEFINED:`.

mod add;
mod bcd;
mod bits;
mod div;
mod flags;
mod logic;
mod multiply;
mod rotate;
mod shift;
mod word;

#[cfg(all(test, target_arch = "x86_64"))]
mod host;

pub(crate) use add::{adc, add, dec, inc, neg, sbb, sub};
pub(crate) use bcd::{aaa, aad, aam, aas, daa, das};
pub(crate) use bits::{bsf, bsr, bt, btc, btr, bts, popcnt};
#[cfg(test)]
pub(crate) use div::flags_after_division;
pub(crate) use div::{div, idiv};
pub(crate) use flags::Flags;
pub(crate) use logic::{and, or, xor};
pub(crate) use multiply::{imul, mul};
pub(crate) use rotate::{rcl, rcr, rol, ror};
pub(crate) use shift::{sar, shl, shld, shr, shrd};
pub(crate) use word::Word;
