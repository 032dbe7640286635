//! COM1, polled: the console until and beside the terminal driver.

use crate::arch::io::{inb, outb};

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const THR_EMPTY: u8 = 0x20;
/// Looks at the line status before a byte is given up: a UART that never gets ready must
/// not stop the kernel.
const PATIENCE: u32 = 100_000;

/// 115200 baud, 8N1, FIFO on, interrupts off.
pub fn init() {
    for (offset, value) in [(1, 0x00), (3, 0x80), (0, 0x01), (1, 0x00), (3, 0x03), (2, 0xc7), (4, 0x0b)] {
        outb(value, COM1 + offset);
    }
}

/// Sends a byte; a line feed becomes carriage return and line feed.
pub fn put(byte: u8) {
    if byte == b'\n' {
        put_raw(b'\r');
    }
    put_raw(byte);
}

fn put_raw(byte: u8) {
    for _ in 0..PATIENCE {
        match inb(LINE_STATUS) {
            0xff => return,
            status if status & THR_EMPTY != 0 => break,
            _ => core::hint::spin_loop(),
        }
    }
    outb(byte, COM1);
}
