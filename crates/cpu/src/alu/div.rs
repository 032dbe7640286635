use super::{Flags, Word};

/// The status flags after a division.
///
/// UNDEFINED: AF is set; SF, ZF and PF are clear; CF and OF stay.
pub(crate) fn flags_after_division(before: Flags) -> Flags {
    Flags { cf: before.cf, of: before.of, af: true, ..Flags::default() }
}

/// Unsigned `high:low / divisor` as `(quotient, remainder, flags)`; `None` is #DE.
pub(crate) fn div<W: Word>(high: W, low: W, divisor: W, before: Flags) -> Option<(W, W, Flags)> {
    let dividend = high.zext() << W::BITS | low.zext();
    let quotient = dividend.checked_div(divisor.zext())?;
    if quotient >> W::BITS != 0 {
        return None;
    }
    Some((W::truncate(quotient), W::truncate(dividend % divisor.zext()), flags_after_division(before)))
}

/// Signed `high:low / divisor`, truncated, as `(quotient, remainder, flags)`; `None` is #DE.
pub(crate) fn idiv<W: Word>(high: W, low: W, divisor: W, before: Flags) -> Option<(W, W, Flags)> {
    let unused = 64 - 2 * W::BITS;
    let dividend = ((high.zext() << W::BITS | low.zext()) << unused) as i64 >> unused;
    let quotient = dividend.checked_div(divisor.sext())?;
    let result = W::truncate(quotient as u64);
    if result.sext() != quotient {
        return None;
    }
    Some((result, W::truncate((dividend % divisor.sext()) as u64), flags_after_division(before)))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::alu::host::against_host_accumulator;

    against_host_accumulator!(div_is_the_hosts, "div", |hi, lo, s, f| {
        div(hi, lo, s, f).map(|(quotient, remainder, flags)| (remainder, quotient, flags))
    });
    against_host_accumulator!(idiv_is_the_hosts, "idiv", |hi, lo, s, f| {
        idiv(hi, lo, s, f).map(|(quotient, remainder, flags)| (remainder, quotient, flags))
    });
}
