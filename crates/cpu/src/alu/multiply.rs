use super::{Flags, Word};

// UNDEFINED: SF, ZF, AF and PF stay as they were.

/// Unsigned product as `(high, low)`; CF and OF say that the high half is not 0.
pub(crate) fn mul<W: Word>(a: W, b: W, before: Flags) -> (W, W, Flags) {
    let product = a.zext() * b.zext();
    let high = W::truncate(product >> W::BITS);
    let lost = high != W::ZERO;
    (high, W::truncate(product), Flags { cf: lost, of: lost, ..before })
}

/// Signed product as `(high, low)`; CF and OF say that the low half alone is not the product.
pub(crate) fn imul<W: Word>(a: W, b: W, before: Flags) -> (W, W, Flags) {
    let product = a.sext() * b.sext();
    let low = W::truncate(product as u64);
    let lost = low.sext() != product;
    (W::truncate((product >> W::BITS) as u64), low, Flags { cf: lost, of: lost, ..before })
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::alu::host::{against_host_accumulator, against_host2_wide};

    against_host_accumulator!(mul_is_the_hosts, "mul", |_, lo, s, f| Some(mul(lo, s, f)));
    against_host_accumulator!(imul_is_the_hosts, "imul", |_, lo, s, f| Some(imul(lo, s, f)));
    against_host2_wide!(two_operand_imul_is_the_hosts, "imul", |d, s, f| {
        let (_, low, flags) = imul(d, s, f);
        (low, flags)
    });
}
