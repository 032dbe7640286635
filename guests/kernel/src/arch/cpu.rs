//! Control registers, CPUID, MSRs and the time-stamp counter.
#![allow(unsafe_code)]

use core::{
    arch::asm,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use x86::{Cr0, Cr4};

/// CPUID leaf 1, EDX.
pub mod feature {
    #![allow(missing_docs, reason = "the names are the manual's")]
    pub const FPU: u32 = 1 << 0;
    pub const PSE: u32 = 1 << 3;
    pub const TSC: u32 = 1 << 4;
    pub const MSR: u32 = 1 << 5;
    pub const PAE: u32 = 1 << 6;
    pub const APIC: u32 = 1 << 9;
    pub const PGE: u32 = 1 << 13;
    pub const CMOV: u32 = 1 << 15;
    pub const PSE36: u32 = 1 << 17;
    pub const FXSR: u32 = 1 << 24;
    pub const SSE: u32 = 1 << 25;
}

static FEATURES: AtomicU32 = AtomicU32::new(0);

/// The four registers that CPUID returns.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "register names")]
pub struct CpuidResult {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// Runs CPUID.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    let (eax, ebx, ecx, edx);
    // SAFETY: `identify` made sure that CPUID exists before anyone calls this.
    unsafe {
        asm!("cpuid", inout("eax") leaf => eax, lateout("ebx") ebx, inout("ecx") subleaf => ecx, lateout("edx") edx,
             options(nomem, nostack, preserves_flags));
    }
    CpuidResult { eax, ebx, ecx, edx }
}

/// Finds out what this CPU can do. A CPU without CPUID has none of the features.
pub fn identify() {
    if has_cpuid() {
        FEATURES.store(cpuid(1, 0).edx, Relaxed);
    }
}

/// Whether the CPU has a feature of CPUID leaf 1, EDX.
pub fn has(feature: u32) -> bool {
    FEATURES.load(Relaxed) & feature != 0
}

/// CPUID exists if EFLAGS.ID can be changed.
pub fn has_cpuid() -> bool {
    let changed: u32;
    // SAFETY: uses two words of the stack and leaves EFLAGS as it was.
    unsafe {
        asm!(
            "pushfd", "pop {old}", "mov {new}, {old}", "xor {new}, 0x200000",
            "push {new}", "popfd", "pushfd", "pop {new}", "push {old}", "popfd",
            "xor {new}, {old}",
            old = out(reg) _, new = out(reg) changed,
        );
    }
    changed & 0x20_0000 != 0
}

/// CR0.
pub fn read_cr0() -> Cr0 {
    let value: u32;
    // SAFETY: reading has no effect.
    unsafe { asm!("mov {}, cr0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    Cr0::from_bits_retain(value)
}

/// CR2: the address of the last page fault.
pub fn read_cr2() -> u32 {
    let value: u32;
    // SAFETY: reading has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// CR3: the physical address of the page directory in use.
pub fn read_cr3() -> u32 {
    let value: u32;
    // SAFETY: reading has no effect.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// CR4; 0 where the CPU has no CPUID, and so no CR4.
pub fn read_cr4() -> Cr4 {
    if FEATURES.load(Relaxed) == 0 {
        return Cr4::empty();
    }
    let value: u32;
    // SAFETY: a CPU with CPUID has CR4.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, nostack, preserves_flags)) };
    Cr4::from_bits_retain(value)
}

/// Sets bits of CR4.
///
/// # Safety
/// The CPU must have the features, and the page tables must be right for them.
pub unsafe fn set_cr4_bits(bits: Cr4) {
    let value = read_cr4() | bits;
    // SAFETY: by the caller.
    unsafe { asm!("mov cr4, {}", in(reg) value.bits(), options(nostack, preserves_flags)) };
}

/// Clears bits of CR4.
///
/// # Safety
/// Nothing may rest on what the bits switch off.
pub unsafe fn clear_cr4_bits(bits: Cr4) {
    let value = read_cr4() & !bits;
    // SAFETY: by the caller.
    unsafe { asm!("mov cr4, {}", in(reg) value.bits(), options(nostack, preserves_flags)) };
}

/// Loads CR3, which drops every non-global translation that this CPU holds.
///
/// # Safety
/// `pgd` must be the physical address of a directory that maps the kernel.
pub unsafe fn load_cr3(pgd: u32) {
    // SAFETY: by the caller.
    unsafe { asm!("mov cr3, {}", in(reg) pgd, options(nostack, preserves_flags)) };
}

/// The time-stamp counter; 0 without one.
pub fn rdtsc() -> u64 {
    // SAFETY: the CPU has it.
    if has(feature::TSC) { unsafe { read_tsc() } } else { 0 }
}

/// The time-stamp counter.
///
/// # Safety
/// The CPU has one.
#[inline]
pub unsafe fn read_tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: by the caller.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(low) | u64::from(high) << 32
}

/// Where the function that this stands in returns to. It must not be inlined itself.
#[inline(always)]
pub fn return_address() -> u32 {
    let value: u32;
    // SAFETY: every function of the kernel keeps a frame, whose second word this is.
    unsafe { asm!("mov {}, [ebp + 4]", out(reg) value, options(readonly, nostack, preserves_flags)) };
    value
}

/// EBP: the newest frame, for a backtrace.
#[inline(always)]
pub fn frame_pointer() -> u32 {
    let value: u32;
    // SAFETY: reading has no effect.
    unsafe { asm!("mov {}, ebp", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}
