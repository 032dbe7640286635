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

/// A page-directory-pointer-table entry of PAE paging, as memory and the PDPTE registers hold
/// it (SDM Vol. 3A, "PDPTE Registers").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Pdpte(pub u64);

/// A page-directory entry of PAE paging (SDM Vol. 3A, "PAE Paging").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct PaePde(pub u64);

/// A page-table entry of PAE paging (SDM Vol. 3A, "PAE Paging").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct PaePte(pub u64);

/// MAXPHYADDR: how many bits a physical address has, as CPUID leaf 0x80000008 tells. All our
/// processors have 36.
pub const PHYS_ADDR_BITS: u32 = 36;

/// Bits 35:12 of an entry of PAE paging: the address of a table or of a 4 KiB page.
const PAE_ADDR: u64 = ((1 << PHYS_ADDR_BITS) - 1) & !0xfff;
/// Address bits that an entry of PAE paging has room for and the processor has not, and bits 62:52.
const PAE_BEYOND: u64 = !(1 << 63) & !((1 << PHYS_ADDR_BITS) - 1);

macro_rules! common_bits {
    ($entry:ident, $bits:ident) => {
        impl $entry {
            /// Present.
            pub const P: $bits = 1 << 0;
            /// Writes are allowed.
            pub const RW: $bits = 1 << 1;
            /// User-mode accesses are allowed.
            pub const US: $bits = 1 << 2;
            /// Write-through.
            pub const PWT: $bits = 1 << 3;
            /// Cache disable.
            pub const PCD: $bits = 1 << 4;
            /// Accessed.
            pub const A: $bits = 1 << 5;
            /// Dirty (in a page-directory entry only of a 4 MiB page).
            pub const D: $bits = 1 << 6;
            /// Global (in a page-directory entry only of a 4 MiB page).
            pub const G: $bits = 1 << 8;

            /// Bit P.
            #[inline]
            pub const fn present(self) -> bool {
                self.0 & Self::P != 0
            }
            /// Bit R/W.
            #[inline]
            pub const fn writable(self) -> bool {
                self.0 & Self::RW != 0
            }
            /// Bit U/S.
            #[inline]
            pub const fn user(self) -> bool {
                self.0 & Self::US != 0
            }
            /// Bit A.
            #[inline]
            pub const fn accessed(self) -> bool {
                self.0 & Self::A != 0
            }
            /// Bit D.
            #[inline]
            pub const fn dirty(self) -> bool {
                self.0 & Self::D != 0
            }
            /// Bit G.
            #[inline]
            pub const fn global(self) -> bool {
                self.0 & Self::G != 0
            }
        }
    };
}
common_bits!(Pde, u32);
common_bits!(Pte, u32);
common_bits!(PaePde, u64);
common_bits!(PaePte, u64);

impl Pdpte {
    /// Present.
    pub const P: u64 = 1 << 0;
    /// Write-through.
    pub const PWT: u64 = 1 << 3;
    /// Cache disable.
    pub const PCD: u64 = 1 << 4;
    /// Bits 2:1, 8:5 and 63:36, which must be 0 where P is set.
    pub const RESERVED: u64 = PAE_BEYOND | 1 << 63 | 0x1e6;

    /// Bit P.
    #[inline]
    pub const fn present(self) -> bool {
        self.0 & Self::P != 0
    }

    /// Whether a load of the register raises #GP: P and a reserved bit are set.
    #[inline]
    pub const fn invalid(self) -> bool {
        self.present() && self.0 & Self::RESERVED != 0
    }

    /// The page directory that the entry refers to.
    #[inline]
    pub const fn directory(self) -> PhysAddr {
        PhysAddr(self.0 & PAE_ADDR)
    }
}

impl PaePde {
    /// Page size: the entry maps a 2 MiB page.
    pub const PS: u64 = 1 << 7;
    /// Page attribute table index, high bit, of a 2 MiB page.
    pub const PAT: u64 = 1 << 12;
    /// Execute disable (with IA32_EFER.NXE; reserved without).
    pub const XD: u64 = 1 << 63;
    /// Bits 62:36, which must be 0.
    pub const RESERVED: u64 = PAE_BEYOND;
    /// Bits 62:36 and 20:13, which must be 0 in the entry of a 2 MiB page.
    pub const LARGE_RESERVED: u64 = PAE_BEYOND | 0x1f_e000;

    /// Bit PS.
    #[inline]
    pub const fn large(self) -> bool {
        self.0 & Self::PS != 0
    }

    /// Bit XD.
    #[inline]
    pub const fn execute_disable(self) -> bool {
        self.0 & Self::XD != 0
    }

    /// The page table that the entry refers to.
    #[inline]
    pub const fn table(self) -> PhysAddr {
        PhysAddr(self.0 & PAE_ADDR)
    }

    /// The 2 MiB page that the entry maps.
    #[inline]
    pub const fn large_frame(self) -> PhysAddr {
        PhysAddr(self.0 & PAE_ADDR & !0x1f_ffff)
    }
}

impl PaePte {
    /// Page attribute table index, high bit.
    pub const PAT: u64 = 1 << 7;
    /// Execute disable (with IA32_EFER.NXE; reserved without).
    pub const XD: u64 = 1 << 63;
    /// Bits 62:36, which must be 0.
    pub const RESERVED: u64 = PAE_BEYOND;

    /// Bit XD.
    #[inline]
    pub const fn execute_disable(self) -> bool {
        self.0 & Self::XD != 0
    }

    /// The 4 KiB page that the entry maps.
    #[inline]
    pub const fn frame(self) -> PhysAddr {
        PhysAddr(self.0 & PAE_ADDR)
    }
}

impl Pde {
    /// Page size: the entry maps a 4 MiB page (with CR4.PSE).
    pub const PS: u32 = 1 << 7;
    /// Page attribute table index, high bit, of a 4 MiB page.
    pub const PAT: u32 = 1 << 12;
    /// Bits 21:17, which must be 0 in the entry of a 4 MiB page: bit 21, and those that hold
    /// address bits beyond [`PHYS_ADDR_BITS`].
    pub const LARGE_RESERVED: u32 = 0x3e_0000;

    /// Bit PS.
    #[inline]
    pub const fn large(self) -> bool {
        self.0 & Self::PS != 0
    }

    /// The page table that the entry refers to.
    #[inline]
    pub const fn table(self) -> PhysAddr {
        PhysAddr((self.0 & 0xffff_f000) as u64)
    }

    /// The 4 MiB page that the entry maps. Bits 39:32 of the address stand in bits
    /// 20:13 of the entry (PSE-36).
    #[inline]
    pub const fn large_frame(self) -> PhysAddr {
        PhysAddr((self.0 & 0xffc0_0000) as u64 | ((self.0 >> 13) as u64 & 0xff) << 32)
    }
}

impl Pte {
    /// Page attribute table index, high bit.
    pub const PAT: u32 = 1 << 7;

    /// The 4 KiB page that the entry maps.
    #[inline]
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
    fn entries_of_pae_paging_read_as_the_manual_says() {
        let pte = PaePte(0x8000_000f_1234_5167);
        assert_eq!(pte.frame(), PhysAddr(0xf_1234_5000));
        assert!(pte.present() && pte.writable() && pte.user() && pte.dirty() && pte.global() && pte.execute_disable());
        assert_eq!(PaePde(0x8000_0003_4021_0083).large_frame(), PhysAddr(0x3_4020_0000));
        assert_eq!(PaePde(0x0000_0003_4021_0003).table(), PhysAddr(0x3_4021_0000));
        assert_eq!(Pdpte(0x0000_0008_0001_2e19).directory(), PhysAddr(0x8_0001_2000));
    }

    #[test]
    fn the_reserved_bits_of_pae_entries_are_those_beyond_36_address_bits_and_the_gaps() {
        assert_eq!(PaePte::RESERVED, 0x7fff_fff0_0000_0000);
        assert_eq!(PaePde::LARGE_RESERVED, 0x7fff_fff0_001f_e000);
        assert_eq!(Pdpte::RESERVED, 0xffff_fff0_0000_01e6);
        assert!(Pdpte(3).invalid() && !Pdpte(2).invalid() && !Pdpte(0xf_ffff_fe19).invalid());
    }

    #[test]
    fn the_page_fault_error_code_bits_are_the_manuals() {
        assert_eq!((PageFaultCode::P | PageFaultCode::WR | PageFaultCode::US).bits(), 7);
        assert_eq!((PageFaultCode::RSVD | PageFaultCode::ID).bits(), 0x18);
    }
}
