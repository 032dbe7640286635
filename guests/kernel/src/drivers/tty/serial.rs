//! The UARTs 16550 behind COM1 to COM4.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::errno::{ENODEV, Result};

use crate::{
    arch::io::{inb, outb},
    drivers::{irq, resource},
    task::softirq,
};

/// A port: base address and interrupt line.
pub struct Uart {
    base: u16,
    irq: u8,
    found: AtomicBool,
}

/// COM1 to COM4.
pub static PORTS: [Uart; 4] = [Uart::new(0x3f8, 4), Uart::new(0x2f8, 3), Uart::new(0x3e8, 4), Uart::new(0x2e8, 3)];

const NAMES: [&str; PORTS.len()] = ["ttyS0", "ttyS1", "ttyS2", "ttyS3"];

const RBR_THR: u16 = 0;
const IER: u16 = 1;
const FCR: u16 = 2;
const LCR: u16 = 3;
const MCR: u16 = 4;
const LSR: u16 = 5;
const MSR: u16 = 6;
const SCR: u16 = 7;

const IER_RECEIVE: u8 = 1;
const IER_MODEM: u8 = 8;
const MCR_DTR: u8 = 1;
const MCR_RTS: u8 = 2;
/// Connects the interrupt line on a PC.
const MCR_OUT2: u8 = 8;
const LSR_DATA_READY: u8 = 1;
const LSR_THR_EMPTY: u8 = 0x20;
const MSR_DCD: u8 = 0x80;

/// Looks at the line status before a byte is given up.
const PATIENCE: u32 = 1_000_000;

impl Uart {
    const fn new(base: u16, irq: u8) -> Self {
        Uart { base, irq, found: AtomicBool::new(false) }
    }

    fn read(&self, register: u16) -> u8 {
        inb(self.base + register)
    }

    fn write(&self, register: u16, value: u8) {
        outb(value, self.base + register);
    }

    /// Whether the port exists.
    pub fn is_present(&self) -> bool {
        self.found.load(Relaxed)
    }

    /// A UART keeps what is written to its scratch register, and has a line status that
    /// floating lines don't.
    fn probe(&self) -> bool {
        let keeps = |value: u8| {
            self.write(SCR, value);
            self.read(SCR) == value
        };
        keeps(0x55) && keeps(0xaa) && self.read(LSR) != 0xff
    }

    /// 115200 baud, 8N1, FIFO on with an interrupt for every byte.
    fn setup(&self) {
        for (register, value) in [(IER, 0), (LCR, 0x80), (RBR_THR, 1), (IER, 0), (LCR, 3), (FCR, 7)] {
            self.write(register, value);
        }
        self.write(MCR, MCR_DTR | MCR_OUT2);
    }

    /// Asks the other side to send, or to wait.
    pub fn set_rts(&self, asks: Asks) {
        let rts = if asks == Asks::ForData { MCR_RTS } else { 0 };
        self.write(MCR, MCR_DTR | MCR_OUT2 | rts);
    }

    /// Lets the port interrupt when there is data, or when the carrier goes.
    pub fn listen(&self) {
        self.write(IER, IER_RECEIVE | IER_MODEM);
    }

    /// Keeps the port silent.
    pub fn silence(&self) {
        self.write(IER, 0);
    }

    /// Whether a byte has been received.
    pub fn has_data(&self) -> bool {
        self.read(LSR) & LSR_DATA_READY != 0
    }

    /// A received byte, if there is one.
    pub fn receive(&self) -> Option<u8> {
        self.has_data().then(|| self.read(RBR_THR))
    }

    /// Whether the other side is there. Reading acknowledges a change.
    pub fn carrier(&self) -> bool {
        self.read(MSR) & MSR_DCD != 0
    }

    /// Sends a byte.
    pub fn send(&self, byte: u8) {
        for _ in 0..PATIENCE {
            if self.read(LSR) & LSR_THR_EMPTY != 0 {
                break;
            }
            core::hint::spin_loop();
        }
        self.write(RBR_THR, byte);
    }
}

/// What RTS says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    /// Send.
    ForData,
    /// Wait.
    ForSilence,
}

/// Finds the ports. Interrupts only say that somebody should look.
pub fn init() {
    for (line, port) in PORTS.iter().enumerate() {
        if !port.probe() {
            continue;
        }
        port.found.store(true, Relaxed);
        port.setup();
        let claimed = resource::request_region(port.base, 8, "serial");
        if claimed.is_err() || irq::request_irq(port.irq, NAMES[line], interrupt, line).is_err() {
            crate::pr_info!("serial: ttyS{line} finds its ports or its line taken");
        }
        crate::pr_hw!("serial: ttyS{line} at I/O {:#x} (irq = {}) is a 16550A", port.base, port.irq);
    }
}

fn interrupt(_irq: u8, line: usize) {
    // The level would stay up until the data is read; a port that nobody reads is silent.
    PORTS[line].silence();
    softirq::raise(softirq::TTY);
}

/// The port number `line`; ENODEV if there is none.
pub fn port(line: u32) -> Result<&'static Uart> {
    PORTS.get(line as usize).filter(|port| port.is_present()).ok_or(ENODEV)
}
