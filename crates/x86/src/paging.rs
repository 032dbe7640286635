use bitflags::bitflags;

use crate::PhysAddr;

/// A page-directory entry of 32-bit paging (SDM Vol. 3A, "32-Bit Paging").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Pde(pub u32);

/// A page-table entry of 32-bit paging (SDM Vol. 3A, "32-Bit Paging").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Pte(pub u32);

macro_rules! common_bits {
    ($entry:ident) => {
        impl $entry {
            /// Present.
            pub const P: u32 = 1 << 0;
            /// Writes are allowed.
            pub const RW: u32 = 1 << 1;
            /// User-mode accesses are allowed.
            pub const US: u32 = 1 << 2;
            /// Write-through.
            pub const PWT: u32 = 1 << 3;
            /// Cache disable.
            pub const PCD: u32 = 1 << 4;
            /// Accessed.
            pub const A: u32 = 1 << 5;
            /// Dirty (in a page-directory entry only of a 4 MiB page).
            pub const D: u32 = 1 << 6;
            /// Global (in a page-directory entry only of a 4 MiB page).
            pub const G: u32 = 1 << 8;

            /// Bit P.
            pub const fn present(self) -> bool {
                self.0 & Self::P != 0
            }
            /// Bit R/W.
            pub const fn writable(self) -> bool {
                self.0 & Self::RW != 0
            }
            /// Bit U/S.
            pub const fn user(self) -> bool {
                self.0 & Self::US != 0
            }
            /// Bit A.
            pub const fn accessed(self) -> bool {
                self.0 & Self::A != 0
            }
            /// Bit D.
            pub const fn dirty(self) -> bool {
                self.0 & Self::D != 0
            }
            /// Bit G.
            pub const fn global(self) -> bool {
                self.0 & Self::G != 0
            }
        }
    };
}
common_bits!(Pde);
common_bits!(Pte);

impl Pde {
    /// Page size: the entry maps a 4 MiB page (with CR4.PSE).
    pub const PS: u32 = 1 << 7;

    /// Bit PS.
    pub const fn large(self) -> bool {
        self.0 & Self::PS != 0
    }

    /// The page table that the entry refers to.
    pub const fn table(self) -> PhysAddr {
        PhysAddr((self.0 & 0xffff_f000) as u64)
    }

    /// The 4 MiB page that the entry maps. Bits 39:32 of the address stand in bits
    /// 20:13 of the entry (PSE-36).
    pub const fn large_frame(self) -> PhysAddr {
        PhysAddr((self.0 & 0xffc0_0000) as u64 | ((self.0 >> 13) as u64 & 0xff) << 32)
    }
}

impl Pte {
    /// Page attribute table index, high bit.
    pub const PAT: u32 = 1 << 7;

    /// The 4 KiB page that the entry maps.
    pub const fn frame(self) -> PhysAddr {
        PhysAddr((self.0 & 0xffff_f000) as u64)
    }
}

bitflags! {
    /// The error code of #PF (SDM Vol. 3A, "Interrupt 14: Page-Fault Exception").
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PageFaultCode: u32 {
        /// The translation was present: the rights were violated.
        const P = 1 << 0;
        /// The access was a write.
        const WR = 1 << 1;
        /// The access was made at CPL 3.
        const US = 1 << 2;
        /// A reserved bit was set in a paging-structure entry.
        const RSVD = 1 << 3;
        /// The access was an instruction fetch (reported only with NX or SMEP).
        const ID = 1 << 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_table_entry_reads_as_the_manual_says() {
        let pte = Pte(0x1234_5167);
        assert_eq!(pte.frame(), PhysAddr(0x1234_5000));
        assert!(pte.present() && pte.writable() && pte.user() && pte.accessed() && pte.dirty() && pte.global());
    }

    #[test]
    fn a_large_page_takes_address_bits_39_to_32_from_bits_20_to_13() {
        assert_eq!(Pde(0x0040_0083).large_frame(), PhysAddr(0x0040_0000));
        assert_eq!(Pde(0x0040_2083).large_frame(), PhysAddr(0x1_0040_0000));
        assert!(Pde(0x83).large());
    }

    #[test]
    fn the_page_fault_error_code_bits_are_the_manuals() {
        assert_eq!((PageFaultCode::P | PageFaultCode::WR | PageFaultCode::US).bits(), 7);
        assert_eq!((PageFaultCode::RSVD | PageFaultCode::ID).bits(), 0x18);
    }
}
