//! The interrupt descriptor table.
#![allow(unsafe_code)]

use core::{arch::asm, cell::UnsafeCell};

use x86::Descriptor;

use super::gdt::{DOUBLEFAULT_TSS, KERNEL_CS, TablePointer};

/// First vector of the external interrupts: IRQ n comes as vector 0x20 + n.
pub const FIRST_EXTERNAL_VECTOR: u8 = 0x20;
/// System calls.
pub const SYSCALL_VECTOR: u8 = 0x80;

struct Idt(UnsafeCell<[Descriptor; 256]>);
// SAFETY: written once at boot, before interrupts are on.
unsafe impl Sync for Idt {}
static IDT: Idt = Idt(UnsafeCell::new([Descriptor(0); 256]));

/// First of the vectors that the local APIC sends by itself or for other CPUs.
pub const FIRST_APIC_VECTOR: u8 = 0xe0;

unsafe extern "C" {
    /// Entry points of vectors 0 to 47, 16 bytes apart.
    static trap_stubs: [[u8; 16]; 48];
    /// Entry points of vectors 0xe0 to 0xff, 16 bytes apart.
    static apic_stubs: [[u8; 16]; 32];
    static entry_int80: u8;
}

/// Fills the table and loads it.
pub fn init() {
    // SAFETY: called once, on the boot CPU, before interrupts are on.
    let idt = unsafe { &mut *IDT.0.get() };
    let (stubs, int80) = (&raw const trap_stubs, &raw const entry_int80);
    for (vector, gate) in idt.iter_mut().enumerate().take(48) {
        let offset = stubs as u32 + vector as u32 * 16;
        // INT3 and INTO are for ring 3, too.
        let access = if matches!(vector, 3 | 4) { 0xee } else { 0x8e };
        *gate = match vector {
            8 => Descriptor::gate(DOUBLEFAULT_TSS, 0, 0x85),
            15 => Descriptor(0),
            _ => Descriptor::gate(KERNEL_CS, offset, access),
        };
    }
    for (n, gate) in idt[FIRST_APIC_VECTOR as usize..].iter_mut().enumerate() {
        *gate = Descriptor::gate(KERNEL_CS, &raw const apic_stubs as u32 + n as u32 * 16, 0x8e);
    }
    // An interrupt gate: the kernel lock is taken before interrupts are let in.
    idt[SYSCALL_VECTOR as usize] = Descriptor::gate(KERNEL_CS, int80 as u32, 0xee);
    load();
}

/// Loads the table, which all CPUs share.
pub fn load() {
    let idt = IDT.0.get();
    let pointer = TablePointer { limit: 256 * 8 - 1, base: idt as u32 };
    // SAFETY: every present gate leads to a real entry point; the table is static.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(nostack, preserves_flags)) };
}
