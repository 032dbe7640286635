use super::{Flags, add, sub};

/// DAA on AL (SDM Vol. 2, "DAA—Decimal Adjust AL After Addition").
///
/// UNDEFINED: OF is 0.
pub(crate) fn daa(al: u8, before: Flags) -> (u8, Flags) {
    let (correction, af, cf) = decimal_correction(al, before);
    let result = al.wrapping_add(correction);
    (result, Flags { cf, af, ..Flags::of_result(result) })
}

/// DAS on AL (SDM Vol. 2, "DAS—Decimal Adjust AL After Subtraction").
///
/// UNDEFINED: OF is 0.
pub(crate) fn das(al: u8, before: Flags) -> (u8, Flags) {
    let (correction, af, mut cf) = decimal_correction(al, before);
    cf |= af && al < 6;
    let result = al.wrapping_sub(correction);
    (result, Flags { cf, af, ..Flags::of_result(result) })
}

/// What to add or subtract, AF and CF.
fn decimal_correction(al: u8, before: Flags) -> (u8, bool, bool) {
    let af = al & 15 > 9 || before.af;
    let cf = al > 0x99 || before.cf;
    (if af { 6 } else { 0 } + if cf { 0x60 } else { 0 }, af, cf)
}

/// AAA on AX (SDM Vol. 2, "AAA—ASCII Adjust After Addition").
///
/// UNDEFINED: SF, ZF and PF are those of AL, OF is 0.
pub(crate) fn aaa(ax: u16, before: Flags) -> (u16, Flags) {
    let adjust = ax & 15 > 9 || before.af;
    ascii_adjusted(if adjust { add(ax, 0x106).0 } else { ax }, adjust)
}

/// AAS on AX (SDM Vol. 2, "AAS—ASCII Adjust AL After Subtraction").
///
/// UNDEFINED: SF, ZF and PF are those of AL, OF is 0.
pub(crate) fn aas(ax: u16, before: Flags) -> (u16, Flags) {
    let adjust = ax & 15 > 9 || before.af;
    ascii_adjusted(if adjust { sub(ax, 0x106).0 } else { ax }, adjust)
}

fn ascii_adjusted(ax: u16, adjusted: bool) -> (u16, Flags) {
    let result = ax & 0xff0f;
    (result, Flags { cf: adjusted, af: adjusted, ..Flags::of_result(result as u8) })
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
/// UNDEFINED: CF, AF and OF are 0.
pub(crate) fn aad(ax: u16, base: u8) -> (u16, Flags) {
    let [al, ah] = ax.to_le_bytes();
    let result = al.wrapping_add(ah.wrapping_mul(base));
    (u16::from(result), Flags::of_result(result))
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
