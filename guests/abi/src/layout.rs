//! Where the kernel's half of the linear addresses has what, above the direct map.

/// Bytes of the direct map, at most; what memory lies above is high memory.
pub const DIRECT_MAP_BYTES: u32 = 896 << 20;
/// First address of vmalloc.
pub const VMALLOC_START: u32 = 0xF880_0000;
/// First address after vmalloc.
pub const VMALLOC_END: u32 = 0xFF7F_E000;
/// First address of pkmap.
pub const PKMAP_BASE: u32 = 0xFF80_0000;
/// First of the `kmap_local` slots, where the fixed slots begin.
pub const FIXADDR_KMAP: u32 = 0xFFC0_0000;
