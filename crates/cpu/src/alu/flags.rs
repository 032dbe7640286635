use x86::Eflags;

use super::Word;

/// The six status flags (SDM Vol. 1, "Status Flags").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Flags {
    /// Carry.
    pub cf: bool,
    /// Parity of the low byte.
    pub pf: bool,
    /// Carry out of bit 3.
    pub af: bool,
    /// Zero.
    pub zf: bool,
    /// Sign.
    pub sf: bool,
    /// Overflow.
    pub of: bool,
}

impl Flags {
    /// SF, ZF and PF of a result; the others clear.
    pub(crate) fn of_result<W: Word>(result: W) -> Self {
        Flags {
            sf: result.msb(),
            zf: result == W::ZERO,
            pf: (result.zext() as u8).count_ones().is_multiple_of(2),
            ..Flags::default()
        }
    }
}

impl From<Eflags> for Flags {
    fn from(eflags: Eflags) -> Self {
        Flags {
            cf: eflags.contains(Eflags::CF),
            pf: eflags.contains(Eflags::PF),
            af: eflags.contains(Eflags::AF),
            zf: eflags.contains(Eflags::ZF),
            sf: eflags.contains(Eflags::SF),
            of: eflags.contains(Eflags::OF),
        }
    }
}

impl From<Flags> for Eflags {
    /// The status flags alone: no other bit is set.
    fn from(flags: Flags) -> Self {
        Eflags::from_bits_retain(
            u32::from(flags.cf)
                | u32::from(flags.pf) << 2
                | u32::from(flags.af) << 4
                | u32::from(flags.zf) << 6
                | u32::from(flags.sf) << 7
                | u32::from(flags.of) << 11,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_survives_eflags_and_back() {
        for bits in 0..64u32 {
            let eflags = Eflags::STATUS
                .iter()
                .enumerate()
                .fold(Eflags::empty(), |sum, (n, flag)| if bits >> n & 1 != 0 { sum | flag } else { sum });
            assert_eq!(Eflags::from(Flags::from(eflags)), eflags);
        }
    }

    #[test]
    fn parity_looks_at_the_low_byte_only() {
        assert!(Flags::of_result(0xff00_0003_u32).pf);
        assert!(!Flags::of_result(0x0300_0001_u32).pf);
    }
}
