//! Arithmetic with 128-bit significands, for the transcendental functions: results are cut, not
//! rounded, and good to some 120 bits.

use super::{arith::sum, round::Exact};

impl Exact {
    /// 1.
    pub(crate) const ONE: Exact = Exact { sign: false, exp: 0, sig: 1 << 127 };

    /// Of an integer other than 0.
    pub(crate) fn of_int(n: u32) -> Exact {
        Exact::normalized(false, 127, n.into()).expect("not 0")
    }

    /// `self + other`; `None` is 0.
    pub(crate) fn plus(self, other: Exact) -> Option<Exact> {
        sum(self, other)
    }

    /// `-self`.
    pub(crate) fn negated(self) -> Exact {
        Exact { sign: !self.sign, ..self }
    }

    /// `self × other`.
    pub(crate) fn times(self, other: Exact) -> Exact {
        let high = multiply_high(self.sig, other.sig);
        Exact::normalized(self.sign != other.sign, self.exp + other.exp + 1, high).expect("bit 126 or 127 is set")
    }

    /// `self ÷ other`.
    pub(crate) fn over(self, other: Exact) -> Exact {
        let sign = self.sign != other.sign;
        let fits = self.sig >= other.sig;
        // Long division; the rest stays below the divisor, but its double may need a 129th bit.
        let mut rest = if fits { self.sig - other.sig } else { self.sig };
        let mut quotient = u128::from(fits);
        for _ in 0..128 {
            let carry = rest >> 127 != 0;
            rest <<= 1;
            let digit = carry || rest >= other.sig;
            if digit {
                rest = rest.wrapping_sub(other.sig);
            }
            if quotient >> 127 != 0 {
                break;
            }
            quotient = quotient << 1 | u128::from(digit);
        }
        let exp = self.exp - other.exp - i32::from(!fits);
        Exact { sign, exp, sig: quotient }
    }

    /// `self ÷ n`.
    pub(crate) fn over_int(self, n: u32) -> Exact {
        self.over(Exact::of_int(n))
    }

    /// As a result that is known not to be exact.
    pub(crate) fn inexact(self) -> Exact {
        Exact { sig: self.sig | 1, ..self }
    }
}

/// The upper half of the 256-bit product.
fn multiply_high(a: u128, b: u128) -> u128 {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let middle = ((a0 * b0) >> 64) + ((a1 * b0) & LOW) + ((a0 * b1) & LOW);
    a1 * b1 + ((a1 * b0) >> 64) + ((a0 * b1) >> 64) + (middle >> 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_undoes_multiplication() {
        let third = Exact::ONE.over_int(3);
        assert_eq!((third.exp, third.sig), (-2, 0xaaaa_aaaa_aaaa_aaaa_aaaa_aaaa_aaaa_aaaa));
        assert_eq!(Exact::of_int(15).over_int(5), Exact::of_int(3));
        assert_eq!(Exact::of_int(7).times(Exact::of_int(9)), Exact::of_int(63));
        let product = third.times(Exact::of_int(3));
        assert!(product.exp == -1 && product.sig >= !3, "{product:?}");
    }
}
