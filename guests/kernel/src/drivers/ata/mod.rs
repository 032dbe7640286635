//! ATA disks behind the IDE channels of a PC, by programmed I/O (libata's names).

mod identify;
mod pio;
mod port;

use core::sync::atomic::Ordering::Relaxed;

use port::Port;

/// The name in `/proc/ioports` and `/proc/interrupts`: that of Linux's driver for these channels.
const DRIVER: &str = "ata_piix";

/// The primary and the secondary channel.
static PORTS: [Port; 2] = [Port::new(1, 0x1f0, 0x3f6, 14), Port::new(2, 0x170, 0x376, 15)];

/// Finds the channels, their drives and the partitions. Sleeps.
#[cold]
#[inline(never)]
pub fn init() {
    for port in &PORTS {
        port.probe();
    }
}

/// The interrupt handler: reading the status takes the line down; the rest waits.
fn interrupt(_irq: u8, port: usize) {
    PORTS[port].note_interrupt();
}

/// What interrupts left for later.
pub fn run_interrupts() {
    for port in PORTS.iter().filter(|port| port.interrupted.swap(false, Relaxed)) {
        port.handle_interrupt();
    }
}

/// The tick: drives that have been silent for too long are looked at.
pub fn tick(now_ns: u64) {
    for port in &PORTS {
        port.tick(now_ns);
    }
}
