//! Channel 0 of the 8254: the tick.

use crate::arch::io::{inb, outb};

const CHANNEL_0: u16 = 0x40;
const COMMAND: u16 = 0x43;
const RATE_GENERATOR: u8 = 0x34; // channel 0, both bytes, mode 2
const ONE_SHOT: u8 = 0x30; // channel 0, both bytes, mode 0
const LATCH: u8 = 0x00;

/// The input clock, in hertz.
pub const PIT_TICK_RATE: u32 = 1_193_182;

/// Starts periodic interrupts, `hz` a second.
pub fn init(hz: u32) {
    let count = reload(hz);
    outb(RATE_GENERATOR, COMMAND);
    outb(count as u8, CHANNEL_0);
    outb((count >> 8) as u8, CHANNEL_0);
}

/// Stops the interrupts: the channel counts down once, to no effect.
pub fn shutdown() {
    outb(ONE_SHOT, COMMAND);
    outb(0, CHANNEL_0);
    outb(0, CHANNEL_0);
}

/// The count from which the channel counts down.
pub fn reload(hz: u32) -> u32 {
    (PIT_TICK_RATE + hz / 2) / hz
}

/// The count now.
pub fn read_count() -> u32 {
    outb(LATCH, COMMAND);
    let low = inb(CHANNEL_0);
    u32::from(inb(CHANNEL_0)) << 8 | u32::from(low)
}
