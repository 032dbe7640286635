//! The I/O APIC: interrupt lines as messages to local APICs (82093AA data sheet).
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{
    mpconfig::Route,
    paging::{self, FIX_IOAPIC},
};
use crate::sync::SpinLock;

const REG_VERSION: u32 = 1;
const REG_REDIRECTION: u32 = 0x10;
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

static IN_USE: AtomicBool = AtomicBool::new(false);
/// Guards the pair of registers.
static ACCESS: SpinLock<()> = SpinLock::new(());

fn read(register: u32) -> u32 {
    // SAFETY: `init` mapped the registers, and the lock makes the pair one.
    unsafe {
        (FIX_IOAPIC as *mut u32).write_volatile(register);
        ((FIX_IOAPIC + 0x10) as *const u32).read_volatile()
    }
}

fn write(register: u32, value: u32) {
    // SAFETY: as in `read`.
    unsafe {
        (FIX_IOAPIC as *mut u32).write_volatile(register);
        ((FIX_IOAPIC + 0x10) as *mut u32).write_volatile(value);
    }
}

/// Takes the I/O APIC at a physical address into use, with all lines masked. Returns how many lines
/// it has.
pub fn init(phys: u32) -> u32 {
    let page = phys & !0xfff;
    assert_eq!(page, phys, "an I/O APIC inside a page");
    paging::set_fixmap(FIX_IOAPIC, page);
    let _access = ACCESS.lock_irqsave();
    let pins = (read(REG_VERSION) >> 16 & 0xff) + 1;
    for pin in 0..pins {
        write(REG_REDIRECTION + pin * 2, MASKED);
    }
    IN_USE.store(true, Relaxed);
    pins
}

/// Whether lines come through it, and not through the 8259.
pub fn in_use() -> bool {
    IN_USE.load(Relaxed)
}

/// Opens a line, which comes as `vector` to the CPU with the local APIC `destination`.
pub fn unmask(route: Route, vector: u8, destination: u32) {
    let bits = u32::from(vector) | if route.level { LEVEL } else { 0 } | if route.active_low { ACTIVE_LOW } else { 0 };
    let _access = ACCESS.lock_irqsave();
    write(REG_REDIRECTION + route.pin * 2 + 1, destination << 24);
    write(REG_REDIRECTION + route.pin * 2, bits);
}

/// A line comes to the CPU with the local APIC `destination` from now on. The half of the entry that
/// says so is written at once, so no request is lost or goes elsewhere.
pub fn set_destination(route: Route, destination: u32) {
    let _access = ACCESS.lock_irqsave();
    write(REG_REDIRECTION + route.pin * 2 + 1, destination << 24);
}

/// Closes a line.
pub fn mask(route: Route) {
    let _access = ACCESS.lock_irqsave();
    write(REG_REDIRECTION + route.pin * 2, MASKED);
}
