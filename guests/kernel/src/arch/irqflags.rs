//! The interrupt flag of this CPU.
#![allow(unsafe_code)]

use core::arch::asm;

use x86::Eflags;

/// EFLAGS as `local_irq_save` found it.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct IrqFlags(u32);

/// EFLAGS now.
pub fn local_save_flags() -> Eflags {
    let flags: u32;
    // SAFETY: pushes and pops one word of the current stack.
    unsafe { asm!("pushfd", "pop {}", out(reg) flags, options(preserves_flags)) };
    Eflags::from_bits_retain(flags)
}

/// Whether interrupts are off.
pub fn irqs_disabled() -> bool {
    !local_save_flags().contains(Eflags::IF)
}

/// Lets interrupts in.
pub fn local_irq_enable() {
    // SAFETY: handlers keep the locking rules of the data that they touch.
    unsafe { asm!("sti", options(nostack)) };
}

/// Keeps interrupts out.
pub fn local_irq_disable() {
    // SAFETY: only delays handlers.
    unsafe { asm!("cli", options(nostack)) };
}

/// Keeps interrupts out and says how it was before.
pub fn local_irq_save() -> IrqFlags {
    let flags = local_save_flags();
    local_irq_disable();
    IrqFlags(flags.bits())
}

/// Goes back to what `local_irq_save` found.
pub fn local_irq_restore(flags: IrqFlags) {
    if flags.0 & Eflags::IF.bits() != 0 {
        local_irq_enable();
    } else {
        local_irq_disable();
    }
}

/// Lets interrupts in and waits for one, with no gap between the two.
pub fn safe_halt() {
    // SAFETY: STI takes effect after HLT has begun.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}

/// Stops this CPU for good.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: nothing runs on this CPU afterwards.
        unsafe { asm!("cli", "hlt", options(nostack)) };
    }
}
