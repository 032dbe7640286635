//! What kind of memory, and how hard to try.

use bitflags::bitflags;
use mm::buddy::MigrateType;

bitflags! {
    /// `gfp_t`, with Linux's values.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Gfp: u32 {
        /// Below 16 MiB.
        const DMA = 0x01;
        /// May lie above the direct map.
        const HIGHMEM = 0x02;
        /// Can be moved or reclaimed later.
        const MOVABLE = 0x08;
        /// Can be given up when memory is short.
        const RECLAIMABLE = 0x10;
        /// May use the reserves.
        const HIGH = 0x20;
        /// May start I/O.
        const IO = 0x40;
        /// May call into file systems.
        const FS = 0x80;
        /// Zeroed.
        const ZERO = 0x100;
        /// Cannot wait, and may use what is kept for that.
        const ATOMIC = 0x200;
        /// The caller may sleep while memory is reclaimed.
        const DIRECT_RECLAIM = 0x400;
        /// Wake `kswapd`.
        const KSWAPD_RECLAIM = 0x800;
        /// No complaint if it fails.
        const NOWARN = 0x2000;
        /// Fail rather than kill.
        const NORETRY = 0x1_0000;
        /// The frames form one compound page.
        const COMP = 0x4_0000;
    }
}

/// For kernel structures.
pub const GFP_KERNEL: Gfp = Gfp::DIRECT_RECLAIM.union(Gfp::KSWAPD_RECLAIM).union(Gfp::IO).union(Gfp::FS);
/// Where sleeping is impossible.
pub const GFP_ATOMIC: Gfp = Gfp::HIGH.union(Gfp::ATOMIC).union(Gfp::KSWAPD_RECLAIM);
/// Where neither sleeping nor the reserves are allowed.
pub const GFP_NOWAIT: Gfp = Gfp::KSWAPD_RECLAIM;
/// For memory that user space sees and the kernel addresses directly.
pub const GFP_USER: Gfp = GFP_KERNEL;
/// For user memory.
pub const GFP_HIGHUSER: Gfp = GFP_USER.union(Gfp::HIGHMEM);
/// For user memory that can be moved: anonymous and file pages.
pub const GFP_HIGHUSER_MOVABLE: Gfp = GFP_HIGHUSER.union(Gfp::MOVABLE);
/// Zone DMA.
pub const GFP_DMA: Gfp = Gfp::DMA;

impl Gfp {
    /// What can become of the memory (`gfp_migratetype`).
    pub fn migrate_type(self) -> MigrateType {
        if self.contains(Gfp::MOVABLE) {
            MigrateType::Movable
        } else if self.contains(Gfp::RECLAIMABLE) {
            MigrateType::Reclaimable
        } else {
            MigrateType::Unmovable
        }
    }
}
