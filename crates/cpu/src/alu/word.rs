use std::{
    fmt::Debug,
    ops::{BitAnd, BitOr, BitXor, Not},
};

/// An operand of 8, 16 or 32 bits.
pub(crate) trait Word:
    Copy + Eq + Debug + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self> + 'static
{
    /// Width in bits.
    const BITS: u32;
    /// All bits clear.
    const ZERO: Self;

    /// The low bits of `wide`.
    fn truncate(wide: u64) -> Self;
    /// Zero-extended.
    fn zext(self) -> u64;
    /// Sign-extended.
    fn sext(self) -> i64;

    /// 1 or 0.
    fn from_bool(bit: bool) -> Self {
        Self::truncate(u64::from(bit))
    }
    /// Bit `n`; `n` is below 64, bits above the width are 0.
    fn bit(self, n: u32) -> bool {
        self.zext() >> n & 1 != 0
    }
    /// The sign bit.
    fn msb(self) -> bool {
        self.bit(Self::BITS - 1)
    }
    /// The bit below the sign bit.
    fn second_msb(self) -> bool {
        self.bit(Self::BITS - 2)
    }
    /// Sum modulo the width.
    fn wrapping_add(self, other: Self) -> Self {
        Self::truncate(self.zext().wrapping_add(other.zext()))
    }
    /// Difference modulo the width.
    fn wrapping_sub(self, other: Self) -> Self {
        Self::truncate(self.zext().wrapping_sub(other.zext()))
    }
}

macro_rules! word {
    ($unsigned:ty, $signed:ty) => {
        impl Word for $unsigned {
            const BITS: u32 = <$unsigned>::BITS;
            const ZERO: Self = 0;

            fn truncate(wide: u64) -> Self {
                wide as $unsigned
            }
            fn zext(self) -> u64 {
                u64::from(self)
            }
            fn sext(self) -> i64 {
                i64::from(self as $signed)
            }
        }
    };
}

word!(u8, i8);
word!(u16, i16);
word!(u32, i32);
