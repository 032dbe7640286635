use super::{Flags, add, sub};

/// DAA on AL (SDM Vol. 2, "DAA—Decimal Adjust AL After Addition").
///
/// UNDEFINED: OF is that of adding the correction.
pub(crate) fn daa(al: u8, before: Flags) -> (u8, Flags) {
    let (correction, af, cf) = decimal_correction(al, before);
    let (result, flags) = add(al, correction);
    (result, Flags { cf, af, ..flags })
}

/// DAS on AL (SDM Vol. 2, "DAS—Decimal Adjust AL After Subtraction").
///
/// UNDEFINED: OF is that of subtracting the correction.
pub(crate) fn das(al: u8, before: Flags) -> (u8, Flags) {
    let (correction, af, cf) = decimal_correction(al, before);
    let (result, flags) = sub(al, correction);
    (result, Flags { cf: cf || af && al < 6, af, ..flags })
}

/// What to add or subtract, AF and CF.
fn decimal_correction(al: u8, before: Flags) -> (u8, bool, bool) {
    let af = al & 15 > 9 || before.af;
    let cf = al > 0x99 || before.cf;
    (if af { 6 } else { 0 } + if cf { 0x60 } else { 0 }, af, cf)
}

/// AAA on AX (SDM Vol. 2, "AAA—ASCII Adjust After Addition").
///
/// UNDEFINED: SF, ZF, PF and OF are those of the 16-bit addition, before AL's high digit is cleared.
pub(crate) fn aaa(ax: u16, before: Flags) -> (u16, Flags) {
    let adjust = ax & 15 > 9 || before.af;
    ascii_adjusted(add(ax, if adjust { 0x106 } else { 0 }), adjust)
}

/// AAS on AX (SDM Vol. 2, "AAS—ASCII Adjust AL After Subtraction").
///
/// UNDEFINED: SF, ZF, PF and OF are those of the 16-bit subtraction, before AL's high digit is cleared.
pub(crate) fn aas(ax: u16, before: Flags) -> (u16, Flags) {
    let adjust = ax & 15 > 9 || before.af;
    ascii_adjusted(sub(ax, if adjust { 0x106 } else { 0 }), adjust)
}

fn ascii_adjusted((result, flags): (u16, Flags), adjusted: bool) -> (u16, Flags) {
    (result & 0xff0f, Flags { cf: adjusted, af: adjusted, ..flags })
}

/// AAM: AL divided by `base` as `AH:AL` = quotient:remainder; `None` is #DE.
///
/// UNDEFINED: CF, AF and OF are 0.
pub(crate) fn aam(al: u8, base: u8) -> Option<(u16, Flags)> {
    let quotient = al.checked_div(base)?;
    let remainder = al % base;
    Some((u16::from(quotient) << 8 | u16::from(remainder), Flags::of_result(remainder)))
}

/// AAD: AL + AH × `base` in AX.
///
/// UNDEFINED: CF, AF and OF are those of the 8-bit addition.
pub(crate) fn aad(ax: u16, base: u8) -> (u16, Flags) {
    let [al, ah] = ax.to_le_bytes();
    let (result, flags) = add(al, ah.wrapping_mul(base));
    (result.into(), flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daa_corrects_a_packed_sum() {
        let (sum, flags) = add(0x79_u8, 0x35);
        let (result, flags) = daa(sum, flags);
        assert_eq!((result, flags.cf, flags.af), (0x14, true, true));
    }

    #[test]
    fn das_corrects_a_packed_difference() {
        let (difference, flags) = sub(0x35_u8, 0x47);
        let (result, flags) = das(difference, flags);
        assert_eq!((result, flags.cf, flags.af), (0x88, true, true));
    }

    #[test]
    fn aaa_and_aas_carry_into_ah() {
        assert_eq!(aaa(0x000b, Flags::default()).0, 0x0101);
        assert_eq!(aas(0x02ff, Flags { af: true, ..Flags::default() }).0, 0x0109);
        assert_eq!(aaa(0x00ff, Flags::default()).0, 0x0205, "the carry out of AL goes into AH too");
    }

    #[test]
    fn aam_and_aad_split_and_join_digits() {
        assert_eq!(aam(73, 10).map(|(ax, _)| ax), Some(0x0703));
        assert_eq!(aam(73, 0), None);
        assert_eq!(aad(0x0703, 10).0, 73);
    }
}
