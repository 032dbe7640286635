use super::{Flags, Word};

// UNDEFINED: what the manual calls undefined after these stays as it was.

/// Index of the lowest set bit of `src`. With `src` 0, ZF is set and the destination stays: `None`.
pub(crate) fn bsf<W: Word>(src: W, before: Flags) -> (Option<W>, Flags) {
    scan(src, src.zext().trailing_zeros(), before)
}

/// Index of the highest set bit of `src`. With `src` 0, ZF is set and the destination stays: `None`.
pub(crate) fn bsr<W: Word>(src: W, before: Flags) -> (Option<W>, Flags) {
    scan(src, 63_u32.wrapping_sub(src.zext().leading_zeros()), before)
}

fn scan<W: Word>(src: W, index: u32, before: Flags) -> (Option<W>, Flags) {
    let zf = src == W::ZERO;
    ((!zf).then(|| W::truncate(u64::from(index))), Flags { zf, ..before })
}

/// CF is bit `index`, modulo the width, of `dst`.
pub(crate) fn bt<W: Word>(dst: W, index: u32, before: Flags) -> Flags {
    Flags { cf: dst.bit(index % W::BITS), ..before }
}

/// BT, then sets the bit.
pub(crate) fn bts<W: Word>(dst: W, index: u32, before: Flags) -> (W, Flags) {
    (dst | mask(index), bt(dst, index, before))
}

/// BT, then clears the bit.
pub(crate) fn btr<W: Word>(dst: W, index: u32, before: Flags) -> (W, Flags) {
    (dst & !mask::<W>(index), bt(dst, index, before))
}

/// BT, then inverts the bit.
pub(crate) fn btc<W: Word>(dst: W, index: u32, before: Flags) -> (W, Flags) {
    (dst ^ mask(index), bt(dst, index, before))
}

fn mask<W: Word>(index: u32) -> W {
    W::truncate(1 << (index % W::BITS))
}

/// Number of set bits; all flags clear but ZF.
pub(crate) fn popcnt<W: Word>(src: W) -> (W, Flags) {
    (W::truncate(u64::from(src.zext().count_ones())), Flags { zf: src == W::ZERO, ..Flags::default() })
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::alu::host::against_host2_wide;

    fn or_stays<W: Word>(d: W, (index, flags): (Option<W>, Flags)) -> (W, Flags) {
        (index.unwrap_or(d), flags)
    }

    /// Newer processors change the flags that the manual calls undefined, too.
    fn only_zf(flags: Flags) -> Flags {
        Flags { zf: flags.zf, ..Flags::default() }
    }

    against_host2_wide!(bsf_is_the_hosts, "bsf", |d, s, f| or_stays(d, bsf(s, f)), only_zf);
    against_host2_wide!(bsr_is_the_hosts, "bsr", |d, s, f| or_stays(d, bsr(s, f)), only_zf);
    against_host2_wide!(bt_is_the_hosts, "bt", |d, s, f| (d, bt(d, s.zext() as u32, f)));
    against_host2_wide!(bts_is_the_hosts, "bts", |d, s, f| bts(d, s.zext() as u32, f));
    against_host2_wide!(btr_is_the_hosts, "btr", |d, s, f| btr(d, s.zext() as u32, f));
    against_host2_wide!(btc_is_the_hosts, "btc", |d, s, f| btc(d, s.zext() as u32, f));
    against_host2_wide!(popcnt_is_the_hosts, "popcnt", |_, s, _| popcnt(s));
}
