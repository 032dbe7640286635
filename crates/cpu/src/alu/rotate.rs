use super::{Flags, Word};

// UNDEFINED: OF after a rotation by more than 1 follows the same formula as by 1:
// to the left MSB ^ CF, to the right MSB ^ the bit below it.

/// Rotates left by `count` modulo 32; a count of 0 leaves the flags alone.
pub(crate) fn rol<W: Word>(dst: W, count: u8, before: Flags) -> (W, Flags) {
    let count = u32::from(count & 31);
    if count == 0 {
        return (dst, before);
    }
    let result = rotate_left(dst, count % W::BITS);
    let cf = result.bit(0);
    (result, Flags { cf, of: result.msb() ^ cf, ..before })
}

/// Rotates right by `count` modulo 32; a count of 0 leaves the flags alone.
pub(crate) fn ror<W: Word>(dst: W, count: u8, before: Flags) -> (W, Flags) {
    let count = u32::from(count & 31);
    if count == 0 {
        return (dst, before);
    }
    let result = rotate_left(dst, (W::BITS - count % W::BITS) % W::BITS);
    (result, Flags { cf: result.msb(), of: result.msb() ^ result.second_msb(), ..before })
}

/// Rotates CF:`dst` left by `count` modulo 32; a count of 0 leaves the flags alone.
pub(crate) fn rcl<W: Word>(dst: W, count: u8, before: Flags) -> (W, Flags) {
    let count = u32::from(count & 31);
    if count == 0 {
        return (dst, before);
    }
    let (result, cf) = rotate_through_carry(dst, before.cf, count % (W::BITS + 1));
    (result, Flags { cf, of: result.msb() ^ cf, ..before })
}

/// Rotates `dst`:CF right by `count` modulo 32; a count of 0 leaves the flags alone.
pub(crate) fn rcr<W: Word>(dst: W, count: u8, before: Flags) -> (W, Flags) {
    let count = u32::from(count & 31);
    if count == 0 {
        return (dst, before);
    }
    let width = W::BITS + 1;
    let (result, cf) = rotate_through_carry(dst, before.cf, (width - count % width) % width);
    (result, Flags { cf, of: result.msb() ^ result.second_msb(), ..before })
}

/// Rotation by less than the width.
fn rotate_left<W: Word>(dst: W, count: u32) -> W {
    let wide = dst.zext();
    W::truncate(wide << count | wide >> (W::BITS - count))
}

/// Left rotation of the `W::BITS + 1` bits CF:`dst` by less than that.
fn rotate_through_carry<W: Word>(dst: W, cf: bool, count: u32) -> (W, bool) {
    let width = W::BITS + 1;
    let wide = u64::from(cf) << W::BITS | dst.zext();
    let rotated = wide << count | wide >> (width - count);
    (W::truncate(rotated), rotated >> W::BITS & 1 != 0)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::alu::host::against_host_shift;

    against_host_shift!(rol_is_the_hosts, "rol", rol);
    against_host_shift!(ror_is_the_hosts, "ror", ror);
    against_host_shift!(rcl_is_the_hosts, "rcl", rcl);
    against_host_shift!(rcr_is_the_hosts, "rcr", rcr);
}
