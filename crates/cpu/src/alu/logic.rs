use super::{Flags, Word};

/// Flags of AND, OR, XOR and TEST: CF and OF clear.
///
/// UNDEFINED: AF is clear.
fn logic<W: Word>(result: W) -> (W, Flags) {
    (result, Flags::of_result(result))
}

/// `dst & src`; TEST keeps only the flags.
pub(crate) fn and<W: Word>(dst: W, src: W) -> (W, Flags) {
    logic(dst & src)
}

/// `dst | src`.
pub(crate) fn or<W: Word>(dst: W, src: W) -> (W, Flags) {
    logic(dst | src)
}

/// `dst ^ src`.
pub(crate) fn xor<W: Word>(dst: W, src: W) -> (W, Flags) {
    logic(dst ^ src)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::alu::host::against_host2;

    against_host2!(and_is_the_hosts, "and", |d, s, _| and(d, s));
    against_host2!(or_is_the_hosts, "or", |d, s, _| or(d, s));
    against_host2!(xor_is_the_hosts, "xor", |d, s, _| xor(d, s));
    against_host2!(test_keeps_only_the_flags_of_and, "test", |d, s, _| (d, and(d, s).1));
}
