//! What of a change to a paging-structure entry makes translations stale that went by it.

use x86::{PaePte, Pte};

/// Whether whoever holds a translation that went by an entry of value `old` may go on using it where the
/// entry is `new`: nothing is taken from it. A bit more (rights raised, A, G or the kernel's own bits) is no loss.
pub(super) fn covers(new: u64, old: u64, wide: bool) -> bool {
    const P: u64 = Pte::P as u64;
    const GIVEN: u64 = (Pte::RW | Pte::US | Pte::D) as u64;
    /// PS of a directory entry; PAT, which counts for nothing here, of a table's.
    const PS: u64 = 1 << 7;
    if old & P == 0 {
        return true;
    }
    let address = if wide { (PaePte::XD - 1) & !0xfff } else { 0xffff_f000 };
    let same_place = (new ^ old) & (address | PS) == 0;
    let more_xd = wide && new & !old & PaePte::XD != 0;
    new & P != 0 && same_place && old & !new & GIVEN == 0 && !more_xd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_rights_takes_nothing_and_lowering_does() {
        for (old, new, covered) in [
            (0, 0x5067, true),
            (0x5066, 0, true),      // was not present
            (0x5025, 0x5027, true), // R/W set
            (0x5027, 0x5025, false),
            (0x5067, 0x5027, false), // D cleared: a store would not set it again
            (0x5067, 0x5047, true),  // A cleared
            (0x5027, 0x5023, false), // U/S cleared
            (0x5027, 0x5127, true),  // G set
            (0x5027, 0x6027, false),
            (0x5027, 0x5026, false),
            (0x5027, 0, false),
            (0x0040_00e3, 0x0040_0063, false), // a large page becomes a table
        ] {
            assert_eq!(covers(new, old, false), covered, "{old:#x} -> {new:#x}");
        }
    }

    #[test]
    fn execute_disable_counts_in_wide_entries_alone() {
        assert!(!covers(0x5027 | PaePte::XD, 0x5027, true));
        assert!(covers(0x5027, 0x5027 | PaePte::XD, true));
        assert!(!covers(0x1_0000_5027, 0x5027, true));
    }
}
