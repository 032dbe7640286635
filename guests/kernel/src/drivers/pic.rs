//! The two 8259A interrupt controllers.

use crate::{
    arch::io::{inb, outb},
    sync::SpinLock,
};

const PIC1_COMMAND: u16 = 0x20;
const PIC1_DATA: u16 = 0x21;
const PIC2_COMMAND: u16 = 0xa0;
const PIC2_DATA: u16 = 0xa1;
const IMCR_SELECT: u16 = 0x22;
const IMCR_DATA: u16 = 0x23;
/// The second controller's line at the first.
const CASCADE_IRQ: u8 = 2;

const READ_ISR: u8 = 0x0b;
const SPECIFIC_EOI: u8 = 0x60;

/// One mask bit a line, second controller in the high byte.
static MASK: SpinLock<u16> = SpinLock::new(!0);

/// Initialises both: vectors from `first_vector`, all lines masked but the cascade.
pub fn init(first_vector: u8) {
    let mut mask = MASK.lock_irqsave();
    for (command, data, vector, wiring) in [
        (PIC1_COMMAND, PIC1_DATA, first_vector, 1 << CASCADE_IRQ),
        (PIC2_COMMAND, PIC2_DATA, first_vector + 8, CASCADE_IRQ),
    ] {
        outb(0x11, command); // ICW1: edge triggered, cascade, ICW4 follows
        outb(vector, data);
        outb(wiring, data);
        outb(0x01, data); // ICW4: 8086 mode, normal EOI
    }
    *mask = !(1 << CASCADE_IRQ);
    write_mask(*mask);
}

fn write_mask(mask: u16) {
    outb(mask as u8, PIC1_DATA);
    outb((mask >> 8) as u8, PIC2_DATA);
}

/// All lines are closed: the I/O APIC has them. With `imcr` the CPU must be cut off from the two by
/// a register (MultiProcessor Specification, "PIC Mode").
pub fn disable(imcr: bool) {
    let mut mask = MASK.lock_irqsave();
    *mask = !0;
    write_mask(*mask);
    if imcr {
        outb(0x70, IMCR_SELECT);
        outb(0x01, IMCR_DATA);
    }
}

/// Opens a line.
pub fn unmask(irq: u8) {
    let mut mask = MASK.lock_irqsave();
    *mask &= !(1 << irq);
    write_mask(*mask);
}

/// Closes a line.
pub fn mask(irq: u8) {
    let mut mask = MASK.lock_irqsave();
    *mask |= 1 << irq;
    write_mask(*mask);
}

/// Lines 7 and 15 may come without a request: then the in-service bit is clear, and a
/// spurious line 15 has still raised the cascade.
pub fn is_spurious(irq: u8) -> bool {
    let (command, bit) = match irq {
        7 => (PIC1_COMMAND, 0x80),
        15 => (PIC2_COMMAND, 0x80),
        _ => return false,
    };
    outb(READ_ISR, command);
    let spurious = inb(command) & bit == 0;
    if spurious && irq == 15 {
        outb(SPECIFIC_EOI | CASCADE_IRQ, PIC1_COMMAND);
    }
    spurious
}

/// Ends the interrupt.
pub fn eoi(irq: u8) {
    if irq >= 8 {
        outb(SPECIFIC_EOI | (irq & 7), PIC2_COMMAND);
        outb(SPECIFIC_EOI | CASCADE_IRQ, PIC1_COMMAND);
    } else {
        outb(SPECIFIC_EOI | irq, PIC1_COMMAND);
    }
}
