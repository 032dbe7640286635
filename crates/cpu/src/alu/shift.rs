use super::{Flags, Word};

/// Shifts left by `count` modulo 32; a count of 0 leaves the flags alone.
///
/// UNDEFINED: AF is set; OF is MSB ^ CF at every count; CF is 0 once the last bit is out.
pub(crate) fn shl<W: Word>(dst: W, count: u8, before: Flags) -> (W, Flags) {
    let count = u32::from(count & 31);
    if count == 0 {
        return (dst, before);
    }
    let wide = dst.zext() << count; // at most 63 bits
    let result = W::truncate(wide);
    let cf = wide >> W::BITS & 1 != 0;
    (result, Flags { cf, af: true, of: result.msb() ^ cf, ..Flags::of_result(result) })
}

/// Shifts right, filling with 0, by `count` modulo 32; a count of 0 leaves the flags alone.
///
/// UNDEFINED: AF is set; OF is the old MSB for a count of 1, else 0; CF is 0 once the last bit is out.
pub(crate) fn shr<W: Word>(dst: W, count: u8, before: Flags) -> (W, Flags) {
    let count = u32::from(count & 31);
    if count == 0 {
        return (dst, before);
    }
    let result = W::truncate(dst.zext() >> count);
    (result, Flags { cf: dst.bit(count - 1), af: true, of: result.second_msb(), ..Flags::of_result(result) })
}

/// Shifts right, filling with the sign, by `count` modulo 32; a count of 0 leaves the flags alone.
///
/// UNDEFINED: AF is set; OF is 0 at every count.
pub(crate) fn sar<W: Word>(dst: W, count: u8, before: Flags) -> (W, Flags) {
    let count = u32::from(count & 31);
    if count == 0 {
        return (dst, before);
    }
    let wide = dst.sext();
    let result = W::truncate((wide >> count) as u64);
    (result, Flags { cf: wide >> (count - 1) & 1 != 0, af: true, ..Flags::of_result(result) })
}

/// Shifts `dst` left by `count` modulo 32, filling from the top of `src`; a count of 0 leaves
/// the flags alone.
///
/// UNDEFINED: AF, CF and OF are those of SHL at every count. A 16-bit operand and a count
/// above 16: the result is `src` rotated.
pub(crate) fn shld<W: Word>(dst: W, src: W, count: u8, before: Flags) -> (W, Flags) {
    let (vacated, flags) = shl(dst, count, before);
    let count = u32::from(count & 31);
    if count == 0 {
        return (dst, before);
    }
    let fill = src.zext() << W::BITS | src.zext();
    let result = vacated | W::truncate(fill >> (2 * W::BITS - count));
    (result, Flags { cf: flags.cf, af: flags.af, of: flags.of, ..Flags::of_result(result) })
}

/// Shifts `dst` right by `count` modulo 32, filling from the bottom of `src`; a count of 0
/// leaves the flags alone.
///
/// UNDEFINED: AF is set; OF is MSB ^ the bit below it. A 16-bit operand and a count above 16:
/// the result is `src` rotated, CF is 0.
pub(crate) fn shrd<W: Word>(dst: W, src: W, count: u8, before: Flags) -> (W, Flags) {
    let count = u32::from(count & 31);
    if count == 0 {
        return (dst, before);
    }
    let wide = u128::from(src.zext()) << (2 * W::BITS) | u128::from(src.zext()) << W::BITS | u128::from(dst.zext());
    let result = W::truncate((wide >> count) as u64);
    let cf = count <= W::BITS && dst.bit(count - 1);
    (result, Flags { cf, af: true, of: result.msb() ^ result.second_msb(), ..Flags::of_result(result) })
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::alu::host::{against_host_double_shift, against_host_shift};

    against_host_shift!(shl_is_the_hosts, "shl", shl);
    against_host_shift!(shr_is_the_hosts, "shr", shr);
    against_host_shift!(sar_is_the_hosts, "sar", sar);
    against_host_double_shift!(shld_is_the_hosts, "shld", shld);
    against_host_double_shift!(shrd_is_the_hosts, "shrd", shrd);
}
