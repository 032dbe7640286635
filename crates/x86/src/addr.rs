use core::fmt;

/// log2 of the size of a small page.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a small page.
pub const PAGE_SIZE: u32 = 1 << PAGE_SHIFT;

/// A linear address: what segmentation yields and paging translates
/// (SDM Vol. 3A, "Logical and Linear Addresses").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct LinearAddr(pub u32);

impl LinearAddr {
    /// Bits 31:22, the index into the page directory of 32-bit paging.
    #[inline]
    pub const fn pde_index(self) -> u32 {
        self.0 >> 22
    }

    /// Bits 21:12, the index into the page table of 32-bit paging.
    #[inline]
    pub const fn pte_index(self) -> u32 {
        (self.0 >> PAGE_SHIFT) & 0x3ff
    }

    /// Bits 31:30, the number of the PDPTE register of PAE paging.
    #[inline]
    pub const fn pdpte_index(self) -> u32 {
        self.0 >> 30
    }

    /// Bits 29:21, the index into the page directory of PAE paging.
    #[inline]
    pub const fn pae_pde_index(self) -> u32 {
        (self.0 >> 21) & 0x1ff
    }

    /// Bits 20:12, the index into the page table of PAE paging.
    #[inline]
    pub const fn pae_pte_index(self) -> u32 {
        (self.0 >> PAGE_SHIFT) & 0x1ff
    }

    /// Bits 11:0.
    #[inline]
    pub const fn page_offset(self) -> u32 {
        self.0 & (PAGE_SIZE - 1)
    }

    /// The number of the 4 KiB page that holds the address.
    #[inline]
    pub const fn page_number(self) -> u32 {
        self.0 >> PAGE_SHIFT
    }

    /// The address `bytes` further on, modulo 2^32.
    #[inline]
    pub const fn wrapping_add(self, bytes: u32) -> Self {
        LinearAddr(self.0.wrapping_add(bytes))
    }
}

impl fmt::Debug for LinearAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linear {:#010x}", self.0)
    }
}

/// A guest-physical address. Wider than 32 bits, because PSE-36 and PAE reach beyond 4 GiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct PhysAddr(pub u64);

impl PhysAddr {
    /// The address of the first byte of 4 KiB frame `pfn`.
    #[inline]
    pub const fn from_frame(pfn: u32) -> Self {
        PhysAddr((pfn as u64) << PAGE_SHIFT)
    }

    /// The number of the 4 KiB frame that holds the address.
    #[inline]
    pub const fn frame(self) -> u32 {
        (self.0 >> PAGE_SHIFT) as u32
    }

    /// Bits 11:0.
    #[inline]
    pub const fn page_offset(self) -> u32 {
        self.0 as u32 & (PAGE_SIZE - 1)
    }

    /// The address `bytes` further on.
    #[inline]
    pub const fn add(self, bytes: u64) -> Self {
        PhysAddr(self.0 + bytes)
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "physical {:#010x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_address_splits_ten_ten_twelve() {
        let a = LinearAddr(0xC012_3ABC);
        assert_eq!((a.pde_index(), a.pte_index(), a.page_offset()), (0x300, 0x123, 0xABC));
    }

    #[test]
    fn with_pae_it_splits_two_nine_nine_twelve() {
        let a = LinearAddr(0xC072_3ABC);
        assert_eq!((a.pdpte_index(), a.pae_pde_index(), a.pae_pte_index(), a.page_offset()), (3, 3, 0x123, 0xABC));
    }
}
