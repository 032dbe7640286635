//! Numbers of the model-specific registers that we have (SDM Vol. 4, "Architectural MSRs").
#![allow(missing_docs, reason = "the names are the manual's")]

pub const IA32_TIME_STAMP_COUNTER: u32 = 0x10;
pub const IA32_PLATFORM_ID: u32 = 0x17;
pub const IA32_APIC_BASE: u32 = 0x1b;
pub const IA32_BIOS_SIGN_ID: u32 = 0x8b;
pub const IA32_MTRRCAP: u32 = 0xfe;
pub const IA32_SYSENTER_CS: u32 = 0x174;
pub const IA32_SYSENTER_ESP: u32 = 0x175;
pub const IA32_SYSENTER_EIP: u32 = 0x176;
pub const IA32_MISC_ENABLE: u32 = 0x1a0;
/// The first of eight pairs of base and mask.
pub const IA32_MTRR_PHYSBASE0: u32 = 0x200;
/// The last mask of the pairs.
pub const IA32_MTRR_PHYSMASK7: u32 = 0x20f;
pub const IA32_MTRR_FIX64K_00000: u32 = 0x250;
pub const IA32_MTRR_FIX16K_80000: u32 = 0x258;
pub const IA32_MTRR_FIX16K_A0000: u32 = 0x259;
/// The first of eight.
pub const IA32_MTRR_FIX4K_C0000: u32 = 0x268;
/// The last of eight.
pub const IA32_MTRR_FIX4K_F8000: u32 = 0x26f;
pub const IA32_PAT: u32 = 0x277;
pub const IA32_MTRR_DEF_TYPE: u32 = 0x2ff;
pub const IA32_EFER: u32 = 0xc000_0080;
pub const IA32_TSC_AUX: u32 = 0xc000_0103;

/// In [`IA32_APIC_BASE`]: the processor is the bootstrap processor.
pub const APIC_BASE_BSP: u64 = 1 << 8;
/// In [`IA32_APIC_BASE`]: the local APIC is there.
pub const APIC_BASE_ENABLE: u64 = 1 << 11;
