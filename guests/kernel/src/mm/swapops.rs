//! Swap entries, and how they stand in page-table entries.
//!
//! In an entry of two-level tables with P clear: bits 5:1 the swap area, bit 7 that no other
//! entry has the page, bit 8 clear (it would mean `PROT_NONE`), bits 31:9 the slot.

use x86::Pte;

/// Bit 7: the page was its address space's alone when it went to swap.
const SWP_EXCLUSIVE: u32 = 1 << 7;
const TYPE_SHIFT: u32 = 1;
const TYPE_BITS: u32 = 5;
const OFFSET_SHIFT: u32 = 9;
/// Slots that an entry can name.
pub const MAX_SLOTS: u32 = 1 << (32 - OFFSET_SHIFT);

/// Whether other page-table entries may hold the same swap entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// No other does.
    Exclusive,
    /// Others may.
    Shared,
}

/// `swp_entry_t`: a slot of a swap area.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SwapEntry(u32);

impl SwapEntry {
    /// The slot `offset` of area `kind`.
    pub fn new(kind: u32, offset: u32) -> Self {
        SwapEntry(kind | offset << TYPE_BITS)
    }

    /// From `page.private` of a page of the swap cache.
    pub fn from_raw(raw: u32) -> Self {
        SwapEntry(raw)
    }

    /// For `page.private`.
    pub fn raw(self) -> u32 {
        self.0
    }

    /// The number of the area.
    pub fn kind(self) -> u32 {
        self.0 & ((1 << TYPE_BITS) - 1)
    }

    /// The slot.
    pub fn offset(self) -> u32 {
        self.0 >> TYPE_BITS
    }

    /// The page-table entry that says where the page is.
    pub fn pte(self, sharing: Sharing) -> Pte {
        let exclusive = if sharing == Sharing::Exclusive { SWP_EXCLUSIVE } else { 0 };
        Pte(self.kind() << TYPE_SHIFT | self.offset() << OFFSET_SHIFT | exclusive)
    }

    /// The swap entry in a page-table entry, if there is one.
    pub fn of_pte(pte: Pte) -> Option<Self> {
        use super::pgtable::PteExt;
        let is_swap = !pte.is_empty() && !pte.maps_page();
        is_swap.then(|| SwapEntry::new(pte.0 >> TYPE_SHIFT & ((1 << TYPE_BITS) - 1), pte.0 >> OFFSET_SHIFT))
    }

    /// What a page-table entry with a swap entry says of others.
    pub fn sharing(pte: Pte) -> Sharing {
        if pte.0 & SWP_EXCLUSIVE != 0 { Sharing::Exclusive } else { Sharing::Shared }
    }
}
