use super::{Flags, Word};

/// `dst + src` and its status flags.
pub(crate) fn add<W: Word>(dst: W, src: W) -> (W, Flags) {
    adc(dst, src, false)
}

/// `dst + src + cf` and its status flags (SDM Vol. 1, "Status Flags").
pub(crate) fn adc<W: Word>(dst: W, src: W, cf: bool) -> (W, Flags) {
    let sum = dst.wrapping_add(src).wrapping_add(W::from_bool(cf));
    let carry_out = (dst & src) | ((dst | src) & !sum); // out of every bit position
    let overflow = (dst ^ sum) & (src ^ sum);
    let flags = Flags { cf: carry_out.msb(), af: carry_out.bit(3), of: overflow.msb(), ..Flags::of_result(sum) };
    (sum, flags)
}

/// `dst - src` and its status flags; CMP keeps only the flags.
pub(crate) fn sub<W: Word>(dst: W, src: W) -> (W, Flags) {
    sbb(dst, src, false)
}

/// `dst - src - cf` and its status flags; CF is the borrow.
pub(crate) fn sbb<W: Word>(dst: W, src: W, cf: bool) -> (W, Flags) {
    let difference = dst.wrapping_sub(src).wrapping_sub(W::from_bool(cf));
    let borrow = (!dst & src) | ((!dst | src) & difference); // into every bit position
    let overflow = (dst ^ src) & (dst ^ difference);
    let flags = Flags { cf: borrow.msb(), af: borrow.bit(3), of: overflow.msb(), ..Flags::of_result(difference) };
    (difference, flags)
}

/// `dst + 1`; CF stays.
pub(crate) fn inc<W: Word>(dst: W, before: Flags) -> (W, Flags) {
    let (sum, flags) = add(dst, W::from_bool(true));
    (sum, Flags { cf: before.cf, ..flags })
}

/// `dst - 1`; CF stays.
pub(crate) fn dec<W: Word>(dst: W, before: Flags) -> (W, Flags) {
    let (difference, flags) = sub(dst, W::from_bool(true));
    (difference, Flags { cf: before.cf, ..flags })
}

/// `0 - dst`; CF says that `dst` was not 0.
pub(crate) fn neg<W: Word>(dst: W) -> (W, Flags) {
    sub(W::ZERO, dst)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::alu::host::{against_host1, against_host2};

    against_host2!(adc_is_the_hosts, "adc", |d, s, f| adc(d, s, f.cf));
    against_host2!(add_is_the_hosts, "add", |d, s, _| add(d, s));
    against_host2!(sbb_is_the_hosts, "sbb", |d, s, f| sbb(d, s, f.cf));
    against_host2!(sub_is_the_hosts, "sub", |d, s, _| sub(d, s));
    against_host2!(cmp_keeps_only_the_flags_of_sub, "cmp", |d, s, _| (d, sub(d, s).1));
    against_host1!(inc_is_the_hosts, "inc", |d, f| inc(d, f));
    against_host1!(dec_is_the_hosts, "dec", |d, f| dec(d, f));
    against_host1!(neg_is_the_hosts, "neg", |d, _| neg(d));
}
